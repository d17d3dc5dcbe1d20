//! The graph of one job as a value: which elements decode, scale and encode, in which order, with which settings, and where
//! pictures change from one memory to another. Pure: names and texts, no GStreamer; the worker builds what stands here.
//!
//! Pictures stay where they are as long as the next stage is there too. Where it is not they come down (or go up) once: in
//! front of the tee if all rungs need it, else behind the scaler, where they are small.

mod stage;
#[cfg(test)]
mod tests;

use std::fmt;

use media::intake::VideoCodec;

use super::backend::{BACKENDS, Backend, Coding, Family};
use super::dialect::{Ask, Setting};
use super::spec::{InvalidSpec, RungSpec, TranscodeSpec};

use stage::Memory;
pub(super) use stage::{DECODERS, Decoder, PROCESSORS, SCALERS, Scaler, device, is_usual};

/// x264 with one thread encodes about this many macroblocks a second at `veryfast` on a slow core.
const BLOCKS_PER_THREAD: u64 = 110_000;

/// An element and what is set on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) element: String,
    pub(super) settings: Vec<Setting>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// What a device's decoder needs in front of it.
    pub(super) parser: Option<Step>,
    pub(super) decoder: Step,
    /// From the decoder to where the rungs part.
    pub(super) trunk: Vec<Step>,
    /// In the job's order.
    pub(super) rungs: Vec<Branch>,
}

/// One rung of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Branch {
    /// One of how many source frames it keeps.
    pub(super) every: u32,
    /// Its frame rate, where it is not the source's.
    pub(super) lower_rate: Option<(u32, u32)>,
    pub(super) scale: Vec<Step>,
    pub(super) encoder: Step,
    /// What brings the encoder's output into the form in which it travels: parameter sets beside the pictures, one
    /// picture a unit.
    pub(super) finish: Vec<Step>,
    /// What it is encoded as.
    pub(super) coding: Coding,
    /// Units are decoded in another order than they are shown in.
    pub(super) reorders: bool,
}

impl Step {
    fn new(element: &str, settings: &[(&'static str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
        Self { element: element.to_owned(), settings: settings.collect() }
    }

    fn caps(caps: impl Into<String>) -> Self {
        Self { element: "capsfilter".to_owned(), settings: vec![("caps", caps.into())] }
    }

    /// The plugin's file that the element comes in and the package to install for it, where it is not one that every worker
    /// has.
    pub(super) fn plugin(&self) -> Option<(&'static str, &'static str)> {
        plugin(&self.element)
    }
}

fn plugin(element: &str) -> Option<(&'static str, &'static str)> {
    const BAD: &str = "gstreamer1.0-plugins-bad";
    if let Some(backend) = Backend::of(element) {
        return Some((backend.file, backend.package));
    }
    let family = Decoder::of(element).map(|it| it.family).or_else(|| Scaler::of(element).map(|it| it.family));
    match element {
        "h264parse" | "h265parse" | "av1parse" | "vp9parse" => Some(("libgstvideoparsersbad.so", BAD)),
        "av1dec" => Some(("libgstaom.so", BAD)),
        "cudaupload" | "cudadownload" => Some(("libgstnvcodec.so", BAD)),
        _ => family.and_then(of_family),
    }
}

/// Elements of a device come together in one file.
fn of_family(family: Family) -> Option<(&'static str, &'static str)> {
    BACKENDS.iter().find(|it| it.family == family).map(|it| (it.file, it.package))
}

impl Plan {
    /// The graph for a job on a machine with so many cores.
    pub(super) fn of(spec: &TranscodeSpec, cores: u32) -> Result<Self, InvalidSpec> {
        let codec = VideoCodec::of(&spec.video.codec).unwrap_or(VideoCodec::H264);
        let decoder = spec.decoder.as_deref().filter(|_| is_usual(&spec.video.codec));
        let kind = decoder.map(|name| Decoder::of(name).filter(|it| it.codec == codec).ok_or(name));
        let kind = kind.transpose().map_err(|name| InvalidSpec::Stage(name.to_owned()))?;
        let scaler = spec.scaler.as_deref().map(|name| At::of(name, spec).ok_or(name));
        let scaler = scaler.transpose().map_err(|name| InvalidSpec::Stage(name.to_owned()))?;
        let rungs = spec.rungs.iter().map(|rung| {
            let (element, encoder) = spec.encoder_of(rung)?;
            let every = every(rung, spec.video.frame_rate);
            let lower_rate = lower_rate(every, spec.video.frame_rate);
            let ask = Ask {
                bitrate: rung.video_bitrate,
                preset: rung.tuning.preset.as_deref().unwrap_or(&spec.preset),
                threads: threads(rung, lower_rate.or(spec.video.frame_rate), cores),
                tuning: &rung.tuning,
            };
            Ok(Branch {
                every,
                lower_rate,
                scale: scale(rung, scaler.as_ref(), encoder),
                encoder: coder(element, encoder, &ask),
                finish: finish(encoder, rung.tuning.profile.as_deref()),
                coding: rung.codec,
                reorders: rung.tuning.b_frames > 0,
            })
        });
        Ok(Self {
            parser: kind.and_then(|_| parser(codec)),
            decoder: match decoder {
                Some(name) => device_decoder(name),
                None => software_decoder(codec),
            },
            trunk: trunk(kind, scaler.as_ref()),
            rungs: rungs.collect::<Result<_, _>>()?,
        })
    }
}

/// A scaler, and where it stands.
struct At<'a> {
    element: &'a str,
    kind: &'static Scaler,
    /// What every element of its device is told.
    device: Vec<Setting>,
}

impl<'a> At<'a> {
    fn of(element: &'a str, spec: &TranscodeSpec) -> Option<Self> {
        let kind = Scaler::of(element)?;
        let beside = spec.decoder.as_deref().filter(|it| it.starts_with("nv")).unwrap_or(&spec.encoder);
        let device = match kind.memory() {
            Memory::Cuda => vec![("cuda-device-id", stage::cuda_number(beside).to_string())],
            Memory::Va | Memory::System => Vec::new(),
        };
        Some(Self { element, kind, device })
    }

    fn step(&self, element: &str) -> Step {
        Step { element: element.to_owned(), settings: self.device.clone() }
    }

    /// To a size, of whatever shape.
    fn scale(&self) -> Step {
        let mut step = self.step(self.element);
        step.settings.push(("add-borders", "false".to_owned()));
        step
    }
}

fn trunk(decoder: Option<&Decoder>, scaler: Option<&At<'_>>) -> Vec<Step> {
    if let (Some(decoder), Some(scaler)) = (decoder, scaler)
        && decoder.memory() == scaler.kind.memory()
    {
        return vec![Step::caps(decoder.memory().caps())];
    }
    // A device's decoder brings its pictures down itself where it is asked to.
    let mut steps: Vec<_> = decoder.map(|_| Step::caps(Memory::System.caps())).into_iter().collect();
    steps.push(Step::new("videoconvert", &[]));
    // The only pixels that every player decodes.
    steps.push(Step::caps("video/x-raw,format=I420"));
    match scaler.map(|it| (it, it.kind.memory())) {
        Some((scaler, memory @ Memory::Cuda)) => {
            steps.extend([scaler.step("cudaupload"), Step::caps(memory.caps())]);
        }
        Some((scaler, memory @ Memory::Va)) => {
            let caps = format!("{},format=NV12", memory.caps());
            steps.extend([scaler.step(scaler.element), Step::caps(caps)]);
        }
        Some((_, Memory::System)) | None => {}
    }
    steps
}

/// Pictures of a rung's size, 8 bits and 4:2:0 whatever the source has, where its encoder takes them.
fn scale(rung: &RungSpec, scaler: Option<&At<'_>>, encoder: &Backend) -> Vec<Step> {
    let size = format!("width={},height={},pixel-aspect-ratio=1/1", rung.width, rung.height);
    let on_device = encoder.family != Family::Cpu;
    let convert = || Step::new("videoconvert", &[]);
    let Some(scaler) = scaler else {
        let mut steps = vec![Step::new(PROCESSORS, &[]), Step::caps(format!("video/x-raw,{size}"))];
        steps.extend(on_device.then(convert));
        return steps;
    };
    let memory = scaler.kind.memory();
    let stays = on_device && Memory::of(encoder.family) == memory;
    match memory {
        Memory::System if stays => {
            let caps = format!("{},format={{NV12,I420}},{size}", memory.caps());
            vec![scaler.scale(), Step::caps(caps)]
        }
        Memory::Cuda | Memory::Va if stays => {
            vec![scaler.scale(), Step::caps(format!("{},format={},{size}", memory.caps(), encoder.pixels()))]
        }
        Memory::Cuda => {
            let caps = format!("{},format={},{size}", memory.caps(), encoder.pixels());
            let down = scaler.step("cudadownload");
            vec![scaler.scale(), Step::caps(caps), down, Step::caps(Memory::System.caps())]
        }
        // VA-API's brings them down itself, as NV12, which every driver has.
        Memory::Va | Memory::System => {
            vec![scaler.scale(), Step::caps(format!("video/x-raw,format=NV12,{size}")), convert()]
        }
    }
}

fn parser(codec: VideoCodec) -> Option<Step> {
    let element = match codec {
        VideoCodec::H264 => "h264parse",
        VideoCodec::H265 => "h265parse",
        VideoCodec::Av1 => "av1parse",
        VideoCodec::Vp9 => "vp9parse",
        VideoCodec::Vp8 => return None,
    };
    Some(Step::new(element, &[]))
}

fn device_decoder(element: &str) -> Step {
    let mut step = Step::new(element, &[("max-errors", "-1")]);
    if element.starts_with("nv") {
        // Pictures as soon as they are there.
        step.settings.push(("max-display-delay", "0".to_owned()));
    }
    step
}

/// Decodes on the processor with no delay but what B-frames need, whatever is damaged.
pub(super) fn software_decoder(codec: VideoCodec) -> Step {
    let element = match codec {
        VideoCodec::H264 => "avdec_h264",
        VideoCodec::H265 => "avdec_h265",
        VideoCodec::Av1 => return Step::new("av1dec", &[("max-errors", "-1")]),
        VideoCodec::Vp8 => "avdec_vp8",
        VideoCodec::Vp9 => "avdec_vp9",
    };
    // Frame threads hold back a frame each. One thread decodes 1080p60 several times over.
    // A damaged stream is the normal case: however many errors, the next good picture counts.
    Step::new(element, &[("max-threads", "1"), ("thread-type", "slice"), ("max-errors", "-1")])
}

/// An encoder as it is asked to encode.
pub(super) fn coder(element: &str, backend: &Backend, ask: &Ask<'_>) -> Step {
    Step { element: element.to_owned(), settings: backend.settings(ask) }
}

/// See [`Branch::finish`]. `profile`: where the rung wishes for one.
pub(super) fn finish(backend: &Backend, profile: Option<&str>) -> Vec<Step> {
    let profile = match (backend.coding, profile) {
        // Nothing else of it is ever made.
        (Coding::H264, Some("baseline")) => Some("constrained-baseline"),
        (Coding::H264, None) if backend.element == "x264enc" => Some("high"),
        (Coding::H264 | Coding::Hevc, profile) => profile,
        (Coding::Av1, _) => None,
    };
    let profile = profile.map(|profile| format!(",profile={profile}")).unwrap_or_default();
    let h264 = format!("video/x-h264,stream-format=avc,alignment=au{profile}");
    match backend.coding {
        Coding::H264 if backend.element == "x264enc" => vec![Step::caps(h264)],
        Coding::H264 => vec![Step::new("h264parse", &[]), Step::caps(h264)],
        Coding::Hevc => {
            let caps = format!("video/x-h265,stream-format=hvc1,alignment=au{profile}");
            vec![Step::new("h265parse", &[]), Step::caps(caps)]
        }
        Coding::Av1 => vec![Step::caps("video/x-av1,alignment=tu")],
    }
}

/// One of how many source frames a rung keeps. All, where the source's rate is unknown: leaving frames out by guess would be
/// seen.
fn every(rung: &RungSpec, source: Option<(u32, u32)>) -> u32 {
    let (Some(source), Some(rung)) = (source, rung.fps) else { return 1 };
    let numerator = u64::from(source.0) * u64::from(rung.1);
    let denominator = (u64::from(source.1) * u64::from(rung.0)).max(1);
    u32::try_from((numerator + denominator / 2) / denominator).unwrap_or(u32::MAX).max(1)
}

fn lower_rate(every: u32, source: Option<(u32, u32)>) -> Option<(u32, u32)> {
    let (numerator, denominator) = source.filter(|_| every > 1)?;
    Some((numerator, denominator.checked_mul(every)?))
}

/// One thread as long as it keeps up with room to spare: slices cost CPU and quality.
fn threads(rung: &RungSpec, rate: Option<(u32, u32)>, cores: u32) -> u32 {
    let (numerator, denominator) = rate.unwrap_or((30, 1));
    let blocks = u64::from(rung.width.div_ceil(16)) * u64::from(rung.height.div_ceil(16));
    let rate = blocks.saturating_mul(u64::from(numerator)) / u64::from(denominator.max(1));
    rate.div_ceil(BLOCKS_PER_THREAD).clamp(1, u64::from(cores.clamp(1, 8))) as u32
}

/// As `gst-launch-1.0` writes it.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.settings[..] {
            [("caps", caps)] => f.write_str(caps),
            settings => {
                f.write_str(&self.element)?;
                settings.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
            }
        }
    }
}
