//! Protocol control and user control messages (5.4, 6.2), and the acknowledgements that the peer's window asks
//! for.

use super::error::SessionError;
use super::message::{Message, kind};
use super::session::Session;
use super::stats::count;
use super::writer::CONTROL;
use crate::cursor::Cursor;

/// User control event types (7.1.7).
const STREAM_BEGIN: u16 = 0;
const PING_REQUEST: u16 = 6;
const PING_RESPONSE: u16 = 7;

/// How far the peer may run ahead of acknowledgements.
pub(super) struct Window {
    size: u64,
    acknowledged: u64,
}

impl Window {
    pub(super) fn new(size: u32) -> Self {
        Self { size: u64::from(size.max(1)), acknowledged: 0 }
    }
}

impl Session {
    /// Sends an acknowledgement (5.4.3) once a window has come in: the total, wrapping at 32 bits.
    pub(super) fn acknowledge(&mut self) {
        let total = self.stats.bytes_in;
        if total.saturating_sub(self.window.acknowledged) >= self.window.size {
            self.window.acknowledged = total;
            self.writer.message(CONTROL, kind::ACKNOWLEDGEMENT, 0, &(total as u32).to_be_bytes());
        }
    }

    pub(super) fn stream_begin(&mut self, stream: u32) {
        self.user_event(STREAM_BEGIN, stream);
    }

    fn user_event(&mut self, event: u16, value: u32) {
        let payload = [&event.to_be_bytes()[..], &value.to_be_bytes()[..]].concat();
        self.writer.message(CONTROL, kind::USER_CONTROL, 0, &payload);
    }

    /// Handles types 1 to 6.
    pub(super) fn control(&mut self, message: &Message, at: u64) -> Result<(), SessionError> {
        if self.try_control(message, at)?.is_none() {
            count(&mut self.stats.repairs.short_control);
        }
        Ok(())
    }

    /// `None` where the message is too short.
    fn try_control(&mut self, message: &Message, at: u64) -> Result<Option<()>, SessionError> {
        let mut cursor = Cursor::new(&message.payload);
        if message.kind == kind::USER_CONTROL {
            return Ok(self.user_control(cursor));
        }
        let Some(value) = cursor.u32() else { return Ok(None) };
        match message.kind {
            kind::SET_CHUNK_SIZE if !self.reader.set_chunk_size(value) => {
                return Err(SessionError::ChunkSize { size: value, at });
            }
            kind::ABORT if self.reader.abort(value) => count(&mut self.stats.repairs.aborted_messages),
            // Zero would ask for endless acknowledgements.
            kind::WINDOW_SIZE if value > 0 => self.window.size = u64::from(value),
            _ => {}
        }
        Ok(Some(()))
    }

    fn user_control(&mut self, mut cursor: Cursor<'_>) -> Option<()> {
        if cursor.u16()? == PING_REQUEST {
            self.user_event(PING_RESPONSE, cursor.u32()?);
        }
        Some(())
    }
}
