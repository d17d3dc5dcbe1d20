//! A step of the plan as an element.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;

use super::{pipeline::PipelineError, plugins};
use crate::transcode::{backend::Backend, plan::Step};

/// Makes it, from whichever plugin. What this version of the element does not have is left out.
pub(super) fn make(step: &Step) -> Result<gst::Element, PipelineError> {
    let name = step.element.as_str();
    if let Some((file, package)) = step.plugin() {
        plugins::provide_from(file, name, package)?;
    }
    let element = gst::ElementFactory::make(name)
        .build()
        .map_err(|_| PipelineError::Refused(format!("GStreamer's element {name} is not installed")))?;
    for (property, value) in &step.settings {
        let is_needed = name == "capsfilter" || Backend::is_needed(property);
        let Some(known) = element.find_property(property) else {
            if is_needed {
                return Err(PipelineError::Refused(format!("{name} has no property {property}")));
            }
            continue;
        };
        match gst::glib::Value::deserialize_with_pspec(value, &known) {
            Ok(value) => element.set_property_from_value(property, &value),
            Err(_) if is_needed => {
                return Err(PipelineError::Refused(format!("{name} does not take {property}={value}")));
            }
            Err(_) => tracing::debug!(element = name, property, value, "an element does not take this"),
        }
    }
    Ok(element)
}

/// Makes them all.
pub(super) fn make_all<'a>(
    steps: impl IntoIterator<Item = &'a Step>,
) -> Result<Vec<gst::Element>, PipelineError> {
    steps.into_iter().map(make).collect()
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
