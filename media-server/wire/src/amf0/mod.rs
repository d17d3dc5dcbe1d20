//! AMF0, the value encoding of RTMP commands and metadata (Adobe, "Action Message Format -- AMF 0", 2007).
//!
//! Decoding is bounded in depth and in the number of values, so that a hostile message costs neither stack nor
//! memory; strings that are not UTF-8 are repaired (U+FFFD), since encoders put local text into metadata.

mod decode;
mod encode;
mod value;

pub use decode::{DecodeError, Limits, decode, decode_all};
pub use encode::{encode, encode_all};
pub use value::{Properties, Value};

/// Markers of section 2.1.
mod marker {
    pub(super) const NUMBER: u8 = 0x00;
    pub(super) const BOOLEAN: u8 = 0x01;
    pub(super) const STRING: u8 = 0x02;
    pub(super) const OBJECT: u8 = 0x03;
    pub(super) const NULL: u8 = 0x05;
    pub(super) const UNDEFINED: u8 = 0x06;
    pub(super) const REFERENCE: u8 = 0x07;
    pub(super) const ECMA_ARRAY: u8 = 0x08;
    pub(super) const OBJECT_END: u8 = 0x09;
    pub(super) const STRICT_ARRAY: u8 = 0x0A;
    pub(super) const DATE: u8 = 0x0B;
    pub(super) const LONG_STRING: u8 = 0x0C;
    pub(super) const UNSUPPORTED: u8 = 0x0D;
    pub(super) const XML_DOCUMENT: u8 = 0x0F;
    pub(super) const TYPED_OBJECT: u8 = 0x10;
}

#[cfg(test)]
mod tests;
