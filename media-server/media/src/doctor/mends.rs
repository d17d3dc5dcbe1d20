//! What had to be repaired or dropped, over the last minute.

use super::finding::Sign;
use super::ledger::Verdict;
use crate::time::{Span, Timestamp};
use crate::timeline::{Repair, Repairs};
use crate::unit::Kind;

const KINDS: usize = Repair::ALL.len();
/// A minute in steps.
const STEPS: usize = 6;
const STEP: Span = Span::from_millis(10_000);

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    repairs: [u64; KINDS],
    video: u64,
    audio: u64,
}

/// Counts of the last minute, forgotten 10 s at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Mends {
    steps: [Counts; STEPS],
    current: usize,
    began: Option<Timestamp>,
}

impl Mends {
    pub(super) fn advance(&mut self, now: Timestamp) {
        let began = self.began.get_or_insert(now);
        let passed = (now - *began).flicks().max(0) / STEP.flicks();
        *began += STEP.times(passed);
        for _ in 0..passed.min(STEPS as i64) {
            self.current = (self.current + 1) % STEPS;
            if let Some(step) = self.steps.get_mut(self.current) {
                *step = Counts::default();
            }
        }
    }

    pub(super) fn note(&mut self, repairs: Repairs, now: Timestamp) {
        if repairs.is_empty() {
            return;
        }
        self.advance(now);
        let Some(step) = self.steps.get_mut(self.current) else { return };
        for repair in repairs.iter() {
            if let Some(count) = step.repairs.get_mut(repair as usize) {
                *count = count.saturating_add(1);
            }
        }
    }

    pub(super) fn dropped(&mut self, kind: Kind, n: u64, now: Timestamp) {
        self.advance(now);
        let Some(step) = self.steps.get_mut(self.current) else { return };
        let count = match kind {
            Kind::Video => &mut step.video,
            Kind::Audio => &mut step.audio,
        };
        *count = count.saturating_add(n);
    }

    /// Video and audio units.
    pub(super) fn dropped_a_minute(&self) -> (u64, u64) {
        self.steps.iter().fold((0, 0), |(video, audio), step| {
            (step.video.saturating_add(video), step.audio.saturating_add(audio))
        })
    }

    /// So many repairs of one kind within a minute that they are no accident.
    pub(super) fn storm(&self, repair: Repair) -> Verdict {
        let count = self
            .steps
            .iter()
            .filter_map(|step| step.repairs.get(repair as usize))
            .fold(0_u64, |sum, n| sum.saturating_add(*n));
        let bound = bearable(repair);
        Verdict::sign(count > bound, || {
            let text = format!("{}: {count} times within a minute", what(repair));
            let sign =
                if count > bound.saturating_mul(20) { Sign::critical(text) } else { Sign::warning(text) };
            sign.figures(count as f64, bound as f64)
        })
    }
}

/// Repairs within a minute that a healthy stream on a bad line may need.
fn bearable(repair: Repair) -> u64 {
    match repair {
        Repair::Wrap => u64::MAX,
        Repair::Jump => 4,
        Repair::Gap => 2,
        Repair::BackStep | Repair::Frozen | Repair::Composition => 30,
        Repair::Rephased => 10,
        Repair::AudioMoved => 5,
        Repair::AudioSlewed => 3,
    }
}

fn what(repair: Repair) -> &'static str {
    match repair {
        Repair::Wrap => "The clock wrapped",
        Repair::Jump => "The timestamps jumped",
        Repair::Gap => "More than 2 s of media were missing",
        Repair::BackStep => "A timestamp was not behind the one before it",
        Repair::Frozen => "Timestamps stood still",
        Repair::Composition => "A picture's presentation time was before its decoding time, or absurd",
        Repair::Rephased => "Pictures left the rhythm of their frame rate",
        Repair::AudioMoved => "Sound was missing or doubled",
        Repair::AudioSlewed => "Sound drifted against its timestamps",
    }
}
