//! Everything that can be found.

use crate::time::Span;
use crate::timeline::Repair;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Nothing arrives.
    NoMedia,
    /// Keyframes are too far apart.
    KeyframesFar,
    /// The keyframe interval does not divide the segment length.
    KeyframesUneven,
    /// Keyframes come at irregular intervals.
    KeyframesVary,
    /// The frame rate varies.
    FrameRateVaries,
    /// Single frames are missing.
    FramesMissing,
    /// The frame rate is not the announced one.
    FrameRate,
    /// More B-frames in a row than it pays for live.
    ManyBFrames,
    /// The video bitrate is far from the announced one.
    VideoBitrate,
    /// The audio bitrate is far from the announced one.
    AudioBitrate,
    /// Sound and picture are apart.
    SoundOffset,
    /// One track began seconds before the other.
    TracksStartApart,
    /// The encoder's clock does not run as ours does.
    ClockSpeed,
    /// Media stop and go on.
    Stalls,
    /// Media come late now and then.
    LateData,
    /// Media come in bursts.
    Bursts,
    /// Units were damaged, or dropped.
    Dropped,
    /// The transport lost packets for good.
    PacketsLost,
    /// The transport has to send many packets again.
    PacketsMissing,
    /// The transport's latency leaves no time to send lost packets again.
    LatencyShort,
    /// Timestamps have to be repaired all the time.
    Repairs(Repair),
    /// The decoder configuration is only inside of the stream.
    NoSequenceHeader,
    /// The picture stands still now and then while the sound goes on.
    PictureFrozen,
    /// The picture is smaller than it was.
    PictureShrunk,
    /// There is no picture.
    NoVideo,
    /// There is no sound track.
    NoAudio,
    /// There is a sound track, and nothing to be heard on it.
    Silent,
    /// The sound is over-driven.
    Clipping,
    /// The server leaves rungs out, which it cannot encode in time.
    ServerShort,
}

impl Code {
    /// Every code, repairs by kind. A wrap of the clock is no fault and has none.
    pub const ALL: [Self; 36] = [
        Self::NoMedia,
        Self::KeyframesFar,
        Self::KeyframesUneven,
        Self::KeyframesVary,
        Self::FrameRateVaries,
        Self::FramesMissing,
        Self::FrameRate,
        Self::ManyBFrames,
        Self::VideoBitrate,
        Self::AudioBitrate,
        Self::SoundOffset,
        Self::TracksStartApart,
        Self::ClockSpeed,
        Self::Stalls,
        Self::LateData,
        Self::Bursts,
        Self::Dropped,
        Self::PacketsLost,
        Self::PacketsMissing,
        Self::LatencyShort,
        Self::Repairs(Repair::Jump),
        Self::Repairs(Repair::Gap),
        Self::Repairs(Repair::BackStep),
        Self::Repairs(Repair::Frozen),
        Self::Repairs(Repair::Composition),
        Self::Repairs(Repair::Rephased),
        Self::Repairs(Repair::AudioMoved),
        Self::Repairs(Repair::AudioSlewed),
        Self::NoSequenceHeader,
        Self::PictureFrozen,
        Self::PictureShrunk,
        Self::NoVideo,
        Self::NoAudio,
        Self::Silent,
        Self::Clipping,
        Self::ServerShort,
    ];

    /// A stable name in kebab-case, for API and events.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoMedia => "no-media",
            Self::KeyframesFar => "keyframe-interval-long",
            Self::KeyframesUneven => "keyframe-interval-uneven",
            Self::KeyframesVary => "keyframe-interval-varies",
            Self::FrameRateVaries => "frame-rate-varies",
            Self::FramesMissing => "frames-missing",
            Self::FrameRate => "frame-rate-not-as-announced",
            Self::ManyBFrames => "many-b-frames",
            Self::VideoBitrate => "video-bitrate-not-as-announced",
            Self::AudioBitrate => "audio-bitrate-not-as-announced",
            Self::SoundOffset => "sound-offset",
            Self::TracksStartApart => "tracks-start-apart",
            Self::ClockSpeed => "clock-speed",
            Self::Stalls => "media-stalls",
            Self::LateData => "media-late",
            Self::Bursts => "media-in-bursts",
            Self::Dropped => "units-dropped",
            Self::PacketsLost => "packets-lost",
            Self::PacketsMissing => "packets-missing",
            Self::LatencyShort => "latency-short",
            Self::Repairs(repair) => match repair {
                Repair::Wrap => "timestamps-wrap",
                Repair::Jump => "timestamps-jump",
                Repair::Gap => "timestamps-gap",
                Repair::BackStep => "timestamps-step-back",
                Repair::Frozen => "timestamps-frozen",
                Repair::Composition => "timestamps-composition",
                Repair::Rephased => "timestamps-rephased",
                Repair::AudioMoved => "timestamps-audio-moved",
                Repair::AudioSlewed => "timestamps-audio-slewed",
            },
            Self::NoSequenceHeader => "no-sequence-header",
            Self::PictureFrozen => "picture-frozen",
            Self::PictureShrunk => "picture-smaller",
            Self::NoVideo => "no-video",
            Self::NoAudio => "no-audio",
            Self::Silent => "audio-silent",
            Self::Clipping => "audio-clipping",
            Self::ServerShort => "server-overloaded",
        }
    }

    /// The unit of a finding's figures; empty where they only count, or there are none.
    pub fn unit(self) -> &'static str {
        match self {
            Self::NoMedia
            | Self::KeyframesFar
            | Self::KeyframesUneven
            | Self::KeyframesVary
            | Self::TracksStartApart
            | Self::Silent => "s",
            Self::SoundOffset | Self::LateData | Self::Bursts | Self::LatencyShort => "ms",
            Self::VideoBitrate | Self::AudioBitrate => "bit/s",
            Self::FrameRate => "fps",
            Self::FrameRateVaries | Self::FramesMissing | Self::Clipping | Self::PacketsMissing => "%",
            Self::ClockSpeed => "ppm",
            Self::Repairs(_) | Self::Dropped | Self::Stalls | Self::PacketsLost | Self::PictureFrozen => {
                "/min"
            }
            Self::PictureShrunk => "px",
            Self::ManyBFrames
            | Self::NoSequenceHeader
            | Self::NoVideo
            | Self::NoAudio
            | Self::ServerShort => "",
        }
    }

    /// How long the cause must last until it is listed. What is measured over windows of 10 s must be so in two.
    pub fn appears_after(self) -> Span {
        Span::from_millis(match self {
            Self::VideoBitrate
            | Self::AudioBitrate
            | Self::FrameRate
            | Self::FrameRateVaries
            | Self::FramesMissing
            | Self::Bursts => 11_000,
            Self::SoundOffset => 10_000,
            _ => 0,
        })
    }

    /// How long the cause must be gone until it is not listed any more.
    pub fn clears_after(self) -> Span {
        Span::from_millis(match self {
            Self::NoMedia | Self::NoVideo | Self::NoAudio => 3_000,
            Self::TracksStartApart | Self::NoSequenceHeader | Self::ServerShort => 0,
            Self::Stalls | Self::LateData | Self::Bursts => 10_000,
            _ => 5_000,
        })
    }

    /// Its place in [`Self::ALL`].
    pub(super) fn index(self) -> usize {
        Self::ALL.iter().position(|code| *code == self).unwrap_or(0)
    }
}
