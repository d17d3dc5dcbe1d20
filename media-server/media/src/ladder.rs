//! From a source and an operator's wishes to the rungs that are made: never upscaled, aspect kept, even sizes, frame
//! rates that are whole fractions of the source's.
//!
//! What it is not: a choice of encoder or a check of the machine's ability.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod decimator;

pub use decimator::Decimator;

use crate::h264;
use crate::intake::VideoCodec;
use crate::unit::VideoFormat;

/// The smallest side of a rung, in pixels: encoders refuse less.
pub const SMALLEST: u32 = 16;

/// The name of the rung that stands for a source that cannot be passed through, or that some players do not take.
pub const FULL: &str = "full";

/// What a rung is encoded as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RungCodec {
    /// H.264, which every player decodes.
    #[default]
    H264,
}

/// The sources that a rung is made for: all bounds that are there must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct When {
    /// Lines of the source (its shorter side) at least.
    pub min_height: Option<u32>,
    /// Lines at most.
    pub max_height: Option<u32>,
    /// Frames a second at least; a source whose rate is unknown has 30.
    pub min_fps: Option<f64>,
    /// Frames a second at most.
    pub max_fps: Option<f64>,
}

impl When {
    fn holds(&self, lines: u32, fps: Option<(u32, u32)>) -> bool {
        // 29.97 is 30, and 59.94 is 60: rates are named roughly.
        let fps = fps.map_or(30.0, |(numerator, denominator)| f64::from(numerator) / f64::from(denominator))
            * 1.005;
        self.min_height.is_none_or(|least| lines >= least)
            && self.max_height.is_none_or(|most| lines <= most)
            && self.min_fps.is_none_or(|least| fps >= least)
            && self.max_fps.is_none_or(|most| fps <= most * 1.01)
    }
}

/// How a rung is encoded, where that is not what the server's settings say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tuning {
    /// x264's speed preset, or what comes near it.
    pub preset: Option<String>,
    /// A quality (x264's CRF, 0 to 51, less is better) in place of a constant bit rate, which is then the most.
    pub crf: Option<u8>,
}

/// One rung as the operator wishes it.
#[derive(Clone, Debug, PartialEq)]
pub struct RungWish {
    /// Name in playlists and addresses; unique within a profile.
    pub name: String,
    /// Lines of the picture, for portrait sources the shorter side; 0 for the source's.
    pub height: u32,
    /// Frames a second at most; `None` or 0 for the source's.
    pub fps: Option<f64>,
    /// Bits a second.
    pub video_bitrate: u32,
    /// Bits a second.
    pub audio_bitrate: u32,
    /// What it is encoded as.
    pub codec: RungCodec,
    /// For which sources.
    pub when: When,
    /// How.
    pub tuning: Tuning,
}

/// A ladder as the operator wishes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// Encoded rungs, in any order.
    pub rungs: Vec<RungWish>,
    /// Whether the source goes out as it is, as the top rung.
    pub passthrough: bool,
}

/// One rung to be encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    /// The wish's name.
    pub name: String,
    /// Pixels, even.
    pub width: u32,
    /// Pixels, even.
    pub height: u32,
    /// Frames a second as (numerator, denominator), the source's divided by `every`; `None` where the source's is
    /// unknown.
    pub fps: Option<(u32, u32)>,
    /// Every how many source frames one is kept: 1 keeps all ([`Decimator`]).
    pub every: u32,
    /// Bits a second.
    pub video_bitrate: u32,
    /// Bits a second.
    pub audio_bitrate: u32,
    /// What it is encoded as.
    pub codec: RungCodec,
    /// How.
    pub tuning: Tuning,
}

/// Why a wish is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// Its condition does not hold for the source.
    #[error("the source is not one that it is made for (`when`)")]
    Unwanted,
    /// It would be larger than the source.
    #[error("larger than the source: rungs are never scaled up")]
    Upscaled,
    /// It has the source's size, which the pass-through rung already has.
    #[error("of the source's size, which the pass-through rung already has")]
    SameAsSource,
    /// Another wish gives the same size and frame rate with more bits.
    #[error("the same size and frame rate as another rung that has more bits")]
    Duplicate,
    /// The name is taken by another wish.
    #[error("its name is taken by another rung")]
    NameTaken,
}

/// What is made of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ladder {
    /// Encoded rungs, the largest first. Empty: no worker is needed.
    pub rungs: Vec<Rung>,
    /// Whether the source goes out as it is.
    pub passthrough: bool,
    /// Wishes that are not made, with the reason.
    pub dropped: Vec<(String, Dropped)>,
}

/// Why a profile cannot be used. Found before a stream needs it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Neither rungs nor pass-through.
    #[error("the ladder has no rung: add one, or set passthrough = true")]
    Empty,
    /// Two rungs of one name.
    #[error("two rungs are named {0:?}: give each a name of its own")]
    DuplicateName(String),
    /// A name that cannot be part of an address.
    #[error("rung name {0:?} cannot be part of an address: use 1 to 32 of a-z, A-Z, 0-9, - and _")]
    Name(String),
    /// A number out of its range.
    #[error("rung {name:?}: {field} is {value}, expected {expected}")]
    OutOfRange {
        /// The rung.
        name: String,
        /// The field at fault.
        field: &'static str,
        /// What it is.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
}

impl Profile {
    /// Checks names and numbers.
    pub fn validate(&self) -> Result<(), ProfileError> {
        if self.rungs.is_empty() && !self.passthrough {
            return Err(ProfileError::Empty);
        }
        for (index, wish) in self.rungs.iter().enumerate() {
            wish.validate()?;
            if self.rungs.iter().take(index).any(|before| before.name == wish.name) {
                return Err(ProfileError::DuplicateName(wish.name.clone()));
            }
        }
        Ok(())
    }
}

impl RungWish {
    fn validate(&self) -> Result<(), ProfileError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.name.is_empty() || self.name.len() > 32 || !self.name.chars().all(plain) {
            return Err(ProfileError::Name(self.name.clone()));
        }
        let wrong = |field, value: String, expected| ProfileError::OutOfRange {
            name: self.name.clone(),
            field,
            value,
            expected,
        };
        if self.height != 0 && !(64..=8640).contains(&self.height) {
            return Err(wrong("height", self.height.to_string(), "64 to 8640, or 0 for the source's"));
        }
        if let Some(fps) = self.fps.filter(|fps| *fps != 0.0 && !(1.0..=240.0).contains(fps)) {
            return Err(wrong("fps", fps.to_string(), "1 to 240, or 0 for the source's"));
        }
        if !(50_000..=200_000_000).contains(&self.video_bitrate) {
            let expected = "50000 to 200000000 bits a second";
            return Err(wrong("video_bitrate", self.video_bitrate.to_string(), expected));
        }
        if !(16_000..=640_000).contains(&self.audio_bitrate) {
            let expected = "16000 to 640000 bits a second";
            return Err(wrong("audio_bitrate", self.audio_bitrate.to_string(), expected));
        }
        Ok(())
    }
}

/// Makes a ladder for a source. `fps` is the measured frame rate, which wins over the format's.
///
/// With pass-through, rungs lie strictly below the source. Without, a rung of the source's size is kept, and if no
/// wish is small enough, the lowest is made at the source's size: a stream always has a rung. A source whose codec no
/// player takes is never passed through; in place of that there is a rung of its size, [`FULL`].
pub fn plan(source: &VideoFormat, fps: Option<(u32, u32)>, profile: &Profile) -> Ladder {
    let fps = fps.or(source.frame_rate).filter(|(numerator, denominator)| *numerator > 0 && *denominator > 0);
    let played = VideoCodec::of(&source.codec).is_none_or(VideoCodec::is_played);
    let passthrough = profile.passthrough && played;
    let mut ladder = Ladder { passthrough, ..Ladder::default() };
    let mut wishes: Vec<&RungWish> = Vec::with_capacity(profile.rungs.len());
    let shape = shape(source);
    let short = shape.0.min(shape.1);
    for wish in &profile.rungs {
        if !wish.when.holds(short, fps) {
            ladder.dropped.push((wish.name.clone(), Dropped::Unwanted));
        } else if wishes.iter().any(|taken| taken.name == wish.name) {
            ladder.dropped.push((wish.name.clone(), Dropped::NameTaken));
        } else {
            wishes.push(wish);
        }
    }
    let lines = |wish: &RungWish| if wish.height == 0 { short } else { wish.height };
    for wish in &wishes {
        let reason = match lines(wish).cmp(&short) {
            std::cmp::Ordering::Greater => Dropped::Upscaled,
            std::cmp::Ordering::Equal if passthrough => Dropped::SameAsSource,
            _ => {
                ladder.rungs.push(rung(shape, fps, wish, lines(wish)));
                continue;
            }
        };
        ladder.dropped.push((wish.name.clone(), reason));
    }
    if profile.passthrough && !played && !wishes.iter().any(|wish| lines(wish) == short) {
        ladder.rungs.push(rung(shape, fps, &full(source), short));
    }
    let lowest = wishes.iter().min_by_key(|wish| (lines(wish), wish.video_bitrate));
    if let Some(lowest) = lowest.filter(|_| ladder.rungs.is_empty() && !passthrough) {
        ladder.dropped.retain(|(name, _)| *name != lowest.name);
        ladder.rungs.push(rung(shape, fps, lowest, short));
    }
    // Conditions may leave nothing over: a stream always has a rung.
    if ladder.rungs.is_empty() && !passthrough && !profile.rungs.is_empty() {
        ladder.rungs.push(rung(shape, fps, &full(source), short));
    }
    ladder.rungs.sort_by_key(|rung| std::cmp::Reverse((pixels(rung), rung.video_bitrate)));
    drop_duplicates(&mut ladder);
    ladder
}

/// The rung [`FULL`] of a source: of its size and rate.
pub fn like(source: &VideoFormat) -> Rung {
    let fps = source.frame_rate.filter(|(numerator, denominator)| *numerator > 0 && *denominator > 0);
    let shape = shape(source);
    rung(shape, fps, &full(source), shape.0.min(shape.1))
}

/// The size of a picture of a source that has so many lines at most.
pub fn fit(source: &VideoFormat, lines: u32) -> (u32, u32) {
    let shape = shape(source);
    size(shape, lines.min(shape.0.min(shape.1)))
}

/// How wide and high a source is shown: its lines, and as many square pixels as its own make (ITU-T H.264 E.2.1), where it
/// is H.264 that says so.
fn shape(source: &VideoFormat) -> (u32, u32) {
    let told = source.codec.starts_with("avc").then(|| h264::Config::parse(&source.config).ok()?.sps().ok());
    let (wide, high) = told.flatten().and_then(|sps| sps.sample_aspect).unwrap_or((1, 1));
    let width = u64::from(source.width).saturating_mul(u64::from(wide)).checked_div(high.into()).unwrap_or(0);
    // An aspect beyond reason is none.
    let sane = wide <= high.saturating_mul(4) && high <= wide.saturating_mul(4) && width > 0;
    let width = u32::try_from(width).unwrap_or(source.width);
    (if sane { width } else { source.width }, source.height)
}

/// What stands for a source that cannot be passed through.
fn full(source: &VideoFormat) -> RungWish {
    let pixels = u64::from(source.width).saturating_mul(u64::from(source.height));
    RungWish {
        name: FULL.to_owned(),
        height: 0,
        fps: None,
        video_bitrate: u32::try_from(pixels.saturating_mul(3)).unwrap_or(u32::MAX).clamp(800_000, 8_000_000),
        audio_bitrate: 128_000,
        codec: RungCodec::default(),
        when: When::default(),
        tuning: Tuning::default(),
    }
}

fn pixels(rung: &Rung) -> u64 {
    u64::from(rung.width).saturating_mul(u64::from(rung.height))
}

/// Two rungs of one size and rate are kept only where their bits differ by a quarter or more: otherwise a player
/// has nothing to choose. `ladder.rungs` is sorted, more bits first.
fn drop_duplicates(ladder: &mut Ladder) {
    let mut kept: Vec<Rung> = Vec::with_capacity(ladder.rungs.len());
    for rung in ladder.rungs.drain(..) {
        let same = |other: &Rung| {
            (other.width, other.height, other.every) == (rung.width, rung.height, rung.every)
                && u64::from(rung.video_bitrate).saturating_mul(5)
                    > u64::from(other.video_bitrate).saturating_mul(4)
        };
        if kept.iter().any(same) {
            ladder.dropped.push((rung.name, Dropped::Duplicate));
        } else {
            kept.push(rung);
        }
    }
    ladder.rungs = kept;
}

fn rung(shape: (u32, u32), fps: Option<(u32, u32)>, wish: &RungWish, lines: u32) -> Rung {
    let (width, height) = size(shape, lines);
    let every = every(fps, wish.fps);
    Rung {
        name: wish.name.clone(),
        width,
        height,
        fps: fps.map(|(numerator, denominator)| reduced(numerator, denominator, every)),
        every,
        video_bitrate: wish.video_bitrate,
        audio_bitrate: wish.audio_bitrate,
        codec: wish.codec,
        tuning: wish.tuning.clone(),
    }
}

/// A shape like that, with `lines` on its shorter side, both sides even and not larger than the source's (but for
/// sources below [`SMALLEST`]).
fn size((width, height): (u32, u32), lines: u32) -> (u32, u32) {
    let portrait = width < height;
    let (short, long) = (width.min(height), width.max(height));
    let even = |side: u64, limit: u32| {
        let nearest = (side.saturating_add(1) / 2).saturating_mul(2);
        let limit = u64::from(limit & !1);
        u32::try_from(nearest.min(limit)).unwrap_or(limit as u32).max(SMALLEST)
    };
    // Rounded to the nearest even number: the nearest multiple of two is twice the nearest half.
    let scaled = u64::from(lines).saturating_mul(u64::from(long));
    let twice = u64::from(short).saturating_mul(2).max(1);
    let half = scaled.saturating_add(u64::from(short)).checked_div(twice).unwrap_or(0);
    let (short, long) = (even(u64::from(lines) & !1, short), even(half.saturating_mul(2), long));
    if portrait { (short, long) } else { (long, short) }
}

/// The smallest whole number by which the source's rate must be divided to stay within the wish.
fn every(fps: Option<(u32, u32)>, wish: Option<f64>) -> u32 {
    let (Some((numerator, denominator)), Some(wish)) = (fps, wish.filter(|wish| *wish > 0.0)) else {
        return 1;
    };
    let source = f64::from(numerator) / f64::from(denominator);
    // 29.97 is within a wish of 29.9 to 30: rates are named roughly.
    let ratio = source / (wish * 1.005);
    if ratio.is_finite() { (ratio.ceil() as u32).clamp(1, 240) } else { 1 }
}

fn reduced(numerator: u32, denominator: u32, every: u32) -> (u32, u32) {
    let (mut a, mut b) = (u64::from(numerator), u64::from(denominator).saturating_mul(u64::from(every)));
    let divided = (a, b);
    while let Some(rest) = a.checked_rem(b) {
        (a, b) = (b, rest);
    }
    let lowest = |value: u64| value.checked_div(a).and_then(|v| u32::try_from(v).ok());
    match (lowest(divided.0), lowest(divided.1)) {
        (Some(numerator), Some(denominator)) => (numerator, denominator),
        _ => (numerator, denominator),
    }
}

#[cfg(test)]
mod tests;
