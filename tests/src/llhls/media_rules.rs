//! The rules that parts and segments can break: what the playlist said of them against what they hold.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    findings::Findings,
    fragment::{Fragments, Sample},
    init::Init,
    media_playlist::{Part, Position, Segment},
};

/// A finished segment as it was fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// In decode order.
    pub samples: Vec<Sample>,
    /// Bytes on the wire.
    pub size: usize,
}

/// The media of one rendition as far as it was followed.
pub struct Media {
    name: String,
    /// What the samples mean, up to the first change.
    pub init: Init,
    /// What they mean from a segment on.
    changes: BTreeMap<u64, Init>,
    parts: BTreeMap<Position, Vec<Sample>>,
    part_counts: BTreeMap<u64, usize>,
    /// Finished segments by number.
    pub segments: BTreeMap<u64, Fetched>,
}

impl Media {
    /// Of a rendition whose init segment was read.
    pub fn new(name: &str, init: Init, findings: &mut Findings) -> Self {
        judge_init(name, &init, findings);
        let (parts, part_counts, segments) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { name: name.to_owned(), init, changes: BTreeMap::new(), parts, part_counts, segments }
    }

    /// From that segment on another init segment holds.
    pub fn change(&mut self, msn: u64, init: Init, findings: &mut Findings) {
        judge_init(&self.name, &init, findings);
        self.changes.insert(msn, init);
    }

    /// What the samples of a segment mean.
    pub fn init_of(&self, msn: u64) -> &Init {
        self.changes.range(..=msn).next_back().map_or(&self.init, |(_, init)| init)
    }

    /// The segments before the first change.
    pub fn unchanged(&self) -> impl Iterator<Item = &Fetched> {
        let end = self.changes.keys().next().copied().unwrap_or(u64::MAX);
        self.segments.range(..end).map(|(_, fetched)| fetched)
    }

    /// How many parts were looked at.
    pub fn part_count(&self) -> usize {
        self.parts.len()
    }

    /// Whether that part was looked at.
    pub fn has_part(&self, at: Position) -> bool {
        self.parts.contains_key(&at)
    }

    /// Looks at a part that was fetched.
    pub fn judge_part(
        &mut self,
        at: Position,
        part: &Part,
        bytes: &[u8],
        breaks: &BTreeSet<u64>,
        findings: &mut Findings,
    ) {
        let what = format!("{} part {}.{}", self.name, at.msn, at.part);
        let init = self.init_of(at.msn);
        let read = Fragments::parse(bytes, init);
        judge_structure(&what, &read, findings);
        let (Some(first), ticks) = (read.samples.first(), read.ticks()) else { return };
        judge_duration(14, &what, part.duration, init.seconds(ticks), findings);
        if part.independent {
            findings
                .hold(12, read.samples.iter().any(|s| s.independent), || format!("{what}: no sync sample"));
        } else if init.track == Some(super::init::Track::Video) {
            findings.hold(13, !first.independent, || format!("{what}: begins independent, does not say so"));
        }
        let before = if at.part > 0 {
            self.parts.get(&Position { part: at.part - 1, ..at })
        } else {
            at.msn.checked_sub(1).and_then(|msn| {
                let count = *self.part_counts.get(&msn)? as i64;
                self.parts.get(&Position { msn, part: count - 1 })
            })
        };
        if let Some(last) = before.and_then(|samples| samples.last())
            && !(at.part == 0 && breaks.contains(&at.msn))
        {
            judge_continuity(&what, last, first, findings);
        }
        self.parts.insert(at, read.samples);
    }

    /// Looks at a finished segment that was fetched.
    pub fn judge_segment(
        &mut self,
        msn: u64,
        segment: &Segment,
        bytes: &[u8],
        breaks: &BTreeSet<u64>,
        findings: &mut Findings,
    ) {
        let what = format!("{} segment {msn}", self.name);
        let read = Fragments::parse(bytes, self.init_of(msn));
        judge_structure(&what, &read, findings);
        self.part_counts.insert(msn, segment.parts.len());
        let (Some(first), ticks) = (read.samples.first(), read.ticks()) else { return };
        let lasts = self.init_of(msn).seconds(ticks);
        judge_duration(15, &what, segment.duration.unwrap_or(0.0), lasts, findings);
        findings.hold(52, first.independent, || format!("{what}: does not begin with a sync sample"));
        let parts: Option<Vec<&Vec<Sample>>> =
            (0..segment.parts.len() as i64).map(|part| self.parts.get(&Position { msn, part })).collect();
        if let Some(parts) = parts.filter(|parts| !parts.is_empty()) {
            let same = parts.iter().flat_map(|samples| samples.iter()).eq(read.samples.iter());
            findings.hold(17, same, || format!("{what}: its parts hold other samples"));
        }
        if let Some(last) = msn.checked_sub(1).and_then(|before| self.segments.get(&before)?.samples.last())
            && !breaks.contains(&msn)
        {
            judge_continuity(&what, last, first, findings);
        }
        self.segments.insert(msn, Fetched { samples: read.samples, size: bytes.len() });
    }

    /// Bits a second before the first change: the largest of any finished segment, and the mean of all.
    pub fn bit_rates(&self) -> Option<(f64, f64)> {
        let (mut peak, mut bits, mut seconds) = (0.0_f64, 0.0, 0.0);
        for fetched in self.unchanged() {
            let lasts = self.init.seconds(fetched.samples.iter().map(|s| u64::from(s.duration)).sum());
            if lasts > 0.0 {
                let size = fetched.size as f64 * 8.0;
                peak = peak.max(size / lasts);
                bits += size;
                seconds += lasts;
            }
        }
        (seconds > 0.0).then(|| (peak, bits / seconds))
    }
}

fn judge_init(name: &str, init: &Init, findings: &mut Findings) {
    findings.hold(48, init.is_complete(), || format!("{name}: init is {:?}", init.boxes));
    findings.hold(50, init.tracks == 1, || format!("{name}: {} tracks", init.tracks));
    findings.hold(50, init.edit_media_time <= 0, || {
        format!("{name}: an edit list shifts by {}", init.edit_media_time)
    });
}

fn judge_duration(rule: u16, what: &str, said: f64, real: f64, findings: &mut Findings) {
    let tolerance = (real * 0.002).max(0.002);
    findings
        .hold(rule, (said - real).abs() <= tolerance, || format!("{what}: says {said:.5}, holds {real:.5}"));
}

fn judge_structure(what: &str, read: &Fragments, findings: &mut Findings) {
    findings.hold(49, read.faults.is_empty(), || format!("{what}: {}", read.faults.join("; ")));
    findings.hold(50, read.oddities.is_empty(), || format!("{what}: {}", read.oddities.join("; ")));
}

fn judge_continuity(what: &str, last: &Sample, first: &Sample, findings: &mut Findings) {
    let expected = last.decode_time + u64::from(last.duration);
    findings.hold(16, first.decode_time == expected, || {
        format!("{what}: begins at {}, {expected} was expected", first.decode_time)
    });
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::llhls::{forge, rule::Level};

    fn part(duration: f64, independent: bool) -> Part {
        Part { uri: Url::parse("http://h/p").unwrap(), duration, independent, gap: false }
    }

    fn segment(duration: f64, parts: usize) -> Segment {
        let parts = (0..parts).map(|_| part(0.5, false)).collect();
        Segment { duration: Some(duration), parts, ..Segment::default() }
    }

    /// Two parts of 15 frames, the segment of both, and the first part of the next segment; `damage` may change
    /// the bytes of the `n`th of the four.
    fn judged(damage: impl Fn(usize, Vec<u8>) -> Vec<u8>, second: &Part, said: f64) -> Findings {
        let mut findings = Findings::default();
        let init = Init::parse(&forge::video_init());
        let mut media = Media::new("v", init, &mut findings);
        let breaks = BTreeSet::new();
        let (a, b) = (forge::fragment(0, 15, true), forge::fragment(45_000, 15, false));
        let whole =
            forge::fragment(0, 15, true).into_iter().chain(forge::fragment(45_000, 15, false)).collect();
        media.judge_part(
            Position { msn: 3, part: 0 },
            &part(0.5, true),
            &damage(0, a),
            &breaks,
            &mut findings,
        );
        media.judge_part(Position { msn: 3, part: 1 }, second, &damage(1, b), &breaks, &mut findings);
        media.judge_segment(3, &segment(said, 2), &damage(2, whole), &breaks, &mut findings);
        let next = damage(3, forge::fragment(90_000, 15, true));
        media.judge_part(Position { msn: 4, part: 0 }, &part(0.5, true), &next, &breaks, &mut findings);
        media.judge_segment(4, &segment(0.5, 1), &next, &breaks, &mut findings);
        findings
    }

    #[test]
    fn sound_media_breaks_nothing() {
        let findings = judged(|_, bytes| bytes, &part(0.5, false), 1.0);
        assert!(
            findings.broken(Level::Must).is_empty() && findings.broken(Level::Should).is_empty(),
            "{findings}"
        );
        for rule in [12, 14, 15, 16, 17, 49, 50, 52] {
            assert!(findings.is_exercised(rule), "R{rule} was not looked at");
        }
    }

    #[test]
    fn each_fault_is_named() {
        let same = |_: usize, bytes: Vec<u8>| bytes;
        let swapped = |which: usize, with: fn() -> Vec<u8>| {
            move |n: usize, bytes: Vec<u8>| if n == which { with() } else { bytes }
        };
        assert!(judged(same, &part(0.5, true), 1.0).is_broken(12), "INDEPENDENT without a sync sample");
        let unmarked = judged(swapped(1, || forge::fragment(45_000, 15, true)), &part(0.5, false), 1.0);
        assert!(unmarked.is_broken(13) && unmarked.is_broken(17), "{unmarked}");
        assert!(judged(same, &part(0.6, false), 1.0).is_broken(14));
        assert!(judged(same, &part(0.5, false), 1.1).is_broken(15));
        assert!(
            judged(swapped(1, || forge::fragment(45_001, 15, false)), &part(0.5, false), 1.0).is_broken(16)
        );
        assert!(
            judged(swapped(3, || forge::fragment(89_000, 15, true)), &part(0.5, false), 1.0).is_broken(16)
        );
        assert!(
            judged(swapped(3, || forge::fragment(90_000, 15, false)), &part(0.5, false), 1.0).is_broken(52)
        );
        let cut = judged(
            |n, mut b| {
                if n == 1 {
                    b.pop();
                }
                b
            },
            &part(0.5, false),
            1.0,
        );
        assert!(cut.is_broken(49), "{cut}");
        let longer =
            judged(|n, b| if n == 1 { forge::with_stray_byte(&b) } else { b }, &part(0.5, false), 1.0);
        assert!(longer.is_broken(49), "{longer}");
    }

    #[test]
    fn an_init_segment_without_defaults_is_named() {
        let mut findings = Findings::default();
        Media::new("v", Init::parse(b"\0\0\0\x08ftyp"), &mut findings);
        assert!(findings.is_broken(48) && findings.is_broken(50));
    }
}
