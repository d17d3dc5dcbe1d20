//! Which of the bytes that were fed are bodies of messages: whoever keeps what was fed may keep a body's own memory in
//! place of a second copy.

use bytes::Bytes;

/// What became of a part of what was fed, in the order in which it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traced {
    /// `length` bytes from `at` on, counted from the start of what was fed, lie at `offset` of the body that is being
    /// put together under `id`. There is one such body at a time.
    Body {
        /// Of the body, until it is whole or lost.
        id: u32,
        /// Where in what was fed.
        at: usize,
        /// Where in the body.
        offset: usize,
        /// So many bytes.
        length: usize,
    },
    /// The body is whole, and this is its memory.
    Whole {
        /// Of the body.
        id: u32,
        /// All of it.
        body: Bytes,
    },
    /// The body will not become whole.
    Lost {
        /// Of the body.
        id: u32,
        /// What of it there is.
        body: Bytes,
    },
}
