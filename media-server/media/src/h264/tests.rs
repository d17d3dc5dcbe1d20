//! Real configuration records and hostile ones.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::*;

fn hex(text: &str) -> Bytes {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect::<Vec<_>>()
        .into()
}

/// x264 through ffmpeg 5.1: 640x360, 30 fps, High, two B-frames.
const HIGH: &str =
    "0164001effe1001a6764001eacd940a02ff970110000030001000003003c0f162d9601000468ef8fcbfdf8f800";
/// 1918x1078, 30000/1001, SAR 4:3 (cropped on both sides).
const CROPPED: &str =
    "01640028ffe1001a67640028acd940780227a9b0e100000303e90000ea600f18319601000468ef8fcbfdf8f800";
/// 320x240, 25 fps, Constrained Baseline.
const BASELINE: &str = "0142c00dffe100186742c00dd90141fb011000000300100000030320f142a48001000568cb83cb20";
/// 640x480 interlaced, High 4:2:2, 10 bit.
const INTERLACED: &str =
    "017a001effe10019677a001eb6cd940a07b60220000003002000000643e28532c001000768fba3cb3002c0fefafa00";
/// 320x240, High 4:4:4 Predictive.
const FULL_CHROMA: &str =
    "01f4000dffe1001967f4000d919b28283f6022000003000200000300641e28532c01000668ebe3c44844fff8f800";
/// OpenH264 through GStreamer 1.22: 320x240, no timing.
const OPENH264: &str = "0142c00dffe1000e6742c00d8c8d40a0f900f08846a001000468ce3c80";

#[test]
fn real_encoders_configurations_read_as_they_were_made() {
    for (record, codec, size, rate) in [
        (HIGH, "avc1.64001e", (640, 360), Some((30, 1))),
        (CROPPED, "avc1.640028", (1918, 1078), Some((30000, 1001))),
        (BASELINE, "avc1.42c00d", (320, 240), Some((25, 1))),
        (INTERLACED, "avc1.7a001e", (640, 480), Some((25, 1))),
        (FULL_CHROMA, "avc1.f4000d", (320, 240), Some((25, 1))),
        (OPENH264, "avc1.42c00d", (320, 240), None),
    ] {
        let format = format(&hex(record)).unwrap();
        assert_eq!(
            (format.codec.as_str(), (format.width, format.height), format.frame_rate),
            (codec, size, rate)
        );
        assert_eq!(format.config, hex(record), "the record goes on as it came");
    }
}

#[test]
fn an_sps_tells_aspect_reordering_depth_and_interlacing() {
    let sps_of = |record| Config::parse(&hex(record)).unwrap().sps().unwrap();
    assert_eq!(sps_of(CROPPED).sample_aspect, Some((4, 3)));
    assert_eq!(sps_of(HIGH).reorder_frames, Some(2));
    assert_eq!(sps_of(BASELINE).reorder_frames, Some(0));
    let interlaced = sps_of(INTERLACED);
    assert!(!interlaced.progressive);
    assert_eq!((interlaced.bit_depth_luma, interlaced.chroma_format), (10, 2));
    assert_eq!(sps_of(FULL_CHROMA).chroma_format, 3);
}

#[test]
fn a_record_is_rebuilt_from_its_parameter_sets() {
    for record in [HIGH, CROPPED, BASELINE, OPENH264] {
        let config = Config::parse(&hex(record)).unwrap();
        assert_eq!(config_record(&config.sps, &config.pps).unwrap(), hex(record));
    }
}

#[test]
fn a_configuration_without_parameter_sets_says_which_is_missing() {
    assert_eq!(format(&hex("0164001effe0")), Err(H264Error::MissingSps));
    assert_eq!(format(&hex("0164001effe100000100010168")), Err(H264Error::MissingSps));
    let without_pps = hex(&HIGH[..HIGH.find("01000468").unwrap()]);
    assert_eq!(format(&without_pps), Err(H264Error::Truncated("the number of PPS")));
    let mut zero_pps = BytesMut::from(&without_pps[..]);
    zero_pps.put_u8(0);
    assert_eq!(format(&zero_pps.freeze()), Err(H264Error::MissingPps));
    assert_eq!(format(&hex("0064001effe0")), Err(H264Error::Version(0)));
    assert_eq!(format(&hex("0164001efee0")), Err(H264Error::LengthSize(3)));
    assert_eq!(format(&Bytes::new()), Err(H264Error::Truncated("its header")));
    assert_eq!(config_record(&[], &[]), Err(H264Error::MissingSps));
}

/// Writes SPS bits for the cases that no encoder here makes.
#[derive(Default)]
struct BitWriter(Vec<bool>);

impl BitWriter {
    fn bits(&mut self, value: u32, count: u32) -> &mut Self {
        self.0.extend((0..count).rev().map(|i| (value >> i) & 1 == 1));
        self
    }
    fn ue(&mut self, value: u32) -> &mut Self {
        let bits = 32 - (value + 1).leading_zeros();
        self.bits(0, bits - 1).bits(value + 1, bits)
    }
    fn se(&mut self, value: i32) -> &mut Self {
        self.ue(if value > 0 { 2 * value as u32 - 1 } else { 2 * value.unsigned_abs() })
    }
    fn nal(&self) -> Vec<u8> {
        let mut out = vec![0x67];
        let mut zeros = 0;
        for chunk in self.0.chunks(8) {
            let byte = chunk.iter().enumerate().fold(0_u8, |sum, (i, bit)| sum | (u8::from(*bit) << (7 - i)));
            if zeros >= 2 && byte <= 3 {
                out.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            out.push(byte);
        }
        out
    }
}

#[test]
fn picture_order_type_1_and_scaling_lists_are_stepped_over() {
    let mut w = BitWriter::default();
    w.bits(100, 8).bits(0, 8).bits(31, 8).ue(0);
    w.ue(1).ue(0).ue(0).bits(0, 1).bits(1, 1);
    for list in 0..8 {
        w.bits(u32::from(list % 2 == 0), 1);
        if list % 2 == 0 {
            for i in 0..if list < 6 { 16 } else { 64 } {
                w.se(if i % 2 == 0 { 3 } else { -3 });
            }
        }
    }
    w.ue(0).ue(1).bits(0, 1).se(-7).se(9).ue(3).se(1).se(-2).se(3);
    w.ue(4).bits(0, 1).ue(79).ue(44).bits(1, 1).bits(1, 1).bits(0, 1).bits(0, 1).bits(1, 1);
    let sps = sps(&w.nal()).unwrap();
    assert_eq!((sps.width, sps.height, sps.reference_frames), (1280, 720, 4));
}

#[test]
fn absurd_sizes_and_crops_are_refused_with_the_field() {
    let mut w = BitWriter::default();
    w.bits(66, 8).bits(0, 8).bits(31, 8).ue(0).ue(0).ue(2).ue(1).bits(0, 1).ue(60_000).ue(10);
    assert_eq!(sps(&w.nal()), Err(H264Error::OutOfRange { field: "pic_width_in_mbs_minus1", value: 60_000 }));
    let mut w = BitWriter::default();
    w.bits(66, 8).bits(0, 8).bits(31, 8).ue(0).ue(0).ue(2).ue(1).bits(0, 1).ue(9).ue(9);
    w.bits(1, 1).bits(1, 1).bits(1, 1).ue(40).ue(40).ue(0).ue(0).bits(0, 1);
    assert_eq!(sps(&w.nal()), Err(H264Error::Cropping { width: 160, height: 160 }));
}

#[test]
fn a_vui_cut_short_costs_only_what_it_did_not_say() {
    let nal = Config::parse(&hex(CROPPED)).unwrap().sps[0].clone();
    // The timing sits in the last bytes; the aspect before it.
    let cut = sps(&nal[..15]).unwrap();
    assert_eq!((cut.width, cut.height, cut.frame_rate), (1918, 1078, None));
    assert_eq!(cut.sample_aspect, Some((4, 3)));
}

fn unit(nals: &[&[u8]], size: usize) -> Bytes {
    let mut out = BytesMut::new();
    for nal in nals {
        out.put_uint(nal.len() as u64, size);
        out.put_slice(nal);
    }
    out.freeze()
}

#[test]
fn nal_units_are_slices_of_the_payload_at_every_length_size() {
    for size in [1, 2, 4] {
        let payload = unit(&[&[0x09, 0xf0], &[], &[0x65, 1, 2, 3]], size);
        let found: Vec<_> = nals(&payload, size as u8).map(Result::unwrap).collect();
        assert_eq!(found, [Bytes::from_static(&[9, 0xf0]), Bytes::from_static(&[0x65, 1, 2, 3])]);
        assert_eq!(found[1].as_ptr(), payload[payload.len() - 4..].as_ptr(), "no copy");
    }
    assert!(is_idr(&unit(&[&[0x06, 1], &[0x65, 1]], 4)));
    assert!(!is_idr(&unit(&[&[0x41, 1]], 4)));
}

#[test]
fn a_cut_access_unit_is_dropped_and_counted() {
    let whole = unit(&[&[0x65, 1, 2, 3]], 4);
    let mut intake = Intake::new(4);
    assert!(intake.accept(whole.clone()).unwrap().idr);
    assert_eq!(intake.accept(whole.slice(..6)), None);
    assert_eq!(intake.damages(), Damages { truncated: 1, ..Damages::default() });
}

#[test]
fn parameter_sets_in_band_are_found_also_without_a_picture() {
    let config = Config::parse(&hex(HIGH)).unwrap();
    let mut intake = Intake::new(4);
    assert_eq!(intake.accept(unit(&[&config.sps[0], &config.pps[0]], 4)), None);
    assert_eq!(intake.damages().pictureless, 1);
    let built = config_record(&intake.in_band().sps, &intake.in_band().pps).unwrap();
    assert_eq!(built, hex(HIGH));
    let picture = intake.accept(unit(&[&config.sps[0], &config.pps[0], &[0x65, 1]], 4)).unwrap();
    assert_eq!(picture.sets, ParameterSets { sps: config.sps, pps: config.pps });
}

#[test]
fn short_lengths_become_four_bytes_in_payload_and_record() {
    let mut intake = Intake::new(2);
    let picture = intake.accept(unit(&[&[0x06, 1], &[0x65, 2]], 2)).unwrap();
    assert_eq!(picture.payload, unit(&[&[0x06, 1], &[0x65, 2]], 4));
    let mut record = hex(HIGH).to_vec();
    record[4] = 0xfd;
    assert_eq!(format(&record.into()).unwrap().config, hex(HIGH));
}

#[test]
fn start_codes_and_stray_bytes_are_repaired_and_counted() {
    let mut intake = Intake::new(4);
    let annex_b = Bytes::from_static(&[0, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x65, 1, 2, 0, 0]);
    let picture = intake.accept(annex_b.clone()).unwrap();
    assert_eq!(picture.payload, unit(&[&[9, 0xf0], &[0x65, 1, 2]], 4));
    assert!(picture.idr);
    let mut padded = BytesMut::from(&unit(&[&[0x41, 7]], 4)[..]);
    padded.put_slice(&[0, 0]);
    assert_eq!(intake.accept(padded.freeze()).unwrap().payload, unit(&[&[0x41, 7]], 4));
    assert_eq!(intake.damages(), Damages { annex_b: 1, trimmed: 1, ..Damages::default() });
    assert_eq!(from_annex_b(&annex_b), unit(&[&[9, 0xf0], &[0x65, 1, 2]], 4));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in 0_u8..8) {
        let bytes = Bytes::from(bytes);
        prop_assert!(format(&bytes).is_ok_and(|format| format.width > 0) || format(&bytes).is_err());
        prop_assert!(sps(&bytes).is_ok_and(|sps| sps.height > 0) || sps(&bytes).is_err());
        prop_assert!(parameter_sets(&bytes, size).sps.len() <= 31);
        prop_assert!(!is_idr(&bytes) || bytes.len() > 4);
        prop_assert!(from_annex_b(&bytes).len() <= 2 * bytes.len());
        let mut intake = Intake::new(size);
        if let Some(picture) = intake.accept(bytes) {
            prop_assert!(nals(&picture.payload, 4).all(|nal| nal.is_ok()));
        }
    }

    #[test]
    fn a_damaged_real_record_never_panics_and_never_gives_an_absurd_size(
        at in 0_usize..46, value in any::<u8>(), cut in 0_usize..46, which in 0_usize..6,
    ) {
        let mut record = hex([HIGH, CROPPED, BASELINE, INTERLACED, FULL_CHROMA, OPENH264][which]).to_vec();
        let at = at % record.len();
        record[at] = value;
        for bytes in [record.clone(), record[..cut.min(record.len())].to_vec()] {
            if let Ok(format) = format(&bytes.into()) {
                prop_assert!(format.width > 0 && format.width <= 16_880);
                prop_assert!(format.height > 0 && format.height <= 33_760);
            }
        }
    }

    #[test]
    fn annex_b_and_lengths_carry_the_same_units(
        nals_in in proptest::collection::vec(proptest::collection::vec(1_u8..=255, 1..40), 1..8),
    ) {
        let mut stream = Vec::new();
        for (i, nal) in nals_in.iter().enumerate() {
            stream.extend_from_slice(if i % 2 == 0 { &[0, 0, 0, 1] } else { &[0, 0, 1] });
            stream.extend_from_slice(nal);
        }
        let slices: Vec<&[u8]> = nals_in.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(from_annex_b(&stream.into()), unit(&slices, 4));
    }
}
