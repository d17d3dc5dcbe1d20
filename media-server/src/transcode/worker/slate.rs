//! A file, encoded once: a picture as one group of pictures, a video with its sound as far as a minute goes. Whatever
//! the file is, what comes out has the size, the frame rate and the sound's rate that were asked for.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use media::{AccessUnit, Span, Timestamp, time::FLICKS_PER_SECOND};

use super::pipeline::{PipelineError, element};
use super::socket::{Inlet, Outlet};
use super::{Failure, plugins};
use crate::transcode::protocol::{FromWorker, ToWorker};
use crate::transcode::spec::SlateSpec;

/// Most of a video that is shown.
const LONGEST: Duration = Duration::from_mins(1);
/// Length of a group of pictures, and of a picture's turn, in seconds.
const GROUP_S: u32 = 2;
/// Largest file.
const MOST: usize = 256 << 20;
/// Bits a second of its sound.
const SOUND_BITRATE: i32 = 128_000;
/// How long nothing may come out.
const STUCK: Duration = Duration::from_secs(30);

/// Why a file is no slate.
#[derive(Debug, thiserror::Error)]
pub(in crate::transcode) enum SlateFailure {
    #[error("the file has {0} bytes, more than a slate may have")]
    TooLong(usize),
    #[error("the file did not arrive whole")]
    Cut,
    #[error("there is no picture in the file, or none of a kind that this GStreamer reads")]
    NoPicture,
    #[error("the file could not be read to its end within {STUCK:?}")]
    Stuck,
}

/// Does the job to its end.
pub(super) fn work(spec: &SlateSpec, inlet: &mut Inlet, outlet: &Arc<Outlet>) -> Result<(), Failure> {
    spec.validate().map_err(PipelineError::from)?;
    let file = receive(spec, inlet)?;
    plugins::load_files();
    let made =
        Arc::new(Made { outlet: Arc::clone(outlet), pictures: AtomicU64::new(0), sounds: AtomicU64::new(0) });
    let pipeline = build(spec, file, &made)?;
    let ran = run(&pipeline, &made);
    // The process ends next; a pipeline that does not stop changes nothing about that.
    pipeline.set_state(gst::State::Null).ok();
    ran?;
    if made.pictures.load(Relaxed) == 0 {
        return Err(SlateFailure::NoPicture.into());
    }
    outlet.send(&FromWorker::Progress { consumed: made.units() })?;
    Ok(())
}

fn receive(spec: &SlateSpec, inlet: &mut Inlet) -> Result<Bytes, Failure> {
    if spec.file_bytes > MOST {
        return Err(SlateFailure::TooLong(spec.file_bytes).into());
    }
    let mut file = Vec::with_capacity(spec.file_bytes);
    while file.len() < spec.file_bytes {
        match inlet.next()? {
            Some(ToWorker::File(part)) => file.extend_from_slice(&part),
            _ => return Err(SlateFailure::Cut.into()),
        }
    }
    Ok(file.into())
}

/// What has been given out.
struct Made {
    outlet: Arc<Outlet>,
    pictures: AtomicU64,
    sounds: AtomicU64,
}

impl Made {
    fn units(&self) -> u64 {
        self.pictures.load(Relaxed) + self.sounds.load(Relaxed)
    }
}

fn run(pipeline: &gst::Pipeline, made: &Made) -> Result<(), Failure> {
    let bus = pipeline.bus().ok_or(PipelineError::Pad("bus"))?;
    pipeline.set_state(gst::State::Playing).map_err(PipelineError::from)?;
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        if let Some(message) = bus.timed_pop_filtered(gst::ClockTime::from_mseconds(200), &kinds) {
            let gst::MessageView::Error(error) = message.view() else { return Ok(()) };
            // A damaged end of a file is no reason to throw away what came before it.
            if made.pictures.load(Relaxed) > 0 {
                return Ok(());
            }
            let element = message.src().map(|src| src.name().to_string()).unwrap_or_default();
            return Err(PipelineError::Element { element, text: error.error().to_string() }.into());
        }
        let units = made.units();
        if units != seen {
            (seen, since) = (units, Instant::now());
        }
        if since.elapsed() > STUCK {
            return Err(SlateFailure::Stuck.into());
        }
    }
}

/// File → decoder → picture and sound.
fn build(spec: &SlateSpec, file: Bytes, made: &Arc<Made>) -> Result<gst::Pipeline, Failure> {
    let still = is_still(&file);
    let pipeline = gst::Pipeline::new();
    let source = source(file);
    let decode = element("decodebin")?;
    pipeline.add_many([source.upcast_ref(), &decode]).map_err(PipelineError::Link)?;
    source.link(&decode).map_err(PipelineError::Link)?;
    let wanted = Wanted { spec: spec.clone(), still, made: Arc::clone(made), taken: Mutex::default() };
    let weak = pipeline.downgrade();
    decode.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else { return };
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let name = caps.structure(0).map(|s| s.name().to_string()).unwrap_or_default();
        if let Err(error) = wanted.take(&pipeline, pad, &name) {
            gst::element_error!(pipeline, gst::CoreError::Failed, ("{}", error));
        }
    });
    Ok(pipeline)
}

/// A picture of the usual kinds.
fn is_still(file: &[u8]) -> bool {
    let webp = file.starts_with(b"RIFF") && file.get(8..12) == Some(b"WEBP");
    webp || [&b"\x89PNG"[..], b"\xFF\xD8\xFF", b"GIF8", b"BM"].iter().any(|magic| file.starts_with(magic))
}

/// The file as one that can be read anywhere, since an index may lie at its end.
fn source(file: Bytes) -> gst_app::AppSrc {
    let source = gst_app::AppSrc::builder()
        .stream_type(gst_app::AppStreamType::RandomAccess)
        .format(gst::Format::Bytes)
        .build();
    source.set_size(i64::try_from(file.len()).unwrap_or(i64::MAX));
    let at = Arc::new(AtomicU64::new(0));
    let from = Arc::clone(&at);
    source.set_callbacks(
        gst_app::AppSrcCallbacks::builder()
            .need_data(move |source, length| {
                let start = usize::try_from(at.load(Relaxed)).unwrap_or(usize::MAX).min(file.len());
                let end = start.saturating_add((length as usize).max(4096)).min(file.len());
                at.store(end as u64, Relaxed);
                if start == end {
                    source.end_of_stream().ok();
                } else {
                    let mut buffer = gst::Buffer::from_slice(file.slice(start..end));
                    if let Some(buffer) = buffer.get_mut() {
                        buffer.set_offset(start as u64);
                    }
                    source.push_buffer(buffer).ok();
                }
            })
            .seek_data(move |_, offset| {
                from.store(offset, Relaxed);
                true
            })
            .build(),
    );
    source
}

struct Wanted {
    spec: SlateSpec,
    still: bool,
    made: Arc<Made>,
    /// The file's first picture and its first sound are taken.
    taken: Mutex<(bool, bool)>,
}

impl Wanted {
    fn take(&self, pipeline: &gst::Pipeline, pad: &gst::Pad, name: &str) -> Result<(), PipelineError> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let chain = if name.starts_with("video/x-raw") && !taken.0 {
            taken.0 = true;
            self.pictures()?
        } else if let (true, false, Some(sound)) = (name.starts_with("audio/x-raw"), taken.1, self.spec.sound)
        {
            taken.1 = true;
            self.sounds(sound)?
        } else {
            // What is not wanted still has to flow somewhere.
            vec![element("fakesink")?]
        };
        pipeline.add_many(&chain).map_err(PipelineError::Link)?;
        gst::Element::link_many(&chain).map_err(PipelineError::Link)?;
        for element in &chain {
            element.sync_state_with_parent().map_err(PipelineError::Link)?;
        }
        let entry =
            chain.first().and_then(|first| first.static_pad("sink")).ok_or(PipelineError::Pad("sink"))?;
        pad.link(&entry).map_err(|_| PipelineError::Pad("sink"))?;
        Ok(())
    }

    fn pictures(&self) -> Result<Vec<gst::Element>, PipelineError> {
        let spec = &self.spec;
        let (numerator, denominator) = (spec.frame_rate.0.cast_signed(), spec.frame_rate.1.cast_signed());
        let group = spec.frame_rate.0.saturating_mul(GROUP_S).div_ceil(spec.frame_rate.1.max(1)).max(1);
        let scale = element("videoscale")?;
        scale.set_property("add-borders", true);
        let raw = element("capsfilter")?;
        raw.set_property(
            "caps",
            gst::Caps::builder("video/x-raw")
                .field("format", "I420")
                .field("width", spec.width.cast_signed())
                .field("height", spec.height.cast_signed())
                .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
                .field("framerate", gst::Fraction::new(numerator, denominator))
                .build(),
        );
        let pace = if self.still {
            let freeze = element("imagefreeze")?;
            freeze.set_property("num-buffers", i32::try_from(group).unwrap_or(i32::MAX));
            freeze
        } else {
            element("videorate")?
        };
        let encoder = element("x264enc")?;
        encoder.set_property_from_str("speed-preset", &spec.preset);
        encoder.set_property_from_str("tune", "zerolatency");
        encoder.set_property("bitrate", (spec.video_bitrate / 1000).max(1));
        encoder.set_property("bframes", 0_u32);
        encoder.set_property("aud", false);
        encoder.set_property("key-int-max", group);
        encoder.set_property("option-string", "scenecut=0");
        let coded = element("capsfilter")?;
        coded.set_property(
            "caps",
            gst::Caps::builder("video/x-h264")
                .field("stream-format", "avc")
                .field("alignment", "au")
                .field("profile", "high")
                .build(),
        );
        let interval =
            Span::from_flicks(FLICKS_PER_SECOND * i64::from(denominator) / i64::from(numerator.max(1)));
        let (made, mut known) = (Arc::clone(&self.made), false);
        let (width, height, frame_rate) = (spec.width, spec.height, Some(spec.frame_rate));
        let sink = sink(move |sample| {
            if !known && let Some(config) = config(sample) {
                known = true;
                made.outlet.send(&FromWorker::Format { rung: 0, width, height, frame_rate, config }).ok()?;
            }
            let index = i64::try_from(made.pictures.load(Relaxed)).unwrap_or(i64::MAX);
            let at = Timestamp::ZERO + interval.times(index);
            if at.seconds() >= LONGEST.as_secs_f64() {
                return None;
            }
            let buffer = sample.buffer_owned()?;
            let keyframe = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
            let payload = Bytes::from_owner(buffer.into_mapped_buffer_readable().ok()?);
            let unit = AccessUnit { dts: at, pts: at, duration: interval, keyframe, payload };
            made.outlet.send(&FromWorker::Unit { rung: 0, unit }).ok()?;
            made.pictures.fetch_add(1, Relaxed);
            Some(())
        });
        Ok(vec![element("queue")?, element("videoconvert")?, scale, pace, raw, encoder, coded, sink.upcast()])
    }

    fn sounds(&self, (rate, channels): (u32, u16)) -> Result<Vec<gst::Element>, PipelineError> {
        let raw = element("capsfilter")?;
        raw.set_property(
            "caps",
            gst::Caps::builder("audio/x-raw")
                .field("rate", rate.cast_signed())
                .field("channels", i32::from(channels))
                .build(),
        );
        let encoder = element("avenc_aac")?;
        encoder.set_property("bitrate", SOUND_BITRATE);
        let frame = Span::from_ticks(1024, rate);
        let (made, mut known) = (Arc::clone(&self.made), false);
        let sink = sink(move |sample| {
            if !known && let Some(config) = config(sample) {
                known = true;
                made.outlet.send(&FromWorker::Sound { config }).ok()?;
            }
            let index = i64::try_from(made.sounds.load(Relaxed)).unwrap_or(i64::MAX);
            let at = Timestamp::ZERO + frame.times(index);
            if at.seconds() >= LONGEST.as_secs_f64() {
                return None;
            }
            let payload = Bytes::from_owner(sample.buffer_owned()?.into_mapped_buffer_readable().ok()?);
            let unit = AccessUnit { dts: at, pts: at, duration: frame, keyframe: true, payload };
            made.outlet.send(&FromWorker::Unit { rung: 1, unit }).ok()?;
            made.sounds.fetch_add(1, Relaxed);
            Some(())
        });
        let queue = element("queue")?;
        Ok(vec![queue, element("audioconvert")?, element("audioresample")?, raw, encoder, sink.upcast()])
    }
}

/// A sink that ends its branch when `take` wants no more.
pub(super) fn sink(mut take: impl FnMut(&gst::Sample) -> Option<()> + Send + 'static) -> gst_app::AppSink {
    let sink = gst_app::AppSink::builder().sync(false).max_buffers(1).build();
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                take(&sample).map(|()| gst::FlowSuccess::Ok).ok_or(gst::FlowError::Eos)
            })
            .build(),
    );
    sink
}

pub(super) fn config(sample: &gst::Sample) -> Option<Bytes> {
    let config = sample.caps()?.structure(0)?.get::<gst::Buffer>("codec_data").ok()?;
    Some(Bytes::copy_from_slice(&config.into_mapped_buffer_readable().ok()?))
}
