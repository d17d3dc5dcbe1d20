use bytes::BytesMut;
use proptest::prelude::*;

use super::*;

fn bytes_of(value: &Value) -> BytesMut {
    let mut out = BytesMut::new();
    encode(value, &mut out);
    out
}

fn nested(levels: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..levels {
        bytes.extend_from_slice(&[3, 0, 1, b'a']);
    }
    bytes
}

#[test]
fn a_connect_object_reads_as_sent() {
    let bytes = b"\x03\0\x03app\x02\0\x04live\0\x02id\0\x3f\xf0\0\0\0\0\0\0\0\x02ok\x01\x01\0\0\x09";
    let (value, used) = decode(bytes, &Limits::default()).unwrap();
    assert_eq!(used, bytes.len());
    assert_eq!(value.get("app").and_then(Value::as_str), Some("live"));
    assert_eq!(value.get("id").and_then(Value::as_f64), Some(1.0));
    assert_eq!(value.get("ok"), Some(&Value::Boolean(true)));
    assert_eq!(&bytes_of(&value)[..], bytes);
}

#[test]
fn deep_nesting_is_refused_without_using_the_stack() {
    let error = decode(&nested(5000), &Limits::default()).unwrap_err();
    assert_eq!(error, DecodeError::TooDeep { at: 16 * 4 });
    assert!(error.is_limit());
    let mut arrays = Vec::new();
    for _ in 0..5000 {
        arrays.extend_from_slice(&[0x0A, 0, 0, 0, 1]);
    }
    assert!(matches!(decode(&arrays, &Limits::default()), Err(DecodeError::TooDeep { .. })));
}

#[test]
fn a_message_of_countless_values_is_refused() {
    let error = decode_all(&[5; 5000], &Limits::default()).unwrap_err();
    assert_eq!(error, DecodeError::TooManyValues { at: 4096 });
    let mut array = vec![0x0A, 0xFF, 0xFF, 0xFF, 0xFF];
    array.extend_from_slice(&[5; 5000]);
    assert!(decode(&array, &Limits::default()).unwrap_err().is_limit());
}

#[test]
fn text_that_is_not_utf8_is_repaired() {
    let (value, _) = decode(b"\x02\0\x03a\xffb", &Limits::default()).unwrap();
    assert_eq!(value, Value::string("a\u{FFFD}b"));
}

#[test]
fn dates_long_strings_and_xml_are_understood() {
    let date = Value::Date { millis: 1.5e12, zone: -60 };
    assert_eq!(decode(&bytes_of(&date), &Limits::default()).unwrap().0, date);
    let long = Value::String("x".repeat(70_000));
    assert_eq!(
        decode(&bytes_of(&long), &Limits::default()).unwrap().0,
        Value::LongString("x".repeat(70_000))
    );
    assert_eq!(
        decode(b"\x0f\0\0\0\x02<>", &Limits::default()).unwrap().0,
        Value::LongString("<>".to_owned())
    );
}

#[test]
fn an_array_without_its_end_marker_ends_with_the_message() {
    let (value, _) = decode(b"\x08\0\0\0\x01\0\x01w\x05", &Limits::default()).unwrap();
    assert_eq!(value, Value::EcmaArray(vec![("w".to_owned(), Value::Null)]));
}

#[test]
fn cut_values_say_where() {
    assert_eq!(decode(b"\x00\x01\x02", &Limits::default()), Err(DecodeError::Truncated { at: 1 }));
    assert_eq!(decode(b"\x02\0\x09ab", &Limits::default()), Err(DecodeError::Truncated { at: 3 }));
    assert_eq!(decode(b"\x11\x0a", &Limits::default()), Err(DecodeError::Marker { marker: 0x11, at: 0 }));
}

#[test]
fn a_value_nested_beyond_reason_is_written_as_null() {
    let mut value = Value::Null;
    for _ in 0..100 {
        value = Value::StrictArray(vec![value]);
    }
    assert_eq!(bytes_of(&value).len(), 32 * 5 + 1);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        proptest::num::f64::NORMAL.prop_map(Value::Number),
        any::<bool>().prop_map(Value::Boolean),
        ".{0,40}".prop_map(Value::String),
        Just(Value::Null),
        Just(Value::Undefined),
        (proptest::num::f64::NORMAL, any::<i16>()).prop_map(|(millis, zone)| Value::Date { millis, zone }),
        ".{0,40}".prop_map(Value::LongString),
    ];
    leaf.prop_recursive(8, 64, 6, |inner| {
        let pairs = proptest::collection::vec((".{0,12}", inner.clone()), 0..6);
        prop_oneof![
            pairs.clone().prop_map(Value::Object),
            pairs.prop_map(Value::EcmaArray),
            proptest::collection::vec(inner, 0..6).prop_map(Value::StrictArray),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(values in proptest::collection::vec(value(), 0..5)) {
        let mut out = BytesMut::new();
        encode_all(&values, &mut out);
        prop_assert_eq!(decode_all(&out, &Limits::default()).unwrap(), values);
    }

    #[test]
    fn no_bytes_break_the_decoder(bytes in proptest::collection::vec(prop_oneof![0u8..18, any::<u8>()], 0..2000)) {
        if let Err(error) = decode_all(&bytes, &Limits::default()) {
            prop_assert!(error.position() <= bytes.len());
        }
    }
}
