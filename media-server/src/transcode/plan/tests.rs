use media::VideoFormat;

use super::*;
use crate::transcode::spec::{Limits, X264};

/// Graphs by what they are made of, as they must be: the right one where no such card is at hand.
const GRAPHS: &str = include_str!("graphs.txt");

const H264: &str = "avc1.640028";
const MAIN_10: &str = "hvc1.2.4.L123.90";
const AV1: &str = "av01.0.08M.08";

/// Title, source, decoder, scaler, encoder; "" is the processor's.
const MACHINES: [(&str, [&str; 4]); 31] = [
    ("the processor alone", [H264, "", "", X264]),
    ("the processor alone, of HEVC", [MAIN_10, "", "", X264]),
    ("the processor alone, of AV1", [AV1, "", "", X264]),
    ("the processor alone, of VP8", ["vp08.00.21.08", "", "", X264]),
    ("the processor alone, of VP9", ["vp09.00.21.08", "", "", "openh264enc"]),
    ("NVIDIA, whole", [H264, "nvh264dec", "cudaconvertscale", "nvcudah264enc"]),
    ("NVIDIA, whole, with its oldest encoder", [H264, "nvh264sldec", "cudaconvertscale", "nvh264enc"]),
    ("NVIDIA, whole, of 10 bits", [MAIN_10, "nvh265dec", "cudaconvertscale", "nvautogpuh264enc"]),
    ("NVIDIA, whole, of AV1", [AV1, "nvav1dec", "cudaconvertscale", "nvcudah265enc"]),
    ("NVIDIA, the second card", [H264, "nvh264device1dec", "cudaconvertscale", "nvcudah264device1enc"]),
    ("NVIDIA without an encoder", [H264, "nvh264dec", "cudaconvertscale", X264]),
    ("NVIDIA without an encoder, the second card", [H264, "nvh264sldevice1dec", "cudaconvertscale", X264]),
    ("NVIDIA that does not decode this", [H264, "", "cudaconvertscale", "nvcudah264enc"]),
    ("NVIDIA that does not decode this, the third card", [H264, "", "cudaconvertscale", "nvh264device2enc"]),
    ("NVIDIA that encodes only", [H264, "", "", "nvcudah264enc"]),
    ("NVIDIA that decodes only", [H264, "nvh264dec", "", X264]),
    (
        "NVIDIA, of what it does not decode: 4:2:2",
        ["avc1.7a0028", "nvh264dec", "cudaconvertscale", "nvcudah264enc"],
    ),
    ("VA-API, whole", [H264, "vah264dec", "vapostproc", "vah264enc"]),
    ("VA-API, whole, of 10 bits", [MAIN_10, "vah265dec", "vapostproc", "vah264lpenc"]),
    ("VA-API, the second card", [AV1, "varenderD129av1dec", "varenderD129postproc", "varenderD129h264enc"]),
    ("VA-API without an encoder", [H264, "vah264dec", "vapostproc", X264]),
    ("VA-API that does not decode this", [H264, "", "vapostproc", "vah264enc"]),
    ("VA-API that encodes only", [H264, "", "", "vah264enc"]),
    ("Quick Sync, whole", [H264, "qsvh264dec", "vapostproc", "qsvh264enc"]),
    ("Quick Sync encodes what VA-API decodes", [AV1, "vaav1dec", "vapostproc", "qsvh265enc"]),
    ("Quick Sync, the second card", [H264, "qsvh264device1dec", "varenderD129postproc", "qsvh264device1enc"]),
    ("V4L2, whole", [H264, "v4l2h264dec", "v4l2convert", "v4l2h264enc"]),
    ("V4L2 without an encoder", [H264, "v4l2h264dec", "v4l2convert", X264]),
    ("V4L2 that does not decode this", [MAIN_10, "", "v4l2convert", "v4l2h264enc"]),
    ("two makers: VA-API decodes and scales, NVIDIA encodes", [H264, "vah264dec", "vapostproc", "nvh264enc"]),
    ("two makers: NVIDIA decodes, VA-API scales and encodes", [H264, "nvh264dec", "vapostproc", "vah264enc"]),
];

fn job([codec, decoder, scaler, encoder]: [&str; 4]) -> TranscodeSpec {
    let some = |name: &str| Some(name.to_owned()).filter(|it| !it.is_empty());
    let codec_of = Backend::of(encoder).map_or(Coding::H264, |it| it.coding);
    let rung = |name, size, rate| RungSpec { codec: codec_of, ..RungSpec::new(name, size, rate) };
    let slow = RungSpec { fps: Some((30, 1)), ..rung("240p", (426, 240), 400_000) };
    TranscodeSpec {
        stream: "ada".into(),
        video: VideoFormat {
            codec: codec.into(),
            width: 1920,
            height: 1080,
            frame_rate: Some((60, 1)),
            config: bytes::Bytes::new(),
        },
        rungs: vec![rung("720p", (1280, 720), 2_800_000), slow],
        preset: "veryfast".into(),
        encoder: encoder.into(),
        decoder: some(decoder),
        scaler: some(scaler),
        limits: Limits::default(),
    }
}

fn chain<'a>(steps: impl IntoIterator<Item = &'a Step>) -> String {
    let steps: Vec<_> = steps.into_iter().map(ToString::to_string).collect();
    steps.join(" ! ")
}

/// How encoders are set is held elsewhere.
fn told(plan: &Plan) -> String {
    let mut text = format!("  {}\n", chain(plan.parser.iter().chain([&plan.decoder]).chain(&plan.trunk)));
    for rung in &plan.rungs {
        let encoder = Step { settings: Vec::new(), ..rung.encoder.clone() };
        let every = if rung.every > 1 { format!("1 of {}: ", rung.every) } else { String::new() };
        let steps = chain(rung.scale.iter().chain([&encoder]).chain(&rung.finish));
        text = text + "    " + &every + &steps + "\n";
    }
    text
}

#[test]
fn every_machine_has_the_graph_that_is_written_down() {
    let graphs: Vec<_> = MACHINES
        .iter()
        .map(|(title, job_)| format!("{title}\n{}", told(&Plan::of(&job(*job_), 4).unwrap())))
        .collect();
    let graphs = graphs.join("\n");
    // To write them down anew, see that they are right and take them from here.
    assert!(graphs == GRAPHS, "{graphs}");
}

#[test]
fn pictures_go_down_or_up_once_at_most_and_only_where_they_must() {
    for (title, job_) in MACHINES {
        let plan = Plan::of(&job(job_), 4).unwrap();
        let is_move = |step: &&Step| matches!(step.element.as_str(), "cudaupload" | "cudadownload");
        for rung in &plan.rungs {
            let moves = plan.trunk.iter().chain(&rung.scale).filter(is_move).count();
            assert!(moves <= 1, "{title}");
        }
        let whole = title.contains("whole") || title.contains(" card") && !title.contains("without");
        if whole && !title.contains("does not") {
            let text = told(&plan);
            assert!(!text.contains("videoconvert") && !text.contains("cudadownload"), "{title}: {text}");
        }
    }
}

#[test]
fn whatever_the_source_has_rungs_are_of_8_bits_and_4_2_0() {
    for (title, job_) in MACHINES {
        let plan = Plan::of(&job(job_), 4).unwrap();
        for rung in &plan.rungs {
            let steps: Vec<_> = plan.trunk.iter().chain(&rung.scale).map(ToString::to_string).collect();
            let last =
                steps.iter().rev().find_map(|step| step.split_once("format=").map(|(_, it)| it.to_owned()));
            let last = last.unwrap_or_default();
            assert!(["I420", "NV12", "{NV12,I420}"].iter().any(|it| last.starts_with(it)), "{title}: {last}");
        }
    }
}

#[test]
fn an_element_that_is_none_or_decodes_something_else_is_refused_by_name() {
    let error = |job_| Plan::of(&job(job_), 4).unwrap_err().to_string();
    assert!(error([H264, "nvh265dec", "", X264]).contains("nvh265dec"));
    assert!(error([H264, "", "superscale", X264]).contains("superscale"));
    assert!(error([H264, "", "", "x265encoder"]).contains("x265encoder"));
}

#[test]
fn elements_come_from_the_plugin_that_has_them() {
    for (element, file) in [
        ("avdec_h264", None),
        (PROCESSORS, None),
        ("capsfilter", None),
        ("av1dec", Some("libgstaom.so")),
        ("h264parse", Some("libgstvideoparsersbad.so")),
        ("nvh264device1dec", Some("libgstnvcodec.so")),
        ("cudadownload", Some("libgstnvcodec.so")),
        ("varenderD129postproc", Some("libgstva.so")),
        ("qsvh264dec", Some("libgstqsv.so")),
        ("v4l2convert", Some("libgstvideo4linux2.so")),
        ("x265enc", Some("libgstx265.so")),
    ] {
        assert_eq!(Step::new(element, &[]).plugin().map(|it| it.0), file, "{element}");
    }
}

#[test]
fn a_large_rung_of_many_frames_has_more_threads() {
    let rung = |width, height| RungSpec::new("rung", (width, height), 1_000_000);
    assert_eq!(threads(&rung(640, 360), Some((30, 1)), 8), 1);
    assert_eq!(threads(&rung(1920, 1080), Some((60, 1)), 8), 5);
    assert_eq!(threads(&rung(1920, 1080), Some((60, 1)), 2), 2);
}

#[test]
fn what_devices_do_not_decode_is_left_to_the_processor() {
    for (codec, usual) in [
        ("avc1.42e01f", true),
        ("avc1.4d401f", true),
        (H264, true),
        ("avc1.6e0028", false),
        ("avc1.f40028", false),
        ("hvc1.1.6.L93.90", true),
        (MAIN_10, true),
        ("hvc1.4.10.L93.9C", false),
        (AV1, true),
        ("av01.1.08M.08", false),
        ("vp09.02.21.10", false),
        ("vp09.01.21.08", false),
        ("vp08.00.21.08", false),
        ("avc1", false),
        ("", false),
    ] {
        assert_eq!(is_usual(codec), usual, "{codec}");
    }
}

#[test]
fn elements_of_one_device_are_known_to_be_on_it() {
    for (family, element, says, on) in [
        (Family::Nvidia, "nvh264dec", None, "cuda 0"),
        (Family::Nvidia, "nvcudah264device1enc", Some("cuda 1"), "cuda 1"),
        (Family::Nvidia, "nvh264sldevice2dec", None, "cuda 2"),
        (Family::Va, "vah264dec", None, "/dev/dri/renderD128"),
        (Family::Va, "varenderD129postproc", None, "/dev/dri/renderD129"),
        (Family::Qsv, "qsvh264device1enc", Some("/dev/dri/renderD129"), "/dev/dri/renderD129"),
        (Family::V4l2, "v4l2video11h264enc", None, "v4l2"),
    ] {
        assert_eq!(device(family, element, says), on, "{element}");
    }
    for (decoder, scaler) in [
        ("nvh264device1dec", Some("cudaconvertscale")),
        ("vah265dec", Some("vapostproc")),
        ("varenderD129av1dec", Some("varenderD129postproc")),
        ("qsvh264dec", Some("vapostproc")),
        ("qsvh264device1dec", None),
        ("v4l2video10h264dec", Some("v4l2convert")),
    ] {
        assert_eq!(Scaler::beside(decoder).as_deref(), scaler, "{decoder}");
    }
}
