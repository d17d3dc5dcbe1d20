//! The GStreamer pipeline: decode once, then a branch for each rung. No element in it adds a frame of delay beyond
//! what the source's own B-frames need.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use media::intake::VideoCodec;
use media::{AccessUnit, Timestamp, VideoFormat};

use crate::transcode::backend::Backend;
use crate::transcode::protocol::Start;
use crate::transcode::spec::X264;

use super::{
    frames::Frames,
    plugins::{self, PluginError},
    rung::{self, Plan},
    socket::Outlet,
};

/// Source units and bytes that wait inside the worker; the rest waits in the daemon, where it is counted.
const INPUT_UNITS: u64 = 4;
const INPUT_BYTES: u64 = 32 << 20;

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
    Encoder(String),
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
                | Self::Encoder(_)
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
    frames: Arc<Frames>,
    consumed: Arc<AtomicU64>,
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
        let backend = Backend::of(&spec.encoder).ok_or_else(|| spec.unknown_encoder())?;
        if spec.encoder != X264 {
            plugins::load_encoder(backend)?;
        }
        let frames = Arc::new(Frames::new(spec.rungs.len()));
        let consumed = Arc::new(AtomicU64::new(0));

        let pipeline = gst::Pipeline::new();
        let codec = VideoCodec::of(&spec.video.codec).unwrap_or(VideoCodec::H264);
        let source = source(codec, &spec.video);
        let decoder = decoder(codec)?;
        let convert = element("videoconvert")?;
        let raw = element("capsfilter")?;
        // The only pixels that every player decodes.
        raw.set_property("caps", gst::Caps::builder("video/x-raw").field("format", "I420").build());
        let tee = element("tee")?;
        let trunk = [source.upcast_ref(), &decoder, &convert, &raw, &tee];
        pipeline.add_many(trunk).map_err(PipelineError::Link)?;
        gst::Element::link_many(trunk).map_err(PipelineError::Link)?;
        count(&decoder, &consumed)?;
        keep_known(&decoder, &frames)?;

        for (index, rung) in (0_u8..).zip(&spec.rungs) {
            let resumed = start.resume_after.get(usize::from(index)).copied().flatten();
            let plan = Plan {
                index,
                spec: rung,
                preset: &spec.preset,
                encoder: (&spec.encoder, backend),
                source_rate: spec.video.frame_rate,
                resume_after: resumed.map(Timestamp::from_flicks),
            };
            rung::add(&pipeline, &tee, &plan, &frames, outlet)?;
        }
        let bus = pipeline.bus().ok_or(PipelineError::Pad("bus"))?;
        pipeline.set_state(gst::State::Playing)?;
        Ok(Self { elements: pipeline, bus, source, frames, consumed })
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
        .block(true)
        .max_buffers(INPUT_UNITS)
        .max_bytes(INPUT_BYTES)
        .build()
}

/// Decodes with no delay but what B-frames need, whatever is damaged.
pub(super) fn decoder(codec: VideoCodec) -> Result<gst::Element, PipelineError> {
    let decoder = match codec {
        VideoCodec::H264 => element("avdec_h264")?,
        VideoCodec::H265 => element("avdec_h265")?,
        VideoCodec::Av1 => {
            plugins::load_av1()?;
            let decoder = element("av1dec")?;
            decoder.set_property("max-errors", -1_i32);
            return Ok(decoder);
        }
        VideoCodec::Vp8 => element("avdec_vp8")?,
        VideoCodec::Vp9 => element("avdec_vp9")?,
    };
    // Frame threads hold back a frame each. One thread decodes 1080p60 several times over.
    decoder.set_property("max-threads", 1_i32);
    decoder.set_property_from_str("thread-type", "slice");
    // A damaged stream is the normal case: however many errors, the next good picture counts.
    decoder.set_property("max-errors", -1_i32);
    Ok(decoder)
}

fn count(decoder: &gst::Element, consumed: &Arc<AtomicU64>) -> Result<(), PipelineError> {
    let consumed = Arc::clone(consumed);
    let entry = decoder.static_pad("sink").ok_or(PipelineError::Pad("sink"))?;
    entry.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        consumed.fetch_add(1, Relaxed);
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
            _ => gst::PadProbeReturn::Drop,
        }
    });
    Ok(())
}
