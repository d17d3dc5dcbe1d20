//! Who publishes, and what is said to them.

use proptest::prelude::*;

use super::*;

const ALL: [Software; 9] = [
    Software::Obs,
    Software::Ffmpeg,
    Software::GStreamer,
    Software::Vmix,
    Software::Wirecast,
    Software::Larix,
    Software::Xsplit,
    Software::Hardware,
    Software::Unknown,
];

#[test]
fn software_is_recognized_by_its_metadata_first_and_its_agent_second() {
    for (encoder, agent, software) in [
        ("obs-output module (libobs version 29.1.3)", "FMLE/3.0 (compatible; FMSc/1.0)", Software::Obs),
        ("", "FMLE/3.0 (compatible; FMSc/1.0)", Software::Obs),
        ("Lavf59.27.100", "FMLE/3.0 (compatible; Lavf59.27.100)", Software::Ffmpeg),
        ("", "FMLE/3.0 (compatible; Lavf59.27.100)", Software::Ffmpeg),
        ("GStreamer 1.22.0 FLV muxer", "LNX 10,0,32,18", Software::GStreamer),
        ("vMix", "FMLE/3.0 (compatible; FMSc/1.0)", Software::Vmix),
        ("Wirecast/16.1", "FM 11,0,0,0 Wirecast", Software::Wirecast),
        ("Larix Broadcaster 1.3", "", Software::Larix),
        ("XSplitBroadcaster/4.5", "", Software::Xsplit),
        ("Teradek VidiU", "", Software::Hardware),
        ("", "Something/1.0", Software::Unknown),
        ("", "", Software::Unknown),
    ] {
        assert_eq!(Software::recognize(encoder, agent), software, "{encoder} {agent}");
    }
    let mut doctor =
        Doctor::new(DoctorConfig { agent: OBS, segment_target: Span::from_millis(2000), on_request: false });
    doctor.announced(Announced { encoder: "Lavf60", ..Announced::default() });
    assert_eq!(doctor.software(), Software::Ffmpeg);
    doctor.announced(Announced::default());
    assert_eq!(doctor.software(), Software::Obs);
}

#[test]
fn every_finding_has_a_remedy_for_every_software() {
    let wishes = remedy::Wishes::new(Span::from_millis(2000), &Pictures::default(), &Lines::default());
    for software in ALL {
        for code in Code::ALL {
            let text = remedy::of(code, software, &wishes);
            assert!(text.len() > 10 && !text.ends_with('.'), "{code:?} {software:?}: {text}");
        }
    }
}

#[test]
fn keyframe_remedies_name_the_setting_and_its_value() {
    let wishes = remedy::Wishes::new(Span::from_millis(2000), &Pictures::default(), &Lines::default());
    let said = |software| remedy::of(Code::KeyframesFar, software, &wishes);
    assert_eq!(said(Software::Ffmpeg), "ffmpeg: -g 60 -force_key_frames \"expr:gte(t,n_forced*2)\"");
    assert!(said(Software::GStreamer).contains("key-int-max="));
    assert!(said(Software::Vmix).contains("Keyframe Latency 2"));
    assert!(said(Software::Larix).contains("Keyframe frequency 2 s"));
}

#[test]
fn a_list_that_does_not_change_is_not_told_of_again() {
    let mut publisher = Publisher::new(OBS);
    publisher.gops = vec![200];
    publisher.run(120);
    // 4 s becomes 8 s in steps; then nothing new.
    assert!(publisher.changes <= 5, "{}", publisher.changes);
}

proptest! {
    #[test]
    fn no_input_is_too_wild(
        units in proptest::collection::vec((any::<bool>(), any::<i64>(), any::<i64>(), any::<i64>(), any::<i64>(), any::<bool>(), any::<usize>()), 1..200),
        encoder in ".{0,300}", ppm in any::<f64>(), bitrate in any::<Option<u32>>(), rate in any::<Option<f64>>(),
    ) {
        let mut doctor = Doctor::new(DoctorConfig { agent: &encoder, segment_target: Span::from_flicks(units[0].1), on_request: false });
        doctor.announced(Announced { encoder: &encoder, video_bitrate: bitrate, frame_rate: rate, ..Announced::default() });
        doctor.slope_ppm(ppm);
        for (video, dts, pts, duration, arrival, key, bytes) in units {
            let (dts, pts) = (Timestamp::from_flicks(dts), Timestamp::from_flicks(pts));
            let stamp = Stamp { dts, pts, duration: Span::from_flicks(duration) };
            let arrival = Timestamp::from_flicks(arrival);
            if video {
                doctor.video(stamp, bytes, key, Repairs::default(), arrival);
            } else {
                doctor.audio(stamp, bytes, Repairs::default(), arrival);
                doctor.dropped(Kind::Audio, bytes as u64);
            }
            doctor.levels(AudioLevels { peak_dbfs: ppm as f32, rms_dbfs: ppm as f32, span: Span::from_flicks(duration) });
            doctor.tick(arrival);
            prop_assert!(doctor.findings().len() <= Code::ALL.len());
        }
    }
}
