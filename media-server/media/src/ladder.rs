//! From a source and an operator's wishes to the rungs that are made: never upscaled, aspect kept, even sizes, frame
//! rates that are whole fractions of the source's.
//!
//! What it is not: a choice of encoder or a check of the machine's ability.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod decimator;
mod foretell;
mod shape;
mod sound;

pub use decimator::Decimator;
pub use foretell::foretell;
pub use sound::{SoundCodec, SoundWish};

use std::cmp::Ordering;

use crate::intake::VideoCodec;
use crate::unit::VideoFormat;
use shape::{Shape, reduced};

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
    /// H.265.
    Hevc,
    /// AV1.
    Av1,
}

impl RungCodec {
    /// A source that is coded so has what a rung of its size would give.
    fn is_of(self, source: &str) -> bool {
        let codec = match self {
            // Every source that is played has what an H.264 rung of its size is for, unless another codec was wished for.
            Self::H264 => return true,
            Self::Hevc => VideoCodec::H265,
            Self::Av1 => VideoCodec::Av1,
        };
        VideoCodec::of(source) == Some(codec)
    }
}

/// What encodes a rung.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encoder {
    /// What the server has chosen for its streams.
    #[default]
    Usual,
    /// Another one, by name.
    Named(String),
    /// Nothing does: no encoder that is there makes this codec.
    Nothing,
}

/// How large a rung is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Size {
    /// As the source.
    #[default]
    Source,
    /// Lines of the picture, for portrait sources its shorter side.
    Lines(u32),
    /// The picture fits into so much, its aspect kept.
    Within(u32, u32),
}

/// How many frames a second a rung has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Rate {
    /// As the source.
    #[default]
    Source,
    /// At most so many.
    Most(f64),
    /// One of so many of the source's.
    Share(u32),
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
    /// Bits a second that are never exceeded, over the buffer.
    pub max_bitrate: Option<u32>,
    /// The decoder's buffer, in milliseconds of the greatest rate.
    pub buffer_ms: Option<u32>,
    /// The codec's profile.
    pub profile: Option<String>,
    /// What the pictures are like, in the encoder's own words.
    pub tune: Option<String>,
    /// Pictures in a row that may refer to later ones.
    pub b_frames: u8,
    /// Frames that the encoder looks ahead; as many is the rung late.
    pub lookahead: u16,
}

impl Tuning {
    /// No frame waits for a later one.
    pub fn is_immediate(&self) -> bool {
        self.b_frames == 0 && self.lookahead == 0
    }
}

/// One rung as the operator wishes it.
#[derive(Clone, Debug, PartialEq)]
pub struct RungWish {
    /// Name in playlists and addresses; unique within a profile.
    pub name: String,
    /// How large it is, never larger than the source.
    pub size: Size,
    /// Frames a second.
    pub rate: Rate,
    /// Bits a second.
    pub video_bitrate: u32,
    /// Bits a second.
    pub audio_bitrate: u32,
    /// What it is encoded as.
    pub codec: RungCodec,
    /// What encodes it.
    pub encoder: Encoder,
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
    /// Rungs of sound, beside the sounds as they are sent.
    pub sounds: Vec<SoundWish>,
}

impl Profile {
    /// The source as it is, and nothing beside it.
    pub fn as_it_is() -> Self {
        Self { passthrough: true, ..Self::default() }
    }
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
    /// What encodes it, where that is not what the server has chosen.
    pub encoder: Option<String>,
    /// How.
    pub tuning: Tuning,
}

impl Rung {
    /// Bits a second that players are told of at first: its greatest rate, and more where its buffer lets bits come more
    /// than a second at a time.
    pub fn declared_bitrate(&self) -> u32 {
        let most = self.tuning.max_bitrate.unwrap_or(0).max(self.video_bitrate);
        let buffer = self.tuning.buffer_ms.unwrap_or(0).max(1000);
        // They are told of half as much again, which is the most that a second's buffer adds to two seconds.
        let declared = u64::from(most).saturating_mul(u64::from(buffer).saturating_add(2000)) / 3000;
        u32::try_from(declared).unwrap_or(u32::MAX)
    }
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
    /// Nothing encodes its codec.
    #[error(
        "no encoder of this machine makes its codec for live pictures: `media-server encoders` shows those that were tried"
    )]
    NoEncoder,
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
    let shape = Shape::of(source);
    for wish in &profile.rungs {
        if !wish.when.holds(shape.lines(), fps) {
            ladder.dropped.push((wish.name.clone(), Dropped::Unwanted));
        } else if wish.encoder == Encoder::Nothing {
            ladder.dropped.push((wish.name.clone(), Dropped::NoEncoder));
        } else if wishes.iter().any(|taken| taken.name == wish.name) {
            ladder.dropped.push((wish.name.clone(), Dropped::NameTaken));
        } else {
            wishes.push(wish);
        }
    }
    for wish in &wishes {
        let reason = match shape.compare(wish.size) {
            Ordering::Greater => Dropped::Upscaled,
            Ordering::Equal if passthrough && wish.codec.is_of(&source.codec) => Dropped::SameAsSource,
            _ => {
                ladder.rungs.push(rung(shape, fps, wish, wish.size));
                continue;
            }
        };
        ladder.dropped.push((wish.name.clone(), reason));
    }
    let is_whole = |wish: &&RungWish| shape.compare(wish.size) == Ordering::Equal;
    if profile.passthrough && !played && !wishes.iter().any(is_whole) {
        ladder.rungs.push(rung(shape, fps, &full(source), Size::Source));
    }
    let lowest = wishes.iter().min_by_key(|wish| (shape.asked(wish.size), wish.video_bitrate));
    if let Some(lowest) = lowest.filter(|_| ladder.rungs.is_empty() && !passthrough) {
        ladder.dropped.retain(|(name, _)| *name != lowest.name);
        ladder.rungs.push(rung(shape, fps, lowest, Size::Source));
    }
    // Conditions may leave nothing over: a stream always has a rung.
    if ladder.rungs.is_empty() && !passthrough && !profile.rungs.is_empty() {
        ladder.rungs.push(rung(shape, fps, &full(source), Size::Source));
    }
    ladder.rungs.sort_by_key(|rung| std::cmp::Reverse((pixels(rung), rung.video_bitrate)));
    drop_duplicates(&mut ladder);
    ladder
}

/// The rung [`FULL`] of a source: of its size and rate.
pub fn like(source: &VideoFormat) -> Rung {
    let fps = source.frame_rate.filter(|(numerator, denominator)| *numerator > 0 && *denominator > 0);
    rung(Shape::of(source), fps, &full(source), Size::Source)
}

/// The size of a picture of a source that has so many lines at most.
pub fn fit(source: &VideoFormat, lines: u32) -> (u32, u32) {
    let shape = Shape::of(source);
    shape.size(Size::Lines(lines.min(shape.lines())))
}

/// What stands for a source that cannot be passed through.
fn full(source: &VideoFormat) -> RungWish {
    let pixels = u64::from(source.width).saturating_mul(u64::from(source.height));
    RungWish {
        name: FULL.to_owned(),
        size: Size::Source,
        rate: Rate::Source,
        video_bitrate: u32::try_from(pixels.saturating_mul(3)).unwrap_or(u32::MAX).clamp(800_000, 8_000_000),
        audio_bitrate: 128_000,
        codec: RungCodec::default(),
        encoder: Encoder::default(),
        when: When::default(),
        tuning: Tuning::default(),
    }
}

fn pixels(rung: &Rung) -> u64 {
    u64::from(rung.width).saturating_mul(u64::from(rung.height))
}

/// Two rungs of one size, rate and codec are kept only where their bits differ by a quarter or more: otherwise a player
/// has nothing to choose. `ladder.rungs` is sorted, more bits first.
fn drop_duplicates(ladder: &mut Ladder) {
    let mut kept: Vec<Rung> = Vec::with_capacity(ladder.rungs.len());
    for rung in ladder.rungs.drain(..) {
        let same = |other: &Rung| {
            (other.width, other.height, other.every) == (rung.width, rung.height, rung.every)
                && other.codec == rung.codec
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

fn rung(shape: Shape, fps: Option<(u32, u32)>, wish: &RungWish, size: Size) -> Rung {
    let (width, height) = shape.size(size);
    let every = every(fps, wish.rate);
    Rung {
        name: wish.name.clone(),
        width,
        height,
        fps: fps.map(|(numerator, denominator)| reduced(numerator, denominator, every)),
        every,
        video_bitrate: wish.video_bitrate,
        audio_bitrate: wish.audio_bitrate,
        codec: wish.codec,
        encoder: match &wish.encoder {
            Encoder::Named(name) => Some(name.clone()),
            Encoder::Usual | Encoder::Nothing => None,
        },
        tuning: wish.tuning.clone(),
    }
}

/// The smallest whole number by which the source's rate must be divided to stay within the wish. Where the source's rate is
/// not known all is kept: frames left out by guess would be seen.
fn every(fps: Option<(u32, u32)>, wish: Rate) -> u32 {
    match (fps, wish) {
        (Some((numerator, denominator)), Rate::Most(most)) if most > 0.0 => {
            let source = f64::from(numerator) / f64::from(denominator);
            // 29.97 is within a wish of 29.9 to 30: rates are named roughly.
            let ratio = source / (most * 1.005);
            if ratio.is_finite() { (ratio.ceil() as u32).clamp(1, 240) } else { 1 }
        }
        (Some(_), Rate::Share(one_of)) => one_of.clamp(1, 240),
        _ => 1,
    }
}

#[cfg(test)]
mod tests;
