//! What stands behind the timeline: the GOP clock and a packager for each track, as the stream's task has them, and
//! what a player must find in their playlists.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use media::packager::{Packager, PackagerConfig};
use media::playlist::{MediaPlaylist, Segment};
use media::segmenter::{Edge, GopClock, Targets};
use media::timeline::Stamp;
use media::{AccessUnit, AudioFormat, Format, Kind, Span, Timestamp, VideoFormat};
use mp4_atom::{Decode, Moof};

const WALL: i64 = 1_795_204_800_000;
const FIRST: u64 = 7;
/// Sound waits at most this long for the picture that decides its edges.
const AUDIO_HOLD: Span = Span::from_millis(1_500);

fn packager(format: Format) -> Packager {
    let config = PackagerConfig {
        targets: Targets::default(),
        epoch: "e".into(),
        wall_zero_ms: WALL,
        discontinuity_sequence: 0,
    };
    let mut packager = Packager::new(config);
    assert!(packager.set_format(format));
    packager
}

/// A rendition, and how far its playlist has been checked.
pub(crate) struct Rendition {
    packager: Packager,
    /// The number that comes next; none before the first.
    next: Option<u64>,
    last: Option<Arc<Segment>>,
    pub(crate) segments: u64,
    pub(crate) gaps: u64,
    pub(crate) length: Span,
    pub(crate) longest: Span,
}

impl Rendition {
    fn new(format: Format) -> Self {
        let zero = Span::ZERO;
        Self {
            packager: packager(format),
            next: None,
            last: None,
            segments: 0,
            gaps: 0,
            length: zero,
            longest: zero,
        }
    }

    /// The decode time in the last segment's last fragment, as a player reads it.
    pub(crate) fn last_decode_time(&self) -> u64 {
        let playlist = self.packager.playlist();
        let part = playlist.segments().last().and_then(|segment| segment.parts().last()).expect("a part");
        let object = playlist.object(part.name()).expect("an object");
        let bytes: Vec<u8> = object.chunks().into_iter().flatten().collect();
        let moof = Moof::decode(&mut bytes.as_slice()).expect("a fragment");
        moof.traf[0].tfdt.as_ref().expect("a decode time").base_media_decode_time
    }

    fn push(&mut self, unit: AccessUnit) {
        if self.packager.push(unit) {
            self.look();
        }
    }

    /// Every new segment is checked once; the text as a player reads it, now and then.
    fn look(&mut self) {
        let playlist = self.packager.playlist();
        if self.next == Some(playlist.next_msn()) {
            return;
        }
        let target = playlist.targets().target_duration();
        let seen = self.next;
        for segment in
            playlist.segments().iter().filter(|segment| seen.is_none_or(|next| segment.msn() >= next))
        {
            assert!(
                self.next.is_none_or(|next| next == segment.msn()),
                "{:?} then {}",
                self.next,
                segment.msn()
            );
            self.next = Some(segment.msn() + 1);
            let seconds = segment.duration().seconds();
            assert!(seconds > 0.0 && seconds < f64::from(target) + 0.5, "EXTINF {seconds} of {target}");
            assert!(
                self.last.as_ref().is_none_or(|last| segment.start() > last.start()),
                "time runs backwards"
            );
            self.segments += 1;
            self.gaps += u64::from(segment.is_gap());
            self.length += segment.duration();
            self.longest = self.longest.max(segment.duration());
            self.last = Some(Arc::clone(segment));
        }
        if self.segments % 64 == 1 {
            read(&playlist);
        }
    }
}

/// Reads the text as a player does: EXTINF, PART, dates.
fn read(playlist: &MediaPlaylist) {
    let text = playlist.render(&[], false);
    let target = f64::from(playlist.targets().target_duration());
    assert!(text.contains(&format!("#EXT-X-TARGETDURATION:{target}\n")));
    let mut seen = 0;
    for line in text.lines() {
        if let Some(value) = line.strip_prefix("#EXTINF:") {
            let seconds: f64 = value.trim_end_matches(',').parse().unwrap();
            assert!(seconds > 0.0 && seconds.round() <= target, "{line}");
            seen += 1;
        }
        if let Some((_, value)) = line.split_once("#EXT-X-PART:DURATION=") {
            let seconds: f64 = value.split(',').next().unwrap().parse().unwrap();
            assert!(seconds > 0.0 && seconds <= 0.3341, "{line}");
        }
    }
    assert_eq!(seen, playlist.segments().len());
}

/// A stream with a pass-through rung and sound.
pub(crate) struct Stream {
    clock: GopClock,
    pub(crate) video: Rendition,
    pub(crate) audio: Rendition,
    held: VecDeque<AccessUnit>,
    open: bool,
    pub(crate) edges: u64,
}

impl Stream {
    pub(crate) fn new() -> Self {
        let video = Format::Video(VideoFormat {
            codec: "avc1.64001f".into(),
            width: 640,
            height: 360,
            frame_rate: None,
            config: Bytes::from_static(&[1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 1, 0x67, 1, 0, 1, 0x68]),
        });
        let audio = Format::Audio(AudioFormat {
            codec: "mp4a.40.2".into(),
            sample_rate: 48_000,
            channels: 2,
            frame_samples: 1024,
            config: Bytes::from_static(&[0x11, 0x90]),
        });
        Self {
            clock: GopClock::new(Targets::default(), FIRST),
            video: Rendition::new(video),
            audio: Rendition::new(audio),
            held: VecDeque::new(),
            open: false,
            edges: 0,
        }
    }

    pub(crate) fn unit(&mut self, kind: Kind, stamp: Stamp, keyframe: bool) {
        let Stamp { dts, pts, duration } = stamp;
        let unit = AccessUnit { dts, pts, duration, keyframe, payload: Bytes::from_static(&[0x55; 24]) };
        match kind {
            Kind::Video => {
                if !self.open && !keyframe {
                    return;
                }
                self.open = true;
                if let Some(edge) = self.clock.observe(&unit) {
                    self.edge(edge);
                }
                self.video.push(unit);
            }
            Kind::Audio => {
                self.held.push_back(unit);
                if !self.open {
                    let newest = pts;
                    while self.held.front().is_some_and(|first| newest - first.pts > AUDIO_HOLD) {
                        self.held.pop_front();
                    }
                    return;
                }
                while let Some(edge) = self.clock.idle(pts) {
                    self.edge(edge);
                }
            }
        }
        let known = self.clock.known_until();
        while self.held.front().is_some_and(|first| first.pts + first.duration <= known) {
            if let Some(unit) = self.held.pop_front() {
                self.audio.push(unit);
            }
        }
        assert!(self.held.len() < 2_000, "sound is held without end");
    }

    /// The publisher is gone, another one is let in: a discontinuity in every rendition.
    pub(crate) fn reconnect(&mut self) {
        self.held.clear();
        self.open = false;
        self.clock.restart();
        self.video.packager.discontinuity();
        self.audio.packager.discontinuity();
    }

    /// What was packaged, against what there was.
    pub(crate) fn end(&mut self) {
        for rendition in [&mut self.video, &mut self.audio] {
            rendition.packager.end();
            rendition.look();
            read(&rendition.packager.playlist());
        }
    }

    /// The decode time that both renditions have reached.
    pub(crate) fn ends(&self) -> (Timestamp, Timestamp) {
        let end = |rendition: &Rendition| rendition.packager.playlist().end().unwrap_or(Timestamp::ZERO);
        (end(&self.video), end(&self.audio))
    }

    fn edge(&mut self, edge: Edge) {
        assert_eq!(edge.msn, FIRST + self.edges);
        self.edges += 1;
        self.video.packager.edge(edge);
        self.audio.packager.edge(edge);
    }
}
