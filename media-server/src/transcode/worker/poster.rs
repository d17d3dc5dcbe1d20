//! One keyframe as a JPEG.

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
use super::{Failure, plugins, step};
use crate::transcode::plan;
use crate::transcode::protocol::{FromWorker, ToWorker};
use crate::transcode::spec::PosterSpec;

/// How long a picture may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// Of 100.
const QUALITY: i32 = 80;

/// Does the job to its end.
pub(super) fn work(spec: &PosterSpec, inlet: &mut Inlet, outlet: &Arc<Outlet>) -> Result<(), Failure> {
    spec.validate().map_err(PipelineError::from)?;
    plugins::load_jpeg()?;
    let Some(ToWorker::Source { unit, .. }) = inlet.next()? else { return Err(Failure::NoJob) };
    let pipeline = gst::Pipeline::new();
    let codec = VideoCodec::of(&spec.video.codec).unwrap_or(VideoCodec::H264);
    let entry = source(codec, &spec.video);
    let shape = element("capsfilter")?;
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", spec.width.cast_signed())
        .field("height", spec.height.cast_signed())
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1));
    shape.set_property("caps", caps.build());
    let scale = element("videoscale")?;
    scale.set_property("add-borders", false);
    let coder = element("jpegenc")?;
    coder.set_property("quality", QUALITY);
    let sink = gst_app::AppSink::builder().sync(false).build();
    let (convert, decode) = (element("videoconvert")?, step::make(&plan::software_decoder(codec))?);
    let chain = [entry.upcast_ref(), &decode, &convert, &scale, &shape, &coder, sink.upcast_ref()];
    pipeline.add_many(chain).map_err(PipelineError::Link)?;
    gst::Element::link_many(chain).map_err(PipelineError::Link)?;
    pipeline.set_state(gst::State::Playing).map_err(PipelineError::from)?;
    let mut buffer = gst::Buffer::from_slice(unit.payload);
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(gst::ClockTime::ZERO);
        buffer.set_dts(gst::ClockTime::ZERO);
    }
    // Refused only by a pipeline that has failed, which the bus says.
    entry.push_buffer(buffer).and_then(|_| entry.end_of_stream()).ok();
    let sample = sink.try_pull_sample(gst::ClockTime::try_from(PATIENCE).ok());
    let jpeg = sample.and_then(|sample| sample.buffer_owned()?.into_mapped_buffer_readable().ok());
    let Some(jpeg) = jpeg else {
        let bus = pipeline.bus().ok_or(PipelineError::Pad("bus"))?;
        let said = bus.pop_filtered(&[gst::MessageType::Error]);
        return Err(match said.as_ref().map(|it| (it, it.view())) {
            Some((message, gst::MessageView::Error(error))) => PipelineError::of(message, error).into(),
            _ => Failure::Stuck,
        });
    };
    let (at, payload) = (Timestamp::ZERO, Bytes::from_owner(jpeg));
    let unit = AccessUnit { dts: at, pts: at, duration: Span::ZERO, keyframe: true, payload };
    outlet.send(&FromWorker::Unit { rung: 0, unit })?;
    // The process ends next; a pipeline that does not stop changes nothing about that.
    pipeline.set_state(gst::State::Null).ok();
    Ok(())
}
