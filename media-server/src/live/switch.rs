//! Which of a stream's inputs is on the air. Pure: times are arguments.

use std::time::{Duration, Instant};

use super::feed::Feed;

/// A publisher silent for so long gives way to another input that is there.
pub(super) const GIVES_WAY: Duration = Duration::from_millis(500);
/// A primary takes the air back once it has sent without a pause for so long.
pub(super) const GIVES_BACK: Duration = Duration::from_secs(5);

/// What viewers are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnAir {
    /// Nothing has come yet, or nobody is there: the last picture is held.
    #[default]
    Nothing,
    /// The publisher.
    Primary,
    /// The publisher that came with `role=backup`.
    Backup,
    /// The file that stands in while no publisher sends.
    Slate,
}

impl OnAir {
    /// Stable lower-case name for the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Primary => "primary",
            Self::Backup => "backup",
            Self::Slate => "slate",
        }
    }
}

/// What the choice depends on, of one publisher.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "facts that are independent of each other, not a mode")]
pub(super) struct State {
    /// It is connected.
    there: bool,
    /// It sends, and could be shown at once.
    usable: bool,
    /// It has been sending for long enough to be trusted again.
    stable: bool,
    /// Its newest picture is a keyframe.
    at_keyframe: bool,
}

impl State {
    pub(super) fn of(feed: Option<&Feed>, now: Instant) -> Self {
        let Some(feed) = feed else { return Self::default() };
        let fresh = now.saturating_duration_since(feed.last_media()) < GIVES_WAY;
        Self {
            there: true,
            usable: fresh && feed.is_joinable(),
            stable: feed.stable_for(now) >= GIVES_BACK,
            at_keyframe: feed.is_at_keyframe(),
        }
    }
}

/// Chooses. `slate`: one is there and gives media.
pub(super) fn choose(on_air: OnAir, primary: State, backup: State, slate: bool) -> OnAir {
    let fallback = |present: OnAir| {
        if primary.usable {
            OnAir::Primary
        } else if backup.usable {
            OnAir::Backup
        } else if slate {
            OnAir::Slate
        } else {
            present
        }
    };
    match on_air {
        OnAir::Nothing if primary.there && !backup.usable => OnAir::Primary,
        OnAir::Nothing if backup.there && !primary.there => OnAir::Backup,
        OnAir::Slate if slate => fallback(OnAir::Slate),
        OnAir::Primary if primary.usable => OnAir::Primary,
        OnAir::Primary if primary.there => fallback(OnAir::Primary),
        OnAir::Backup if backup.usable => {
            let back = primary.usable && primary.stable && primary.at_keyframe;
            if back { OnAir::Primary } else { OnAir::Backup }
        }
        OnAir::Backup if backup.there => fallback(OnAir::Backup),
        OnAir::Nothing | OnAir::Slate | OnAir::Primary | OnAir::Backup => fallback(OnAir::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GONE: State = State { there: false, usable: false, stable: false, at_keyframe: false };
    const SILENT: State = State { there: true, ..GONE };
    const SENDING: State = State { usable: true, ..SILENT };
    const STABLE: State = State { stable: true, at_keyframe: true, ..SENDING };

    #[test]
    fn the_first_publisher_is_on_the_air_at_once() {
        assert_eq!(choose(OnAir::Nothing, SILENT, GONE, false), OnAir::Primary);
        assert_eq!(choose(OnAir::Nothing, GONE, SILENT, false), OnAir::Backup);
        assert_eq!(choose(OnAir::Nothing, GONE, GONE, false), OnAir::Nothing);
    }

    #[test]
    fn a_silent_primary_gives_way_to_a_backup_that_sends_and_to_nothing_else() {
        assert_eq!(choose(OnAir::Primary, SILENT, SENDING, false), OnAir::Backup);
        assert_eq!(choose(OnAir::Primary, GONE, SENDING, false), OnAir::Backup);
        assert_eq!(choose(OnAir::Primary, SILENT, SILENT, false), OnAir::Primary);
        assert_eq!(choose(OnAir::Primary, SENDING, STABLE, true), OnAir::Primary);
    }

    #[test]
    fn a_primary_that_is_back_waits_until_it_is_stable_and_at_a_keyframe() {
        assert_eq!(choose(OnAir::Backup, SENDING, SENDING, false), OnAir::Backup);
        let between = State { at_keyframe: false, ..STABLE };
        assert_eq!(choose(OnAir::Backup, between, SENDING, false), OnAir::Backup);
        assert_eq!(choose(OnAir::Backup, STABLE, SENDING, false), OnAir::Primary);
        assert_eq!(choose(OnAir::Backup, SENDING, GONE, false), OnAir::Primary, "better than nothing");
    }

    #[test]
    fn a_slate_is_shown_only_while_no_publisher_sends() {
        assert_eq!(choose(OnAir::Primary, GONE, GONE, true), OnAir::Slate);
        assert_eq!(choose(OnAir::Primary, SILENT, GONE, true), OnAir::Slate);
        assert_eq!(choose(OnAir::Slate, SILENT, GONE, true), OnAir::Slate);
        assert_eq!(choose(OnAir::Slate, SENDING, GONE, true), OnAir::Primary);
        assert_eq!(choose(OnAir::Slate, GONE, SENDING, true), OnAir::Backup);
        assert_eq!(choose(OnAir::Slate, GONE, GONE, false), OnAir::Nothing, "it has failed");
    }
}
