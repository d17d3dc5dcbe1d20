//! Values to bytes.

use bytes::{BufMut, BytesMut};

use super::{Properties, Value, marker};

/// Deeper containers than this are written as null: nothing here builds them, and the writer recurses.
const MAX_DEPTH: u8 = 32;

/// Appends one value.
pub fn encode(value: &Value, out: &mut BytesMut) {
    put(value, out, MAX_DEPTH);
}

/// Appends values one after another, as commands and data messages have them.
pub fn encode_all<'a>(values: impl IntoIterator<Item = &'a Value>, out: &mut BytesMut) {
    for value in values {
        encode(value, out);
    }
}

fn put(value: &Value, out: &mut BytesMut, depth: u8) {
    let container = matches!(value, Value::Object(_) | Value::EcmaArray(_) | Value::StrictArray(_));
    let Some(inner) = (if container { depth.checked_sub(1) } else { Some(depth) }) else {
        out.put_u8(marker::NULL);
        return;
    };
    match value {
        Value::Number(number) => {
            out.put_u8(marker::NUMBER);
            out.put_f64(*number);
        }
        Value::Boolean(truth) => {
            out.put_u8(marker::BOOLEAN);
            out.put_u8(u8::from(*truth));
        }
        Value::String(text) => match u16::try_from(text.len()) {
            Ok(length) => {
                out.put_u8(marker::STRING);
                out.put_u16(length);
                out.put_slice(text.as_bytes());
            }
            Err(_) => put_long(text, out),
        },
        Value::Object(properties) => {
            out.put_u8(marker::OBJECT);
            put_properties(properties, out, inner);
        }
        Value::Null => out.put_u8(marker::NULL),
        Value::Undefined => out.put_u8(marker::UNDEFINED),
        Value::EcmaArray(properties) => {
            out.put_u8(marker::ECMA_ARRAY);
            out.put_u32(u32::try_from(properties.len()).unwrap_or(u32::MAX));
            put_properties(properties, out, inner);
        }
        Value::StrictArray(items) => {
            out.put_u8(marker::STRICT_ARRAY);
            let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
            out.put_u32(count);
            for item in items.iter().take(count as usize) {
                put(item, out, inner);
            }
        }
        Value::Date { millis, zone } => {
            out.put_u8(marker::DATE);
            out.put_f64(*millis);
            out.put_i16(*zone);
        }
        Value::LongString(text) => put_long(text, out),
    }
}

fn put_long(text: &str, out: &mut BytesMut) {
    let text = clipped(text, u32::MAX as usize);
    out.put_u8(marker::LONG_STRING);
    out.put_u32(text.len() as u32);
    out.put_slice(text.as_bytes());
}

fn put_properties(properties: &Properties, out: &mut BytesMut, depth: u8) {
    for (name, value) in properties {
        let name = clipped(name, usize::from(u16::MAX));
        out.put_u16(name.len() as u16);
        out.put_slice(name.as_bytes());
        put(value, out, depth);
    }
    out.put_u16(0);
    out.put_u8(marker::OBJECT_END);
}

/// At most `limit` bytes of `text`, whole characters.
fn clipped(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default()
}
