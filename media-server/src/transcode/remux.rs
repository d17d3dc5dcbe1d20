//! `media-server remux URI`: a child process that reads what GStreamer can read (HLS, files) and writes it in real time
//! as an MPEG transport stream to its standard output. Nothing is encoded. What it meets can end it, and nothing else.

use std::process::ExitCode;

use gstreamer::prelude::*;
use gstreamer::{ClockTime, Element, ElementFactory, MessageView, Pad, Pipeline, SeekFlags, SeekType, State};

/// Kilobits a second: the best variant is chosen, and kept.
const FASTEST: u32 = 4_294_967;

/// Why nothing more comes.
#[derive(Debug, thiserror::Error)]
enum RemuxError {
    #[error("GStreamer: {0}")]
    Init(#[from] gstreamer::glib::Error),
    #[error("GStreamer: {0}")]
    Bool(#[from] gstreamer::glib::BoolError),
    #[error("GStreamer: {0}")]
    State(#[from] gstreamer::StateChangeError),
    #[error("{0}")]
    Said(String),
    #[error("it has no track of H.264, HEVC, AAC, Opus, MPEG audio or AC-3")]
    NoTrack,
}

/// Runs it. `repeat`: from the beginning again at the end. One line on standard error says why it ended.
#[must_use]
pub fn remux_main(uri: &str, repeat: bool) -> ExitCode {
    match remux(uri, repeat) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn element(factory: &str) -> Result<Element, gstreamer::glib::BoolError> {
    ElementFactory::make(factory).build()
}

fn remux(uri: &str, repeat: bool) -> Result<(), RemuxError> {
    gstreamer::init()?;
    let pipeline = Pipeline::new();
    let muxer = ElementFactory::make("mpegtsmux").property("alignment", 7_i32).build()?;
    let sink = ElementFactory::make("fdsink").property("fd", 1_i32).property("sync", true).build()?;
    pipeline.add_many([&muxer, &sink])?;
    muxer.link(&sink)?;
    if uri.starts_with("http") {
        read_hls(&pipeline, uri, &muxer)?;
    } else {
        read_file(&pipeline, uri, &muxer)?;
    }
    let bus = pipeline.bus().ok_or_else(|| RemuxError::Said("the pipeline has no bus".into()))?;
    if repeat {
        // The first turn too ends with a message, not with the end of the stream.
        pipeline.set_state(State::Paused)?;
        wait_for_start(&bus)?;
        seek(&pipeline, SeekFlags::FLUSH)?;
    }
    pipeline.set_state(State::Playing)?;
    let ended = watch(&bus, &pipeline);
    pipeline.set_state(State::Null)?;
    ended?;
    if muxer.sink_pads().is_empty() { Err(RemuxError::NoTrack) } else { Ok(()) }
}

/// A file's tracks.
fn read_file(pipeline: &Pipeline, uri: &str, muxer: &Element) -> Result<(), RemuxError> {
    let file =
        ElementFactory::make("urisourcebin").property("uri", uri).property("parse-streams", true).build()?;
    pipeline.add(&file)?;
    each_pad(&file, pipeline, muxer, take);
    Ok(())
}

/// The best variant's tracks. (hlsdemux2 of GStreamer 1.22 gives nothing of a stream whose media time is far from zero.)
fn read_hls(pipeline: &Pipeline, uri: &str, muxer: &Element) -> Result<(), RemuxError> {
    let http = ElementFactory::make("souphttpsrc").property("location", uri).build()?;
    let hls = ElementFactory::make("hlsdemux").property("connection-speed", FASTEST).build()?;
    pipeline.add_many([&http, &hls])?;
    http.link(&hls)?;
    each_pad(&hls, pipeline, muxer, |pipeline, pad, muxer| {
        let parse = element("parsebin")?;
        pipeline.add(&parse)?;
        each_pad(&parse, pipeline, muxer, take);
        parse.sync_state_with_parent()?;
        let entry =
            parse.static_pad("sink").ok_or_else(|| RemuxError::Said("parsebin without a pad".into()))?;
        pad.link(&entry).map_err(|error| RemuxError::Said(error.to_string()))?;
        Ok(())
    });
    Ok(())
}

/// Does this with every pad that appears.
fn each_pad(
    of: &Element,
    pipeline: &Pipeline,
    muxer: &Element,
    act: impl Fn(&Pipeline, &Pad, &Element) -> Result<(), RemuxError> + Send + Sync + 'static,
) {
    let (weak, muxer) = (pipeline.downgrade(), muxer.clone());
    of.connect_pad_added(move |element, pad| {
        let Some(pipeline) = weak.upgrade() else { return };
        if let Err(error) = act(&pipeline, pad, &muxer) {
            gstreamer::element_error!(element, gstreamer::CoreError::Pad, ("{}", error));
        }
    });
}

/// Links a track that has a place in a transport stream; others go nowhere.
fn take(pipeline: &Pipeline, pad: &Pad, muxer: &Element) -> Result<(), RemuxError> {
    let caps = pad.current_caps().or_else(|| Some(pad.query_caps(None)));
    let track = caps.as_ref().and_then(|caps| caps.structure(0));
    let version = track.and_then(|track| track.get::<i32>("mpegversion").ok());
    let (parser, wanted) = match (track.map(|track| track.name().as_str()), version) {
        (Some("video/x-h264"), _) => ("h264parse", "video/x-h264,stream-format=byte-stream,alignment=au"),
        (Some("video/x-h265"), _) => ("h265parse", "video/x-h265,stream-format=byte-stream,alignment=au"),
        (Some("audio/mpeg"), Some(1)) => ("mpegaudioparse", "audio/mpeg,parsed=true"),
        (Some("audio/mpeg"), _) => ("aacparse", "audio/mpeg,stream-format=adts"),
        (Some("audio/x-ac3" | "audio/ac3"), _) => ("ac3parse", "audio/x-ac3,framed=true"),
        (Some("audio/x-opus"), _) => ("opusparse", "audio/x-opus"),
        _ => ("", ""),
    };
    let queue = element("queue")?;
    // Sound may come seconds before its pictures, as segments do.
    queue.set_property("max-size-time", 20 * ClockTime::SECOND.nseconds());
    queue.set_property("max-size-buffers", 0_u32);
    queue.set_property("max-size-bytes", 64_u32 << 20);
    pipeline.add(&queue)?;
    let first = queue.static_pad("sink").ok_or_else(|| RemuxError::Said("a queue without a pad".into()))?;
    if parser.is_empty() {
        let nowhere = ElementFactory::make("fakesink").property("sync", false).build()?;
        pipeline.add(&nowhere)?;
        queue.link(&nowhere)?;
        nowhere.sync_state_with_parent()?;
    } else {
        let parse = element(parser)?;
        if parser.starts_with("h26") {
            // Parameter sets with every keyframe.
            parse.set_property("config-interval", -1_i32);
        }
        let filter = element("capsfilter")?;
        filter.set_property("caps", wanted.parse::<gstreamer::Caps>()?);
        pipeline.add_many([&parse, &filter])?;
        queue.link(&parse)?;
        parse.link(&filter)?;
        filter.link(muxer)?;
        filter.sync_state_with_parent()?;
        parse.sync_state_with_parent()?;
    }
    queue.sync_state_with_parent()?;
    pad.link(&first).map_err(|error| RemuxError::Said(error.to_string()))?;
    Ok(())
}

fn seek(pipeline: &Pipeline, flags: SeekFlags) -> Result<(), RemuxError> {
    let flags = flags | SeekFlags::SEGMENT;
    pipeline.seek(1.0, flags, SeekType::Set, ClockTime::ZERO, SeekType::None, ClockTime::NONE)?;
    Ok(())
}

fn failed(message: &gstreamer::message::Error) -> RemuxError {
    RemuxError::Said(message.error().to_string())
}

fn wait_for_start(bus: &gstreamer::Bus) -> Result<(), RemuxError> {
    for message in bus.iter_timed(ClockTime::NONE) {
        match message.view() {
            MessageView::AsyncDone(_) => break,
            MessageView::Error(error) => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(())
}

fn watch(bus: &gstreamer::Bus, pipeline: &Pipeline) -> Result<(), RemuxError> {
    for message in bus.iter_timed(ClockTime::NONE) {
        match message.view() {
            MessageView::Eos(_) => break,
            MessageView::SegmentDone(_) => seek(pipeline, SeekFlags::empty())?,
            MessageView::Error(error) => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(())
}
