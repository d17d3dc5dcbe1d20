//! AMF0: whatever decodes also encodes, and decodes to the same bytes again.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use wire::amf0::{Limits, decode_all, encode_all};

fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    let values = match decode_all(data, &limits) {
        Ok(values) => values,
        Err(error) => {
            assert!(error.position() <= data.len());
            return;
        }
    };
    let mut once = BytesMut::new();
    encode_all(&values, &mut once);
    // Repaired text is up to three times as long, and a name of 64 KiB is cut then: compare from the second time.
    let Ok(values) = decode_all(&once, &limits) else { panic!("own bytes do not decode") };
    let mut twice = BytesMut::new();
    encode_all(&values, &mut twice);
    assert_eq!(once, twice);
});
