//! When an encoder that cannot keep real time is relieved of rungs, and when it gets one back. Pure: time is an argument.
//!
//! What counts is how far the slowest rung is behind the source, and whether it gains on it. A burst of the publisher puts a
//! rung behind, too, and it gains at once; an encoder that is short of time does not. By how much it is short is seen from how
//! fast it falls behind: as much is given up at once, or it would fall behind further while one rung goes after the other,
//! and have no time to catch up. Each rung that has to be shed again soon after it was taken back is waited with for twice
//! as long.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Behind by more than this, and by what the source's own pictures and the encoder's settings explain.
const BEHIND: Duration = Duration::from_millis(400);
/// So long it must not gain.
const TREND: Duration = Duration::from_millis(500);
/// What a rung gains in [`TREND`], at the least, where it catches up.
const GAIN: Duration = Duration::from_millis(50);
/// How much of what it was seen to do an encoder is left with: the rest is for what it has to catch up with.
const ENOUGH: f64 = 0.8;
/// From one time of shedding to the next: work in hand is done first.
const SETTLE: Duration = Duration::from_millis(1500);
/// So long an encoder that begins is let alone: its first pictures say little of those that follow.
const BEGINNING: Duration = Duration::from_millis(800);
/// The same of one that begins with what the source sent before.
const BEGINNING_LATE: Duration = Duration::from_secs(3);
/// So long it must have been at the edge before it gets a rung back.
const CALM: Duration = Duration::from_secs(5);
/// From the last rung shed to the first that is taken back, where all went well before, and from that to the next.
const PATIENCE: Duration = Duration::from_secs(10);
/// No longer than this: other streams may have ended, and room is measured before one is taken back.
const MOST_PATIENCE: Duration = Duration::from_secs(40);
/// A rung that is shed again within this time after it came back came back too early.
const TOO_EARLY: Duration = Duration::from_secs(30);

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// Fewer rungs, one at the least.
    Shed {
        /// What is left may cost no more than this share of what is made.
        share: f64,
    },
    /// One more, if there is room.
    TakeBack,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Shedding {
    /// How far behind it was since it is too far behind, oldest first.
    seen: VecDeque<(Instant, Duration)>,
    /// When it gave its first pictures, and that it had much to do by then.
    began: Option<Instant>,
    late: bool,
    shed: Option<Instant>,
    taken_back: Option<Instant>,
    /// At the edge since then.
    calm: Option<Instant>,
    patience: Duration,
}

impl Default for Shedding {
    fn default() -> Self {
        let (began, shed, taken_back, calm) = (None, None, None, None);
        Self { seen: VecDeque::new(), began, late: false, shed, taken_back, calm, patience: PATIENCE }
    }
}

impl Shedding {
    /// The slowest rung is `behind` the source, of which `explained` is no fault. Asked with every picture of the source.
    pub(super) fn look(&mut self, now: Instant, behind: Duration, explained: Duration) -> Option<Step> {
        let behind = behind.saturating_sub(explained);
        let began = *self.began.get_or_insert(now);
        if behind <= BEHIND {
            self.late = false;
            self.seen.clear();
            return self.rested(now, behind);
        }
        self.calm = None;
        let trend = now.checked_sub(TREND);
        // One older than the trend is kept: it is what is compared with.
        while trend.is_some_and(|trend| self.seen.get(1).is_some_and(|(at, _)| *at <= trend)) {
            self.seen.pop_front();
        }
        self.seen.push_back((now, behind));
        let &(since, before) = self.seen.front()?;
        let gains = now.duration_since(since) < TREND || behind + GAIN <= before;
        let alone = if self.late { BEGINNING_LATE } else { BEGINNING };
        let settles = self.shed.is_some_and(|at| now.duration_since(at) < SETTLE);
        if gains || settles || now.duration_since(began) < alone {
            return None;
        }
        // Media encoded in that time, by that time.
        let spent = now.duration_since(since).as_secs_f64();
        let pace = 1.0 - (behind.as_secs_f64() - before.as_secs_f64()) / spent;
        Some(Step::Shed { share: pace.clamp(0.0, 1.0) * ENOUGH })
    }

    fn rested(&mut self, now: Instant, behind: Duration) -> Option<Step> {
        if behind > BEHIND / 2 {
            self.calm = None;
            return None;
        }
        let calm = *self.calm.get_or_insert(now);
        if self.taken_back.is_some_and(|at| now.duration_since(at) > TOO_EARLY) {
            self.patience = PATIENCE;
        }
        let due = now.duration_since(self.shed?) >= self.patience
            && self.taken_back.is_none_or(|at| now.duration_since(at) >= PATIENCE)
            && now.duration_since(calm) >= CALM;
        due.then_some(Step::TakeBack)
    }

    /// Rungs were shed.
    pub(super) fn shed(&mut self, now: Instant) {
        if self.taken_back.take().is_some_and(|at| now.duration_since(at) < TOO_EARLY) {
            self.patience = (self.patience * 2).min(MOST_PATIENCE);
        }
        (self.shed, self.late) = (Some(now), false);
        self.forget();
    }

    /// One was taken back.
    pub(super) fn taken_back(&mut self, now: Instant) {
        self.taken_back = Some(now);
        self.forget();
    }

    /// What was seen says nothing of what comes: another worker, other rungs.
    pub(super) fn forget(&mut self) {
        self.seen.clear();
        (self.began, self.calm) = (None, None);
    }

    /// The same, and what begins is given what the source sent before.
    pub(super) fn begins_late(&mut self) {
        self.late = true;
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(33);
    const EXPLAINED: Duration = Duration::from_millis(200);

    /// An encoder with so much work a second; how many rungs it makes from when on, in milliseconds from the beginning.
    fn follow(seconds: u32, mut load: impl FnMut(Duration, usize) -> f64) -> (Vec<(u64, usize)>, Duration) {
        let (mut shedding, start) = (Shedding::default(), Instant::now());
        let (mut behind, mut worst) = (0.0_f64, 0.0_f64);
        let (mut rungs, mut steps) = (3, Vec::new());
        for frame in 0..seconds * 30 {
            let at = FRAME * frame;
            behind = (behind + FRAME.as_secs_f64() * (1.0 - 1.0 / load(at, rungs))).max(0.1);
            worst = worst.max(behind);
            let now = start + at;
            match shedding.look(now, Duration::from_secs_f64(behind), EXPLAINED) {
                Some(Step::Shed { share }) if rungs > 1 => {
                    let before = rungs;
                    rungs -= 1;
                    while rungs > 1 && rungs as f64 > before as f64 * share {
                        rungs -= 1;
                    }
                    shedding.shed(now);
                    steps.push((at.as_millis() as u64, rungs));
                }
                Some(Step::TakeBack) if rungs < 3 => {
                    rungs += 1;
                    shedding.taken_back(now);
                    steps.push((at.as_millis() as u64, rungs));
                }
                _ => {}
            }
        }
        (steps, Duration::from_secs_f64(worst))
    }

    /// Where there is one rung more than before: when that was.
    fn taken_back(steps: &[(u64, usize)]) -> Vec<u64> {
        let more = steps.windows(2).filter(|pair| pair[1].1 > pair[0].1);
        more.map(|pair| pair[1].0).collect()
    }

    #[test]
    fn an_encoder_without_time_gives_up_as_much_as_it_is_short_of() {
        // Three rungs are 1.8 times what it can do, two 1.2 times, one 0.6 times.
        let (steps, worst) = follow(8, |_, rungs| 0.6 * rungs as f64);
        assert_eq!(steps.iter().map(|step| step.1).collect::<Vec<_>>(), [1]);
        assert!(steps[0].0 < 2000, "{steps:?}");
        assert!(worst < Duration::from_millis(1300), "{worst:?}");
        // A little too much: one is enough.
        let (steps, worst) = follow(8, |_, rungs| 0.4 * rungs as f64);
        assert_eq!(steps.iter().map(|step| step.1).collect::<Vec<_>>(), [2]);
        assert!(worst < Duration::from_millis(1300), "{worst:?}");
    }

    #[test]
    fn it_gets_them_back_when_it_can_and_not_before() {
        // A load from elsewhere for 20 s.
        let load =
            |at: Duration, rungs: usize| rungs as f64 * if at < Duration::from_secs(20) { 0.6 } else { 0.25 };
        let (steps, _) = follow(60, load);
        let back = taken_back(&steps);
        assert!(back.iter().filter(|at| **at > 20_000).count() >= 2, "{steps:?}");
    }

    #[test]
    fn one_that_never_has_time_for_it_is_asked_less_and_less_often() {
        let (steps, _) = follow(300, |_, rungs| 0.6 * rungs as f64);
        let back = taken_back(&steps);
        let waits: Vec<_> = back.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(waits.len() >= 3 && waits[1] > waits[0] * 3 / 2, "{waits:?}");
        assert!(waits.iter().all(|wait| *wait < 60_000), "{waits:?}");
    }

    #[test]
    fn one_that_begins_late_is_given_time_to_catch_up_and_not_for_ever() {
        for (late, longest) in [(false, 900), (true, 3_100)] {
            let (mut shedding, start) = (Shedding::default(), Instant::now());
            if late {
                shedding.begins_late();
            }
            let shed = (0_u32..200)
                .map(|frame| FRAME * frame)
                .find(|at| shedding.look(start + *at, Duration::from_secs(2), EXPLAINED).is_some());
            let shed = shed.map(|at| at.as_millis());
            assert!(shed.is_some_and(|at| (longest - 200..longest).contains(&at)), "{late}: {shed:?}");
        }
    }

    #[test]
    fn a_burst_is_no_overload() {
        let (mut shedding, start) = (Shedding::default(), Instant::now());
        for frame in 0..30 {
            assert_eq!(shedding.look(start + FRAME * frame, FRAME, EXPLAINED), None);
        }
        // Two seconds of pictures at once; five times as fast as they are shown, they are encoded.
        for frame in 30_u32..60 {
            let behind = Duration::from_secs(2).saturating_sub(FRAME * (frame - 30) * 4);
            assert_eq!(shedding.look(start + FRAME * frame, behind, EXPLAINED), None, "{frame}");
        }
    }

    #[test]
    fn what_the_source_itself_holds_back_is_no_fault() {
        let (mut shedding, start) = (Shedding::default(), Instant::now());
        let second = Duration::from_secs(1);
        for frame in 0..90 {
            assert_eq!(shedding.look(start + second * frame, second * 2, second * 2), None);
        }
    }
}
