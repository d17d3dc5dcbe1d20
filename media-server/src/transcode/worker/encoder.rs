//! An encoder element, set up, and what stands behind it.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;

use super::pipeline::{PipelineError, element};
use crate::transcode::backend::{Ask, Backend, Coding};

/// Makes it. What this version of the element does not have is left out.
pub(super) fn make(name: &str, backend: &Backend, ask: &Ask<'_>) -> Result<gst::Element, PipelineError> {
    let encoder = gst::ElementFactory::make(name)
        .build()
        .map_err(|_| PipelineError::Encoder(format!("GStreamer's element {name} is not installed")))?;
    for (property, value) in backend.settings(ask) {
        let Some(known) = encoder.find_property(property) else {
            if Backend::is_needed(property) {
                return Err(PipelineError::Encoder(format!("{name} has no property {property}")));
            }
            continue;
        };
        match gst::glib::Value::deserialize_with_pspec(&value, &known) {
            Ok(value) => encoder.set_property_from_value(property, &value),
            Err(_) if Backend::is_needed(property) => {
                return Err(PipelineError::Encoder(format!("{name} does not take {property}={value}")));
            }
            Err(_) => tracing::debug!(element = name, property, value, "an encoder does not take this"),
        }
    }
    Ok(encoder)
}

/// What brings its output into the form in which it travels: parameter sets beside the pictures, one picture a unit.
pub(super) fn after(backend: &Backend) -> Result<Vec<gst::Element>, PipelineError> {
    let caps = match backend.coding {
        Coding::H264 => {
            let caps =
                gst::Caps::builder("video/x-h264").field("stream-format", "avc").field("alignment", "au");
            let high = backend.element == "x264enc";
            if high { caps.field("profile", "high").build() } else { caps.build() }
        }
        Coding::Hevc => {
            gst::Caps::builder("video/x-h265").field("stream-format", "hvc1").field("alignment", "au").build()
        }
        Coding::Av1 => gst::Caps::builder("video/x-av1").field("alignment", "tu").build(),
    };
    let filter = element("capsfilter")?;
    filter.set_property("caps", caps);
    Ok(match backend.coding {
        Coding::H264 if backend.element != "x264enc" => vec![element("h264parse")?, filter],
        Coding::Hevc => vec![element("h265parse")?, filter],
        Coding::H264 | Coding::Av1 => vec![filter],
    })
}

/// Asks for an IDR in front of each frame that `wanted` names by its time, in the encoder's own thread, so that it is that
/// frame.
pub(super) fn force_keyframes(
    encoder: &gst::Element,
    wanted: impl Fn(Option<gst::ClockTime>) -> bool + Send + Sync + 'static,
) -> Result<(), PipelineError> {
    let pad = encoder.static_pad("sink").ok_or(PipelineError::Pad("sink"))?;
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        if wanted(info.buffer().and_then(|buffer| buffer.pts())) {
            pad.send_event(gst_video::DownstreamForceKeyUnitEvent::builder().build());
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}
