//! The rules between renditions, and between the multivariant playlist and what is really there.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use url::Url;

use super::{
    findings::Findings,
    follow::Followed,
    init::Track,
    media_playlist::Position,
    multivariant::{Multivariant, Variant},
};

/// Seconds by which clocks of one stream may differ.
const CLOCK_TOLERANCE: f64 = 0.05;

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Judges all renditions together; `end` is when following ended.
pub(super) fn judge(list: &Multivariant, all: &[Followed], end: Instant, findings: &mut Findings) {
    let live: Vec<&Followed> =
        all.iter().filter(|f| f.media.as_ref().is_some_and(|media| !media.segments.is_empty())).collect();
    findings.hold(55, !live.is_empty(), || "no rendition could be followed".into());
    for followed in &live {
        let (name, others) = (&followed.name, all.len() - 1);
        let count = followed.report_count;
        findings.hold(21, count >= others, || format!("{name}: {count} reports, {others} other renditions"));
        judge_pace(followed, findings);
        judge_reports(followed, all, end, findings);
    }
    judge_sameness(&live, findings);
    judge_discontinuities(&live, findings);
    judge_clocks(&live, findings);
    for variant in &list.variants {
        judge_variant(list, variant, &live, findings);
    }
}

/// R76, R77: how evenly news came.
fn judge_pace(followed: &Followed, findings: &mut Findings) {
    let name = &followed.name;
    let gaps: Vec<f64> = followed
        .progress
        .windows(2)
        .filter(|pair| pair[0].1 != pair[1].1)
        .map(|pair| (pair[1].0 - pair[0].0).as_secs_f64())
        .collect();
    if let (true, Some(target), Some(middle)) = (gaps.len() > 4, followed.playlist.part_target, median(gaps))
    {
        let bound = target + (target * 0.5).max(0.25);
        findings.hold(76, middle <= bound, || format!("{name}: {middle:.3} s between parts of {target} s"));
    }
    let mut firsts: BTreeMap<u64, Instant> = BTreeMap::new();
    for (at, position) in &followed.progress {
        firsts.entry(position.msn).or_insert(*at);
    }
    let firsts: Vec<Instant> = firsts.into_values().skip(1).collect();
    let longest = firsts.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).fold(0.0, f64::max);
    if firsts.len() > 1 {
        let bound = 1.5 * followed.playlist.target_duration.unwrap_or(0.0) + 0.25;
        findings.hold(77, longest <= bound, || format!("{name}: {longest:.2} s between segments"));
    }
}

/// R20: a report is compared with where its rendition was seen to be, a little before and a little after.
fn judge_reports(followed: &Followed, all: &[Followed], end: Instant, findings: &mut Findings) {
    let tolerance =
        Duration::from_secs_f64(followed.playlist.part_target.map_or(1.0, |t| (2.5 * t).max(1.0)));
    for (at, report) in &followed.reports {
        let Some(other) = all.iter().find(|other| other.url == report.uri) else { continue };
        let (name, theirs) = (&followed.name, &other.name);
        let seen_by = |when: Instant| {
            other.progress.iter().rev().find(|(t, _)| *t <= when).map(|(_, position)| *position)
        };
        if let Some(before) = at.checked_sub(tolerance).and_then(seen_by) {
            findings.hold(20, report.last >= before, || {
                format!("{name}: says {theirs} is at {:?}, it was at {before:?} already", report.last)
            });
        }
        if *at + tolerance < end
            && let Some(after) = seen_by(*at + tolerance)
        {
            let bound = Position { msn: after.msn + 1, part: i64::from(u32::MAX) };
            findings.hold(20, report.last <= bound, || {
                format!("{name}: says {theirs} is at {:?}, it was only at {after:?}", report.last)
            });
        }
    }
}

fn judge_sameness(live: &[&Followed], findings: &mut Findings) {
    let Some((first, rest)) = live.split_first() else { return };
    for other in rest {
        let (a, b) = (first.playlist.target_duration, other.playlist.target_duration);
        findings.hold(74, a == b, || format!("{} {a:?}, {} {b:?}", first.name, other.name));
        let (a, b) = (&first.playlist.server_control, &other.playlist.server_control);
        findings.hold(75, a == b, || format!("{} {a:?}, {} {b:?}", first.name, other.name));
    }
}

/// R57: what one rendition was seen to break, the others break too, as far as the same segments were listed.
fn judge_discontinuities(live: &[&Followed], findings: &mut Findings) {
    let Some((first, rest)) = live.split_first() else { return };
    for other in rest {
        let listed = |followed: &Followed, msn: &u64| followed.history.date_times.contains_key(msn);
        let both = |msn: &&u64| listed(first, msn) && listed(other, msn);
        let [ours, theirs] =
            [first, other].map(|it| it.history.discontinuities.iter().filter(both).collect::<BTreeSet<_>>());
        findings.hold(57, ours == theirs, || {
            format!("discontinuities: {} {ours:?}, {} {theirs:?}", first.name, other.name)
        });
    }
}

/// `PROGRAM-DATE-TIME` minus decode time, by segment.
fn clock_offsets(followed: &Followed) -> BTreeMap<u64, f64> {
    let Some(media) = &followed.media else { return BTreeMap::new() };
    let starts =
        media.segments.iter().filter_map(|(msn, fetched)| Some((*msn, fetched.samples.first()?.decode_time)));
    starts
        .filter_map(|(msn, start)| {
            Some((msn, followed.history.date_times.get(&msn)? - media.init_of(msn).seconds(start)))
        })
        .collect()
}

/// R38 to R40, R54: one clock in all renditions.
fn judge_clocks(live: &[&Followed], findings: &mut Findings) {
    for followed in live {
        let offsets = clock_offsets(followed);
        let (low, high) = offsets
            .values()
            .fold((f64::MAX, f64::MIN), |(low, high), offset| (low.min(*offset), high.max(*offset)));
        if offsets.len() > 1 {
            findings.hold(38, high - low <= CLOCK_TOLERANCE, || {
                format!("{}: moved {:.0} ms in {} segments", followed.name, (high - low) * 1e3, offsets.len())
            });
        }
    }
    let is_video =
        |f: &&&Followed| f.media.as_ref().is_some_and(|media| media.init.track == Some(Track::Video));
    let Some(reference) = live.iter().find(is_video).or_else(|| live.first()) else { return };
    for followed in live.iter().filter(|followed| followed.url != reference.url) {
        judge_against(reference, followed, findings);
    }
}

fn judge_against(reference: &Followed, followed: &Followed, findings: &mut Findings) {
    let (Some(theirs), Some(media)) = (&reference.media, &followed.media) else { return };
    let (name, to) = (&followed.name, &reference.name);
    let (ours, others) = (clock_offsets(followed), clock_offsets(reference));
    let shared: BTreeSet<u64> = ours.keys().filter(|msn| others.contains_key(msn)).copied().collect();
    for msn in shared {
        let apart = (ours[&msn] - others[&msn]).abs();
        findings
            .hold(39, apart <= CLOCK_TOLERANCE, || format!("{name} {msn}: {:.0} ms from {to}", apart * 1e3));
    }
    let frame = media
        .segments
        .values()
        .find_map(|f| f.samples.first())
        .map_or(0.0, |sample| media.init.seconds(u64::from(sample.duration)));
    let is_audio = media.init.track == Some(Track::Audio);
    for (msn, fetched) in &media.segments {
        let Some(first) = fetched.samples.first() else { continue };
        let Some(other) = theirs.segments.get(msn).and_then(|fetched| fetched.samples.first()) else {
            continue;
        };
        let ours = media.init_of(*msn).seconds(first.decode_time);
        let apart = ours - theirs.init_of(*msn).seconds(other.decode_time);
        let tolerance = if is_audio { frame + 0.001 } else { 0.002 };
        let says = || format!("{name} {msn}: begins {:+.1} ms from {to}", apart * 1e3);
        findings.hold(40, apart.abs() <= tolerance, says);
        if is_audio {
            findings.hold(54, apart.abs() <= frame + 0.02, says);
        }
    }
}

/// R43 to R47: what the multivariant playlist promises of a variant.
fn judge_variant(list: &Multivariant, variant: &Variant, live: &[&Followed], findings: &mut Findings) {
    let of = |url: &Url| live.iter().find(|followed| followed.url == *url).and_then(|f| f.media.as_ref());
    let Some(media) = of(&variant.uri) else { return };
    let (a, name) = (&variant.attributes, variant.uri.path());
    let audio: Vec<_> = list.audio_of(variant).into_iter().filter_map(of).collect();
    let rates = media.bit_rates().unwrap_or_default();
    let audio_rates = audio.iter().filter_map(|media| media.bit_rates());
    let loudest = audio_rates.fold((0.0_f64, 0.0_f64), |max, rate| (max.0.max(rate.0), max.1.max(rate.1)));
    let (peak, mean) = (rates.0 + loudest.0, rates.1 + loudest.1);
    if let Some(said) = a.number("BANDWIDTH") {
        findings.hold(43, said >= peak, || format!("{name}: BANDWIDTH {said}, peak {peak:.0}"));
    }
    if let Some(said) = a.number("AVERAGE-BANDWIDTH") {
        findings.hold(44, said * 1.1 >= mean, || format!("{name}: AVERAGE-BANDWIDTH {said}, mean {mean:.0}"));
    }
    if let Some(said) = a.get("CODECS") {
        for real in std::iter::once(media).chain(audio).map(|media| &media.init.codec) {
            let there = said.split(',').any(|codec| {
                let codec = codec.trim();
                // Where only the sample entry's name is known, it is that which is compared.
                codec.eq_ignore_ascii_case(real) || (!real.contains('.') && codec.starts_with(real.as_str()))
            });
            findings.hold(45, there, || format!("{name}: CODECS {said} lacks {real}"));
        }
    }
    if media.init.track == Some(Track::Video) {
        if let Some(said) = a.get("RESOLUTION") {
            let real = format!("{}x{}", media.init.width, media.init.height);
            findings.hold(46, said == real, || format!("{name}: RESOLUTION {said}, init {real}"));
        }
        if let Some(said) = a.number("FRAME-RATE") {
            let samples = media.unchanged().flat_map(|fetched| &fetched.samples);
            let (count, ticks) = samples.fold((0_u64, 0_u64), |(n, t), s| (n + 1, t + u64::from(s.duration)));
            let real = count as f64 / media.init.seconds(ticks.max(1));
            findings.hold(47, (said - real).abs() < 0.05, || {
                format!("{name}: FRAME-RATE {said}, media {real:.3}")
            });
        }
    }
}
