//! How loud it is.

use super::finding::Sign;
use super::ledger::Verdict;
use crate::time::{Span, Timestamp};

/// Quieter than this is silence; what is listed as silent must become louder than the second to be heard.
const SILENT_DBFS: f32 = -60.0;
const HEARD_DBFS: f32 = -57.0;
const SILENT_FOR: Span = Span::from_millis(30_000);
/// A peak from here on touches the ceiling. Lossy coding overshoots: a well-mastered -1 dBFS stays below.
const CEILING_DBFS: f32 = 0.0;
/// The samples that clipping is counted over, as bits.
const REMEMBERED: u32 = 12;
/// Of those, so many at the ceiling are too many; a listed finding goes at fewer than the second.
const CLIPPED: u32 = 4;
const RECOVERED: u32 = 2;

/// How loud a stretch of sound is, relative to full scale (dBFS; digital silence is minus infinity).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AudioLevels {
    /// The loudest sample of all channels.
    pub peak_dbfs: f32,
    /// Root of the mean square over all channels.
    pub rms_dbfs: f32,
    /// The length of what was measured.
    pub span: Span,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Sound {
    silent_since: Option<Timestamp>,
    told: bool,
    /// The newest in the lowest bit: it touched the ceiling.
    ceiling: u32,
    seen: u32,
}

impl Sound {
    pub(super) fn note(&mut self, levels: AudioLevels, now: Timestamp) {
        let AudioLevels { peak_dbfs, rms_dbfs, span } = levels;
        if peak_dbfs.is_nan() || rms_dbfs.is_nan() || span <= Span::ZERO {
            return;
        }
        let bound = if self.told { HEARD_DBFS } else { SILENT_DBFS };
        if rms_dbfs < bound {
            let since = *self.silent_since.get_or_insert(now - span);
            self.told |= now - since >= SILENT_FOR;
        } else {
            (self.silent_since, self.told) = (None, false);
        }
        self.ceiling = (self.ceiling << 1 | u32::from(peak_dbfs >= CEILING_DBFS)) & ((1 << REMEMBERED) - 1);
        self.seen = self.seen.saturating_add(1).min(REMEMBERED);
    }

    pub(super) fn silent(&self, now: Timestamp) -> Verdict {
        let silent = self.silent_since.map_or(Span::ZERO, |since| now - since);
        Verdict::sign(silent >= SILENT_FOR, || {
            Sign::warning(format!("The sound has been silent for {:.0} s", silent.seconds()))
                .figures(silent.seconds(), 0.0)
        })
    }

    pub(super) fn clipping(&self) -> Verdict {
        match self.ceiling.count_ones() {
            clipped @ CLIPPED.. => {
                let percent = f64::from(clipped) * 100.0 / f64::from(self.seen.max(1));
                let text =
                    format!("The sound is over-driven: {percent:.0} % of the last samples touch full scale");
                Verdict::Bad(Sign::warning(text).figures(percent, 0.0))
            }
            RECOVERED.. => Verdict::Unknown,
            _ => Verdict::Good,
        }
    }
}
