//! What a viewer sees of the picture as a whole: whether it stands still, and whether it has become smaller. Browsers do both
//! when line or machine do not carry what they were asked to send.

use std::collections::VecDeque;

use super::finding::Sign;
use super::ledger::Verdict;
use crate::time::{Span, Timestamp};

/// How much of it is looked at.
const MINUTE: Span = Span::from_millis(60_000);
/// A picture that stays for so long stands still.
const STILL: Span = Span::from_millis(500);
/// Sound goes on where it has come for so long meanwhile: in bursts both come at once.
const SOUNDS: Span = Span::from_millis(250);
const BESIDE: Span = Span::from_millis(100);
/// Times within a minute that are no accident.
const OFTEN: usize = 2;
/// Times that are remembered.
const REMEMBERED: usize = 128;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Scene {
    picture: Option<Timestamp>,
    /// The first and the last sound that came after that picture.
    sound: Option<(Timestamp, Timestamp)>,
    /// When the picture went on, and how long it had stood still.
    stills: VecDeque<(Timestamp, Span)>,
    size: Option<(u32, u32)>,
    largest: Option<(u32, u32)>,
}

fn area((width, height): (u32, u32)) -> u64 {
    u64::from(width).saturating_mul(u64::from(height))
}

impl Scene {
    pub(super) fn picture(&mut self, at: Timestamp) {
        let sounds = self.sound.take().is_some_and(|(first, last)| last - first >= SOUNDS);
        let Some(last) = self.picture.replace(at) else { return };
        if at - last < STILL || !sounds {
            return;
        }
        if self.stills.len() >= REMEMBERED {
            self.stills.pop_front();
        }
        self.stills.push_back((at, at - last));
    }

    pub(super) fn sound(&mut self, at: Timestamp) {
        // What comes with the picture says nothing.
        if self.picture.is_none_or(|picture| at - picture < BESIDE) {
            return;
        }
        self.sound = Some((self.sound.map_or(at, |(first, _)| first), at));
    }

    pub(super) fn size(&mut self, size: (u32, u32)) {
        self.size = Some(size);
        if self.largest.is_none_or(|largest| area(size) > area(largest)) {
            self.largest = Some(size);
        }
    }

    pub(super) fn advance(&mut self, now: Timestamp) {
        while self.stills.front().is_some_and(|(at, _)| now - *at > MINUTE) {
            self.stills.pop_front();
        }
    }

    /// The picture stands still while the sound goes on.
    pub(super) fn frozen(&self) -> Verdict {
        let times = self.stills.len();
        Verdict::sign(times >= OFTEN, || {
            let longest = self.stills.iter().map(|(_, still)| still.seconds()).fold(0.0, f64::max);
            Sign::warning(format!(
                "The picture stood still {times} times within a minute, for up to {longest:.1} s, while the sound went on"
            ))
            .figures(times as f64, 0.0)
        })
    }

    /// The picture is smaller than it was.
    pub(super) fn shrunk(&self) -> Verdict {
        let (Some(now), Some(largest)) = (self.size, self.largest) else { return Verdict::Good };
        Verdict::sign(area(now) < area(largest), || {
            let ((width, height), (before_width, before_height)) = (now, largest);
            Sign::info(format!("The picture is {width}x{height} where it was {before_width}x{before_height}"))
                .figures(f64::from(height), f64::from(before_height))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::ZERO + Span::from_millis(ms)
    }

    fn is_bad(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Bad(_))
    }

    /// A scene whose sound goes on for ten seconds, with pictures at these moments.
    fn scene(pictures: &[i64], sounds: bool) -> Scene {
        let mut scene = Scene::default();
        for ms in (0..10_000).step_by(20) {
            if sounds {
                scene.sound(at(ms));
            }
            if pictures.contains(&ms) {
                scene.picture(at(ms));
            }
        }
        scene
    }

    #[test]
    fn a_picture_that_stands_still_more_than_once_is_told() {
        assert!(!is_bad(&scene(&[0, 40, 1_000, 1_040], true).frozen()), "once");
        let mut twice = scene(&[0, 40, 1_000, 1_040, 2_000], true);
        assert!(is_bad(&twice.frozen()));
        assert!(
            !is_bad(&scene(&[0, 40, 1_000, 1_040, 2_000], false).frozen()),
            "nothing came at all: another finding"
        );
        twice.advance(at(70_000));
        assert!(!is_bad(&twice.frozen()), "a minute ago");
    }

    #[test]
    fn a_smaller_picture_is_told_until_it_is_back() {
        let mut scene = Scene::default();
        for (size, smaller) in
            [((640, 360), false), ((1280, 720), false), ((640, 360), true), ((1280, 720), false)]
        {
            scene.size(size);
            assert_eq!(is_bad(&scene.shrunk()), smaller, "{size:?}");
        }
    }
}
