//! What a publisher says beside its media, in every rendition's playlist (EXT-X-DATERANGE).

use std::collections::VecDeque;
use std::sync::Arc;

use media::Timestamp;
use media::playlist::{DateRange, Field};

use super::run::{Run, WALL_ZERO_MS};

/// Ranges that are listed at most; the oldest go.
const MOST: usize = 32;

/// Something said at a time of the stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Timed {
    /// When.
    pub at: Timestamp,
    /// What kind, an URI.
    pub class: String,
    /// It holds until the next of its class; otherwise it is a moment.
    pub lasting: bool,
    /// What.
    pub fields: Vec<(String, Field)>,
}

impl Run {
    /// Lists it from the next part on.
    pub(super) fn timed(&mut self, timed: &Timed) {
        self.said = self.said.saturating_add(1);
        let id = format!("{}-m{}", self.epoch, self.said);
        let range = DateRange::new(&id, &timed.class, timed.at, WALL_ZERO_MS, timed.lasting, &timed.fields);
        keep(&mut self.ranges, Arc::new(range));
        let ranges: Arc<[_]> = self.ranges.iter().cloned().collect();
        for track in self.tracks_mut() {
            track.packager.set_date_ranges(Arc::clone(&ranges));
        }
    }
}

/// A lasting one ends that before it, which stays listed: it was there.
fn keep(ranges: &mut VecDeque<Arc<DateRange>>, range: Arc<DateRange>) {
    while ranges.len() >= MOST {
        // What holds stays, as long as anything else can go.
        let newest = ranges.iter().rposition(|kept| kept.is_lasting() && !kept.ends_with(&range));
        let victim = (0..ranges.len()).find(|at| Some(*at) != newest).unwrap_or(0);
        ranges.remove(victim);
    }
    ranges.push_back(range);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floods_push_out_the_oldest_moments_and_not_what_holds() {
        let mut ranges = VecDeque::new();
        let range = |n: i64, lasting| {
            Arc::new(DateRange::new(&n.to_string(), "urn:x", Timestamp::from_flicks(n), 0, lasting, &[]))
        };
        keep(&mut ranges, range(0, true));
        for n in 1..200 {
            keep(&mut ranges, range(n, false));
        }
        assert_eq!(ranges.len(), MOST);
        assert_eq!(ranges[0].start(), Timestamp::from_flicks(0));
        assert_eq!(ranges.back().map(|r| r.start()), Some(Timestamp::from_flicks(199)));
    }
}
