//! What decodes or scales on a device, on trial: pictures go in, coded or not, are scaled down there and brought back, by the
//! steps of the plan that a live rung would have.

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use media::{VideoFormat, intake::VideoCodec, ladder::Tuning};

use super::trial::{Attempt, PICTURES, Unfit, ask, buffers, raw};
use super::{pipeline::PipelineError, plugins, step};
use crate::transcode::backend::Backend;
use crate::transcode::dialect::Ask;
use crate::transcode::plan::{self, Decoder, Plan, Scaler, Step};
use crate::transcode::spec::{InvalidSpec, Limits, RungSpec, TranscodeSpec, X264};
use crate::transcode::survey::{SIZES, Trial};

/// What pictures are scaled down to.
const SMALL: (u32, u32) = (640, 360);
/// How long the processor may take for a picture that is to be decoded.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(10);

pub(super) fn measure(name: &str, trial: &mut Trial) -> Result<(), Unfit> {
    plugins::load()?;
    let codec = Decoder::of(name).map(|it| it.codec);
    if codec.is_none() && Scaler::of(name).is_none() {
        return Err(Unfit::Unknown);
    }
    let steps = steps(name, codec).map_err(PipelineError::from)?;
    for size in SIZES {
        let (caps, buffers) = match codec {
            Some(codec) => coded(codec, size).map_err(Unfit::NoSource)?,
            None => (raw(size, "I420"), buffers(size, PICTURES)),
        };
        let chain = step::make_all(&steps)?;
        let named = |it: &&gst::Element| it.factory().is_some_and(|factory| factory.name() == name);
        let element = chain.iter().find(named).cloned().ok_or(Unfit::Unknown)?;
        let attempt = Attempt::start(&caps, chain, element, (buffers, true))?;
        trial.device = attempt.device();
        trial.runs.push(attempt.judge(size)?);
    }
    Ok(())
}

/// Those of a rung that the processor encodes, up to its encoder.
fn steps(name: &str, codec: Option<VideoCodec>) -> Result<Vec<Step>, InvalidSpec> {
    let is_there = |scaler: &String| {
        let step = Step { element: scaler.clone(), settings: Vec::new() };
        step::make(&step).is_ok()
    };
    let (decoder, scaler) = match codec {
        Some(_) => (Some(name.to_owned()), Scaler::beside(name).filter(is_there)),
        None => (None, Some(name.to_owned())),
    };
    let kind = match codec {
        Some(VideoCodec::H265) => "hvc1.1.6.L123.90",
        Some(VideoCodec::Av1) => "av01.0.08M.08",
        _ => "avc1.640028",
    };
    let (width, height) = SIZES[0];
    let spec = TranscodeSpec {
        stream: "trial".to_owned(),
        video: VideoFormat {
            codec: kind.to_owned(),
            width,
            height,
            frame_rate: Some((30, 1)),
            config: Bytes::new(),
        },
        rungs: vec![RungSpec::new("trial", SMALL, 1_000_000)],
        preset: "veryfast".to_owned(),
        encoder: X264.to_owned(),
        decoder,
        scaler,
        limits: Limits::default(),
    };
    let plan = Plan::of(&spec, 1)?;
    let decode = codec.map(|_| plan.parser.into_iter().chain([plan.decoder])).into_iter().flatten();
    let scale = plan.rungs.into_iter().flat_map(|rung| rung.scale);
    Ok(decode.chain(plan.trunk).chain(scale).collect())
}

/// Pictures as the processor encodes them.
fn coded(codec: VideoCodec, size: (u32, u32)) -> Result<(gst::Caps, Vec<gst::Buffer>), PipelineError> {
    let name = match codec {
        VideoCodec::H265 => "x265enc",
        VideoCodec::Av1 => "av1enc",
        _ => X264,
    };
    let short = |out: usize| PipelineError::Refused(format!("{name} gave {out} of {PICTURES} pictures"));
    let backend = Backend::of(name).ok_or_else(|| short(0))?;
    let tuning = Tuning::default();
    let asked = Ask { preset: "ultrafast", ..ask(&tuning, size) };
    let mut chain = step::make_all(&[plan::coder(name, backend, &asked)])?;
    chain.extend(step::make_all(&plan::finish(backend, None))?);
    let source = gst_app::AppSrc::builder()
        .caps(&raw(size, "I420"))
        .format(gst::Format::Time)
        .max_bytes(u64::MAX)
        .build();
    let sink = gst_app::AppSink::builder().sync(false).build();
    let pipeline = gst::Pipeline::new();
    let mut all = vec![source.clone().upcast::<gst::Element>()];
    all.extend(chain);
    all.push(sink.clone().upcast());
    pipeline.add_many(&all).map_err(PipelineError::Link)?;
    gst::Element::link_many(&all).map_err(PipelineError::Link)?;
    pipeline.set_state(gst::State::Playing)?;
    for buffer in buffers(size, PICTURES) {
        // Refused only by a pipeline that has failed: then nothing comes out.
        source.push_buffer(buffer).ok();
    }
    source.end_of_stream().ok();
    let (mut caps, mut out) = (None, Vec::new());
    while let Some(sample) = sink.try_pull_sample(PATIENCE) {
        caps = caps.or_else(|| sample.caps_owned());
        // An encoder's own zero is not the source's.
        let segment = sample.segment().and_then(|it| it.downcast_ref::<gst::ClockTime>().cloned());
        if let Some(mut buffer) = sample.buffer_owned() {
            let time = |at: Option<gst::ClockTime>| segment.as_ref()?.to_running_time(at?);
            let (pts, dts) = (time(buffer.pts()), time(buffer.dts()));
            let at = buffer.make_mut();
            at.set_pts(pts);
            at.set_dts(dts);
            out.push(buffer);
        }
    }
    // It ends here.
    pipeline.set_state(gst::State::Null).ok();
    match caps {
        Some(caps) if out.len() == PICTURES => Ok((caps, out)),
        _ => Err(short(out.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (u32, u32) = (640, 480);

    /// The processor's own decoder and scaler, as if they were a device's.
    fn tried(codec: VideoCodec, more: &[Step]) -> Result<Trial, Unfit> {
        plugins::load()?;
        let (caps, buffers) = coded(codec, SIZE).map_err(Unfit::NoSource)?;
        let mut chain = step::make_all(&[plan::software_decoder(codec)])?;
        chain.extend(step::make_all(more)?);
        let element = chain[0].clone();
        let attempt = Attempt::start(&caps, chain, element, (buffers, true))?;
        let run = attempt.judge(SIZE)?;
        Ok(Trial { works: true, runs: vec![run], ..Trial::default() })
    }

    #[test]
    fn what_decodes_every_picture_in_its_turn_has_its_pace_measured() {
        for codec in [VideoCodec::H264, VideoCodec::H265, VideoCodec::Av1] {
            let trial = tried(codec, &[]).unwrap();
            assert!(trial.runs[0].frames_per_second > 1.0, "{codec:?}");
        }
    }

    #[test]
    fn what_loses_pictures_is_not_taken() {
        let identity =
            Step { element: "identity".into(), settings: vec![("drop-probability", "0.5".into())] };
        assert!(matches!(tried(VideoCodec::H264, &[identity]), Err(Unfit::Incomplete { .. } | Unfit::Order)));
    }

    #[test]
    fn an_element_that_is_not_there_says_so() {
        let mut trial = Trial::default();
        let said = measure("vah264dec", &mut trial).unwrap_err().to_string();
        assert!(said.contains("vah264dec"), "{said}");
        assert!(measure("superdec", &mut trial).unwrap_err().to_string().contains("no element"));
    }
}
