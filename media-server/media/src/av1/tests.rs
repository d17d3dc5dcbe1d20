use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::cmaf::init_segment;
use crate::unit::Format;

/// SVT-AV1, 640x360, 8 bits.
const RECORD: &[u8] = b"\x81\x01\x0c\x00\x0a\x0b\x00\x00\x00\x0c\xc4\xff\x67\x00\xbe\x00\x10";
/// libaom, 320x180, 10 bits.
const RECORD_10: &[u8] = b"\x81\x00\x4c\x00\x0a\x0b\x00\x00\x00\x04\x3c\xfe\xcc\xda\xf9\x40\x40";

#[test]
fn a_record_becomes_a_format_and_the_same_record_again() {
    for (record, codec, size) in
        [(RECORD, "av01.0.01M.08", (640, 360)), (RECORD_10, "av01.0.00M.10", (320, 180))]
    {
        let format = format(&Bytes::from_static(record)).unwrap().unwrap();
        assert_eq!(format.codec, codec);
        assert_eq!((format.width, format.height), size);
        assert_eq!(&format.config[..], record);
        let init = init_segment(&Format::Video(format)).unwrap();
        assert!(init.windows(4).any(|four| four == b"av01") && init.windows(4).any(|four| four == b"av1C"));
    }
}

#[test]
fn records_that_cannot_be_used_say_why() {
    assert_eq!(format(&Bytes::from_static(b"\x01")), Err(Av1Error::Version(1)));
    assert!(format(&Bytes::from_static(&RECORD[..3])).is_err());
    assert!(format(&Bytes::from_static(&RECORD[..12])).unwrap().is_none(), "a unit cut off is no header");
    assert_eq!(format(&Bytes::from_static(&RECORD[..4])), Ok(None), "its header comes in band");
}

/// A temporal delimiter, the sequence header and a frame.
fn temporal_unit(frame: u8) -> Bytes {
    let mut unit = b"\x12\x00".to_vec();
    unit.extend(&RECORD[4..]);
    unit.extend([0x32, 2, frame, 0xaa]);
    unit.into()
}

#[test]
fn temporal_units_lose_their_delimiter_and_nothing_else() {
    let mut intake = Intake::default();
    let unit = temporal_unit(0x10);
    let picture = intake.accept(&unit).unwrap();
    assert!(picture.keyframe);
    assert_eq!(picture.payload, unit.slice(2..));
    assert_eq!(picture.payload.as_ptr(), unit[2..].as_ptr(), "nothing is copied");
    assert_eq!(intake.in_band(), format(&Bytes::from_static(RECORD)).unwrap().as_ref());
    assert!(!intake.accept(&temporal_unit(0x30)).unwrap().keyframe, "an inter frame");
    assert!(!intake.accept(&temporal_unit(0x00)).unwrap().keyframe, "not shown");
    assert_eq!(intake.accept(&unit.slice(..15)), None, "no frame");
    assert_eq!(intake.accept(&unit.slice(..unit.len() - 1)), None, "cut off");
}

#[test]
fn a_delimiter_in_the_middle_is_taken_out() {
    let mut unit = temporal_unit(0x10).to_vec();
    unit.extend(b"\x12\x00\x32\x01\x30");
    let picture = Intake::default().accept(&unit.into()).unwrap();
    assert!(picture.payload.ends_with(b"\xaa\x32\x01\x30"));
}

proptest! {
    #[test]
    fn no_bytes_break_the_readers(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _read: Result<Sequence, Av1Error> = Sequence::parse(&data);
        let data = Bytes::from(data);
        let _parsed: Result<_, Av1Error> = format(&data);
        if let Some(picture) = Intake::default().accept(&data) {
            prop_assert!(picture.payload.len() <= data.len());
        }
    }

    #[test]
    fn damage_to_a_real_header_is_survived(at in 0_usize..17, value: u8) {
        let mut record = RECORD.to_vec();
        record[at] = value;
        let _parsed: Result<_, Av1Error> = format(&record.into());
    }
}
