//! One keyframe as a JPEG, and as a small picture on a sheet of those before it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use media::intake::VideoCodec;
use media::{AccessUnit, Span, Timestamp};

use super::pipeline::{PipelineError, element, source};
use super::socket::{Inlet, Outlet};
use super::{Failure, plugins, sheet, step};
use crate::transcode::plan;
use crate::transcode::protocol::{FromWorker, ToWorker};
use crate::transcode::spec::PosterSpec;

/// How long a picture may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// Of 100.
const QUALITY: i32 = 80;
/// What a JPEG's numbers mean (JFIF 1.02): the whole range, BT.601's matrix; transfer and primaries of sRGB.
const JFIF: &str = "1:4:7:1";

/// Does the job to its end.
pub(super) fn work(spec: &PosterSpec, inlet: &mut Inlet, outlet: &Arc<Outlet>) -> Result<(), Failure> {
    spec.validate().map_err(PipelineError::from)?;
    plugins::load_jpeg()?;
    let Some(ToWorker::Source { unit, .. }) = inlet.next()? else { return Err(Failure::NoJob) };
    let pipeline = gst::Pipeline::new();
    let codec = VideoCodec::of(&spec.video.codec).unwrap_or(VideoCodec::H264);
    let entry = source(codec, &spec.video);
    let decode = step::make(&plan::software_decoder(codec))?;
    // Scaled first: the rest is of a small picture. By way of RGB, or what a source does not say of its colours would stand in the
    // JPEG as if it had said what a JPEG means: white as light grey.
    let (scale, size) = (scaler()?, shape(raw(spec.width, spec.height))?);
    let (convert, rgb) =
        (element("videoconvert")?, shape(gst::Caps::builder("video/x-raw").field("format", "RGBx"))?);
    let (back, meant) = (element("videoconvert")?, shape(jfif(spec.width, spec.height))?);
    let tee = element("tee")?;
    let trunk = [entry.upcast_ref(), &decode, &scale, &size, &convert, &rgb, &back, &meant, &tee];
    pipeline.add_many(trunk).map_err(PipelineError::Link)?;
    gst::Element::link_many(trunk).map_err(PipelineError::Link)?;
    let picture = branch(&pipeline, &tee, &[coder()?])?;
    let small = match &spec.sheet {
        Some(sheet) => {
            let (width, height) = sheet.tile;
            Some(branch(&pipeline, &tee, &[scaler()?, shape(jfif(width, height))?])?)
        }
        None => None,
    };
    pipeline.set_state(gst::State::Playing).map_err(PipelineError::from)?;
    let mut buffer = gst::Buffer::from_slice(unit.payload);
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(gst::ClockTime::ZERO);
        buffer.set_dts(gst::ClockTime::ZERO);
    }
    // Refused only by a pipeline that has failed, which the bus says.
    entry.push_buffer(buffer).and_then(|_| entry.end_of_stream()).ok();
    outlet.send(&answer(pull(&pipeline, &picture)?))?;
    if let (Some(small), Some(spec)) = (small, &spec.sheet) {
        let tile = pull(&pipeline, &small)?;
        let mut tiles = Vec::with_capacity(spec.known.saturating_add(1));
        while tiles.len() < spec.known {
            let Some(ToWorker::File(known)) = inlet.next()? else { return Err(Failure::NoJob) };
            tiles.push(known);
        }
        tiles.push(tile.clone());
        outlet.send(&answer(tile))?;
        outlet.send(&answer(encode(&tiles, spec.tile)?))?;
    }
    // The process ends next; a pipeline that does not stop changes nothing about that.
    pipeline.set_state(gst::State::Null).ok();
    Ok(())
}

/// A sheet's JPEG.
fn encode(tiles: &[Bytes], tile: (u32, u32)) -> Result<Bytes, Failure> {
    let (sheet, (width, height)) = sheet::of(tiles, tile);
    let caps = jfif(width, height).field("framerate", gst::Fraction::new(0, 1)).build();
    let entry = gst_app::AppSrc::builder().caps(&caps).format(gst::Format::Time).build();
    let (pipeline, coder, sink) = (gst::Pipeline::new(), coder()?, sink());
    let chain = [entry.upcast_ref(), &coder, sink.upcast_ref()];
    pipeline.add_many(chain).map_err(PipelineError::Link)?;
    gst::Element::link_many(chain).map_err(PipelineError::Link)?;
    pipeline.set_state(gst::State::Playing).map_err(PipelineError::from)?;
    // As above.
    entry.push_buffer(gst::Buffer::from_slice(sheet)).and_then(|_| entry.end_of_stream()).ok();
    let jpeg = pull(&pipeline, &sink);
    pipeline.set_state(gst::State::Null).ok();
    jpeg
}

/// What comes out of it first.
fn pull(pipeline: &gst::Pipeline, sink: &gst_app::AppSink) -> Result<Bytes, Failure> {
    let sample = sink.try_pull_sample(gst::ClockTime::try_from(PATIENCE).ok());
    let picture = sample.and_then(|sample| sample.buffer_owned()?.into_mapped_buffer_readable().ok());
    if let Some(picture) = picture {
        return Ok(Bytes::from_owner(picture));
    }
    let bus = pipeline.bus().ok_or(PipelineError::Pad("bus"))?;
    let said = bus.pop_filtered(&[gst::MessageType::Error]);
    Err(match said.as_ref().map(|it| (it, it.view())) {
        Some((message, gst::MessageView::Error(error))) => PipelineError::of(message, error).into(),
        _ => Failure::Stuck,
    })
}

/// Elements and a sink behind the tee.
fn branch(
    pipeline: &gst::Pipeline,
    tee: &gst::Element,
    elements: &[gst::Element],
) -> Result<gst_app::AppSink, PipelineError> {
    let sink = sink();
    let chain = || std::iter::once(tee).chain(elements).chain(std::iter::once(sink.upcast_ref()));
    pipeline.add_many(chain().skip(1)).map_err(PipelineError::Link)?;
    gst::Element::link_many(chain()).map_err(PipelineError::Link)?;
    Ok(sink)
}

/// One that nobody waits for before there is a picture: one thread serves all branches.
fn sink() -> gst_app::AppSink {
    let sink = gst_app::AppSink::builder().sync(false).build();
    sink.set_property("async", false);
    sink
}

fn scaler() -> Result<gst::Element, PipelineError> {
    let scale = element("videoscale")?;
    scale.set_property("add-borders", false);
    Ok(scale)
}

fn coder() -> Result<gst::Element, PipelineError> {
    let coder = element("jpegenc")?;
    coder.set_property("quality", QUALITY);
    Ok(coder)
}

fn shape(caps: gst::caps::Builder<gst::caps::NoFeature>) -> Result<gst::Element, PipelineError> {
    let shape = element("capsfilter")?;
    shape.set_property("caps", caps.build());
    Ok(shape)
}

fn raw(width: u32, height: u32) -> gst::caps::Builder<gst::caps::NoFeature> {
    gst::Caps::builder("video/x-raw")
        .field("width", width.cast_signed())
        .field("height", height.cast_signed())
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
}

fn jfif(width: u32, height: u32) -> gst::caps::Builder<gst::caps::NoFeature> {
    raw(width, height).field("format", "I420").field("colorimetry", JFIF)
}

fn answer(payload: Bytes) -> FromWorker {
    let at = Timestamp::ZERO;
    let unit = AccessUnit { dts: at, pts: at, duration: Span::ZERO, keyframe: true, payload };
    FromWorker::Unit { rung: 0, unit }
}
