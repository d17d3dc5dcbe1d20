//! A response body that is a list of shared byte slices: the media goes from the parser's buffers to the socket.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};

/// A body of known length.
#[derive(Debug, Default)]
pub struct Body {
    chunks: VecDeque<Bytes>,
    left: u64,
}

impl Body {
    /// Nothing.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The slices one after another.
    pub fn chunks(chunks: impl IntoIterator<Item = Bytes>) -> Self {
        let chunks: VecDeque<Bytes> = chunks.into_iter().filter(|c| !c.is_empty()).collect();
        let left = chunks.iter().map(|c| c.len() as u64).sum();
        Self { chunks, left }
    }

    /// Bytes in it.
    pub fn len(&self) -> u64 {
        self.left
    }

    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Only the bytes from `start` to `end`, both included.
    #[must_use]
    pub fn range(mut self, start: u64, end: u64) -> Self {
        let mut skip = start;
        let mut take = end.saturating_sub(start).saturating_add(1);
        let mut kept = VecDeque::new();
        while let Some(mut chunk) = self.chunks.pop_front() {
            let len = chunk.len() as u64;
            if skip >= len {
                skip -= len;
                continue;
            }
            chunk.advance(skip as usize);
            skip = 0;
            chunk.truncate(take.min(chunk.len() as u64) as usize);
            take -= chunk.len() as u64;
            kept.push_back(chunk);
            if take == 0 {
                break;
            }
        }
        Self::chunks(kept)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::chunks([bytes])
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = self.chunks.pop_front();
        if let Some(chunk) = &chunk {
            self.left -= chunk.len() as u64;
        }
        Poll::Ready(chunk.map(|c| Ok(Frame::data(c))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flat(body: &Body) -> Vec<u8> {
        body.chunks.iter().flat_map(|c| c.to_vec()).collect()
    }

    proptest! {
        #[test]
        fn a_range_is_that_range_of_the_bytes(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..9),
            start in 0u64..90,
            len in 1u64..90,
        ) {
            let whole: Vec<u8> = chunks.concat();
            let body = Body::chunks(chunks.into_iter().map(Bytes::from));
            prop_assert_eq!(body.len(), whole.len() as u64);
            let ranged = body.range(start, start + len - 1);
            let from = (start as usize).min(whole.len());
            let to = ((start + len) as usize).min(whole.len());
            prop_assert_eq!(ranged.len() as usize, to - from);
            prop_assert_eq!(flat(&ranged), &whole[from..to]);
        }
    }
}
