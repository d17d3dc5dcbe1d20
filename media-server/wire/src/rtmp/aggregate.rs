//! Aggregate messages (7.1.6): FLV tags, each followed by its size, in one message.

use bytes::Bytes;

use super::message::Message;
use crate::cursor::Cursor;

/// The parts of an aggregate; each is a slice of it.
pub(super) struct Parts {
    body: Bytes,
    at: usize,
    stream: u32,
    timestamp: u32,
    /// Timestamp of the first part: the aggregate's own time stands for it.
    first: Option<u32>,
    /// The rest of the body does not hold a part.
    pub(super) broken: bool,
}

impl Parts {
    pub(super) fn new(aggregate: Message) -> Self {
        Self {
            body: aggregate.payload,
            at: 0,
            stream: aggregate.stream,
            timestamp: aggregate.timestamp,
            first: None,
            broken: false,
        }
    }

    fn part(&mut self) -> Option<Message> {
        let mut cursor = Cursor::new(self.body.get(self.at..)?);
        let kind = cursor.u8()?;
        let length = cursor.u24()? as usize;
        let low = cursor.u24()?;
        let high = u32::from(cursor.u8()?);
        let time = high << 24 | low;
        cursor.u24()?;
        let start = self.at.saturating_add(cursor.position());
        cursor.take(length)?;
        let end = start.saturating_add(length);
        // The back pointer of the last part is sometimes left out.
        cursor.u32();
        self.at = self.at.saturating_add(cursor.position());
        let first = *self.first.get_or_insert(time);
        Some(Message {
            kind,
            stream: self.stream,
            timestamp: self.timestamp.wrapping_add(time.wrapping_sub(first)),
            payload: self.body.slice(start..end),
            discarded: false,
        })
    }
}

impl Iterator for &mut Parts {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        if self.at >= self.body.len() {
            return None;
        }
        let part = self.part();
        if part.is_none() {
            self.broken = true;
            self.at = self.body.len();
        }
        part
    }
}
