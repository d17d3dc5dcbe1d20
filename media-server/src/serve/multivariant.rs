//! The multivariant playlist of a stream: every rung of pictures, with a group of sounds of each codec.
//!
//! Not with every group: players that change from rung to rung would change from sound to sound with each of them, which
//! hls.js does not do without being heard. The as-sent sound goes with the picture as it is sent; others go with the best
//! sound of a codec that takes no more than a fourth of what the picture takes.

use media::playlist::{self, AudioRendition, Variant};
use media::{AudioFormat, Format, VideoFormat};

use crate::live::{Rendition, Snapshot};

/// The group of the sounds as they are sent.
const AS_SENT: &str = "audio";
/// A picture takes that many times what its sound takes, at the least, if there is such a sound.
const SHARE: u64 = 4;

/// Sounds of which a player takes one, all of one kind.
struct Group<'a> {
    name: &'a str,
    sounds: &'a [Rendition],
    /// A player that changes from one sound to another stays within what was announced: the most of any.
    peak: u64,
    average: u64,
    /// What its sounds are meant to take. Not what they took so far, which is little while nobody speaks: which pictures it goes
    /// with must not change with that.
    meant: u64,
    codecs: Vec<String>,
}

impl<'a> Group<'a> {
    fn new(name: &'a str, sounds: &'a [Rendition]) -> Self {
        let rates = || sounds.iter().map(rates);
        let peak = rates().map(|(peak, _)| peak).max().unwrap_or(0);
        let average = rates().map(|(_, average)| average).max().unwrap_or(0);
        let mut codecs: Vec<String> = sounds.iter().map(|sound| sound.format.codec().to_owned()).collect();
        codecs.sort();
        codecs.dedup();
        let meant = sounds.iter().map(meant).max().unwrap_or(0);
        Self { name, sounds, peak, average, meant, codecs }
    }

    fn renditions(&self) -> impl Iterator<Item = AudioRendition> {
        (0..self.sounds.len()).filter_map(|index| sound(self.name, index, self.sounds))
    }
}

/// Every rung of pictures with its sounds; or sounds alone.
pub(super) fn multivariant(snapshot: &Snapshot) -> String {
    let whole = snapshot.sound_groups.iter().filter(|group| group.whole);
    let groups: Vec<_> = std::iter::once(Group::new(AS_SENT, &snapshot.audio))
        .chain(whole.map(|group| Group::new(&group.name, &group.sounds)))
        .filter(|group| !group.sounds.is_empty())
        .collect();
    let mut variants = Vec::new();
    for rung in &snapshot.video {
        let mut codecs: Vec<&[String]> = Vec::new();
        for group in &groups {
            if codecs.contains(&&group.codecs[..]) {
                continue;
            }
            codecs.push(&group.codecs);
            variants.extend(picture(rung, fitting(rung, &group.codecs, &groups)));
        }
        variants.extend(groups.is_empty().then(|| picture(rung, None)).flatten());
    }
    if variants.is_empty() {
        return sounds_alone(&groups, snapshot.independent);
    }
    let listed: Vec<_> = groups.iter().flat_map(Group::renditions).collect();
    playlist::multivariant(&variants, &listed, snapshot.independent)
}

/// The group of these codecs that goes with a rung. There is one.
fn fitting<'a, 'b>(rung: &Rendition, codecs: &[String], groups: &'a [Group<'b>]) -> Option<&'a Group<'b>> {
    let alike = || groups.iter().filter(|group| group.codecs == codecs);
    if rung.passthrough {
        return alike().next();
    }
    let (_, average) = rates(rung);
    let fits = |group: &&Group<'_>| group.meant.saturating_mul(SHARE) <= average;
    let best = alike().filter(fits).max_by_key(|group| group.meant);
    best.or_else(|| alike().min_by_key(|group| group.meant))
}

fn picture(rung: &Rendition, group: Option<&Group<'_>>) -> Option<Variant> {
    let Format::Video(format) = &rung.format else { return None };
    let (peak, average) = rates(rung);
    let sounds = group.map_or(&[][..], |group| &group.codecs);
    Some(Variant {
        uri: format!("{}/index.m3u8", rung.name),
        bandwidth: peak + group.map_or(0, |group| group.peak),
        average: average + group.map_or(0, |group| group.average),
        codecs: std::iter::once(&format.codec).chain(sounds).cloned().collect(),
        resolution: Some((format.width, format.height)),
        frame_rate: frame_rate(rung, format),
        audio_group: group.map(|group| group.name.to_owned()),
    })
}

/// One sound needs no group; several are chosen from.
fn sounds_alone(groups: &[Group<'_>], independent: bool) -> String {
    let several = |group: &&Group<'_>| group.sounds.len() > 1;
    let variants: Vec<_> = groups
        .iter()
        .filter_map(|group| {
            Some(Variant {
                uri: format!("{}/index.m3u8", group.sounds.first()?.name),
                bandwidth: group.peak,
                average: group.average,
                codecs: group.codecs.clone(),
                resolution: None,
                frame_rate: None,
                audio_group: Some(group).filter(several).map(|group| group.name.to_owned()),
            })
        })
        .collect();
    let listed: Vec<_> = groups.iter().filter(several).flat_map(Group::renditions).collect();
    playlist::multivariant(&variants, &listed, independent)
}

/// A sound of a group; the first is played unless the viewer says otherwise. No two of a group have one name.
fn sound(group: &str, index: usize, sounds: &[Rendition]) -> Option<AudioRendition> {
    let rendition = sounds.get(index)?;
    let channels = match &rendition.format {
        Format::Audio(audio) => audio.channels,
        Format::Video(_) => 2,
    };
    let before = sounds.iter().take(index).filter(|other| other.language == rendition.language).count();
    let mut name = rendition.language.map_or("Audio", |language| language.name()).to_owned();
    if before > 0 {
        name = format!("{name} {}", before + 1);
    }
    Some(AudioRendition {
        group: group.to_owned(),
        name,
        language: rendition.language.map(|language| language.tag().to_owned()),
        channels: Some(channels),
        default: index == 0,
        uri: format!("{}/index.m3u8", rendition.name),
    })
}

/// Peak and average bits a second to announce: what was measured, and before there is enough of it what was asked
/// for, with headroom (a rate-controlled encoder may overshoot within its buffer); where neither is known, what is usual.
fn rates(rendition: &Rendition) -> (u64, u64) {
    let measured = rendition.view().playlist.bandwidth();
    let (peak, average) = measured.unwrap_or_default();
    let declared = match u64::from(rendition.declared_bitrate) {
        0 if measured.is_none() => match &rendition.format {
            Format::Video(format) => supposed(format),
            Format::Audio(format) => supposed_of_sound(format),
        },
        declared => declared,
    };
    let floor = 64_000;
    let peak = (peak + peak / 10).max(declared + declared / 2).max(floor);
    (peak, average.max(declared).clamp(floor.min(peak), peak))
}

/// Bits a second that live encoders commonly spend on such a picture: a seventh of a bit a pixel.
fn supposed(format: &VideoFormat) -> u64 {
    let (num, den) = format.frame_rate.unwrap_or((30, 1));
    let pictures = u64::from(num / den.max(1)).clamp(1, 120);
    u64::from(format.width) * u64::from(format.height) * pictures / 7
}

/// Bits a second that were asked for, or that are usual.
fn meant(sound: &Rendition) -> u64 {
    match (u64::from(sound.declared_bitrate), &sound.format) {
        (0, Format::Audio(format)) => supposed_of_sound(format),
        (declared, _) => declared,
    }
}

/// Bits a second that live encoders commonly spend on such a sound, and seldom exceed by half.
fn supposed_of_sound(format: &AudioFormat) -> u64 {
    96_000 * u64::from(format.channels.clamp(1, 8))
}

/// What the media shows where it has been measured, else what the format says.
fn frame_rate(rendition: &Rendition, format: &VideoFormat) -> Option<f64> {
    let told = format.frame_rate.map(|(num, den)| f64::from(num) / f64::from(den.max(1)));
    rendition.view().playlist.frame_rate().or(told)
}
