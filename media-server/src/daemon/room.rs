//! Whether the machine has time for one more rung, over all streams: they must not all take one back at once.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Of all processors' time, what must have been idle since the last look.
const IDLE: f64 = 0.2;
/// From one rung taken back to the next, of whatever stream: what it costs is seen by then.
const BETWEEN: Duration = Duration::from_secs(4);
/// Where a stream had to give up a rung, none takes one back for so long.
const AFTER_SHORT: Duration = Duration::from_secs(8);
/// A look says something of no less time than this.
const SPAN: Duration = Duration::from_secs(1);

/// Idle and whole time of all processors since the start of the machine, in ticks.
type Ticks = (u64, u64);

#[derive(Debug)]
struct State {
    short: Option<Instant>,
    taken: Option<Instant>,
    looked: Option<(Instant, Ticks)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Room(Mutex<State>);

impl Room {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State { short: None, taken: None, looked: None }))
    }

    /// A stream had to give up a rung.
    pub(super) fn is_short(&self) {
        self.state().short = Some(Instant::now());
    }

    /// True where there is room for one more rung: whoever is told so takes it.
    pub(super) fn take(&self) -> bool {
        let look = || ticks(&std::fs::read_to_string("/proc/stat").unwrap_or_default());
        self.take_at(Instant::now(), look)
    }

    /// `look` is asked where it is due. None where the machine does not tell; then time alone decides.
    fn take_at(&self, now: Instant, look: impl FnOnce() -> Option<Ticks>) -> bool {
        let mut state = self.state();
        let since = |at: Option<Instant>| at.map_or(Duration::MAX, |at| now.duration_since(at));
        if since(state.short) < AFTER_SHORT || since(state.taken) < BETWEEN {
            // What was before says nothing of what is then.
            state.looked = None;
            return false;
        }
        if state.looked.is_some_and(|(at, _)| now.duration_since(at) < SPAN) {
            return false;
        }
        let idle = match (look(), state.looked) {
            (None, _) => true,
            (Some(ticks), Some((_, before))) => {
                state.looked = Some((now, ticks));
                let (idle, all) = (ticks.0.saturating_sub(before.0), ticks.1.saturating_sub(before.1));
                idle as f64 >= all as f64 * IDLE
            }
            (Some(ticks), None) => {
                state.looked = Some((now, ticks));
                false
            }
        };
        if idle {
            state.taken = Some(now);
        }
        idle
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first line of `/proc/stat` (proc_stat(5)): user, nice, system, idle, iowait, irq, softirq, steal.
fn ticks(stat: &str) -> Option<Ticks> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = line.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    let idle = fields.get(3)?.checked_add(*fields.get(4)?)?;
    Some((idle, fields.iter().fold(0, |all, field| field.saturating_add(all))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_read_from_the_kernels_text() {
        let stat = "cpu  100 5 50 800 20 1 2 22 0 0\ncpu0 1 2 3 4 5 6 7 8\n";
        assert_eq!(ticks(stat), Some((820, 1000)));
        assert_eq!((ticks(""), ticks("cpu x y"), ticks("intr 5")), (None, None, None));
    }

    #[test]
    fn one_rung_at_a_time_and_only_where_processors_are_idle() {
        let (room, start) = (Room::new(), Instant::now());
        let at = |seconds: u64, idle: u64| {
            room.take_at(start + Duration::from_secs(seconds), || Some((idle, seconds * 200)))
        };
        assert!(!at(0, 0), "nothing is known yet");
        assert!(!at(1, 10), "5 % idle");
        assert!(at(2, 110), "half idle");
        assert!(!at(3, 310), "the last one was just taken");
        assert!(!at(7, 710) && at(8, 900));
        room.state().short = Some(start + Duration::from_secs(12));
        assert!(!at(14, 1700) && !at(19, 2700) && !at(20, 2900) && at(21, 3100));
    }

    #[test]
    fn where_the_machine_does_not_tell_time_decides() {
        let (room, start) = (Room::new(), Instant::now());
        assert!(room.take_at(start, || None));
        assert!(!room.take_at(start + Duration::from_secs(1), || None));
        assert!(room.take_at(start + Duration::from_secs(5), || None));
    }
}
