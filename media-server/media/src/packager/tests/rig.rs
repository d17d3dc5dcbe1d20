//! A simulated source, its renditions, and what must hold of everything that they publish.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mp4_atom::{Atom, Decode, DecodeMaybe, Header, Moof};

use crate::packager::{Packager, PackagerConfig};
use crate::playlist::{MediaPlaylist, Object};
use crate::segmenter::{Edge, GopClock, Targets};
use crate::time::{Span, Timestamp};
use crate::unit::{AccessUnit, AudioFormat, Format, VideoFormat};

pub(super) const WALL: i64 = 1_795_204_800_000;

pub(super) fn video_format() -> Format {
    Format::Video(VideoFormat {
        codec: "avc1.64001f".into(),
        width: 640,
        height: 360,
        frame_rate: None,
        config: Bytes::from_static(&[1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 1, 0x67, 1, 0, 1, 0x68]),
    })
}

pub(super) fn audio_format(sample_rate: u32) -> Format {
    Format::Audio(AudioFormat {
        codec: "mp4a.40.2".into(),
        sample_rate,
        channels: 2,
        frame_samples: 1024,
        config: Bytes::from_static(&[0x11, 0x90]),
    })
}

pub(super) fn packager(targets: Targets, format: Format) -> Packager {
    let mut packager = Packager::new(PackagerConfig {
        targets,
        epoch: "e".into(),
        wall_zero_ms: WALL,
        discontinuity_sequence: 0,
    });
    assert!(packager.set_format(format));
    packager
}

/// Every unit has bytes of its own, so that samples can be told apart.
pub(super) fn unit(dts: Timestamp, pts: Timestamp, duration: Span, keyframe: bool, tag: u64) -> AccessUnit {
    AccessUnit { dts, pts, duration, keyframe, payload: Bytes::copy_from_slice(&tag.to_be_bytes()) }
}

/// A source of pictures.
#[derive(Clone, Debug)]
pub(super) struct Pictures {
    /// (numerator, denominator) frames a second.
    pub(super) rate: (i64, i64),
    /// Frames of each GOP in turn.
    pub(super) gops: Vec<usize>,
    /// B-frames between references.
    pub(super) b_frames: usize,
    /// Timestamps in whole milliseconds.
    pub(super) millis: bool,
    /// Displacement of each frame's times in turn, in microseconds.
    pub(super) jitter: Vec<i64>,
    /// After (frame), so many frames are missing.
    pub(super) gaps: Vec<(usize, usize)>,
}

impl Pictures {
    pub(super) fn steady(rate: (i64, i64), gop: usize) -> Self {
        Self { rate, gops: vec![gop], b_frames: 0, millis: false, jitter: vec![0], gaps: Vec::new() }
    }

    fn time(&self, index: usize) -> Timestamp {
        let missing: usize = self.gaps.iter().filter(|(at, _)| index > *at).map(|(_, n)| n).sum();
        let index = i64::try_from(index + missing).unwrap();
        let exact = Timestamp::from_ticks(index * self.rate.1, u32::try_from(self.rate.0).unwrap());
        if self.millis { Timestamp::from_ticks(exact.ticks(1000), 1000) } else { exact }
    }

    pub(super) fn frame(&self) -> Span {
        Span::from_ticks(self.rate.1, u32::try_from(self.rate.0).unwrap())
    }

    /// The first `count` frames in decode order.
    pub(super) fn units(&self, count: usize) -> Vec<AccessUnit> {
        let delay = usize::from(self.b_frames > 0);
        let mut order = Vec::new();
        let mut first = 0;
        for gop in self.gops.iter().cycle() {
            order.push((first, true));
            let mut next = first + 1;
            while next < first + gop {
                let reference = (next + self.b_frames).min(first + gop - 1);
                order.push((reference, false));
                order.extend((next..reference).map(|b| (b, false)));
                next = reference + 1;
            }
            first += gop;
            if order.len() >= count {
                break;
            }
        }
        let mut last = Timestamp::from_flicks(-1);
        order
            .into_iter()
            .take(count)
            .enumerate()
            .map(|(place, (display, key))| {
                let moved = |index: usize| {
                    let us = self.jitter[index % self.jitter.len()];
                    self.time(index) + Span::from_ticks(us, 1_000_000) + Span::from_millis(1000)
                };
                let dts = moved(place).max(last + Span::from_millis(1));
                last = dts;
                unit(dts, moved(display + delay).max(dts), self.frame(), key, place as u64)
            })
            .collect()
    }
}

/// AAC frames from `from` on, for `length`.
pub(super) fn sound(rate: u32, from: Timestamp, length: Span) -> Vec<AccessUnit> {
    let first = from.ticks(rate);
    let frames = length.ticks(rate) / 1024;
    (0..frames)
        .map(|n| {
            let at = Timestamp::from_ticks(first + n * 1024, rate);
            unit(at, at, Span::from_ticks(1024, rate), true, n as u64)
        })
        .collect()
}

/// A stream: pass-through, an encoded rung that lags and has IDRs at the edges, and sound.
pub(super) struct Stream {
    pub(super) clock: GopClock,
    pub(super) source: Packager,
    pub(super) encoded: Packager,
    pub(super) sound: Packager,
    pub(super) edges: Vec<Edge>,
    pub(super) snapshots: Vec<Arc<MediaPlaylist>>,
    held: VecDeque<AccessUnit>,
    behind: VecDeque<AccessUnit>,
    forced: usize,
}

impl Stream {
    pub(super) fn new(targets: Targets, audio_rate: u32) -> Self {
        Self {
            clock: GopClock::new(targets, 7),
            source: packager(targets, video_format()),
            encoded: packager(targets, video_format()),
            sound: packager(targets, audio_format(audio_rate)),
            edges: Vec::new(),
            snapshots: Vec::new(),
            held: VecDeque::new(),
            behind: VecDeque::new(),
            forced: 0,
        }
    }

    fn edge(&mut self, edge: Edge) {
        self.edges.push(edge);
        self.source.edge(edge);
        self.encoded.edge(edge);
        self.sound.edge(edge);
    }

    /// Feeds both tracks interleaved.
    pub(super) fn feed(&mut self, video: Vec<AccessUnit>, audio: Vec<AccessUnit>) {
        let mut audio = VecDeque::from(audio);
        for unit in video {
            while audio.front().is_some_and(|first| first.dts <= unit.dts) {
                self.held.extend(audio.pop_front());
            }
            if let Some(edge) = self.clock.observe(&unit) {
                self.edge(edge);
            }
            self.encode(&unit);
            if self.source.push(unit) {
                self.snapshots.push(self.source.playlist());
            }
            self.release();
        }
        self.held.extend(audio);
    }

    fn release(&mut self) {
        let known = self.clock.known_until();
        while self.held.front().is_some_and(|first| first.pts + first.duration <= known) {
            let unit = self.held.pop_front().unwrap();
            if self.sound.push(unit) {
                self.snapshots.push(self.sound.playlist());
            }
        }
    }

    /// An encoder without B-frames, ten frames behind, that obeys the edges.
    fn encode(&mut self, unit: &AccessUnit) {
        let at = self.behind.partition_point(|other| other.pts < unit.pts);
        self.behind.insert(at, AccessUnit { keyframe: false, dts: unit.pts, ..unit.clone() });
        if self.behind.len() > 10 {
            let mut unit = self.behind.pop_front().unwrap();
            if self.edges.get(self.forced).is_some_and(|edge| unit.pts >= edge.at) {
                unit.keyframe = true;
                self.forced = self.edges.partition_point(|edge| edge.at <= unit.pts);
            }
            if self.encoded.push(unit) {
                self.snapshots.push(self.encoded.playlist());
            }
        }
    }

    pub(super) fn end(&mut self) {
        for packager in [&mut self.source, &mut self.encoded, &mut self.sound] {
            packager.end();
        }
    }
}

/// A sample as a player finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) decode: u64,
    pub(super) duration: u32,
    pub(super) offset: i64,
    pub(super) sync: bool,
    pub(super) bytes: Vec<u8>,
}

pub(super) fn bytes(object: &Object) -> Bytes {
    let mut all = BytesMut::new();
    for chunk in object.chunks() {
        all.extend_from_slice(&chunk);
    }
    assert_eq!(all.len() as u64, object.size());
    all.freeze()
}

/// Reads fragments as a player does.
pub(super) fn samples(file: &[u8]) -> Vec<Found> {
    let mut rest = file;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let moof_at = file.len() - rest.len();
        let moof = Moof::decode(&mut rest).unwrap();
        assert_eq!(moof.traf.len(), 1);
        let traf = &moof.traf[0];
        assert!(traf.tfhd.default_base_is_moof);
        let mut decode = traf.tfdt.as_ref().unwrap().base_media_decode_time;
        let trun = &traf.trun[0];
        let mut at = moof_at + usize::try_from(trun.data_offset.unwrap()).unwrap();
        let header = Header::decode_maybe(&mut rest).unwrap().unwrap();
        assert_eq!(header.kind, mp4_atom::Mdat::KIND);
        assert_eq!(at, file.len() - rest.len());
        let end = at + header.size.unwrap();
        for entry in &trun.samples {
            let size = entry.size.unwrap() as usize;
            let duration = entry.duration.or(traf.tfhd.default_sample_duration).unwrap();
            let flags = entry.flags.or(traf.tfhd.default_sample_flags).unwrap();
            assert!(duration > 0);
            found.push(Found {
                decode,
                duration,
                offset: entry.cts.unwrap_or(0),
                sync: flags & 0x1_0000 == 0,
                bytes: file[at..at + size].to_vec(),
            });
            decode += u64::from(duration);
            at += size;
        }
        assert_eq!(at, end);
        rest = &file[end..];
    }
    found
}

pub(super) fn attribute<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(key)?;
    let rest = rest.strip_prefix('=')?;
    Some(match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap(),
        None => rest.split(',').next().unwrap(),
    })
}

/// Checks one snapshot's text and objects against the rules; answers all samples of its finished segments.
pub(super) fn check(playlist: &MediaPlaylist, scale: u32, least: i64) -> Vec<Found> {
    let text = playlist.render(&[], false);
    let target: f64 = attribute(text.lines().find(|l| l.contains("PART-INF")).unwrap(), "PART-TARGET")
        .unwrap()
        .parse()
        .unwrap();
    let td = playlist.targets().target_duration();
    let mut all: Vec<Found> = Vec::new();
    let mut end: Option<u64> = None;
    for (next, segment) in (playlist.first_msn()..).zip(playlist.segments()) {
        assert_eq!(segment.msn(), next, "numbers follow each other");
        assert!(
            segment.duration().seconds() < f64::from(td) + 0.5,
            "{segment:?} is longer than the target duration"
        );
        if segment.is_gap() {
            assert!(playlist.object(segment.name()).is_none());
            end = None;
            continue;
        }
        let whole = samples(&bytes(&playlist.object(segment.name()).unwrap()));
        let mut parts = Vec::new();
        for (index, part) in segment.parts().iter().enumerate() {
            let found = samples(&bytes(&playlist.object(part.name()).unwrap()));
            let ticks: u64 = found.iter().map(|sample| u64::from(sample.duration)).sum();
            assert_eq!(i64::try_from(ticks).unwrap(), part.duration().ticks(scale));
            let seconds = part.duration().seconds();
            assert!(seconds <= target + 1e-6, "a part of {seconds} s exceeds {target}");
            let last = index + 1 == segment.parts().len();
            assert!(
                last || part.is_independent() || seconds * 100.0 >= target * least as f64 - 1e-6,
                "part {index} of segment {} has {seconds} s of {target}",
                segment.msn()
            );
            assert_eq!(part.is_independent(), found[0].sync);
            parts.extend(found);
        }
        assert_eq!(parts, whole, "a segment is its parts");
        assert_eq!(whole[0].sync, segment.is_independent());
        // What cannot be caught up with within a segment is the one seam that a rendition has on its own; only wild
        // input brings it about.
        let hopeless = least == 0 && end.is_some_and(|end| whole[0].decode > end + u64::from(scale));
        if !segment.head.discontinuity
            && !hopeless
            && let Some(end) = end
        {
            assert_eq!(whole[0].decode, end, "segment {} has a seam", segment.msn());
        }
        for pair in whole.windows(2) {
            assert_eq!(pair[0].decode + u64::from(pair[0].duration), pair[1].decode);
        }
        let last = whole.last().unwrap();
        end = Some(last.decode + u64::from(last.duration));
        assert_eq!(segment.start().ticks(scale), i64::try_from(whole[0].decode).unwrap());
        all.extend(whole);
    }
    check_delta(playlist, &text);
    all
}

/// What a client builds from a delta update is the full playlist (rfc8216bis 6.2.5.1).
pub(super) fn check_delta(playlist: &MediaPlaylist, full: &str) {
    let delta = playlist.render(&[], true);
    let Some(line) = delta.lines().find(|line| line.starts_with("#EXT-X-SKIP")) else {
        assert_eq!(delta, full);
        return;
    };
    let skipped: usize = attribute(line, "SKIPPED-SEGMENTS").unwrap().parse().unwrap();
    let (head, tail) = delta.split_once(&format!("{line}\n")).unwrap();
    let body = full.strip_prefix(head).unwrap();
    let known: String = body.split_inclusive(".m4s\n").take(skipped).collect();
    assert_eq!(format!("{head}{known}{tail}"), full);
}
