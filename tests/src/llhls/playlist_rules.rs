//! The rules that a media playlist can break by itself, or against what was listed before.

use std::collections::{BTreeMap, BTreeSet};

use url::Url;

use super::{findings::Findings, media_playlist::MediaPlaylist};

/// Room for decimals that were rounded on the way.
const EPSILON: f64 = 1e-6;

/// What the playlists of one rendition said so far.
#[derive(Default)]
pub struct History {
    /// `R1…` messages begin with it.
    pub name: String,
    target_duration: Option<f64>,
    first_media_sequence: Option<u64>,
    latest: Option<(u64, u64)>,
    uris: BTreeMap<u64, Url>,
    /// `PROGRAM-DATE-TIME` by media sequence number, Unix seconds.
    pub date_times: BTreeMap<u64, f64>,
    /// Segments before which a discontinuity stands.
    pub discontinuities: BTreeSet<u64>,
}

impl History {
    /// For a rendition of that name.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Looks at the next playlist that came.
    pub fn judge(&mut self, list: &MediaPlaylist, content_type: Option<&str>, findings: &mut Findings) {
        let name = self.name.clone();
        findings.hold(1, list.text.starts_with("#EXTM3U"), || format!("{name}: no #EXTM3U at the start"));
        let typed = content_type.is_some_and(|t| t.to_ascii_lowercase().contains("mpegurl"));
        findings.hold(1, typed, || format!("{name}: Content-Type {content_type:?}"));
        self.judge_target(list, findings);
        judge_control(&name, list, findings);
        judge_parts(&name, list, findings);
        self.judge_window(list, findings);
        findings.hold(83, !list.has_playlist_type, || format!("{name}: EXT-X-PLAYLIST-TYPE"));
        findings
            .hold(85, list.part_hints.len() <= 1, || format!("{name}: {} part hints", list.part_hints.len()));
        findings.hold(48, list.map.is_some(), || format!("{name}: no EXT-X-MAP"));
        if list.segments.iter().any(|segment| segment.duration.is_some()) {
            let dated = list.segments.iter().any(|segment| segment.date_time.is_some());
            findings.hold(37, dated, || format!("{name}: no EXT-X-PROGRAM-DATE-TIME"));
            findings.hold(52, list.independent_segments, || format!("{name}: no EXT-X-INDEPENDENT-SEGMENTS"));
        }
    }

    fn judge_target(&mut self, list: &MediaPlaylist, findings: &mut Findings) {
        let name = &self.name;
        let Some(target) = list.target_duration else {
            findings.hold(2, false, || format!("{name}: no whole EXT-X-TARGETDURATION"));
            return;
        };
        let first = *self.target_duration.get_or_insert(target);
        findings.hold(2, (first - target).abs() < EPSILON, || {
            format!("{name}: changed from {first} to {target}")
        });
        for (msn, segment) in list.numbered() {
            let sound = segment.duration.is_some_and(|d| (d + 0.5).floor() <= target);
            findings
                .hold(2, sound, || format!("{name} {msn}: EXTINF {:?} against {target}", segment.duration));
        }
    }

    fn judge_window(&mut self, list: &MediaPlaylist, findings: &mut Findings) {
        let name = &self.name;
        for (msn, segment) in list.numbered() {
            if let Some(uri) = &segment.uri {
                let kept = self.uris.entry(msn).or_insert_with(|| uri.clone());
                findings.hold(3, kept == uri, || format!("{name} {msn}: was {kept}, now {uri}"));
            }
            if let Some(at) = segment.date_time {
                self.date_times.insert(msn, at);
            }
            if segment.discontinuity {
                self.discontinuities.insert(msn);
            }
        }
        let now = (list.media_sequence, list.next_msn());
        if let Some(before) = self.latest {
            let forward = now.0 >= before.0 && now.1 >= before.1;
            findings.hold(3, forward, || format!("{name}: went back from {before:?} to {now:?}"));
            // A segment that was listed is either still listed under its number or removed at the front.
            let contiguous = now.0 <= before.1;
            findings.hold(3, contiguous, || format!("{name}: {now:?} leaves a hole after {before:?}"));
        }
        self.latest = Some(now);
        let first = *self.first_media_sequence.get_or_insert(list.media_sequence);
        // A young stream is short by nature: the rule is about removing.
        if let Some(target) = list.target_duration
            && list.skipped == 0
            && list.media_sequence > first
        {
            let listed = list.duration();
            findings.hold(79, listed >= 3.0 * target - 0.05, || format!("{name}: {listed:.2} s are listed"));
        }
    }
}

fn judge_control(name: &str, list: &MediaPlaylist, findings: &mut Findings) {
    let control = &list.server_control;
    let has_parts = list.parts().next().is_some();
    findings.hold(4, list.part_target.is_some() == has_parts, || {
        format!("{name}: PART-TARGET {:?}, parts listed: {has_parts}", list.part_target)
    });
    if let Some(part_target) = list.part_target {
        let hold_back = control.number("PART-HOLD-BACK").unwrap_or(0.0);
        let says = || format!("{name}: PART-HOLD-BACK {hold_back}, PART-TARGET {part_target}");
        findings.hold(5, hold_back >= 2.0 * part_target - EPSILON, says);
        findings.hold(6, hold_back >= 3.0 * part_target - EPSILON, says);
    }
    let target = list.target_duration.unwrap_or(0.0);
    for (rule, attribute, factor) in [(7, "HOLD-BACK", 3.0), (8, "CAN-SKIP-UNTIL", 6.0)] {
        if let Some(value) = control.number(attribute) {
            findings
                .hold(rule, value >= factor * target - EPSILON, || format!("{name}: {attribute} {value}"));
        }
    }
    findings.hold(9, control.yes("CAN-BLOCK-RELOAD"), || name.to_owned());
    let needed = if list.skipped > 0 { 9 } else { 6 };
    findings
        .hold(56, list.version >= needed, || format!("{name}: {} where {needed} is needed", list.version));
}

fn judge_parts(name: &str, list: &MediaPlaylist, findings: &mut Findings) {
    let part_target = list.part_target.unwrap_or(0.0);
    let parts: Vec<_> = list.parts().collect();
    for (index, placed) in parts.iter().enumerate() {
        let (part, at) = (placed.part, placed.at);
        let says = || format!("{name} {}.{}: {} against {part_target}", at.msn, at.part, part.duration);
        findings.hold(10, part.duration <= part_target + EPSILON, says);
        let Some(next) = parts.get(index + 1) else { continue };
        if !(placed.closes_segment || part.independent || part.gap || next.part.gap) {
            findings.hold(11, part.duration >= 0.85 * part_target - EPSILON, says);
        }
    }
    let target = list.target_duration.unwrap_or(0.0);
    let mut behind = list.open_duration();
    for (msn, segment) in list.numbered().collect::<Vec<_>>().into_iter().rev() {
        if !segment.parts.is_empty() {
            // A segment keeps its parts until all of it is beyond the bound.
            let near = behind <= 4.0 * target + 0.05;
            findings.hold(42, near, || format!("{name} {msn}: parts are listed {behind:.1} s from the end"));
        }
        behind += segment.duration.unwrap_or(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llhls::rule::Level;

    const HEAD: &str = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n#EXT-X-PART-INF:PART-TARGET=0.5\n\
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5,HOLD-BACK=6,CAN-SKIP-UNTIL=12\n\
        #EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-MAP:URI=\"init.mp4\"\n";
    const BODY: &str = "#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:04:05.500Z\n\
        #EXTINF:2.0,\n7.m4s\n#EXTINF:2.0,\n8.m4s\n\
        #EXT-X-PART:DURATION=0.5,URI=\"9.0\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.5,URI=\"9.1\"\n\
        #EXT-X-PART:DURATION=0.5,URI=\"9.2\"\n#EXT-X-PART:DURATION=0.4,URI=\"9.3\"\n#EXTINF:1.9,\n9.m4s\n\
        #EXT-X-PART:DURATION=0.5,URI=\"10.0\",INDEPENDENT=YES\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"10.1\"\n";
    const TYPE: &str = "application/vnd.apple.mpegurl";

    fn parse(text: &str) -> MediaPlaylist {
        MediaPlaylist::parse(text, &Url::parse("http://h/live/x/v/index.m3u8").unwrap())
    }

    fn judged(texts: &[String]) -> Findings {
        let (mut history, mut findings) = (History::new("v"), Findings::default());
        for text in texts {
            history.judge(&parse(text), Some(TYPE), &mut findings);
        }
        findings
    }

    #[test]
    fn a_sound_playlist_breaks_nothing() {
        let whole = format!("{HEAD}{BODY}");
        let findings = judged(&[whole.clone(), whole]);
        assert!(
            findings.broken(Level::Must).is_empty() && findings.broken(Level::Should).is_empty(),
            "{findings}"
        );
    }

    #[test]
    fn each_fault_is_named() {
        for (from, to, rule) in [
            ("#EXTM3U", "#EXTM3", 1),
            ("#EXT-X-TARGETDURATION:2\n", "", 2),
            ("#EXTINF:1.9", "#EXTINF:2.6", 2),
            ("#EXT-X-PART-INF:PART-TARGET=0.5\n", "", 4),
            ("PART-HOLD-BACK=1.5", "PART-HOLD-BACK=0.9", 5),
            ("PART-HOLD-BACK=1.5", "PART-HOLD-BACK=1.2", 6),
            (",HOLD-BACK=6", ",HOLD-BACK=5", 7),
            ("CAN-SKIP-UNTIL=12", "CAN-SKIP-UNTIL=11", 8),
            ("CAN-BLOCK-RELOAD=YES,", "", 9),
            ("DURATION=0.5,URI=\"9.1\"", "DURATION=0.501,URI=\"9.1\"", 10),
            ("DURATION=0.5,URI=\"9.1\"", "DURATION=0.4,URI=\"9.1\"", 11),
            ("#EXT-X-PROGRAM-DATE-TIME", "#EXT-X-DATE", 37),
            ("#EXT-X-MAP", "#EXT-X-MAPS", 48),
            ("#EXT-X-INDEPENDENT-SEGMENTS\n", "", 52),
            ("#EXT-X-VERSION:9", "#EXT-X-VERSION:5", 56),
            ("#EXT-X-MEDIA-SEQUENCE", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-MEDIA-SEQUENCE", 83),
            ("#EXT-X-PRELOAD-HINT", "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"x\"\n#EXT-X-PRELOAD-HINT", 85),
        ] {
            let whole = format!("{HEAD}{BODY}");
            assert!(whole.contains(from), "{from}");
            let findings = judged(&[whole.replacen(from, to, 1)]);
            assert!(findings.is_broken(rule), "{from} -> {to}: R{rule} was not found\n{findings}");
        }
    }

    #[test]
    fn a_missing_content_type_is_named() {
        let (mut history, mut findings) = (History::new("v"), Findings::default());
        history.judge(&parse(&format!("{HEAD}{BODY}")), Some("text/plain"), &mut findings);
        assert!(findings.is_broken(1));
    }

    #[test]
    fn faults_against_what_was_listed_before_are_named() {
        let whole = format!("{HEAD}{BODY}");
        let of = |from: &str, to: &str| judged(&[whole.clone(), whole.replacen(from, to, 1)]);
        assert!(of("TARGETDURATION:2", "TARGETDURATION:3").is_broken(2));
        assert!(of("SEQUENCE:7", "SEQUENCE:6").is_broken(3), "went back");
        assert!(of("8.m4s", "other.m4s").is_broken(3), "another URI under one number");
        assert!(of("SEQUENCE:7", "SEQUENCE:70").is_broken(3), "a hole");
        let short = whole.replacen("SEQUENCE:7", "SEQUENCE:8", 1).replacen("#EXTINF:2.0,\n7.m4s\n", "", 1);
        assert!(judged(&[whole.clone(), short]).is_broken(79), "4.4 s are left");
    }

    #[test]
    fn parts_kept_too_long_are_named() {
        let part = "#EXT-X-PART:DURATION=0.5,URI=\"7.0\",INDEPENDENT=YES\n";
        let far = "#EXTINF:2.0,\nfar.m4s\n".repeat(4);
        let text = format!("{HEAD}{part}{}", BODY.replacen("8.m4s\n", &format!("8.m4s\n{far}"), 1));
        assert!(judged(&[text]).is_broken(42));
    }
}
