use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::cmaf::init_segment;
use crate::unit::Format;

/// x265, 638x358 at 30000/1001.
const VPS: &str = "40010c01ffff01600000030090000003000003003f959809";
const SPS: &str = "42010101600000030090000003000003003fa005020169d565959a4932bc05a02000007d20000ea601";
const PPS: &str = "4401c172b46240";
/// x265, 1920x1080 at 50, 10 bits.
const SPS_10: &str =
    "42010102200000030090000003000003007ba003c08010e4d96566924caf01680800000300080000030190 40";

fn bytes(hex: &str) -> Bytes {
    let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect::<Vec<u8>>().into()
}

fn sets(sps: &str) -> Config {
    Config { length_size: 4, vps: vec![bytes(VPS)], sps: vec![bytes(sps)], pps: vec![bytes(PPS)] }
}

fn unit(nals: &[&[u8]]) -> Bytes {
    let mut out = BytesMut::new();
    for nal in nals {
        out.put_u32(nal.len() as u32);
        out.put_slice(nal);
    }
    out.freeze()
}

#[test]
fn parameter_sets_become_a_format() {
    let format = sets(SPS).format().unwrap();
    assert_eq!(format.codec, "hvc1.1.6.L63.90");
    assert_eq!((format.width, format.height), (638, 358));
    assert_eq!(format.frame_rate, Some((30_000, 1001)));
    let format = sets(SPS_10).format().unwrap();
    assert_eq!(format.codec, "hvc1.2.4.L123.90");
    assert_eq!((format.width, format.height), (1920, 1080));
    assert_eq!(format.frame_rate, Some((50, 1)));
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let written = sets(SPS).format().unwrap();
    assert_eq!(Config::parse(&written.config).unwrap(), sets(SPS));
    assert_eq!(format(&written.config).unwrap(), written);
    let init = init_segment(&Format::Video(written)).unwrap();
    assert!(init.windows(4).any(|four| four == b"hvc1") && init.windows(4).any(|four| four == b"hvcC"));
}

#[test]
fn records_that_cannot_be_used_say_why() {
    let record = sets(SPS).format().unwrap().config;
    for length in 0..record.len() {
        assert!(format(&record.slice(..length)).is_err(), "{length} bytes");
    }
    assert_eq!(Config::parse(&Bytes::from_static(b"\x02")), Err(H265Error::Version(2)));
    let without = Config { vps: vec![], ..sets(SPS) };
    assert_eq!(without.format(), Err(H265Error::Missing("VPS")));
}

#[test]
fn pictures_are_passed_on_and_parameter_sets_found() {
    let mut intake = Intake::new(4);
    let idr = unit(&[&bytes(VPS), &bytes(SPS), &bytes(PPS), &[0x28, 1, 0xaa]]);
    let picture = intake.accept(idr.clone()).unwrap();
    assert!(picture.keyframe);
    assert_eq!(picture.payload.as_ptr(), idr.as_ptr(), "nothing is copied");
    assert_eq!(intake.in_band().unwrap().format(), sets(SPS).format());
    assert!(!intake.accept(unit(&[&[0x02, 1, 0xbb]])).unwrap().keyframe);
    assert!(intake.accept(unit(&[&[0x2A, 1, 0xbb]])).unwrap().keyframe, "CRA");
    assert_eq!(intake.accept(unit(&[&[0x4e, 1, 5]])), None, "SEI alone");
    assert_eq!(intake.accept(Bytes::from_static(&[0, 0, 0, 9, 0x28])), None, "cut off");
}

#[test]
fn short_lengths_and_start_codes_become_lengths_of_four() {
    let expected = unit(&[&[0x28, 1, 0xaa]]);
    let short = Bytes::from_static(&[0, 3, 0x28, 1, 0xaa]);
    assert_eq!(Intake::new(2).accept(short).unwrap().payload, expected);
    let annex_b = Bytes::from_static(&[0, 0, 0, 1, 0x28, 1, 0xaa]);
    assert_eq!(Intake::new(4).accept(annex_b).unwrap().payload, expected);
}

proptest! {
    #[test]
    fn no_bytes_break_the_readers(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut with_header = vec![0x42, 0x01];
        with_header.extend(&data);
        let _read: Result<Sps, H265Error> = sps(&with_header);
        let data = Bytes::from(data);
        let _parsed: Result<_, H265Error> = format(&data);
        let mut intake = Intake::new(4);
        if let Some(picture) = intake.accept(data.clone()) {
            prop_assert!(picture.payload.len() <= data.len() + 4 * (data.len() / 3 + 1));
        }
    }

    #[test]
    fn damage_to_a_real_sps_is_survived(at in 0_usize..41, value: u8) {
        let mut nal = bytes(SPS).to_vec();
        nal[at] = value;
        let _read: Result<Sps, H265Error> = sps(&nal);
    }
}
