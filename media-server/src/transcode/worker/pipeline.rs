//! The GStreamer pipeline: decode once, then a branch for each rung. No element in it adds a frame of delay beyond
//! what the source's own B-frames need.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use media::intake::VideoCodec;
use media::{AccessUnit, Timestamp, VideoFormat};

use crate::transcode::plan::Plan;
use crate::transcode::protocol::Start;

use super::{
    frames::Frames,
    plugins::PluginError,
    rung::{self, Branch},
    socket::Outlet,
    step,
};

/// Source units and bytes that wait inside the worker; the rest waits in the daemon, where it is counted.
const INPUT_UNITS: u64 = 4;
const INPUT_BYTES: u64 = 32 << 20;

/// Lines of the largest picture of standard definition.
const LARGE: i32 = 576;

/// What keeps a pipeline from being built or from going on.
#[derive(Debug, thiserror::Error)]
pub(super) enum PipelineError {
    #[error("the job is not possible: {0}")]
    Spec(#[from] crate::transcode::spec::InvalidSpec),
    #[error("GStreamer's element {0} is not installed")]
    Missing(&'static str),
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error("{0}")]
    Refused(String),
    #[error("rung {0} holds a frame and does not let go of it")]
    Held(u8),
    #[error("an element has no pad called {0}")]
    Pad(&'static str),
    #[error("the pipeline cannot be linked: {0}")]
    Link(gst::glib::BoolError),
    #[error("the pipeline does not start: {0}")]
    State(#[from] gst::StateChangeError),
    #[error("{element}: {text}")]
    Element { element: String, text: String },
}

impl PipelineError {
    /// What an element has said on the bus.
    pub(super) fn of(message: &gst::Message, error: &gst::message::Error) -> Self {
        let element = message.src().map(|src| src.name().to_string()).unwrap_or_default();
        let detail = error.debug().map(|debug| format!(" ({debug})")).unwrap_or_default();
        Self::Element { element, text: format!("{}{detail}", error.error()) }
    }

    /// Another worker would fail the same way.
    pub(super) fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::Spec(_)
                | Self::Missing(_)
                | Self::Refused(_)
                | Self::Plugin(_)
                | Self::Pad(_)
                | Self::Link(_)
        )
    }
}

/// What [`Pipeline::wait`] saw.
pub(super) enum Watched {
    Running,
    /// Everything that was pushed before [`Pipeline::end`] has come out.
    Finished,
}

/// See the module.
pub(super) struct Pipeline {
    elements: gst::Pipeline,
    bus: gst::Bus,
    source: gst_app::AppSrc,
    /// Where the rungs part.
    tee: gst::Element,
    plan: Plan,
    source_rate: Option<(u32, u32)>,
    /// Those that are made, by their place in the job.
    branches: Mutex<Vec<Option<Branch>>>,
    frames: Arc<Frames>,
    consumed: Arc<AtomicU64>,
    outlet: Arc<Outlet>,
}

/// Makes an element.
pub(super) fn element(name: &'static str) -> Result<gst::Element, PipelineError> {
    gst::ElementFactory::make(name).build().map_err(|_| PipelineError::Missing(name))
}

impl Pipeline {
    /// Builds it and sets it playing. Units of the rungs go to `outlet`.
    pub(super) fn build(start: &Start, outlet: &Arc<Outlet>) -> Result<Self, PipelineError> {
        let spec = &start.spec;
        spec.validate()?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let plan = Plan::of(spec, u32::try_from(cores).unwrap_or(u32::MAX))?;
        let frames = Arc::new(Frames::new(spec.rungs.len()));
        let consumed = Arc::new(AtomicU64::new(0));

        let pipeline = gst::Pipeline::new();
        let codec = VideoCodec::of(&spec.video.codec).unwrap_or(VideoCodec::H264);
        let source = source(codec, &spec.video);
        let decoder = step::make(&plan.decoder)?;
        let tee = element("tee")?;
        let mut trunk = vec![source.clone().upcast::<gst::Element>()];
        trunk.extend(step::make_all(&plan.parser)?);
        trunk.push(decoder.clone());
        trunk.extend(step::make_all(&plan.trunk)?);
        trunk.extend([tee.clone(), idle()?]);
        pipeline.add_many(&trunk).map_err(PipelineError::Link)?;
        gst::Element::link_many(&trunk).map_err(PipelineError::Link)?;
        count(&source, &consumed)?;
        keep_known(&decoder, &frames)?;
        name_colours(&decoder)?;

        let bus = pipeline.bus().ok_or(PipelineError::Pad("bus"))?;
        let branches = Mutex::new(plan.rungs.iter().map(|_| None).collect());
        let (elements, source_rate, outlet) = (pipeline, spec.video.frame_rate, Arc::clone(outlet));
        let it = Self { elements, bus, source, tee, plan, source_rate, branches, frames, consumed, outlet };
        for index in 0..it.plan.rungs.len() {
            if !start.wanted.get(index).copied().unwrap_or(true) {
                continue;
            }
            let resumed = start.resume_after.get(index).copied().flatten();
            it.put(index, resumed.map(Timestamp::from_flicks), false)?;
        }
        it.elements.set_state(gst::State::Playing)?;
        Ok(it)
    }

    /// Makes a rung again, from the next segment's edge on. No rung of the job, or one that is made: nothing happens.
    pub(super) fn add(&self, index: usize) -> Result<(), PipelineError> {
        self.put(index, None, true)
    }

    /// Makes a rung no more: its encoder is closed. The others see nothing of it.
    pub(super) fn remove(&self, index: usize) -> Result<(), PipelineError> {
        match self.branches().get_mut(index).and_then(Option::take) {
            Some(branch) => branch.remove(&self.elements, &self.tee, &self.frames),
            None => Ok(()),
        }
    }

    fn put(&self, index: usize, resume_after: Option<Timestamp>, at_edge: bool) -> Result<(), PipelineError> {
        let mut branches = self.branches();
        let (Some(place @ None), Some(plan), Ok(number)) =
            (branches.get_mut(index), self.plan.rungs.get(index), u8::try_from(index))
        else {
            return Ok(());
        };
        let source_rate = self.source_rate;
        let job = rung::Job { index: number, plan, source_rate, resume_after, at_edge };
        *place = Some(rung::add(&self.elements, &self.tee, &job, &self.frames, &self.outlet)?);
        Ok(())
    }

    fn branches(&self) -> MutexGuard<'_, Vec<Option<Branch>>> {
        self.branches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a unit to the decoder. Waits while the pipeline is full. False when it takes no more.
    pub(super) fn push(&self, unit: AccessUnit, edge: bool) -> bool {
        let Some(times) = self.frames.enter(&unit, edge) else {
            self.consumed.fetch_add(1, Relaxed);
            return true;
        };
        let duration = u64::try_from(unit.duration.ticks(1_000_000_000)).unwrap_or(0);
        let mut buffer = gst::Buffer::from_slice(unit.payload);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(gst::ClockTime::from_nseconds(times.pts));
            buffer.set_dts(gst::ClockTime::from_nseconds(times.dts));
            buffer.set_duration(gst::ClockTime::from_nseconds(duration));
            if !unit.keyframe {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        self.source.push_buffer(buffer).is_ok()
    }

    /// Nothing more will be pushed.
    pub(super) fn end(&self) {
        // Refused only by a pipeline that has failed, which `wait` reports.
        self.source.end_of_stream().ok();
    }

    /// Units that have reached the decoder.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed.load(Relaxed)
    }

    /// Waits for the pipeline's end, an error, or `most`.
    pub(super) fn wait(&self, most: Duration) -> Result<Watched, PipelineError> {
        let most = gst::ClockTime::try_from(most).ok();
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let Some(message) = self.bus.timed_pop_filtered(most, &kinds) else { return Ok(Watched::Running) };
        match message.view() {
            gst::MessageView::Error(error) => Err(PipelineError::of(&message, error)),
            _ => Ok(Watched::Finished),
        }
    }

    /// Ends its threads.
    pub(super) fn stop(&self) {
        // The process ends next; a pipeline that does not stop changes nothing about that.
        self.elements.set_state(gst::State::Null).ok();
    }
}

/// Where units go in.
pub(super) fn source(codec: VideoCodec, video: &VideoFormat) -> gst_app::AppSrc {
    let (media, layout, alignment) = match codec {
        VideoCodec::H264 => ("video/x-h264", "avc", "au"),
        VideoCodec::H265 => ("video/x-h265", "hvc1", "au"),
        VideoCodec::Av1 => ("video/x-av1", "obu-stream", "tu"),
        // What must be known stands in their keyframes.
        VideoCodec::Vp8 => ("video/x-vp8", "", ""),
        VideoCodec::Vp9 => ("video/x-vp9", "", "frame"),
    };
    let mut caps = gst::Caps::builder(media)
        .field("width", i32::try_from(video.width).unwrap_or(i32::MAX))
        .field("height", i32::try_from(video.height).unwrap_or(i32::MAX));
    if !layout.is_empty() {
        let record = gst::Buffer::from_slice(video.config.clone());
        caps = caps.field("stream-format", layout).field("codec_data", record);
    }
    if !alignment.is_empty() {
        caps = caps.field("alignment", alignment);
    }
    if let Some((numerator, denominator)) = video.frame_rate
        && let (Ok(numerator), Ok(denominator @ 1..)) = (i32::try_from(numerator), i32::try_from(denominator))
    {
        caps = caps.field("framerate", gst::Fraction::new(numerator, denominator));
    }
    gst_app::AppSrc::builder()
        .caps(&caps.build())
        .format(gst::Format::Time)
        // Decoders on devices otherwise keep some pictures back, for the sake of throughput.
        .is_live(true)
        .block(true)
        .max_buffers(INPUT_UNITS)
        .max_bytes(INPUT_BYTES)
        .build()
}

/// Takes what no rung takes, so that pictures flow, and end, without one.
fn idle() -> Result<gst::Element, PipelineError> {
    let sink = element("fakesink")?;
    sink.set_property("sync", false);
    // Without a preroll the pipeline plays before there is a frame.
    sink.set_property("async", false);
    // It would hold a picture of the decoder's.
    sink.set_property("enable-last-sample", false);
    Ok(sink)
}

fn count(source: &gst_app::AppSrc, consumed: &Arc<AtomicU64>) -> Result<(), PipelineError> {
    let consumed = Arc::clone(consumed);
    let exit = source.static_pad("src").ok_or(PipelineError::Pad("src"))?;
    exit.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        consumed.fetch_add(1, Relaxed);
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

/// A large picture whose source does not say how its colours are meant has those of high definition. Not named, they would
/// be taken for those of a small picture where it is scaled down to one, and converted: players would show other colours
/// from rung to rung.
fn name_colours(decoder: &gst::Element) -> Result<(), PipelineError> {
    let exit = decoder.static_pad("src").ok_or(PipelineError::Pad("src"))?;
    exit.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
        let Some(gst::EventView::Caps(told)) = info.event().map(|event| event.view()) else {
            return gst::PadProbeReturn::Ok;
        };
        let mut caps = told.caps_owned();
        let large = |it: &gst::StructureRef| it.get::<i32>("height").is_ok_and(|lines| lines > LARGE);
        if caps.iter().all(|it| !it.has_field("colorimetry") && large(it)) {
            for structure in caps.make_mut().iter_mut() {
                structure.set("colorimetry", "bt709");
            }
            info.data = Some(gst::PadProbeData::Event(gst::event::Caps::new(&caps)));
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

/// Leaves out pictures that no source unit stands behind, and any that would go back in time.
fn keep_known(decoder: &gst::Element, frames: &Arc<Frames>) -> Result<(), PipelineError> {
    let (frames, last) = (Arc::clone(frames), AtomicU64::new(0));
    let exit = decoder.static_pad("src").ok_or(PipelineError::Pad("src"))?;
    exit.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let pts = info.buffer().and_then(|buffer| buffer.pts()).map(gst::ClockTime::nseconds);
        match pts {
            Some(pts) if frames.at(pts).is_some() && last.fetch_max(pts, Relaxed) < pts => {
                gst::PadProbeReturn::Ok
            }
            _ => gst::PadProbeReturn::Handled,
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests;
