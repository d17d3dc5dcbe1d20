//! Bytes to values, bounded.

use super::{Properties, Value, marker};
use crate::cursor::Cursor;

/// What a decoder may spend on one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Containers within containers. The decoder recurses, so keep it small.
    pub depth: u8,
    /// Values in all, nested ones included.
    pub values: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 16, values: 4096 }
    }
}

/// Why bytes are not AMF0. Positions are byte offsets into what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The data end within a value.
    #[error("AMF0 value cut short at byte {at}")]
    Truncated {
        /// Where more was needed.
        at: usize,
    },
    /// A marker that AMF0 does not have, or that nothing sends (movie clip, record set, AMF3 switch).
    #[error("AMF0 marker {marker:#04x} at byte {at} is not supported")]
    Marker {
        /// The marker found.
        marker: u8,
        /// Where it is.
        at: usize,
    },
    /// More containers within containers than [`Limits::depth`].
    #[error("AMF0 nested too deeply at byte {at}")]
    TooDeep {
        /// Where the container beyond the limit starts.
        at: usize,
    },
    /// More values than [`Limits::values`].
    #[error("AMF0 message with too many values at byte {at}")]
    TooManyValues {
        /// Where the value beyond the limit starts.
        at: usize,
    },
}

impl DecodeError {
    /// A bound was hit: the input is hostile rather than damaged.
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::TooDeep { .. } | Self::TooManyValues { .. })
    }

    /// Where, in bytes from the start of the input.
    pub fn position(&self) -> usize {
        match *self {
            Self::Truncated { at }
            | Self::Marker { at, .. }
            | Self::TooDeep { at }
            | Self::TooManyValues { at } => at,
        }
    }
}

/// Decodes the first value of `bytes`; also says how many bytes it took.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<(Value, usize), DecodeError> {
    let mut decoder = Decoder { cursor: Cursor::new(bytes), values_left: limits.values };
    let value = decoder.value(limits.depth)?;
    Ok((value, decoder.cursor.position()))
}

/// Decodes every value of `bytes`, which is how commands and data messages are laid out.
pub fn decode_all(bytes: &[u8], limits: &Limits) -> Result<Vec<Value>, DecodeError> {
    let mut decoder = Decoder { cursor: Cursor::new(bytes), values_left: limits.values };
    let mut values = Vec::new();
    while !decoder.cursor.is_empty() {
        values.push(decoder.value(limits.depth)?);
    }
    Ok(values)
}

struct Decoder<'a> {
    cursor: Cursor<'a>,
    values_left: u32,
}

impl Decoder<'_> {
    fn truncated(&self) -> DecodeError {
        DecodeError::Truncated { at: self.cursor.position() }
    }

    /// Reads one value; `depth` containers may still open. Recursion ends with it.
    fn value(&mut self, depth: u8) -> Result<Value, DecodeError> {
        let at = self.cursor.position();
        self.values_left = self.values_left.checked_sub(1).ok_or(DecodeError::TooManyValues { at })?;
        let marker = self.cursor.u8().ok_or_else(|| self.truncated())?;
        let inner = || depth.checked_sub(1).ok_or(DecodeError::TooDeep { at });
        Ok(match marker {
            marker::NUMBER => Value::Number(self.cursor.f64().ok_or_else(|| self.truncated())?),
            marker::BOOLEAN => Value::Boolean(self.cursor.u8().ok_or_else(|| self.truncated())? != 0),
            marker::STRING => Value::String(self.short_text()?),
            marker::OBJECT => Value::Object(self.properties(inner()?)?),
            marker::NULL => Value::Null,
            marker::UNDEFINED | marker::UNSUPPORTED => Value::Undefined,
            marker::REFERENCE => {
                self.cursor.u16().ok_or_else(|| self.truncated())?;
                Value::Undefined
            }
            marker::ECMA_ARRAY => {
                // The count is a hint that encoders get wrong: the end marker decides.
                self.cursor.u32().ok_or_else(|| self.truncated())?;
                Value::EcmaArray(self.properties(inner()?)?)
            }
            marker::STRICT_ARRAY => Value::StrictArray(self.array(inner()?)?),
            marker::DATE => {
                let millis = self.cursor.f64().ok_or_else(|| self.truncated())?;
                let zone = self.cursor.i16().ok_or_else(|| self.truncated())?;
                Value::Date { millis, zone }
            }
            marker::LONG_STRING | marker::XML_DOCUMENT => {
                let length = self.cursor.u32().ok_or_else(|| self.truncated())?;
                Value::LongString(self.text(length as usize)?)
            }
            marker::TYPED_OBJECT => {
                self.short_text()?;
                Value::Object(self.properties(inner()?)?)
            }
            marker => return Err(DecodeError::Marker { marker, at }),
        })
    }

    fn array(&mut self, depth: u8) -> Result<Vec<Value>, DecodeError> {
        let count = self.cursor.u32().ok_or_else(|| self.truncated())?;
        // No capacity from the count: it is the peer's word only.
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(self.value(depth)?);
        }
        Ok(items)
    }

    fn properties(&mut self, depth: u8) -> Result<Properties, DecodeError> {
        let mut properties = Vec::new();
        loop {
            // Some encoders leave the end marker of the last object out.
            if self.cursor.is_empty() {
                return Ok(properties);
            }
            let name = self.short_text()?;
            if name.is_empty() && self.cursor.rest().first() == Some(&marker::OBJECT_END) {
                self.cursor.u8().ok_or_else(|| self.truncated())?;
                return Ok(properties);
            }
            properties.push((name, self.value(depth)?));
        }
    }

    fn short_text(&mut self) -> Result<String, DecodeError> {
        let length = self.cursor.u16().ok_or_else(|| self.truncated())?;
        self.text(usize::from(length))
    }

    fn text(&mut self, length: usize) -> Result<String, DecodeError> {
        let bytes = self.cursor.take(length).ok_or_else(|| self.truncated())?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}
