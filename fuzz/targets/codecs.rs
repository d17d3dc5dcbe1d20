//! Decoder configurations and coded pictures of H.264, HEVC, AV1, VP8 and VP9, the headers of Opus and AAC, elements of LATM, and
//! frames of sound out of a byte stream: the first byte says which, the second how much of the rest is the configuration.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use media::frames::Frames;
use media::intake::{VideoCodec, VideoIntake};
use media::latm::Latm;
use media::{aac, opus};

fuzz_target!(|data: &[u8]| {
    let [which, split, rest @ ..] = data else { return };
    let rest = Bytes::copy_from_slice(rest);
    let (record, coded) = {
        let at = usize::from(*split).min(rest.len());
        (rest.slice(..at), rest.slice(at..))
    };
    let codec = match which % 9 {
        0 => VideoCodec::H264,
        1 => VideoCodec::H265,
        2 => VideoCodec::Av1,
        7 => VideoCodec::Vp8,
        8 => VideoCodec::Vp9,
        3 => {
            if let Ok(format) = opus::format(&record) {
                assert!(format.channels > 0 && format.sample_rate > 0);
            }
            assert!(opus::samples(&coded).is_none_or(|samples| samples <= 5760));
            return;
        }
        4 => {
            let mut latm = Latm::default();
            for element in [&record, &coded, &record] {
                if let Ok((_, frames)) = latm.element(element) {
                    assert!(frames.iter().map(Bytes::len).sum::<usize>() <= element.len());
                }
            }
            return;
        }
        5 => {
            if let Ok(format) = aac::format(&record) {
                assert!(format.channels > 0 && format.sample_rate > 0);
            }
            return;
        }
        _ => {
            for mut frames in [Frames::adts(), Frames::loas(), Frames::mpeg_audio(), Frames::ac3()] {
                let mut carried = 0;
                for piece in [&record, &coded, &record] {
                    frames.push(piece.clone());
                    carried += std::iter::from_fn(|| frames.next()).map(|frame| frame.payload.len()).sum::<usize>();
                }
                assert!(carried <= 2 * record.len() + coded.len());
            }
            return;
        }
    };
    let mut intake = VideoIntake::new(codec);
    if let Ok(Some(format)) = intake.header(&record) {
        assert!(format.width > 0 && format.height > 0);
    }
    if let Some(picture) = intake.picture(coded.clone()) {
        // What is passed on is what came; lengths of one byte become lengths of four.
        assert!(picture.payload.len() <= coded.len() * 4);
    }
    if let Ok(Some(format)) = intake.in_band() {
        assert!(format.width > 0 && format.height > 0 && !format.config.is_empty());
    }
});
