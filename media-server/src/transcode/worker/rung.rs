//! One rung's branch of the pipeline: queue, scaler, encoder, sink.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use media::{AccessUnit, Span, Timestamp, ladder::Decimator, time::FLICKS_PER_SECOND};

use crate::transcode::backend::{Ask, Backend, Family};
use crate::transcode::{protocol::FromWorker, spec::RungSpec};

use super::{
    encoder,
    frames::Frames,
    pipeline::{PipelineError, element},
    socket::Outlet,
};

/// Decoded frames that may wait for a rung's encoder.
const QUEUE: u32 = 4;
/// x264 with one thread encodes about this many macroblocks a second at `veryfast` on a slow core.
const BLOCKS_PER_THREAD: u64 = 110_000;

/// What a rung is made from.
pub(super) struct Plan<'a> {
    pub(super) index: u8,
    pub(super) spec: &'a RungSpec,
    pub(super) preset: &'a str,
    /// The element and its kind.
    pub(super) encoder: (&'a str, &'static Backend),
    pub(super) source_rate: Option<(u32, u32)>,
    /// Frames up to here were delivered by a predecessor.
    pub(super) resume_after: Option<Timestamp>,
}

impl Plan<'_> {
    /// One of how many source frames the rung keeps. All, where the source's rate is unknown: leaving frames out by
    /// guess would be seen.
    fn every(&self) -> u32 {
        let (Some(source), Some(rung)) = (self.source_rate, self.spec.fps) else { return 1 };
        let numerator = u64::from(source.0) * u64::from(rung.1);
        let denominator = (u64::from(source.1) * u64::from(rung.0)).max(1);
        u32::try_from((numerator + denominator / 2) / denominator).unwrap_or(u32::MAX).max(1)
    }

    /// The rung's frame rate, where it is not the source's.
    fn lower_rate(&self) -> Option<(u32, u32)> {
        let (numerator, denominator) = self.source_rate?;
        Some((numerator, denominator.checked_mul(self.every())?)).filter(|_| self.every() > 1)
    }
}

/// Adds a rung behind `tee`.
pub(super) fn add(
    pipeline: &gst::Pipeline,
    tee: &gst::Element,
    plan: &Plan<'_>,
    frames: &Arc<Frames>,
    outlet: &Arc<Outlet>,
) -> Result<(), PipelineError> {
    let spec = plan.spec;
    let queue = element("queue")?;
    queue.set_property("max-size-buffers", QUEUE);
    queue.set_property("max-size-bytes", 0_u32);
    queue.set_property("max-size-time", 0_u64);
    let scale = element("videoscale")?;
    scale.set_property("add-borders", false);
    let size = filter(
        gst::Caps::builder("video/x-raw")
            .field("width", spec.width.cast_signed())
            .field("height", spec.height.cast_signed())
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
            .build(),
    )?;
    let ask = Ask {
        bitrate: spec.video_bitrate,
        crf: spec.crf,
        preset: spec.preset.as_deref().unwrap_or(plan.preset),
        threads: threads(spec, plan.lower_rate().or(plan.source_rate)),
    };
    let coder = encoder::make(plan.encoder.0, plan.encoder.1, &ask)?;
    let mut chain = vec![queue.clone(), scale, size];
    if plan.encoder.1.family != Family::Cpu {
        chain.push(element("videoconvert")?);
    }
    chain.push(coder.clone());
    chain.extend(encoder::after(plan.encoder.1)?);
    chain.push(sink(plan, frames, outlet).upcast());
    pipeline.add_many(&chain).map_err(PipelineError::Link)?;
    gst::Element::link_many([tee].into_iter().chain(&chain)).map_err(PipelineError::Link)?;

    select(&queue, plan, frames)?;
    let frames = Arc::clone(frames);
    encoder::force_keyframes(&coder, move |pts| {
        pts.and_then(|pts| frames.at(pts.nseconds())).is_some_and(|frame| frame.edge)
    })
}

fn filter(caps: gst::Caps) -> Result<gst::Element, PipelineError> {
    let filter = element("capsfilter")?;
    filter.set_property("caps", caps);
    Ok(filter)
}

/// One thread as long as it keeps up with room to spare: slices cost CPU and quality.
fn threads(spec: &RungSpec, rate: Option<(u32, u32)>) -> u32 {
    let (numerator, denominator) = rate.unwrap_or((30, 1));
    let blocks = u64::from(spec.width.div_ceil(16)) * u64::from(spec.height.div_ceil(16));
    let rate = blocks.saturating_mul(u64::from(numerator)) / u64::from(denominator.max(1));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    rate.div_ceil(BLOCKS_PER_THREAD).clamp(1, cores.min(8)) as u32
}

fn pad(element: &gst::Element, name: &'static str) -> Result<gst::Pad, PipelineError> {
    element.static_pad(name).ok_or(PipelineError::Pad(name))
}

/// Leaves out what a predecessor has delivered and what a lower frame rate does not want, before any work on it.
fn select(queue: &gst::Element, plan: &Plan<'_>, frames: &Arc<Frames>) -> Result<(), PipelineError> {
    let mut decimator = Decimator::new(plan.source_rate.unwrap_or((0, 1)), plan.every());
    if let Some(pts) = plan.resume_after {
        // The predecessor kept this one: the cadence goes on from it.
        decimator.keep(pts, true);
    }
    let (decimator, resume_after) = (Mutex::new(decimator), plan.resume_after);
    let frames = Arc::clone(frames);
    let entry = pad(queue, "sink")?;
    entry.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let frame = info.buffer().and_then(|buffer| buffer.pts()).and_then(|pts| frames.at(pts.nseconds()));
        let wanted = frame.is_some_and(|frame| {
            resume_after.is_none_or(|last| last < frame.pts)
                && decimator.lock().unwrap_or_else(PoisonError::into_inner).keep(frame.pts, frame.edge)
        });
        if wanted { gst::PadProbeReturn::Ok } else { gst::PadProbeReturn::Drop }
    });
    let Some((numerator, denominator)) = plan.lower_rate() else { return Ok(()) };
    // x264 plans its bits by the frame rate that the caps name.
    let rate = gst::Fraction::new(numerator.cast_signed(), denominator.cast_signed());
    entry.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(gst::PadProbeData::Event(event)) = &mut info.data
            && let gst::EventView::Caps(caps) = event.view()
        {
            let mut caps = caps.caps_owned();
            caps.make_mut().set("framerate", rate);
            *event = gst::event::Caps::new(&caps);
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

/// The end of a rung: units go to the socket from the encoder's own thread.
fn sink(plan: &Plan<'_>, frames: &Arc<Frames>, outlet: &Arc<Outlet>) -> gst_app::AppSink {
    let mut exit = Exit {
        rung: plan.index,
        interval: plan.lower_rate().map(|(numerator, denominator)| {
            Span::from_flicks(FLICKS_PER_SECOND * i64::from(denominator) / i64::from(numerator.max(1)))
        }),
        frames: Arc::clone(frames),
        outlet: Arc::clone(outlet),
        caps: None,
    };
    let sink = gst_app::AppSink::builder().sync(false).max_buffers(1).build();
    // Without a preroll the pipeline plays before there is a frame.
    sink.set_property("async", false);
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                exit.give(&sample)
            })
            .build(),
    );
    sink
}

struct Exit {
    rung: u8,
    /// Nominal frame interval, where it is not the source's.
    interval: Option<Span>,
    frames: Arc<Frames>,
    outlet: Arc<Outlet>,
    caps: Option<gst::Caps>,
}

impl Exit {
    fn give(&mut self, sample: &gst::Sample) -> Result<gst::FlowSuccess, gst::FlowError> {
        if let Some(caps) = sample.caps().filter(|caps| self.caps.as_deref() != Some(*caps)) {
            self.caps = Some(caps.to_owned());
            if let Some(format) = self.format(caps) {
                self.outlet.send(&format).map_err(|_| gst::FlowError::Eos)?;
            }
        }
        let Some(unit) = self.unit(sample) else { return Ok(gst::FlowSuccess::Ok) };
        let message = FromWorker::Unit { rung: self.rung, unit };
        self.outlet.send(&message).map(|()| gst::FlowSuccess::Ok).map_err(|_| gst::FlowError::Eos)
    }

    fn format(&self, caps: &gst::CapsRef) -> Option<FromWorker> {
        let fields = caps.structure(0)?;
        let config = fields.get::<gst::Buffer>("codec_data").ok()?.into_mapped_buffer_readable().ok()?;
        let rate = fields.get::<gst::Fraction>("framerate").ok();
        Some(FromWorker::Format {
            rung: self.rung,
            width: fields.get::<i32>("width").ok()?.cast_unsigned(),
            height: fields.get::<i32>("height").ok()?.cast_unsigned(),
            frame_rate: rate.map(|rate| (rate.numer().cast_unsigned(), rate.denom().cast_unsigned())),
            config: Bytes::copy_from_slice(&config),
        })
    }

    /// `None` for a picture that is none of the source's.
    fn unit(&self, sample: &gst::Sample) -> Option<AccessUnit> {
        let buffer = sample.buffer_owned()?;
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        // x264enc moves its PTS to 1000:00:00 and up, and its segment with them.
        let pts = segment.to_running_time(buffer.pts()?)?;
        let frame = self.frames.leave(usize::from(self.rung), pts.nseconds())?;
        Some(AccessUnit {
            dts: frame.pts,
            pts: frame.pts,
            duration: self.interval.unwrap_or(frame.duration),
            keyframe: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            payload: Bytes::from_owner(buffer.into_mapped_buffer_readable().ok()?),
        })
    }
}
