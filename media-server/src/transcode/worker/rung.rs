//! One rung's branch of the pipeline: queue, scaler, encoder, sink. It is put into a pipeline that may be playing, and taken
//! out of it again.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use media::intake::{VideoCodec, VideoIntake};
use media::{AccessUnit, Span, Timestamp, ladder::Decimator, time::FLICKS_PER_SECOND};

use crate::transcode::{backend::Coding, plan, protocol::FromWorker};

use super::{
    frames::{Frames, Times},
    pipeline::{PipelineError, element},
    socket::Outlet,
    step,
};

/// Decoded frames that may wait for a rung's encoder.
const QUEUE: u32 = 4;
/// How long the frame that is just being handed to a branch may take to get into it.
const LEAVES: Duration = Duration::from_secs(2);

/// What a rung is made from.
pub(super) struct Job<'a> {
    pub(super) index: u8,
    pub(super) plan: &'a plan::Branch,
    pub(super) source_rate: Option<(u32, u32)>,
    /// Frames up to here were delivered by a predecessor.
    pub(super) resume_after: Option<Timestamp>,
    /// It begins at the next segment's edge, not at the next frame.
    pub(super) at_edge: bool,
}

/// A rung that is made.
pub(super) struct Branch {
    index: u8,
    elements: Vec<gst::Element>,
    /// The tee's end of it.
    exit: gst::Pad,
    /// Nothing more is let in.
    closed: Arc<AtomicBool>,
}

/// Adds a rung behind `tee`.
pub(super) fn add(
    pipeline: &gst::Pipeline,
    tee: &gst::Element,
    job: &Job<'_>,
    frames: &Arc<Frames>,
    outlet: &Arc<Outlet>,
) -> Result<Branch, PipelineError> {
    let queue = element("queue")?;
    queue.set_property("max-size-buffers", QUEUE);
    queue.set_property("max-size-bytes", 0_u32);
    queue.set_property("max-size-time", 0_u64);
    let coder = step::make(&job.plan.encoder)?;
    let mut elements = vec![queue.clone()];
    elements.extend(step::make_all(&job.plan.scale)?);
    elements.push(coder.clone());
    elements.extend(step::make_all(&job.plan.finish)?);
    elements.push(sink(job, frames, outlet).upcast());
    let closed = Arc::new(AtomicBool::new(false));
    select(&queue, job, frames, &closed)?;
    let known = Arc::clone(frames);
    step::force_keyframes(&coder, move |pts| {
        pts.and_then(|pts| known.at(pts.nseconds())).is_some_and(|frame| frame.edge)
    })?;

    let exit = tee.request_pad_simple("src_%u").ok_or(PipelineError::Pad("src_%u"))?;
    let branch = Branch { index: job.index, elements, exit, closed };
    match branch.join(pipeline) {
        Ok(()) => {
            frames.join(usize::from(job.index));
            Ok(branch)
        }
        Err(error) => {
            branch.dismantle(pipeline, tee);
            Err(error)
        }
    }
}

impl Branch {
    /// Sets it going and then lets frames in.
    fn join(&self, pipeline: &gst::Pipeline) -> Result<(), PipelineError> {
        pipeline.add_many(&self.elements).map_err(PipelineError::Link)?;
        gst::Element::link_many(&self.elements).map_err(PipelineError::Link)?;
        for element in self.elements.iter().rev() {
            element.sync_state_with_parent().map_err(PipelineError::Link)?;
        }
        self.exit.link(&self.entry()?).map(drop).map_err(|_| PipelineError::Pad("src_%u"))
    }

    fn entry(&self) -> Result<gst::Pad, PipelineError> {
        self.elements.first().map_or(Err(PipelineError::Pad("sink")), |queue| pad(queue, "sink"))
    }

    /// Takes it out: the encoder is closed, with what is still in it. The others see nothing of it.
    pub(super) fn remove(
        self,
        pipeline: &gst::Pipeline,
        tee: &gst::Element,
        frames: &Frames,
    ) -> Result<(), PipelineError> {
        self.closed.store(true, Relaxed);
        let entry = self.entry()?;
        // Between two frames. In the midst of one the tee would take the broken link for the end of everything.
        let (parted, wait) = sync_channel(1);
        self.exit.add_probe(gst::PadProbeType::IDLE, move |exit, _| {
            // Not linked: parted already.
            exit.unlink(&entry).ok();
            parted.try_send(()).ok();
            gst::PadProbeReturn::Remove
        });
        wait.recv_timeout(LEAVES).map_err(|_| PipelineError::Held(self.index))?;
        self.dismantle(pipeline, tee);
        frames.part(usize::from(self.index));
        Ok(())
    }

    /// From its end to its beginning, so that nothing waits for what comes behind it.
    fn dismantle(&self, pipeline: &gst::Pipeline, tee: &gst::Element) {
        for element in self.elements.iter().rev() {
            // An element that does not stop goes with the pipeline.
            element.set_state(gst::State::Null).ok();
        }
        for element in &self.elements {
            // Not there: it never came in.
            pipeline.remove(element).ok();
        }
        tee.release_request_pad(&self.exit);
    }
}

fn pad(element: &gst::Element, name: &'static str) -> Result<gst::Pad, PipelineError> {
    element.static_pad(name).ok_or(PipelineError::Pad(name))
}

/// Leaves out what a predecessor has delivered and what a lower frame rate does not want, before any work on it.
fn select(
    queue: &gst::Element,
    job: &Job<'_>,
    frames: &Arc<Frames>,
    closed: &Arc<AtomicBool>,
) -> Result<(), PipelineError> {
    let mut decimator = Decimator::new(job.source_rate.unwrap_or((0, 1)), job.plan.every);
    if let Some(pts) = job.resume_after {
        // The predecessor kept this one: the cadence goes on from it.
        decimator.keep(pts, true);
    }
    let (decimator, resume_after) = (Mutex::new(decimator), job.resume_after);
    let (frames, closed) = (Arc::clone(frames), Arc::clone(closed));
    let begun = AtomicBool::new(!job.at_edge);
    let entry = pad(queue, "sink")?;
    entry.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let frame = info.buffer().and_then(|buffer| buffer.pts()).and_then(|pts| frames.at(pts.nseconds()));
        let wanted = frame.is_some_and(|frame| {
            !closed.load(Relaxed)
                && (begun.load(Relaxed) || frame.edge)
                && resume_after.is_none_or(|last| last < frame.pts)
                && decimator.lock().unwrap_or_else(PoisonError::into_inner).keep(frame.pts, frame.edge)
        });
        begun.fetch_or(wanted, Relaxed);
        if wanted { gst::PadProbeReturn::Ok } else { gst::PadProbeReturn::Handled }
    });
    let Some((numerator, denominator)) = job.plan.lower_rate else { return Ok(()) };
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
fn sink(job: &Job<'_>, frames: &Arc<Frames>, outlet: &Arc<Outlet>) -> gst_app::AppSink {
    let mut exit = Exit {
        rung: job.index,
        intake: (job.plan.coding == Coding::Av1).then(|| VideoIntake::new(VideoCodec::Av1)),
        reorders: job.plan.reorders,
        interval: job.plan.lower_rate.map(|(numerator, denominator)| {
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
    /// Of a codec whose encoders leave what has to be known among the pictures.
    intake: Option<VideoIntake>,
    /// Units are decoded in another order than they are shown in.
    reorders: bool,
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
            if let Some(format) = self.format(caps).filter(|_| self.intake.is_none()) {
                self.outlet.send(&format).map_err(|_| gst::FlowError::Eos)?;
            }
        }
        let Some(mut unit) = self.unit(sample) else { return Ok(gst::FlowSuccess::Ok) };
        if !self.take_out(&mut unit)? {
            return Ok(gst::FlowSuccess::Ok);
        }
        let message = FromWorker::Unit { rung: self.rung, unit };
        self.outlet.send(&message).map(|()| gst::FlowSuccess::Ok).map_err(|_| gst::FlowError::Eos)
    }

    /// Takes what belongs into the configuration out of a unit, and says it where it is new. False: there is no picture.
    fn take_out(&mut self, unit: &mut AccessUnit) -> Result<bool, gst::FlowError> {
        let Some(intake) = &mut self.intake else { return Ok(true) };
        let before = intake.in_band().ok().flatten();
        let Some(picture) = intake.picture(unit.payload.clone()) else { return Ok(false) };
        (unit.payload, unit.keyframe) = (picture.payload, picture.keyframe);
        let Some(format) = intake.in_band().ok().flatten().filter(|it| before.as_ref() != Some(it)) else {
            return Ok(true);
        };
        let caps = self.caps.as_ref().and_then(|caps| caps.structure(0));
        let rate = caps.and_then(|fields| fields.get::<gst::Fraction>("framerate").ok());
        let message = FromWorker::Format {
            rung: self.rung,
            width: format.width,
            height: format.height,
            frame_rate: rate.map(|rate| (rate.numer().cast_unsigned(), rate.denom().cast_unsigned())),
            config: format.config,
        };
        self.outlet.send(&message).map(|()| true).map_err(|_| gst::FlowError::Eos)
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
        let dts = buffer.dts().filter(|_| self.reorders).and_then(|dts| segment.to_running_time(dts));
        let times = Times { dts: dts.map_or(pts, |dts| dts.min(pts)).nseconds(), pts: pts.nseconds() };
        let (frame, dts) = self.frames.leave(usize::from(self.rung), times)?;
        Some(AccessUnit {
            dts,
            pts: frame.pts,
            duration: self.interval.unwrap_or(frame.duration),
            keyframe: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            payload: Bytes::from_owner(buffer.into_mapped_buffer_readable().ok()?),
        })
    }
}
