//! The text of a media playlist.

use std::fmt::Write;

use super::media::{MediaPlaylist, Report};
use super::object::append_seconds;
use crate::segmenter::Targets;
use crate::time::Span;

/// What never changes in a rendition's playlists.
#[derive(Debug)]
pub(crate) struct Constants {
    pub(crate) epoch: String,
    /// From EXT-X-VERSION to EXT-X-PART-INF.
    header: String,
    /// How many parts ahead a request may ask (rfc8216bis 6.2.5.2: three part targets' worth a second).
    pub(super) advance_limit: u64,
}

impl Constants {
    pub(crate) fn new(epoch: String, targets: &Targets, part_target: Span) -> Self {
        let mut header = String::with_capacity(256);
        header.push_str("#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:");
        append_number(&mut header, u64::from(targets.target_duration()));
        header.push_str("\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=");
        append_seconds(&mut header, targets.skip_until());
        header.push_str(",PART-HOLD-BACK=");
        append_seconds(&mut header, targets.part_hold_back());
        header.push_str("\n#EXT-X-PART-INF:PART-TARGET=");
        append_seconds(&mut header, part_target);
        header.push('\n');
        let second = Span::from_millis(1000).flicks();
        let part = part_target.flicks().max(1);
        let limit = if part < second { second.saturating_mul(3).saturating_add(part - 1) / part } else { 3 };
        Self { epoch, header, advance_limit: limit.unsigned_abs() }
    }
}

/// Appends a number without going through the formatting machinery's padding.
fn append_number(out: &mut String, number: u64) {
    // Writing to a String cannot fail.
    let _infallible = write!(out, "{number}");
}

impl MediaPlaylist {
    /// The playlist's text. With `skip` it is a delta update where there is something to leave out
    /// (rfc8216bis 6.2.5.1). `reports` tell where the other renditions stand.
    pub fn render(&self, reports: &[Report<'_>], skip: bool) -> String {
        let mut out = String::with_capacity(8 * 1024);
        out.push_str(&self.constants.header);
        if self.independent() {
            out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
        }
        out.push_str("#EXT-X-MEDIA-SEQUENCE:");
        append_number(&mut out, self.first_msn());
        out.push('\n');
        if self.discontinuities > 0 {
            out.push_str("#EXT-X-DISCONTINUITY-SEQUENCE:");
            append_number(&mut out, self.discontinuities);
            out.push('\n');
        }
        let skipped = if skip { self.skippable() } else { 0 };
        if skipped > 0 {
            out.push_str("#EXT-X-SKIP:SKIPPED-SEGMENTS=");
            append_number(&mut out, skipped as u64);
            out.push('\n');
        }
        // In delta updates too: without CAN-SKIP-DATERANGES none is left out.
        for range in self.listed_date_ranges() {
            out.push_str(range.line());
        }
        self.append_segments(&mut out, skipped);
        if self.ended {
            out.push_str("#EXT-X-ENDLIST\n");
            return out;
        }
        out.push_str("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"");
        out.push_str(&self.hint);
        out.push_str("\"\n");
        for report in reports {
            out.push_str("#EXT-X-RENDITION-REPORT:URI=\"");
            out.push_str(report.uri);
            out.push_str("\",LAST-MSN=");
            append_number(&mut out, report.last_msn);
            if let Some(part) = report.last_part {
                out.push_str(",LAST-PART=");
                append_number(&mut out, part);
            }
            out.push('\n');
        }
        out
    }

    fn append_segments(&self, out: &mut String, skipped: usize) {
        let mut map: Option<&str> = None;
        // Parts are listed within three target durations of the end (rfc8216bis 6.2.2).
        let near = self.targets.target_span().times(3);
        let mut behind = self.segments.iter().fold(self.running_length(), |sum, s| sum + s.duration);
        for (index, segment) in self.segments.iter().enumerate() {
            behind -= segment.duration;
            let init = segment.head.init.as_ref().map(|init| init.name.as_str());
            let changed = init.is_some() && map != init;
            map = init.or(map);
            if index < skipped {
                continue;
            }
            if changed {
                segment.head.append_tags(out, true);
            } else {
                out.push_str(&segment.tags);
            }
            if behind < near {
                for part in &segment.parts {
                    out.push_str(part.line());
                }
            }
            out.push_str(&segment.tail);
        }
        if let Some(running) = self.running.as_ref().filter(|running| !running.parts.is_empty()) {
            let init = running.head.init.as_ref().map(|init| init.name.as_str());
            running.head.append_tags(out, init.is_some() && map != init);
            for part in &running.parts {
                out.push_str(part.line());
            }
        }
    }

    /// How many segments lie wholly beyond the skip boundary.
    fn skippable(&self) -> usize {
        let boundary = self.targets.skip_until();
        let mut behind = self.running_length();
        let mut kept = 0_usize;
        for segment in self.segments.iter().rev() {
            if behind >= boundary {
                break;
            }
            behind += segment.duration;
            kept = kept.saturating_add(1);
        }
        self.segments.len().saturating_sub(kept)
    }
}
