//! The encoders that GStreamer may have, and how each is told to encode a live rung: a constant bit rate, no B-frames, no
//! delay, and keyframes where the GOP clock asks for them and nowhere else. Pure: names and texts, no GStreamer.
//!
//! What an element is able to do is measured (`probe`), not concluded from its name.

use serde::{Deserialize, Serialize};

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coding {
    /// H.264, which every player decodes.
    H264,
    /// H.265.
    Hevc,
    /// AV1.
    Av1,
}

/// Where it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// NVENC.
    Nvidia,
    /// VA-API: AMD, Intel.
    Va,
    /// Intel Quick Sync by oneVPL.
    Qsv,
    /// V4L2 memory-to-memory: boards.
    V4l2,
    /// The processor.
    Cpu,
}

/// How properties are named: elements of one kind share them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    /// `nvcudah264enc`, `nvautogpuh264enc` and those of the other codings.
    Nvenc,
    /// `nvh264enc`, as it was first.
    NvencOld,
    Va,
    Qsv,
    V4l2,
    X264,
    OpenH264,
    X265,
    SvtAv1,
    Aom,
}

/// One kind of element. A machine with several devices has one for each, with the device in its name
/// (`nvcudah264device1enc`, `varenderD129h264enc`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its name on the first device.
    pub element: &'static str,
    /// Where it encodes.
    pub family: Family,
    /// What it makes.
    pub coding: Coding,
    /// The plugin's file.
    pub file: &'static str,
    /// What to install for it, by Debian's names.
    pub package: &'static str,
    /// Names on further devices begin with the first and end with the second.
    around: (&'static str, &'static str),
    dialect: Dialect,
}

const BAD: &str = "gstreamer1.0-plugins-bad";
const NVCODEC: &str = "libgstnvcodec.so";

const fn nvidia(element: &'static str, coding: Coding, begins: &'static str, dialect: Dialect) -> Backend {
    let (family, file, package, around) = (Family::Nvidia, NVCODEC, BAD, (begins, "enc"));
    Backend { element, family, coding, file, package, around, dialect }
}

const fn va(element: &'static str, coding: Coding, ends: &'static str) -> Backend {
    let (file, around) = ("libgstva.so", ("varender", ends));
    Backend { element, family: Family::Va, coding, file, package: BAD, around, dialect: Dialect::Va }
}

const fn qsv(element: &'static str, coding: Coding, begins: &'static str) -> Backend {
    let (file, around) = ("libgstqsv.so", (begins, "enc"));
    Backend { element, family: Family::Qsv, coding, file, package: BAD, around, dialect: Dialect::Qsv }
}

const fn v4l2(element: &'static str, coding: Coding, ends: &'static str) -> Backend {
    let (file, package, around) = ("libgstvideo4linux2.so", "gstreamer1.0-plugins-good", ("v4l2", ends));
    Backend { element, family: Family::V4l2, coding, file, package, around, dialect: Dialect::V4l2 }
}

const fn cpu(
    (element, file, package): (&'static str, &'static str, &'static str),
    coding: Coding,
    dialect: Dialect,
) -> Backend {
    let around = (element, "");
    Backend { element, family: Family::Cpu, coding, file, package, around, dialect }
}

/// All of them; of one coding those that are tried first stand first.
pub const BACKENDS: [Backend; 18] = [
    nvidia("nvcudah264enc", Coding::H264, "nvcudah264device", Dialect::Nvenc),
    nvidia("nvautogpuh264enc", Coding::H264, "nvautogpuh264device", Dialect::Nvenc),
    nvidia("nvh264enc", Coding::H264, "nvh264device", Dialect::NvencOld),
    va("vah264enc", Coding::H264, "h264enc"),
    va("vah264lpenc", Coding::H264, "h264lpenc"),
    qsv("qsvh264enc", Coding::H264, "qsvh264device"),
    v4l2("v4l2h264enc", Coding::H264, "h264enc"),
    cpu(("x264enc", "libgstx264.so", "gstreamer1.0-plugins-ugly"), Coding::H264, Dialect::X264),
    cpu(("openh264enc", "libgstopenh264.so", BAD), Coding::H264, Dialect::OpenH264),
    nvidia("nvcudah265enc", Coding::Hevc, "nvcudah265device", Dialect::Nvenc),
    va("vah265enc", Coding::Hevc, "h265enc"),
    qsv("qsvh265enc", Coding::Hevc, "qsvh265device"),
    cpu(("x265enc", "libgstx265.so", BAD), Coding::Hevc, Dialect::X265),
    nvidia("nvav1enc", Coding::Av1, "nvav1device", Dialect::Nvenc),
    va("vaav1enc", Coding::Av1, "av1enc"),
    qsv("qsvav1enc", Coding::Av1, "qsvav1device"),
    cpu(("svtav1enc", "libgstsvtav1.so", BAD), Coding::Av1, Dialect::SvtAv1),
    cpu(("av1enc", "libgstaom.so", BAD), Coding::Av1, Dialect::Aom),
];

/// What is asked of an encoder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    /// Bits a second.
    pub bitrate: u32,
    /// Quality in place of a constant bit rate (x264's CRF); of x264 alone, others keep the bit rate.
    pub(super) crf: Option<u8>,
    /// One of x264's names for speed; others are told what comes near it.
    pub preset: &'a str,
    /// Threads, where it is the processor's.
    pub threads: u32,
}

/// A property of an element: name and value as text.
pub(super) type Setting = (&'static str, String);

impl Backend {
    /// The kind that an element is of, by its name.
    pub fn of(element: &str) -> Option<&'static Self> {
        BACKENDS.iter().find(|it| it.is(element))
    }

    /// Whether an element is of this kind, on whichever device.
    pub fn is(&self, element: &str) -> bool {
        let (begins, ends) = self.around;
        element == self.element
            || self.family != Family::Cpu && element.starts_with(begins) && element.ends_with(ends)
    }

    /// What its frames must be, as GStreamer names it.
    pub(super) fn pixels(&self) -> &'static str {
        if self.family == Family::Cpu { "I420" } else { "NV12" }
    }

    /// What has to be set. Elements change from version to version: what one does not have is left out, but for the bit rate.
    pub(super) fn settings(&self, ask: &Ask<'_>) -> Vec<Setting> {
        let kbits = (ask.bitrate / 1000).max(1).to_string();
        let threads = ask.threads.max(1).to_string();
        match self.dialect {
            Dialect::Nvenc => text(&[
                ("bitrate", &kbits),
                ("rate-control", "cbr"),
                ("rc-mode", "cbr"),
                ("vbv-buffer-size", &kbits),
                ("preset", nvenc_preset(ask.preset)),
                ("tune", "low-latency"),
                ("multi-pass", "disabled"),
                ("gop-size", "-1"),
                ("b-frames", "0"),
                ("bframes", "0"),
                ("zero-reorder-delay", "true"),
                ("rc-lookahead", "0"),
                ("aud", "false"),
            ]),
            Dialect::NvencOld => text(&[
                ("bitrate", &kbits),
                ("rc-mode", "cbr"),
                ("vbv-buffer-size", &kbits),
                ("preset", "low-latency-hq"),
                ("gop-size", "-1"),
                ("bframes", "0"),
                ("zerolatency", "true"),
                ("aud", "false"),
            ]),
            Dialect::Va => text(&[
                ("bitrate", &kbits),
                ("rate-control", "cbr"),
                ("cpb-size", &kbits),
                ("target-usage", usage(ask.preset)),
                // As long as the element takes; the GOP clock asks sooner.
                ("key-int-max", "1024"),
                ("b-frames", "0"),
                ("aud", "false"),
            ]),
            Dialect::Qsv => text(&[
                ("bitrate", &kbits),
                ("rate-control", "cbr"),
                ("target-usage", usage(ask.preset)),
                ("gop-size", "0"),
                ("b-frames", "0"),
                ("low-latency", "true"),
            ]),
            Dialect::V4l2 => {
                let controls = format!("controls,video_bitrate_mode=1,video_bitrate={}", ask.bitrate);
                vec![("extra-controls", controls)]
            }
            Dialect::X264 => x264(ask, &kbits, &threads),
            Dialect::OpenH264 => openh264(ask, &threads),
            Dialect::X265 => x265(ask, &kbits, &threads),
            Dialect::SvtAv1 => svt_av1(&kbits, &threads),
            Dialect::Aom => aom(&kbits, &threads),
        }
    }

    /// The settings without which it would encode something else.
    pub(super) fn is_needed(setting: &str) -> bool {
        matches!(setting, "bitrate" | "target-bitrate" | "extra-controls")
    }
}

fn text(settings: &[(&'static str, &str)]) -> Vec<Setting> {
    settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

fn x264(ask: &Ask<'_>, kbits: &str, threads: &str) -> Vec<Setting> {
    let mut settings = text(&[
        ("bitrate", kbits),
        ("speed-preset", ask.preset),
        ("tune", "zerolatency"),
        ("pass", if ask.crf.is_some() { "qual" } else { "cbr" }),
        // Milliseconds of the target rate.
        ("vbv-buf-capacity", "1000"),
        ("bframes", "0"),
        ("aud", "false"),
        ("key-int-max", "1073741823"),
        ("option-string", "scenecut=0"),
        ("threads", threads),
    ]);
    settings.extend(ask.crf.map(|crf| ("quantizer", crf.to_string())));
    settings
}

fn openh264(ask: &Ask<'_>, threads: &str) -> Vec<Setting> {
    text(&[
        ("bitrate", &ask.bitrate.to_string()),
        ("rate-control", "bitrate"),
        ("complexity", openh264_complexity(ask.preset)),
        ("gop-size", "1073741823"),
        ("scene-change-detection", "false"),
        ("multi-thread", threads),
    ])
}

fn x265(ask: &Ask<'_>, kbits: &str, threads: &str) -> Vec<Setting> {
    text(&[
        ("bitrate", kbits),
        ("speed-preset", ask.preset),
        ("tune", "zerolatency"),
        ("key-int-max", "1073741823"),
        ("log-level", "error"),
        (
            "option-string",
            &format!(
                "scenecut=0:bframes=0:open-gop=0:vbv-maxrate={kbits}:vbv-bufsize={kbits}:pools={threads}"
            ),
        ),
    ])
}

fn svt_av1(kbits: &str, threads: &str) -> Vec<Setting> {
    text(&[
        ("target-bitrate", kbits),
        ("preset", "10"),
        ("intra-period-length", "-1"),
        ("parameters-string", &format!("rc=2:pred-struct=1:scd=0:lp={threads}")),
    ])
}

fn aom(kbits: &str, threads: &str) -> Vec<Setting> {
    text(&[
        ("target-bitrate", kbits),
        ("usage-profile", "realtime"),
        ("end-usage", "cbr"),
        ("cpu-used", "8"),
        ("lag-in-frames", "0"),
        // Without a range its rate control aborts.
        ("min-quantizer", "4"),
        ("max-quantizer", "60"),
        ("keyframe-max-dist", "1073741823"),
        ("row-mt", "true"),
        ("threads", threads),
    ])
}

/// x264's presets as NVENC's, p1 (fast) to p7.
fn nvenc_preset(preset: &str) -> &'static str {
    match preset {
        "ultrafast" | "superfast" => "p2",
        "veryfast" | "faster" | "fast" => "p4",
        "medium" => "p5",
        "slow" => "p6",
        _ => "p7",
    }
}

/// The same as VA-API's and Quick Sync's, 7 (fast) to 1.
fn usage(preset: &str) -> &'static str {
    match preset {
        "ultrafast" | "superfast" => "7",
        "veryfast" | "faster" | "fast" => "5",
        "medium" => "4",
        "slow" => "2",
        _ => "1",
    }
}

fn openh264_complexity(preset: &str) -> &'static str {
    match preset {
        "medium" => "medium",
        "slow" | "slower" | "veryslow" | "placebo" => "high",
        _ => "low",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(element: &str) -> String {
        with(element, None)
    }

    fn with(element: &str, crf: Option<u8>) -> String {
        let ask = Ask { bitrate: 2_500_000, crf, preset: "veryfast", threads: 2 };
        let settings = Backend::of(element).unwrap().settings(&ask);
        let settings: Vec<_> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        settings.join(" ")
    }

    #[test]
    fn a_quality_has_the_bit_rate_as_its_bound() {
        let settings = with("x264enc", Some(23));
        assert!(settings.starts_with("bitrate=2500 ") && settings.contains(" pass=qual "), "{settings}");
        assert!(settings.ends_with(" quantizer=23"), "{settings}");
        assert_eq!(with("vah264enc", Some(23)), line("vah264enc"));
    }

    #[test]
    fn each_kind_is_told_in_its_own_words() {
        for (element, expected) in [
            (
                "nvcudah264enc",
                "bitrate=2500 rate-control=cbr rc-mode=cbr vbv-buffer-size=2500 preset=p4 tune=low-latency \
                 multi-pass=disabled gop-size=-1 b-frames=0 bframes=0 zero-reorder-delay=true rc-lookahead=0 aud=false",
            ),
            (
                "nvh264enc",
                "bitrate=2500 rc-mode=cbr vbv-buffer-size=2500 preset=low-latency-hq gop-size=-1 bframes=0 \
                 zerolatency=true aud=false",
            ),
            (
                "vah264enc",
                "bitrate=2500 rate-control=cbr cpb-size=2500 target-usage=5 key-int-max=1024 b-frames=0 aud=false",
            ),
            (
                "qsvh265enc",
                "bitrate=2500 rate-control=cbr target-usage=5 gop-size=0 b-frames=0 low-latency=true",
            ),
            ("v4l2h264enc", "extra-controls=controls,video_bitrate_mode=1,video_bitrate=2500000"),
            (
                "x264enc",
                "bitrate=2500 speed-preset=veryfast tune=zerolatency pass=cbr vbv-buf-capacity=1000 bframes=0 \
                 aud=false key-int-max=1073741823 option-string=scenecut=0 threads=2",
            ),
            (
                "openh264enc",
                "bitrate=2500000 rate-control=bitrate complexity=low gop-size=1073741823 \
                 scene-change-detection=false multi-thread=2",
            ),
            (
                "x265enc",
                "bitrate=2500 speed-preset=veryfast tune=zerolatency key-int-max=1073741823 log-level=error \
                 option-string=scenecut=0:bframes=0:open-gop=0:vbv-maxrate=2500:vbv-bufsize=2500:pools=2",
            ),
            (
                "svtav1enc",
                "target-bitrate=2500 preset=10 intra-period-length=-1 parameters-string=rc=2:pred-struct=1:scd=0:lp=2",
            ),
            (
                "av1enc",
                "target-bitrate=2500 usage-profile=realtime end-usage=cbr cpu-used=8 lag-in-frames=0 min-quantizer=4 max-quantizer=60 \
                 keyframe-max-dist=1073741823 row-mt=true threads=2",
            ),
        ] {
            assert_eq!(line(element), expected, "{element}");
        }
    }

    #[test]
    fn elements_of_further_devices_are_known() {
        for (element, kind) in [
            ("nvcudah264device1enc", "nvcudah264enc"),
            ("nvh264device2enc", "nvh264enc"),
            ("varenderD129h264enc", "vah264enc"),
            ("varenderD129h264lpenc", "vah264lpenc"),
            ("qsvh264device1enc", "qsvh264enc"),
            ("v4l2video11h264enc", "v4l2h264enc"),
        ] {
            assert_eq!(Backend::of(element).map(|it| it.element), Some(kind), "{element}");
        }
        assert_eq!(Backend::of("x264encoder"), None);
    }

    #[test]
    fn of_each_coding_the_processor_comes_last() {
        for coding in [Coding::H264, Coding::Hevc, Coding::Av1] {
            let families: Vec<_> =
                BACKENDS.iter().filter(|it| it.coding == coding).map(|it| it.family).collect();
            assert_eq!(families.last(), Some(&Family::Cpu));
            let first = families.iter().position(|it| *it == Family::Cpu).unwrap();
            assert!(families[first..].iter().all(|it| *it == Family::Cpu), "{coding:?}");
        }
    }
}
