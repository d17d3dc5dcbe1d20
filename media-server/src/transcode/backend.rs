//! The encoders that GStreamer may have, and how each is told to encode a live rung: a constant bit rate, no B-frames, no
//! delay, and keyframes where the GOP clock asks for them and nowhere else. Pure: names and texts, no GStreamer.
//!
//! What an element is able to do is measured (`probe`), not concluded from its name.

use media::ladder::RungCodec;
use serde::{Deserialize, Serialize};

use super::dialect::{self, Ask, Dialect, Setting};

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

impl Coding {
    /// The name that people know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::Hevc => "HEVC",
            Self::Av1 => "AV1",
        }
    }
}

impl From<RungCodec> for Coding {
    fn from(codec: RungCodec) -> Self {
        match codec {
            RungCodec::H264 => Self::H264,
            RungCodec::Hevc => Self::Hevc,
            RungCodec::Av1 => Self::Av1,
        }
    }
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
        dialect::settings(self.dialect, ask)
    }

    /// The settings without which it would encode something else.
    pub(super) fn is_needed(setting: &str) -> bool {
        matches!(setting, "bitrate" | "target-bitrate" | "extra-controls")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
