//! A media playlist as a client reads it (RFC 8216bis 4.4), lenient: what is missing is `None`, the rules judge.

use url::Url;

use super::attributes::Attributes;

/// Where in a stream: a media sequence number, and a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Media sequence number.
    pub msn: u64,
    /// Part index; `-1` stands for none of them.
    pub part: i64,
}

/// One `EXT-X-PART`.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Absolute address.
    pub uri: Url,
    /// Seconds.
    pub duration: f64,
    /// `INDEPENDENT=YES`.
    pub independent: bool,
    /// `GAP=YES`.
    pub gap: bool,
}

/// One media segment, or the one that is still open at the end (`uri` is `None`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    /// Absolute address.
    pub uri: Option<Url>,
    /// `EXTINF` seconds.
    pub duration: Option<f64>,
    /// `PROGRAM-DATE-TIME` as Unix seconds.
    pub date_time: Option<f64>,
    /// `EXT-X-DISCONTINUITY` stands before it.
    pub discontinuity: bool,
    /// `EXT-X-GAP`.
    pub gap: bool,
    /// Absolute address of the `EXT-X-MAP` that holds for it.
    pub map: Option<Url>,
    /// Its parts that are listed.
    pub parts: Vec<Part>,
}

/// One `EXT-X-RENDITION-REPORT`.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Absolute address of the other media playlist.
    pub uri: Url,
    /// What it says is there.
    pub last: Position,
}

/// A media playlist.
#[derive(Clone, Debug)]
pub struct MediaPlaylist {
    /// As it came.
    pub text: String,
    /// `EXT-X-VERSION` (1 where it is not said).
    pub version: u32,
    /// Seconds.
    pub target_duration: Option<f64>,
    /// Number of the first segment, those skipped counted.
    pub media_sequence: u64,
    /// `EXT-X-PART-INF:PART-TARGET`, seconds.
    pub part_target: Option<f64>,
    /// `EXT-X-SERVER-CONTROL`.
    pub server_control: Attributes,
    /// Absolute address of the last `EXT-X-MAP`.
    pub map: Option<Url>,
    /// Finished segments that are listed.
    pub segments: Vec<Segment>,
    /// What stands after the last finished segment.
    pub open: Segment,
    /// Absolute addresses of `EXT-X-PRELOAD-HINT:TYPE=PART`.
    pub part_hints: Vec<Url>,
    /// `EXT-X-RENDITION-REPORT`s.
    pub reports: Vec<Report>,
    /// `EXT-X-SKIP:SKIPPED-SEGMENTS`.
    pub skipped: u64,
    /// `EXT-X-INDEPENDENT-SEGMENTS`.
    pub independent_segments: bool,
    /// `EXT-X-PLAYLIST-TYPE` stands there.
    pub has_playlist_type: bool,
    /// `EXT-X-ENDLIST`.
    pub ended: bool,
}

/// A part where it stands.
pub struct PlacedPart<'a> {
    /// Where.
    pub at: Position,
    /// The part.
    pub part: &'a Part,
    /// The last of a finished segment.
    pub closes_segment: bool,
}

/// An RFC 3339 date in Unix seconds.
pub fn unix_seconds(text: &str) -> Option<f64> {
    use time::{OffsetDateTime, format_description::well_known::Rfc3339};
    let at = OffsetDateTime::parse(text.trim(), &Rfc3339).ok()?;
    Some(at.unix_timestamp_nanos() as f64 / 1e9)
}

impl MediaPlaylist {
    /// Reads the text that came from `base`.
    pub fn parse(text: &str, base: &Url) -> Self {
        let mut list = Self {
            text: text.to_owned(),
            version: 1,
            target_duration: None,
            media_sequence: 0,
            part_target: None,
            server_control: Attributes::default(),
            map: None,
            segments: Vec::new(),
            open: Segment::default(),
            part_hints: Vec::new(),
            reports: Vec::new(),
            skipped: 0,
            independent_segments: false,
            has_playlist_type: false,
            ended: false,
        };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if line.starts_with('#') {
                if let Some(tag) = line.strip_prefix("#EXT") {
                    let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
                    list.take(name, value, base);
                }
            } else {
                let mut segment = std::mem::take(&mut list.open);
                segment.uri = base.join(line).ok();
                segment.map.clone_from(&list.map);
                list.segments.push(segment);
            }
        }
        list.open.map.clone_from(&list.map);
        list
    }

    fn take(&mut self, name: &str, value: &str, base: &Url) {
        match name {
            "INF" => self.open.duration = value.split(',').next().and_then(|d| d.trim().parse().ok()),
            "-X-VERSION" => self.version = value.parse().unwrap_or(0),
            "-X-TARGETDURATION" => self.target_duration = value.parse::<u32>().ok().map(f64::from),
            "-X-MEDIA-SEQUENCE" => self.media_sequence = value.parse().unwrap_or(0),
            "-X-PART-INF" => self.part_target = Attributes::parse(value).number("PART-TARGET"),
            "-X-SERVER-CONTROL" => self.server_control = Attributes::parse(value),
            "-X-MAP" => self.map = Attributes::parse(value).get("URI").and_then(|uri| base.join(uri).ok()),
            "-X-PROGRAM-DATE-TIME" => self.open.date_time = unix_seconds(value),
            "-X-DISCONTINUITY" => self.open.discontinuity = true,
            "-X-GAP" => self.open.gap = true,
            "-X-INDEPENDENT-SEGMENTS" => self.independent_segments = true,
            "-X-PLAYLIST-TYPE" => self.has_playlist_type = true,
            "-X-ENDLIST" => self.ended = true,
            "-X-SKIP" => self.skipped = Attributes::parse(value).integer("SKIPPED-SEGMENTS").unwrap_or(0),
            "-X-PART" => {
                let attributes = Attributes::parse(value);
                if let Some(uri) = attributes.get("URI").and_then(|uri| base.join(uri).ok()) {
                    self.open.parts.push(Part {
                        uri,
                        duration: attributes.number("DURATION").unwrap_or(0.0),
                        independent: attributes.yes("INDEPENDENT"),
                        gap: attributes.yes("GAP"),
                    });
                }
            }
            "-X-PRELOAD-HINT" => {
                let attributes = Attributes::parse(value);
                if attributes.get("TYPE") == Some("PART") {
                    self.part_hints.extend(attributes.get("URI").and_then(|uri| base.join(uri).ok()));
                }
            }
            "-X-RENDITION-REPORT" => {
                let attributes = Attributes::parse(value);
                if let (Some(uri), Some(msn)) = (
                    attributes.get("URI").and_then(|uri| base.join(uri).ok()),
                    attributes.integer("LAST-MSN"),
                ) {
                    // Without LAST-PART the whole segment is meant.
                    let part =
                        attributes.integer("LAST-PART").map_or(i64::from(u32::MAX), |part| part as i64);
                    self.reports.push(Report { uri, last: Position { msn, part } });
                }
            }
            _ => {}
        }
    }

    /// Number of the first segment that is listed.
    pub fn first_msn(&self) -> u64 {
        self.media_sequence + self.skipped
    }

    /// Number of the segment that is still open.
    pub fn next_msn(&self) -> u64 {
        self.first_msn() + self.segments.len() as u64
    }

    /// The newest part that is there.
    pub fn last(&self) -> Position {
        if !self.open.parts.is_empty() {
            return Position { msn: self.next_msn(), part: self.open.parts.len() as i64 - 1 };
        }
        let parts = self.segments.last().map_or(0, |segment| segment.parts.len() as i64);
        Position { msn: self.next_msn().saturating_sub(1), part: parts - 1 }
    }

    /// What a player asks for next.
    pub fn next(&self) -> Position {
        Position { msn: self.next_msn(), part: self.open.parts.len() as i64 }
    }

    /// Whether the playlist holds this part (or its finished segment).
    pub fn reaches(&self, position: Position) -> bool {
        self.next_msn() > position.msn || self.last() >= position
    }

    /// Segments with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (u64, &Segment)> {
        (self.first_msn()..).zip(&self.segments)
    }

    /// The initialization segment of the segment of that number, where it is listed.
    pub fn map_of(&self, msn: u64) -> Option<&Url> {
        let segment = usize::try_from(msn.checked_sub(self.first_msn())?).ok()?;
        self.segments.iter().chain([&self.open]).nth(segment)?.map.as_ref()
    }

    /// All parts that are listed, in order.
    pub fn parts(&self) -> impl Iterator<Item = PlacedPart<'_>> {
        let open = self.next_msn();
        (self.first_msn()..).zip(self.segments.iter().chain([&self.open])).flat_map(move |(msn, segment)| {
            let count = segment.parts.len();
            segment.parts.iter().enumerate().map(move |(index, part)| PlacedPart {
                at: Position { msn, part: index as i64 },
                part,
                closes_segment: msn != open && index + 1 == count,
            })
        })
    }

    /// Seconds of media in the parts after the last finished segment.
    pub fn open_duration(&self) -> f64 {
        self.open.parts.iter().map(|part| part.duration).sum()
    }

    /// Seconds of media that are listed.
    pub fn duration(&self) -> f64 {
        self.segments.iter().filter_map(|segment| segment.duration).sum::<f64>() + self.open_duration()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n#EXT-X-PART-INF:PART-TARGET=0.5\n\
        #EXT-X-MEDIA-SEQUENCE:10\n#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n#EXT-X-MAP:URI=\"init.mp4\"\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:04:05.500Z\n\
        #EXT-X-PART:DURATION=0.5,URI=\"a0\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.5,URI=\"a1\"\n#EXTINF:1.0,\na.m4s\n\
        #EXT-X-PART:DURATION=0.5,URI=\"b0\",INDEPENDENT=YES\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"b1\"\n\
        #EXT-X-RENDITION-REPORT:URI=\"../audio/index.m3u8\",LAST-MSN=14,LAST-PART=0\n";

    #[test]
    fn reads_where_the_live_edge_is() {
        let base = Url::parse("http://host/live/x/720p/index.m3u8").unwrap();
        let list = MediaPlaylist::parse(TEXT, &base);
        assert_eq!((list.first_msn(), list.next_msn()), (13, 14));
        assert_eq!(list.last(), Position { msn: 14, part: 0 });
        assert_eq!(list.next(), Position { msn: 14, part: 1 });
        assert!(list.reaches(Position { msn: 13, part: 99 }) && !list.reaches(Position { msn: 14, part: 1 }));
        assert_eq!(list.segments[0].date_time, Some(1_767_323_045.5));
        assert_eq!(list.part_hints[0].path(), "/live/x/720p/b1");
        assert_eq!(list.reports[0].uri.path(), "/live/x/audio/index.m3u8");
        let closes: Vec<bool> = list.parts().map(|placed| placed.closes_segment).collect();
        assert_eq!(closes, [false, true, false]);
    }

    #[test]
    fn every_segment_has_the_map_before_it() {
        let text =
            TEXT.replace("#EXTINF:1.0,\na.m4s\n", "#EXTINF:1.0,\na.m4s\n#EXT-X-MAP:URI=\"other.mp4\"\n");
        let list = MediaPlaylist::parse(&text, &Url::parse("http://host/index.m3u8").unwrap());
        let maps = [12, 13, 14, 15].map(|msn| list.map_of(msn).map(|map| map.path().to_owned()));
        assert_eq!(maps, [None, Some("/init.mp4".into()), Some("/other.mp4".into()), None]);
    }

    #[test]
    fn between_two_segments_the_edge_is_the_last_part_of_the_finished_one() {
        let text = TEXT.split("#EXT-X-PART:DURATION=0.5,URI=\"b0\"").next().unwrap();
        let list = MediaPlaylist::parse(text, &Url::parse("http://host/index.m3u8").unwrap());
        assert_eq!(list.last(), Position { msn: 13, part: 1 });
        assert_eq!(list.next(), Position { msn: 14, part: 0 });
    }
}
