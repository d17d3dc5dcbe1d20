//! What may stand in front of an encoder on a device: decoders, scalers, and the memory in which pictures travel between
//! them. Pure: names, no GStreamer.

use media::intake::VideoCodec;

use crate::transcode::backend::Family;

/// The processor's scaler: the worker's own element.
pub(in crate::transcode) const PROCESSORS: &str = "weirscale";

/// Where pictures lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::transcode) enum Memory {
    /// The processor's. V4L2 elements hand each other buffers in it without a copy, where drivers can.
    System,
    Cuda,
    Va,
}

impl Memory {
    pub(super) fn of(family: Family) -> Self {
        match family {
            Family::Nvidia => Self::Cuda,
            // Quick Sync's elements take and give VA-API's surfaces on Linux.
            Family::Va | Family::Qsv => Self::Va,
            Family::V4l2 | Family::Cpu => Self::System,
        }
    }

    /// As caps name it.
    pub(super) fn caps(self) -> &'static str {
        match self {
            Self::System => "video/x-raw",
            Self::Cuda => "video/x-raw(memory:CUDAMemory)",
            Self::Va => "video/x-raw(memory:VAMemory)",
        }
    }
}

/// A kind of element that decodes on a device. Elements of further devices have the device in their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::transcode) struct Decoder {
    pub(in crate::transcode) element: &'static str,
    pub(in crate::transcode) family: Family,
    pub(in crate::transcode) codec: VideoCodec,
    around: (&'static str, &'static str),
}

const fn decoder(
    family: Family,
    codec: VideoCodec,
    element: &'static str,
    around: (&'static str, &'static str),
) -> Decoder {
    Decoder { element, family, codec, around }
}

/// All of them; of one codec those that are tried first stand first. Sources of VP8 and VP9 are rare and small.
pub(in crate::transcode) const DECODERS: [Decoder; 12] = {
    use Family::{Nvidia, Qsv, V4l2, Va};
    use VideoCodec::{Av1, H264, H265};
    [
        decoder(Nvidia, H264, "nvh264dec", ("nvh264device", "dec")),
        // Until 1.24 an element of its own.
        decoder(Nvidia, H264, "nvh264sldec", ("nvh264sldevice", "dec")),
        decoder(Va, H264, "vah264dec", ("varender", "h264dec")),
        decoder(Qsv, H264, "qsvh264dec", ("qsvh264device", "dec")),
        decoder(V4l2, H264, "v4l2h264dec", ("v4l2video", "h264dec")),
        decoder(Nvidia, H265, "nvh265dec", ("nvh265device", "dec")),
        decoder(Nvidia, H265, "nvh265sldec", ("nvh265sldevice", "dec")),
        decoder(Va, H265, "vah265dec", ("varender", "h265dec")),
        decoder(Qsv, H265, "qsvh265dec", ("qsvh265device", "dec")),
        decoder(V4l2, H265, "v4l2h265dec", ("v4l2video", "h265dec")),
        decoder(Nvidia, Av1, "nvav1dec", ("nvav1device", "dec")),
        decoder(Va, Av1, "vaav1dec", ("varender", "av1dec")),
    ]
};

/// A kind of element that scales and converts on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::transcode) struct Scaler {
    pub(in crate::transcode) element: &'static str,
    pub(in crate::transcode) family: Family,
    around: (&'static str, &'static str),
}

/// All of them. Quick Sync's pictures are scaled by VA-API's.
pub(in crate::transcode) const SCALERS: [Scaler; 3] = [
    // One element for all devices, told which by a property.
    Scaler { element: "cudaconvertscale", family: Family::Nvidia, around: ("cudaconvertscale", "") },
    Scaler { element: "vapostproc", family: Family::Va, around: ("varender", "postproc") },
    Scaler { element: "v4l2convert", family: Family::V4l2, around: ("v4l2video", "convert") },
];

impl Decoder {
    /// The kind that an element is of, by its name.
    pub(in crate::transcode) fn of(element: &str) -> Option<&'static Self> {
        DECODERS.iter().find(|it| it.is(element))
    }

    /// Whether an element is of this kind, on whichever device.
    pub(in crate::transcode) fn is(&self, element: &str) -> bool {
        is(element, self.element, self.around)
    }

    pub(super) fn memory(&self) -> Memory {
        Memory::of(self.family)
    }
}

impl Scaler {
    /// The kind that an element is of, by its name.
    pub(in crate::transcode) fn of(element: &str) -> Option<&'static Self> {
        SCALERS.iter().find(|it| it.is(element))
    }

    /// The element that scales what this one decodes, by their names.
    pub(in crate::transcode) fn beside(decoder: &str) -> Option<String> {
        let family = Decoder::of(decoder)?.family;
        let name = match family {
            Family::Nvidia => "cudaconvertscale".to_owned(),
            Family::Va => format!("{}postproc", va_device(decoder)),
            // Of further devices the name says nothing that VA-API's name would.
            Family::Qsv if decoder.contains("device") => return None,
            Family::Qsv => "vapostproc".to_owned(),
            Family::V4l2 => "v4l2convert".to_owned(),
            Family::Cpu => return None,
        };
        Some(name)
    }

    /// Whether an element is of this kind, on whichever device.
    pub(in crate::transcode) fn is(&self, element: &str) -> bool {
        is(element, self.element, self.around)
    }

    pub(super) fn memory(&self) -> Memory {
        Memory::of(self.family)
    }
}

/// `va` or `varenderD129`.
fn va_device(element: &str) -> &str {
    let end = element.find("renderD").map(|at| {
        let digits = element.get(at + 7..).unwrap_or_default();
        at + 7 + digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())
    });
    end.and_then(|end| element.get(..end)).unwrap_or("va")
}

/// The device that an element is on: as it says itself, else by its name. Elements on the same one go together.
pub(in crate::transcode) fn device(family: Family, element: &str, says: Option<&str>) -> String {
    match family {
        Family::Nvidia => format!("cuda {}", cuda_number(element)),
        Family::Va | Family::Qsv => says.map_or_else(
            || {
                format!(
                    "/dev/dri/{}",
                    va_device(element).strip_prefix("va").filter(|it| !it.is_empty()).unwrap_or("renderD128")
                )
            },
            str::to_owned,
        ),
        // Decoder, scaler and encoder are nodes of their own there, of one chip.
        Family::V4l2 => "v4l2".to_owned(),
        Family::Cpu => "processor".to_owned(),
    }
}

fn is(element: &str, first: &str, (begins, ends): (&str, &str)) -> bool {
    element == first || element.starts_with(begins) && element.ends_with(ends) && element != begins
}

/// CUDA's number of the device that an element's name is of.
pub(in crate::transcode) fn cuda_number(element: &str) -> u32 {
    let digits = element.split_once("device").map_or("", |(_, rest)| rest);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits.get(..end).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Whether devices decode such a source: 4:2:0, of 8 bits, or of 10 where that is usual. What they do not decode fails late
/// and in as many ways as there are drivers, so it is not tried.
pub(in crate::transcode) fn is_usual(codec: &str) -> bool {
    let (kind, rest) = codec.split_once('.').unwrap_or((codec, ""));
    let profile = rest.split('.').next().unwrap_or_default();
    match VideoCodec::of(kind) {
        // Baseline, Main, High (ITU-T H.264 A.2), not High 10 and above.
        Some(VideoCodec::H264) => profile.get(..2).is_some_and(|it| matches!(it, "42" | "4d" | "4D" | "64")),
        // Main and Main 10 (ITU-T H.265 A.3), not the range extensions.
        Some(VideoCodec::H265) => matches!(profile.trim_start_matches(['A', 'B', 'C']), "1" | "2"),
        // Main: 4:2:0 of 8 and 10 bits.
        Some(VideoCodec::Av1) => profile == "0",
        Some(VideoCodec::Vp8 | VideoCodec::Vp9) | None => false,
    }
}
