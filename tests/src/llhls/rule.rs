//! The numbered rules that an LL-HLS origin is held to, in our own words.
//!
//! Sources: draft-pantos-hls-rfc8216bis ("bis" and its clause), Apple's HLS authoring specification, CMAF
//! (ISO/IEC 23000-19), and what players stumble over ("practice"). The numbers are those of `docs/` and of reports.

/// How much a rule weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A player may refuse or stumble where it is broken.
    Must,
    /// Costs quality or compatibility.
    Should,
}

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// R1, R2 …
    pub number: u16,
    /// MUST or SHOULD.
    pub level: Level,
    /// What holds where the rule is kept.
    pub says: &'static str,
    /// Where it is written.
    pub source: &'static str,
}

const fn must(number: u16, source: &'static str, says: &'static str) -> Rule {
    Rule { number, level: Level::Must, says, source }
}

const fn should(number: u16, source: &'static str, says: &'static str) -> Rule {
    Rule { number, level: Level::Should, says, source }
}

/// Every rule that [`super::check`] exercises, by number.
pub const RULES: &[Rule] = &[
    must(
        1,
        "bis 4.1",
        "playlists are UTF-8 without BOM, begin with #EXTM3U and come as application/vnd.apple.mpegurl",
    ),
    must(2, "bis 4.4.3.1", "TARGETDURATION is there, never changes, and no EXTINF rounds to more than it"),
    must(3, "bis 4.4.3.2, 6.2.2", "media sequence numbers only grow and keep their URI"),
    must(4, "bis 4.4.3.7", "PART-INF stands where parts are listed, and parts where PART-INF stands"),
    must(5, "bis 4.4.3.8", "PART-HOLD-BACK is at least 2 x PART-TARGET"),
    should(6, "bis 4.4.3.8, authoring 14.3", "PART-HOLD-BACK is at least 3 x PART-TARGET"),
    must(7, "bis 4.4.3.8", "HOLD-BACK is at least 3 x TARGETDURATION"),
    must(8, "bis 4.4.3.8", "CAN-SKIP-UNTIL is at least 6 x TARGETDURATION"),
    must(9, "bis B.1", "CAN-BLOCK-RELOAD=YES"),
    must(10, "bis 4.4.4.9", "no part is longer than PART-TARGET"),
    must(
        11,
        "bis 4.4.4.9",
        "a part fills 85 % of PART-TARGET unless independent, a gap, before a gap, or its segment's last",
    ),
    must(12, "bis 4.4.4.9", "a part marked INDEPENDENT holds a sync sample"),
    should(13, "bis 4.4.4.9", "a part that begins with a sync sample is marked INDEPENDENT"),
    must(14, "bis 4.4.4.9", "a part lasts as long as its samples"),
    must(15, "bis 4.4.4.1", "a segment lasts as long as its samples"),
    must(16, "bis 3.1, 6.2.1", "decode time runs on from part to part and from segment to segment"),
    must(17, "bis 3.2", "the parts of a segment hold the same samples as the segment"),
    must(18, "bis 4.4.5.3", "the preload hint names what becomes the next part"),
    should(19, "bis 6.2.6", "a request for the hinted part waits and then gets it whole"),
    must(20, "bis 4.4.5.4", "rendition reports neither lag nor lead"),
    should(21, "bis B.1", "a rendition report for every other rendition"),
    must(22, "bis 4.4.5.2", "a delta update rebuilds the full playlist exactly"),
    must(
        23,
        "bis 6.2.5.1",
        "a delta update comes where CAN-SKIP-UNTIL offers it and there is something to skip",
    ),
    must(24, "bis 6.2.5.2", "a blocking reload returns with what it asked for"),
    should(25, "bis 6.2.5.2", "_HLS_msn beyond the last + 2 is answered at once with 400"),
    must(26, "bis 6.2.5.2", "_HLS_part without _HLS_msn is answered with 400"),
    should(27, "bis 6.2.5.2", "_HLS_msn that is no number is answered with 400"),
    should(28, "bis 6.2.2", "unknown media is answered with 404"),
    should(29, "bis 6.2.5.2", "a blocked request is answered within 3 target durations"),
    should(30, "bis B.1", "a bare live playlist is cached for at most a target duration"),
    should(31, "bis B.1", "a blocked playlist is cached for at most 6 target durations"),
    should(32, "Apple LL-HLS", "parts, segments and init are cacheable for at least 6 target durations"),
    should(33, "Apple LL-HLS", "a 404 is cached for at most a target duration"),
    must(34, "practice", "playlists and media allow every origin (CORS)"),
    should(35, "bis B.1", "playlists come gzip-compressed to who accepts it"),
    should(36, "bis B.1", "HTTP/2 is offered"),
    must(37, "authoring", "live playlists carry PROGRAM-DATE-TIME"),
    must(38, "bis 4.4.4.6", "PROGRAM-DATE-TIME does not drift against decode time"),
    must(39, "bis 6.2.4", "all renditions share one PROGRAM-DATE-TIME to decode time offset"),
    should(40, "bis 6.2.4", "segments of one number begin at one time in all renditions"),
    must(41, "bis 6.2.2", "the oldest listed part can still be fetched"),
    should(42, "bis 4.4.4.9", "parts farther than 3 target durations from the end are no longer listed"),
    must(43, "bis 4.4.6.2", "BANDWIDTH is at least the measured peak of video and audio"),
    should(44, "bis 4.4.6.2", "AVERAGE-BANDWIDTH is there and at least the measured average"),
    must(45, "bis 4.4.6.2", "CODECS says what the init segments say"),
    should(46, "bis 4.4.6.2", "RESOLUTION says what the init segment says"),
    should(47, "bis 4.4.6.2", "FRAME-RATE says what the media does"),
    must(48, "bis 3.1.2", "EXT-X-MAP names an init segment of ftyp and moov with trex"),
    must(49, "CMAF 7.3", "every fragment is a moof and its mdat, with tfdt, and the samples fill the mdat"),
    should(50, "CMAF 7.3", "one track a file, default-base-is-moof, no edit list that shifts media"),
    must(51, "practice", "media decodes without an error"),
    should(52, "bis 4.4.2.1", "INDEPENDENT-SEGMENTS is said, and every segment begins with a sync sample"),
    must(53, "bis 6.2.2", "an init segment's bytes never change under one URI"),
    should(54, "practice", "sound and picture of one number begin within an audio frame + 20 ms"),
    must(55, "bis 6.2.2", "everything listed can be fetched"),
    must(56, "bis 7", "EXT-X-VERSION is high enough for what the playlist uses"),
    must(
        57,
        "bis 4.4.4.3, practice",
        "a discontinuity stands before another init segment, and before the same segments in all renditions",
    ),
    must(61, "bis 4.4.6.6", "CONTENT-STEERING has SERVER-URI and stands at most once"),
    must(62, "bis 4.4.6.4", "SESSION-DATA has DATA-ID and either VALUE or URI, each once a language"),
    must(
        63,
        "bis 4.4.6.1",
        "MEDIA has TYPE, GROUP-ID and NAME; groups that variants name exist; one DEFAULT a group",
    ),
    should(64, "authoring", "every variant says CLOSED-CAPTIONS"),
    should(66, "bis 4.4.6.2", "SCORE on all variants or on none"),
    should(67, "authoring 6", "I-frame playlists for trick play"),
    should(68, "bis 4.4.6.2", "RESOLUTION and FRAME-RATE on every video variant"),
    must(74, "bis 6.2.4", "one TARGETDURATION in all media playlists"),
    must(75, "bis 6.2.4", "one SERVER-CONTROL in all media playlists"),
    must(76, "bis 6.2.1", "a new part within a PART-TARGET of the last (median, with room for the network)"),
    must(77, "bis 6.2.1", "a new segment within 1.5 target durations of the last"),
    must(78, "bis 6.2.2", "a part stays for 3 target durations after it left the playlist"),
    must(79, "bis 6.2.2", "nothing is removed that would leave less than 3 target durations"),
    must(80, "bis 6.2.5.2", "_HLS_part past a finished segment's end means the next segment's first part"),
    must(81, "bis 6.2.5.2", "_HLS_msn that is gone gets the whole playlist at once"),
    must(83, "bis 6.2.2", "a live playlist has no PLAYLIST-TYPE"),
    should(84, "bis 6.2.5.2", "_HLS_part past the advance limit is answered at once with 400"),
    should(85, "bis 6.2.6", "at most one preload hint of a TYPE"),
    should(86, "practice", "foreign query parameters pass, and the directives' order does not matter"),
];

/// The rule of that number.
pub fn rule(number: u16) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.number == number)
}
