//! What a connection has carried, and what had to be put right.

/// Totals of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes fed, handshake included.
    pub bytes_in: u64,
    /// Whole messages read, of any type.
    pub messages: u64,
    /// What had to be put right, by kind.
    pub repairs: Repairs,
}

/// Counts of input that was put right or left out instead of ending the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    /// A new message on a chunk stream whose last one was unfinished: the unfinished one is left out.
    pub partial_messages: u64,
    /// A repeated header in the middle of a message, read as a continuation.
    pub restated_headers: u64,
    /// Unfinished messages that the peer took back (Abort, 5.4.2).
    pub aborted_messages: u64,
    /// Audio, video and metadata before the publish was accepted or after it ended.
    pub unwanted_media: u64,
    /// Audio and video without a body.
    pub empty_media: u64,
    /// Commands and data that could not be read, from a publisher.
    pub unreadable_amf0: u64,
    /// Control messages too short for what they say.
    pub short_control: u64,
    /// Aggregates whose parts do not fit: the rest of it is left out.
    pub broken_aggregates: u64,
    /// Message types that are not known.
    pub unknown_messages: u64,
    /// Commands that are not known, or not possible in this state.
    pub unknown_commands: u64,
}

impl Repairs {
    /// Each count with a name for metrics.
    pub fn by_kind(&self) -> [(&'static str, u64); 10] {
        [
            ("partial_message", self.partial_messages),
            ("restated_header", self.restated_headers),
            ("aborted_message", self.aborted_messages),
            ("unwanted_media", self.unwanted_media),
            ("empty_media", self.empty_media),
            ("unreadable_amf0", self.unreadable_amf0),
            ("short_control", self.short_control),
            ("broken_aggregate", self.broken_aggregates),
            ("unknown_message", self.unknown_messages),
            ("unknown_command", self.unknown_commands),
        ]
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.by_kind().iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }
}

/// Counts one more.
pub(super) fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}
