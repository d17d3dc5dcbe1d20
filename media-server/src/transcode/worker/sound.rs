//! Sound as AAC or Opus: decoder → two channels at most → encoder.

use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use media::{AccessUnit, Span, Timestamp};

use super::frames::{HEADROOM, nanoseconds};
use super::pipeline::{PipelineError, element};
use super::slate::{config, sink};
use super::socket::{Inlet, Outlet};
use super::{DRAIN, Failure, plugins};
use crate::transcode::protocol::{FromWorker, ToWorker};
use crate::transcode::spec::{SoundCodec, SoundMade, SoundSpec};

/// Samples of a frame as it is played, and of those that the encoder puts in front of the first.
fn frame(makes: SoundMade) -> (i64, i64) {
    match makes {
        SoundMade::AacLc => (1024, 1024),
        // Fraunhofer's encoder gives the first frame the time of the first sample, and says this of itself, at every rate: two
        // frames, and what a decoder takes to make the upper half of the spectrum (962 samples).
        SoundMade::HeAac => (2048, 5058),
        // 20 ms.
        SoundMade::Opus => (960, 0),
    }
}

/// The encoder, the plugin's file that it comes in, and its package; and what it is told to make, where that is a choice.
fn encoder(makes: SoundMade) -> (&'static str, &'static str, &'static str, Option<&'static str>) {
    match makes {
        SoundMade::AacLc => ("avenc_aac", "libgstlibav.so", "gstreamer1.0-libav", None),
        SoundMade::HeAac => ("fdkaacenc", "libgstfdkaac.so", "gstreamer1.0-fdkaac", Some("he-aac-v1")),
        SoundMade::Opus => ("opusenc", "libgstopus.so", "gstreamer1.0-plugins-base", None),
    }
}
/// Timestamps that lead away from the count of samples are followed beyond this, nanoseconds.
const TOLERANCE: i64 = 10_000_000;
/// Bytes that wait inside of the worker.
const INPUT_BYTES: u64 = 256 << 10;

/// Does the job to its end.
pub(super) fn work(spec: &SoundSpec, inlet: Inlet, outlet: &Arc<Outlet>) -> Result<(), Failure> {
    spec.validate().map_err(PipelineError::from)?;
    plugins::load_sound()?;
    let (element, file, package, _) = encoder(spec.makes);
    plugins::provide_from(file, element, package)?;
    let times = Arc::default();
    let (pipeline, source) = build(spec, outlet, &times)?;
    let bus = pipeline.bus().ok_or(PipelineError::Pad("bus"))?;
    pipeline.set_state(gst::State::Playing).map_err(PipelineError::from)?;
    outlet.send(&FromWorker::Ready)?;
    let reader =
        thread::Builder::new().name("inlet".to_owned()).spawn(move || feed(inlet, &source, &times))?;
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = loop {
        if let Some(message) = bus.timed_pop_filtered(gst::ClockTime::from_mseconds(200), &kinds) {
            break message;
        }
        if reader.is_finished() || outlet.is_broken() {
            // What is in the pipeline comes out, or never does.
            let rest = gst::ClockTime::from_mseconds(DRAIN.as_millis() as u64);
            break bus.timed_pop_filtered(rest, &kinds).ok_or(Failure::Stuck)?;
        }
    };
    if let gst::MessageView::Error(error) = message.view() {
        return Err(PipelineError::of(&message, error).into());
    }
    // The process ends next; a pipeline that does not stop changes nothing about that.
    pipeline.set_state(gst::State::Null).ok();
    reader.join().unwrap_or(Err(Failure::Stuck))
}

/// The pipeline's zero: set by the first frame.
type Zero = std::sync::OnceLock<Timestamp>;

fn feed(mut inlet: Inlet, source: &gst_app::AppSrc, zero: &Zero) -> Result<(), Failure> {
    while let Some(message) = inlet.next()? {
        let ToWorker::Source { unit, .. } = message else { return Err(Failure::NoJob) };
        let zero = *zero.get_or_init(|| unit.pts - HEADROOM);
        let Some(pts) = nanoseconds(unit.pts, zero) else { continue };
        let mut buffer = gst::Buffer::from_slice(unit.payload);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(gst::ClockTime::from_nseconds(pts));
        }
        if source.push_buffer(buffer).is_err() {
            break;
        }
    }
    source.end_of_stream().ok();
    Ok(())
}

/// What is to be decoded, and by which element.
fn decoder(spec: &SoundSpec) -> (gst::Caps, &'static str) {
    let (media, element) = match spec.codec {
        SoundCodec::MpegAudio(1) => ("audio/mpeg", "avdec_mp1float"),
        SoundCodec::MpegAudio(2) => ("audio/mpeg", "avdec_mp2float"),
        SoundCodec::MpegAudio(_) => ("audio/mpeg", "avdec_mp3"),
        SoundCodec::Ac3 => ("audio/x-ac3", "avdec_ac3"),
        SoundCodec::Eac3 => ("audio/x-eac3", "avdec_eac3"),
        SoundCodec::Opus => ("audio/x-opus", "opusdec"),
        SoundCodec::Aac => ("audio/mpeg", "avdec_aac"),
    };
    let caps = gst::Caps::builder(media)
        .field("rate", spec.sample_rate.cast_signed())
        .field("channels", i32::from(spec.channels))
        .field("framed", true);
    let caps = match spec.codec {
        SoundCodec::MpegAudio(layer) => {
            caps.field("mpegversion", 1).field("layer", i32::from(layer)).field("parsed", true)
        }
        SoundCodec::Ac3 | SoundCodec::Eac3 => caps.field("alignment", "frame"),
        SoundCodec::Opus => caps.field("channel-mapping-family", 0_i32),
        SoundCodec::Aac => caps
            .field("mpegversion", 4_i32)
            .field("stream-format", "raw")
            .field("codec_data", gst::Buffer::from_slice(spec.config.clone())),
    };
    (caps.build(), element)
}

fn build(
    spec: &SoundSpec,
    outlet: &Arc<Outlet>,
    zero: &Arc<Zero>,
) -> Result<(gst::Pipeline, gst_app::AppSrc), PipelineError> {
    let (coded, name) = decoder(spec);
    let source = gst_app::AppSrc::builder()
        .caps(&coded)
        .format(gst::Format::Time)
        .block(true)
        .max_bytes(INPUT_BYTES)
        .build();
    let decode = element(name)?;
    // A damaged frame is left out, and the next one decoded.
    decode.set_property("max-errors", -1_i32);
    let raw = element("capsfilter")?;
    raw.set_property(
        "caps",
        gst::Caps::builder("audio/x-raw")
            .field("rate", spec.made_rate().cast_signed())
            .field("channels", i32::from(spec.made_channels()))
            .build(),
    );
    let bitrate = i32::try_from(spec.bitrate).unwrap_or(i32::MAX);
    let (name, _, _, profile) = encoder(spec.makes);
    let encoder = element(name)?;
    encoder.set_property("bitrate", bitrate);
    encoder.set_property("tolerance", TOLERANCE);
    let coded = element("capsfilter")?;
    if let Some(profile) = profile {
        makes_profile(&encoder)?;
        let caps = gst::Caps::builder("audio/mpeg").field("stream-format", "raw").field("profile", profile);
        coded.set_property("caps", caps.build());
    }
    let (rate, makes) = (spec.made_rate(), spec.makes);
    let (outlet, zero, mut known) = (Arc::clone(outlet), Arc::clone(zero), makes == SoundMade::Opus);
    let sink = sink(move |sample| {
        if !known && let Some(config) = config(sample) {
            known = true;
            outlet.send(&FromWorker::Sound { config }).ok()?;
        }
        let unit = unit(sample, *zero.get()?, rate, makes);
        match unit {
            Some(unit) => outlet.send(&FromWorker::Unit { rung: 0, unit }).ok(),
            None => Some(()),
        }
    });
    let pipeline = gst::Pipeline::new();
    let (convert, resample) = (element("audioconvert")?, element("audioresample")?);
    let chain =
        [source.upcast_ref(), &decode, &convert, &resample, &raw, &encoder, &coded, sink.upcast_ref()];
    pipeline.add_many(chain).map_err(PipelineError::Link)?;
    gst::Element::link_many(chain).map_err(PipelineError::Link)?;
    Ok((pipeline, source))
}

/// Fraunhofer's encoder has made HE-AAC for a long time, and its element has a way to ask for it since GStreamer 1.24.
fn makes_profile(encoder: &gst::Element) -> Result<(), PipelineError> {
    let exit = encoder.static_pad("src").ok_or(PipelineError::Pad("src"))?;
    if exit.pad_template_caps().iter().any(|coded| coded.has_field("profile")) {
        Ok(())
    } else {
        let name = encoder.factory().map(|it| it.name().to_string()).unwrap_or_default();
        Err(PipelineError::Refused(format!(
            "this GStreamer's {name} makes no HE-AAC: that of 1.24 and newer does"
        )))
    }
}

/// A frame at the time at which it is heard.
fn unit(sample: &gst::Sample, zero: Timestamp, rate: u32, makes: SoundMade) -> Option<AccessUnit> {
    let buffer = sample.buffer_owned()?;
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let at = segment.to_running_time(buffer.pts()?)?;
    let at = i64::try_from(at.nseconds()).ok()?;
    let (frame, priming) = frame(makes);
    let pts = zero + Timestamp::from_ticks(at, 1_000_000_000).since_zero() - Span::from_ticks(priming, rate);
    let duration = Span::from_ticks(frame, rate);
    let payload = Bytes::from_owner(buffer.into_mapped_buffer_readable().ok()?);
    Some(AccessUnit { dts: pts, pts, duration, keyframe: true, payload })
}
