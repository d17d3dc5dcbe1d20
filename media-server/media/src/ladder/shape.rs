//! The size of a rung's picture: aspect kept, both sides even, never larger than the source.

use std::cmp::Ordering;

use super::{SMALLEST, Size};
use crate::h264;
use crate::unit::VideoFormat;

/// How wide and high a source is shown, in square pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    width: u32,
    height: u32,
}

impl Shape {
    /// A source's lines, and as many square pixels as its own make (ITU-T H.264 E.2.1), where it is H.264 that says so.
    pub(super) fn of(source: &VideoFormat) -> Self {
        let told =
            source.codec.starts_with("avc").then(|| h264::Config::parse(&source.config).ok()?.sps().ok());
        let (wide, high) = told.flatten().and_then(|sps| sps.sample_aspect).unwrap_or((1, 1));
        let width =
            u64::from(source.width).saturating_mul(u64::from(wide)).checked_div(high.into()).unwrap_or(0);
        // An aspect beyond reason is none.
        let sane = wide <= high.saturating_mul(4) && high <= wide.saturating_mul(4) && width > 0;
        let width = u32::try_from(width).unwrap_or(source.width);
        Self { width: if sane { width } else { source.width }, height: source.height }
    }

    /// Its shorter side.
    pub(super) fn lines(self) -> u32 {
        self.width.min(self.height)
    }

    /// How large a wish is, beside the source.
    pub(super) fn compare(self, size: Size) -> Ordering {
        match size {
            Size::Source => Ordering::Equal,
            Size::Lines(lines) => lines.cmp(&self.lines()),
            // What binds is the narrower side of the frame.
            Size::Within(width, height) => width.cmp(&self.width).min(height.cmp(&self.height)),
        }
    }

    /// Lines that are wished for, also of a wish that is larger than the source.
    pub(super) fn asked(self, size: Size) -> u32 {
        match size {
            Size::Source => self.lines(),
            Size::Lines(lines) => lines,
            Size::Within(width, height) if self.is_bound_by_width(width, height) => {
                scaled(self.lines(), width, self.width)
            }
            Size::Within(_, height) => scaled(self.lines(), height, self.height),
        }
    }

    /// A picture of this shape, both sides even and not larger than the source's (but for sources below [`SMALLEST`]).
    pub(super) fn size(self, size: Size) -> (u32, u32) {
        let portrait = self.width < self.height;
        let by_width = |width: u32, most: u32| {
            let other = even(nearest(self.height, width, self.width), most.min(self.height));
            (even((width & !1).into(), self.width), other)
        };
        let by_height = |height: u32, most: u32| {
            let other = even(nearest(self.width, height, self.height), most.min(self.width));
            (other, even((height & !1).into(), self.height))
        };
        match size {
            Size::Source => (even(self.width.into(), self.width), even(self.height.into(), self.height)),
            Size::Lines(lines) if portrait => by_width(lines, u32::MAX),
            Size::Lines(lines) => by_height(lines, u32::MAX),
            Size::Within(width, height) if self.is_bound_by_width(width, height) => by_width(width, height),
            Size::Within(width, height) => by_height(height, width),
        }
    }

    /// Scaled into the frame it is as wide as that, and not as high.
    fn is_bound_by_width(self, width: u32, height: u32) -> bool {
        u64::from(width).saturating_mul(self.height.into())
            <= u64::from(height).saturating_mul(self.width.into())
    }
}

/// `side` times `to` by `from`.
fn scaled(side: u32, to: u32, from: u32) -> u32 {
    let scaled = u64::from(side).saturating_mul(to.into()).checked_div(from.into()).unwrap_or(0);
    u32::try_from(scaled).unwrap_or(u32::MAX)
}

/// The even number that is nearest to `side` times `to` by `from`: twice the nearest half.
fn nearest(side: u32, to: u32, from: u32) -> u64 {
    let scaled = u64::from(side).saturating_mul(to.into());
    let twice = u64::from(from).saturating_mul(2).max(1);
    scaled.saturating_add(from.into()).checked_div(twice).unwrap_or(0).saturating_mul(2)
}

/// `side` as an even number, within `limit`.
fn even(side: u64, limit: u32) -> u32 {
    let nearest = (side.saturating_add(1) / 2).saturating_mul(2);
    let limit = u64::from(limit & !1);
    u32::try_from(nearest.min(limit)).unwrap_or(u32::MAX).max(SMALLEST)
}

/// A rate divided by `every`, in lowest terms.
pub(super) fn reduced(numerator: u32, denominator: u32, every: u32) -> (u32, u32) {
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
