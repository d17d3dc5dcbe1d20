//! Where to put it right, in the words of the software that publishes.

use super::code::Code;
use super::line::Lines;
use super::pictures::Pictures;
use super::software::Software;
use crate::time::Span;
use crate::timeline::Repair;

/// What the settings should be for this server and this stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wishes {
    /// Keyframe interval, seconds.
    seconds: f64,
    /// The same in frames.
    frames: i64,
    /// Latency of a transport that asks again, milliseconds.
    latency: i64,
}

impl Wishes {
    pub(super) fn new(target: Span, pictures: &Pictures, lines: &Lines) -> Self {
        let interval = Some(pictures.interval()).filter(|interval| *interval > Span::ZERO);
        let interval = interval.unwrap_or(Span::from_ticks(1, 30));
        // Encoders take whole seconds: a longer segment is made of several GOPs.
        let whole = target.seconds().floor();
        let seconds = if whole <= 4.0 { whole.max(1.0) } else { 2.0 };
        let frames = (seconds / interval.seconds()).round().clamp(1.0, 1e6) as i64;
        Self { seconds, frames, latency: lines.advised_ms() }
    }
}

/// The remedy for one finding.
pub(super) fn of(code: Code, software: Software, wishes: &Wishes) -> String {
    match code {
        Code::KeyframesFar | Code::KeyframesUneven => keyframes(software, wishes),
        Code::KeyframesVary => steady_keyframes(software, wishes),
        Code::FrameRateVaries => constant_rate(software).into(),
        Code::FramesMissing => missing_frames(software).into(),
        Code::FrameRate => frame_rate(software).into(),
        Code::ManyBFrames => b_frames(software).into(),
        Code::VideoBitrate => video_bitrate(software).into(),
        Code::AudioBitrate => audio_bitrate(software).into(),
        Code::SoundOffset => sound_offset(software).into(),
        Code::TracksStartApart => {
            "Nothing needs to be done if it happens once. Each time: start the camera or the scene before the stream, or give the audio input the same delay as the video input".into()
        }
        Code::ClockSpeed => clock(software).into(),
        Code::NoMedia => no_media(software).into(),
        Code::Stalls | Code::LateData => line(software).into(),
        Code::Bursts => bursts(software).into(),
        Code::Dropped => {
            "Use a wired connection and a TCP-based or retransmitting protocol (RTMP, or SRT with more latency); if it goes on, restart the encoder".into()
        }
        Code::PacketsLost | Code::LatencyShort => latency(software, wishes.latency),
        Code::PacketsMissing => format!("{}; and {}", line(software), latency(software, wishes.latency)),
        Code::Repairs(repair) => repairs(repair, software).into(),
        Code::NoSequenceHeader => sequence_header(software).into(),
        Code::PictureFrozen => frozen(software).into(),
        Code::PictureShrunk => shrunk(software).into(),
        Code::NoVideo => no_video(software).into(),
        Code::NoAudio => no_audio(software).into(),
        Code::Silent => silent(software).into(),
        Code::Clipping => clipping(software).into(),
        Code::ServerShort => {
            "Nothing is wrong with what you send; a smaller picture or a lower frame rate helps. Who runs the server: fewer rungs, a faster preset, more cores, or a device that encodes".into()
        }
    }
}

fn keyframes(software: Software, wishes: &Wishes) -> String {
    let Wishes { seconds, frames, .. } = wishes;
    match software {
        Software::Obs => format!(
            "OBS: Settings, Output, Keyframe Interval {seconds} s (Output Mode \"Advanced\", tab Streaming; 0 leaves it to the encoder)"
        ),
        Software::Ffmpeg => {
            format!("ffmpeg: -g {frames} -force_key_frames \"expr:gte(t,n_forced*{seconds})\"")
        }
        Software::GStreamer => format!(
            "GStreamer: x264enc key-int-max={frames} (nvh264enc gop-size={frames}, openh264enc gop-size={frames}, vah264enc key-int-max={frames})"
        ),
        Software::Vmix => {
            format!("vMix: Settings of Stream (gear), Quality (gear), Keyframe Latency {seconds}")
        }
        Software::Wirecast => {
            format!("Wirecast: Output Settings, Encoding, Edit: Key frame every {frames} frames")
        }
        Software::Larix => format!("Larix: Settings, Video, Keyframe frequency {seconds} s"),
        Software::Xsplit => {
            format!("XSplit: Broadcast, the output's settings, Video Encoding: Keyframe Interval {seconds} s")
        }
        Software::Hardware => format!(
            "In the encoder's video settings: GOP length (also: I-frame or IDR interval) {frames} frames or {seconds} s"
        ),
        Software::Browser | Software::Unknown => format!(
            "In the encoder's video settings: keyframe interval (GOP length) {seconds} s, or {frames} frames"
        ),
    }
}

fn steady_keyframes(software: Software, wishes: &Wishes) -> String {
    let frames = wishes.frames;
    match software {
        Software::Obs => {
            format!("{}; with x264 add to x264 Options: scenecut=0", keyframes(software, wishes))
        }
        Software::Ffmpeg => {
            format!("{} -keyint_min {frames} -sc_threshold 0", keyframes(software, wishes))
        }
        Software::GStreamer => {
            format!(
                "GStreamer: x264enc key-int-max={frames} option-string=\"scenecut=0:keyint-min={frames}\""
            )
        }
        Software::Hardware | Software::Unknown => {
            format!("{}; turn scene change detection off", keyframes(software, wishes))
        }
        _ => keyframes(software, wishes),
    }
}

fn constant_rate(software: Software) -> &'static str {
    match software {
        Software::Obs => {
            "OBS: Settings, Video, FPS: a common value such as 30; and look at View, Stats for frames missed or skipped because the computer is too slow"
        }
        Software::Ffmpeg => "ffmpeg: -fps_mode cfr -r 30 (older: -vsync cfr)",
        Software::GStreamer => "GStreamer: videorate ! video/x-raw,framerate=30/1 before the encoder",
        Software::Larix => {
            "Larix: Settings, Video, Frame rate 30; in the dark the camera lowers its rate: give it more light, or lock the exposure"
        }
        Software::Vmix => {
            "vMix: Settings, Display, Frame Rate: the same as of the stream; and watch the render time in the status bar"
        }
        Software::Wirecast => {
            "Wirecast: Output Settings, Encoding, Edit: Frames per second, a fixed value; and watch the CPU meter"
        }
        _ => {
            "Set the encoder to a constant frame rate (CFR); phones and cameras lower it in the dark: lock the exposure"
        }
    }
}

fn missing_frames(software: Software) -> &'static str {
    match software {
        Software::Obs => {
            "OBS: View, Stats tells which: dropped (network): lower Settings, Output, Video Bitrate; skipped (encoding): a faster preset or a hardware encoder; missed (rendering): a lower frame rate, or cap the game's"
        }
        Software::Ffmpeg => {
            "ffmpeg: watch drop= and speed= in its status line: below 1x the machine is too slow: -preset veryfast, or a smaller picture"
        }
        Software::GStreamer => {
            "GStreamer: take leaky=… off the queues before the encoder, or use a faster preset (x264enc speed-preset=veryfast)"
        }
        _ => {
            "The computer or the line is too slow for these settings: a faster preset or hardware encoding, a smaller picture, or a lower bitrate"
        }
    }
}

fn frame_rate(software: Software) -> &'static str {
    match software {
        Software::Obs => {
            "OBS: View, Stats: frames that are missed or skipped mean that the computer is too slow: Settings, Video, FPS lower, or Settings, Output, a faster encoder preset"
        }
        Software::Ffmpeg => {
            "ffmpeg: speed= in its status line must stay at 1x: -preset veryfast, a smaller picture, or -r with the rate that the source has"
        }
        _ => {
            "Set the encoder to the frame rate that its camera or scene really has; if it is right already, the computer is too slow: a faster preset or a smaller picture"
        }
    }
}

fn b_frames(software: Software) -> &'static str {
    match software {
        Software::Obs => "OBS: Settings, Output, Max B-frames 2 (x264: x264 Options bframes=2)",
        Software::Ffmpeg => "ffmpeg: -bf 2",
        Software::GStreamer => "GStreamer: x264enc bframes=2, or tune=zerolatency for none",
        _ => "In the encoder's video settings: B-frames 2 or fewer; none for the lowest delay",
    }
}

fn video_bitrate(software: Software) -> &'static str {
    match software {
        Software::Obs => {
            "OBS: Settings, Output, Rate Control CBR, and a Video Bitrate that the line carries; the status bar must not show dropped frames. A still scene needs fewer bits: then nothing is wrong"
        }
        Software::Ffmpeg => {
            "ffmpeg: -b:v 4500k -maxrate 4500k -bufsize 9000k (with the rate that is meant) in place of -crf"
        }
        Software::GStreamer => {
            "GStreamer: x264enc pass=cbr bitrate=4500 (with the rate that is meant, in kbit/s)"
        }
        Software::Vmix => "vMix: Settings of Stream (gear), Quality (gear): Strict CBR on",
        Software::Larix => {
            "Larix: Settings, Video, Bitrate; and Adaptive bitrate says whether the line is too slow"
        }
        _ => {
            "Set the encoder's rate control to CBR with the bitrate that is meant; if it comes lower, the line may be too slow. A still scene needs fewer bits: then nothing is wrong"
        }
    }
}

fn audio_bitrate(software: Software) -> &'static str {
    match software {
        Software::Obs => "OBS: Settings, Output, Audio Bitrate 160 (each track has its own in the tab Audio)",
        Software::Ffmpeg => "ffmpeg: -c:a aac -b:a 160k",
        Software::GStreamer => "GStreamer: avenc_aac bitrate=160000, or voaacenc bitrate=160000",
        _ => {
            "Set the encoder's audio bitrate to a constant one, 128 to 192 kbit/s. Silence needs fewer bits: then nothing is wrong"
        }
    }
}

fn sound_offset(software: Software) -> &'static str {
    match software {
        Software::Obs => {
            "OBS: if viewers see it too: Edit, Advanced Audio Properties, Sync Offset of that source (in ms); for a camera whose picture is late, give its sound a positive offset"
        }
        Software::Ffmpeg => {
            "ffmpeg: if viewers see it too: -itsoffset SECONDS before the input that is early; for live devices also -use_wallclock_as_timestamps 1 on both inputs"
        }
        Software::GStreamer => {
            "GStreamer: set do-timestamp=true on both sources, and the same min-upstream-latency; a fixed rest with identity ts-offset=…"
        }
        Software::Vmix => "vMix: if viewers see it too: the input's settings (gear), General, Audio Delay",
        Software::Wirecast => "Wirecast: if viewers see it too: the shot's Audio Delay",
        Software::Larix => "Larix: restart the broadcast; a Bluetooth microphone is late: use a wired one",
        _ => {
            "If viewers see it too: set the audio delay (sync offset) of the source in the encoder; if not, nothing needs to be done"
        }
    }
}

fn clock(software: Software) -> &'static str {
    match software {
        Software::Ffmpeg => {
            "ffmpeg: read files with -re, and only once; for live devices -use_wallclock_as_timestamps 1 -af aresample=async=1000; speed= in the status line must stay at 1x"
        }
        Software::Obs => {
            "OBS: View, Stats: skipped frames mean that the computer is too slow; Settings, Audio, Sample Rate must be the one of the sound device (48 kHz)"
        }
        Software::GStreamer => {
            "GStreamer: let one live source provide the pipeline's clock, and put audioresample/videorate behind the others; is-live=true on test sources"
        }
        Software::Hardware => {
            "Set the encoder's clock source to its video input (or NTP/PTP), and its audio to embedded; more than a few hundred ppm is a wrong rate: 29.97 sent as 30, 44.1 as 48 kHz"
        }
        _ => {
            "More than a few hundred ppm is a wrong rate: 29.97 sent as 30, 44.1 as 48 kHz, or a computer that is too slow; set the rates to those of the devices, and restart the encoder"
        }
    }
}

fn no_media(software: Software) -> &'static str {
    match software {
        Software::Obs => {
            "Look at the status bar of OBS: if it says reconnecting, or shows 0 kb/s, the line is down; if not, stop and start streaming"
        }
        _ => "Look at the encoder: is it sending, is its line up? Restart it if it says that it is",
    }
}

fn line(software: Software) -> &'static str {
    match software {
        Software::Obs => {
            "The line is too slow or too unsteady. OBS: lower Settings, Output, Video Bitrate to 70 % of the line's upload, or turn Settings, Advanced, Network, \"Dynamically change bitrate\" on; use a cable in place of Wi-Fi"
        }
        Software::Larix => {
            "The line is too slow or too unsteady. Larix: Settings, Video, Adaptive bitrate; or publish by SRT with 2 s of latency"
        }
        Software::Browser => {
            "The line is too slow or too unsteady: use a cable in place of Wi-Fi, close what else uploads, or choose a smaller picture"
        }
        _ => {
            "The line is too slow or too unsteady: a video bitrate of at most 70 % of its upload, a cable in place of Wi-Fi, or SRT with more latency"
        }
    }
}

fn latency(software: Software, ms: i64) -> String {
    match software {
        Software::Obs => {
            format!(
                "OBS: Settings, Stream, Server: add &latency={ms}000 to the srt:// address (OBS counts microseconds)"
            )
        }
        Software::Ffmpeg => format!("ffmpeg: -latency {ms}000 (microseconds) before the srt:// address"),
        Software::GStreamer => format!("GStreamer: srtsink latency={ms}"),
        Software::Browser => {
            "Packets do not come again in time: use a cable in place of Wi-Fi, or a server that is nearer"
                .into()
        }
        Software::Larix => format!("Larix: Settings, Connections, the connection's SRT latency {ms} ms"),
        _ => format!(
            "Set the encoder's SRT latency to {ms} ms, or [srt] latency_ms here, which goes for every caller"
        ),
    }
}

fn bursts(software: Software) -> &'static str {
    match software {
        Software::Ffmpeg => {
            "ffmpeg: -re before a file input, -flush_packets 1, and no -muxdelay; a playlist or a segmented source comes in bursts by itself: read it with -re"
        }
        Software::Obs => {
            "OBS: Settings, Advanced, Network: \"Enable new networking code\" and TCP pacing on (Windows), Stream Delay off; use a cable in place of Wi-Fi"
        }
        Software::GStreamer => {
            "GStreamer: sync=true on the sink, is-live=true on the sources, and no large queues after the encoder"
        }
        _ => {
            "Something between the encoder and here collects data: turn buffering off in the encoder, a bonding device, or a relay; a viewer's delay grows by the length of the bursts"
        }
    }
}

fn repairs(repair: Repair, software: Software) -> &'static str {
    match (repair, software) {
        (Repair::Jump | Repair::Frozen | Repair::BackStep, Software::Ffmpeg) => {
            "ffmpeg: -fflags +genpts before the input; for cameras also -use_wallclock_as_timestamps 1; for endless loops of a file, encode (-c:v libx264) in place of -c copy"
        }
        (Repair::Composition, Software::Ffmpeg) => {
            "ffmpeg: encode in place of -c copy, or -fflags +genpts before the input"
        }
        (Repair::Composition, _) => {
            "The encoder writes broken presentation times, as some do with B-frames: set B-frames to 0, or update the encoder or the graphics driver"
        }
        (Repair::Gap, _) => {
            "The encoder, or the line, loses seconds of media: see its own statistics for dropped frames, lower the video bitrate"
        }
        (Repair::Jump | Repair::Frozen | Repair::BackStep, _) => {
            "The source's clock is unsteady: restart the encoder; with cameras and capture cards prefer the computer's time to the device's, and sync the clock of a network camera by NTP"
        }
        (Repair::Rephased, Software::Obs) => {
            "OBS: View, Stats: frames that are missed or skipped mean that the computer is too slow; close what else uses the graphics card"
        }
        (Repair::Rephased | Repair::Wrap, _) => "Set the encoder to a constant frame rate (CFR)",
        (Repair::AudioMoved | Repair::AudioSlewed, Software::Obs) => {
            "OBS: Settings, Audio, Sample Rate: the same as of every sound device (48 kHz, also in the settings of Windows); a device with a clock of its own drifts"
        }
        (Repair::AudioMoved | Repair::AudioSlewed, Software::Ffmpeg) => "ffmpeg: -af aresample=async=1000",
        (Repair::AudioMoved | Repair::AudioSlewed, _) => {
            "Set all sound devices and the encoder to one sample rate (48 kHz); sound that drifts comes from a device with a clock of its own"
        }
    }
}

fn sequence_header(software: Software) -> &'static str {
    match software {
        Software::Ffmpeg => {
            "ffmpeg: -flags +global_header (with -c copy from a transport stream: -bsf:v extract_extradata)"
        }
        Software::GStreamer => {
            "GStreamer: h264parse before flvmux, which makes the sequence header (video/x-h264,stream-format=avc)"
        }
        Software::Hardware => {
            "Turn on what the encoder calls \"SPS/PPS in header\", \"AVC sequence header\" or \"global header\", or update its firmware; until then keep SPS and PPS on every keyframe"
        }
        _ => {
            "Update the encoder, or turn on its \"sequence header\" or \"global header\"; until then keep SPS and PPS on every keyframe"
        }
    }
}

fn no_video(software: Software) -> &'static str {
    match software {
        Software::Obs => {
            "OBS: Settings, Output, Streaming: is a video encoder chosen that this computer has? If only sound is meant, nothing needs to be done"
        }
        Software::Ffmpeg => "ffmpeg: -map 0:v, and no -vn. If only sound is meant, nothing needs to be done",
        _ => {
            "Check that the encoder has a picture and sends it. If only sound is meant, nothing needs to be done"
        }
    }
}

fn no_audio(software: Software) -> &'static str {
    match software {
        Software::Obs => {
            "OBS: Settings, Output, Streaming, Audio Track: one that sources are assigned to. If no sound is meant, nothing needs to be done; some players prefer a silent track"
        }
        Software::Ffmpeg => {
            "ffmpeg: -map 0:a, and no -an; for a silent track -f lavfi -i anullsrc. If no sound is meant, nothing needs to be done"
        }
        Software::Larix => {
            "Larix: Settings, Connections: Mode \"Audio + Video\", and allow the microphone. If no sound is meant, nothing needs to be done"
        }
        _ => {
            "Check that the encoder has a sound input and sends it. If no sound is meant, nothing needs to be done"
        }
    }
}

fn frozen(software: Software) -> &'static str {
    match software {
        Software::Browser => {
            "The browser sends no picture for a while: a lower quality, a wired line, and closing what else the machine does help; a camera that sleeps does this too"
        }
        _ => {
            "Look at the encoder's own preview: where it stands still too, it is the camera or the capture; where not, choose a lower bitrate or frame rate"
        }
    }
}

fn shrunk(software: Software) -> &'static str {
    match software {
        Software::Browser => {
            "Browsers make the picture smaller when line or machine do not carry it: a lower quality from the start keeps it steady. If another source was chosen, nothing needs to be done"
        }
        _ => {
            "If this was not meant, look at the encoder's resolution: each change is a break for viewers of the source"
        }
    }
}

fn silent(software: Software) -> &'static str {
    match software {
        Software::Obs => {
            "OBS: the Audio Mixer's meters must move: unmute the source, choose the right device in Settings, Audio, and assign it to the streamed track in Edit, Advanced Audio Properties"
        }
        Software::Vmix => {
            "vMix: the Master must be on and its meter move; Settings, Audio Outputs, and the Audio bus of the stream"
        }
        Software::Wirecast => {
            "Wirecast: the audio meter of the output must move: unmute the shot, and check its audio source"
        }
        Software::Larix => {
            "Larix: the microphone is muted on the screen, or not allowed in the phone's settings"
        }
        _ => "Is the microphone muted, or the wrong input chosen? The encoder's own level meter must move",
    }
}

fn clipping(software: Software) -> &'static str {
    match software {
        Software::Obs => {
            "OBS: lower the source in the Audio Mixer until its peaks stay in the yellow (below -5 dB), or add the filter Limiter"
        }
        Software::Ffmpeg => "ffmpeg: -af alimiter=limit=0.8, or volume=-6dB",
        Software::GStreamer => "GStreamer: volume volume=0.5 before the audio encoder",
        _ => {
            "Lower the input gain until the peaks stay below -6 dBFS, or use a limiter; a gain that is too high at the microphone or mixer cannot be repaired later"
        }
    }
}
