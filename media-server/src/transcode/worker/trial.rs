//! An encoder on trial, in a process of its own: does it start, how fast is it, and does it do what a live rung needs of it?
//! One line of JSON on standard output; whoever waits for it does so for a while only.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::pipeline::PipelineError;
use super::{confinement, encoder, plugins};
use crate::transcode::backend::{Ask, Backend, Family};
use crate::transcode::survey::{Plugin, Run, SIZES, Trial};

/// Pictures of a trial, and the one at which a keyframe is asked for.
const PICTURES: usize = 30;
const ASKED: usize = 15;
/// Bits of a pixel and second, for the rate that is asked for.
const BITS_A_PIXEL: u32 = 2;
/// How long a picture may take to come out.
const PATIENCE: Duration = Duration::from_secs(5);
/// Encoders that are opened at a time to see how many a device takes.
const MOST_SESSIONS: usize = 16;

/// Why an encoder is not used.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error(transparent)]
    Plugin(#[from] plugins::PluginError),
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    #[error("this program knows no encoder of that name")]
    Unknown,
    #[error("{out} of {PICTURES} pictures came out within {PATIENCE:?}")]
    Incomplete { out: usize },
    #[error("a keyframe that was asked for at picture {ASKED} came at {0:?}")]
    Keyframes(Vec<usize>),
    #[error("pictures come out in another order, or with other times")]
    Order,
}

/// Says what a plugin's file has in it: the `encoder-trial --plugin` subcommand.
pub fn plugin_main(file: &str) -> ExitCode {
    confinement::apply(true);
    let found = gst::init().ok().and_then(|()| plugins::load_named(file));
    let answer = found.map(|plugin| {
        let features = gst::Registry::get().features_by_plugin(&plugin.plugin_name());
        let elements = features.iter().map(|feature| feature.name().to_string()).collect();
        Plugin { version: plugin.version().to_string(), elements }
    });
    say(&answer)
}

/// Tries an element: the `encoder-trial` subcommand.
pub fn trial_main(name: &str) -> ExitCode {
    let backend = Backend::of(name);
    // Streams that are encoded beside it come first. Refused nowhere, and no matter if it were.
    rustix::process::nice(10).ok();
    confinement::apply(backend.is_some_and(|it| it.family != Family::Cpu));
    let mut trial = Trial::default();
    match backend.ok_or(Unfit::Unknown).and_then(|backend| measure(name, backend, &mut trial)) {
        Ok(()) => trial.works = true,
        Err(unfit) => trial.why = Some(unfit.to_string()),
    }
    say(&trial)
}

fn say(answer: &impl serde::Serialize) -> ExitCode {
    match serde_json::to_string(answer) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn measure(name: &str, backend: &'static Backend, trial: &mut Trial) -> Result<(), Unfit> {
    plugins::load_encoder(backend)?;
    for (width, height) in SIZES {
        let job = Job { name, backend, width, height };
        let attempt = job.start(PICTURES)?;
        trial.device = attempt.device();
        trial.runs.push(job.judge(&attempt)?);
    }
    if backend.family != Family::Cpu {
        let (width, height) = SIZES[SIZES.len() - 1];
        trial.sessions = Some(Job { name, backend, width, height }.sessions());
    }
    Ok(())
}

struct Job<'a> {
    name: &'a str,
    backend: &'static Backend,
    width: u32,
    height: u32,
}

/// What has come out: when, at which time of the stream, and whether as a keyframe.
type Out = Arc<Mutex<Vec<(Instant, Option<u64>, bool)>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A pipeline at work.
struct Attempt {
    pipeline: gst::Pipeline,
    encoder: gst::Element,
    out: Out,
    began: Instant,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // The process ends soon.
        self.pipeline.set_state(gst::State::Null).ok();
    }
}

impl Attempt {
    /// Where it encodes, where the element says so.
    fn device(&self) -> Option<String> {
        let path = self.encoder.find_property("device-path");
        if path.is_some_and(|it| it.value_type() == String::static_type()) {
            return self.encoder.property::<Option<String>>("device-path");
        }
        let cuda = self.encoder.find_property("cuda-device-id");
        let number = cuda.filter(|it| it.value_type() == u32::static_type());
        number.map(|_| format!("cuda {}", self.encoder.property::<u32>("cuda-device-id")))
    }

    /// Waits until so many pictures have come out; how many did.
    fn wait(&self, count: usize) -> Result<usize, PipelineError> {
        let bus = self.pipeline.bus().ok_or(PipelineError::Pad("bus"))?;
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            let now = lock(&self.out).len();
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            if seen >= count || since.elapsed() > PATIENCE {
                return Ok(seen);
            }
            let most = gst::ClockTime::from_mseconds(10);
            if let Some(message) = bus.timed_pop_filtered(most, &[gst::MessageType::Error])
                && let gst::MessageView::Error(error) = message.view()
            {
                return Err(PipelineError::of(&message, error));
            }
        }
    }
}

impl Job<'_> {
    /// Encodes so many pictures, which are given as fast as they are taken.
    fn start(&self, pictures: usize) -> Result<Attempt, PipelineError> {
        let pipeline = gst::Pipeline::new();
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", self.backend.pixels())
            .field("width", self.width.cast_signed())
            .field("height", self.height.cast_signed())
            .field("framerate", gst::Fraction::new(30, 1))
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
            .build();
        let source = gst_app::AppSrc::builder().caps(&caps).format(gst::Format::Time).build();
        let ask = Ask {
            bitrate: self.width.saturating_mul(self.height).saturating_mul(BITS_A_PIXEL),
            crf: None,
            preset: "veryfast",
            threads: std::thread::available_parallelism().map_or(1, |it| it.get() as u32),
        };
        let coder = encoder::make(self.name, self.backend, &ask)?;
        let coded = encoder::after(self.backend)?;
        let out = Out::default();
        let sink = super::slate::sink({
            let out = Arc::clone(&out);
            move |sample| {
                let buffer = sample.buffer()?;
                let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
                let time = segment.to_running_time(buffer.pts()?).map(gst::ClockTime::nseconds);
                lock(&out).push((
                    Instant::now(),
                    time,
                    !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
                ));
                Some(())
            }
        });
        sink.set_property("async", false);
        let mut chain = vec![source.clone().upcast::<gst::Element>(), coder.clone()];
        chain.extend(coded);
        chain.push(sink.upcast());
        pipeline.add_many(&chain).map_err(PipelineError::Link)?;
        gst::Element::link_many(&chain).map_err(PipelineError::Link)?;
        encoder::force_keyframes(&coder, move |time| time == Some(at(ASKED)))?;
        pipeline.set_state(gst::State::Playing)?;
        let began = Instant::now();
        let moving = self.pictures();
        for index in 0..pictures {
            let mut buffer = gst::Buffer::from_slice(moving[index % moving.len()].clone());
            if let Some(buffer) = buffer.get_mut() {
                buffer.set_pts(at(index));
                buffer.set_duration(at(1));
            }
            // Refused only by a pipeline that has failed, which `wait` reports.
            source.push_buffer(buffer).ok();
        }
        if pictures == PICTURES {
            source.end_of_stream().ok();
        }
        Ok(Attempt { pipeline, encoder: coder, out, began })
    }

    /// Four pictures that move, with some detail.
    fn pictures(&self) -> Vec<Bytes> {
        let (width, height) = (self.width as usize, self.height as usize);
        let pictures = (0..4_usize).map(|turn| {
            let luma = (0..width * height).map(|index| {
                let (x, y) = (index % width + 8 * turn, index / width);
                ((x * 255 / width) ^ (y * 3 + (x / 16) * 7)) as u8
            });
            luma.chain(std::iter::repeat_n(128, width * height / 2)).collect::<Vec<u8>>().into()
        });
        pictures.collect()
    }

    fn judge(&self, attempt: &Attempt) -> Result<Run, Unfit> {
        let out = attempt.wait(PICTURES)?;
        if out < PICTURES {
            return Err(Unfit::Incomplete { out });
        }
        let out = lock(&attempt.out);
        if out.iter().enumerate().any(|(index, (_, time, _))| *time != Some(at(index).nseconds())) {
            return Err(Unfit::Order);
        }
        let keyframes: Vec<_> = (0..out.len()).filter(|index| out[*index].2).collect();
        if keyframes != [0, ASKED] {
            return Err(Unfit::Keyframes(keyframes));
        }
        let (first, last) = (out[0].0, out[out.len() - 1].0);
        let took = last.saturating_duration_since(first).as_secs_f64().max(1e-6);
        Ok(Run {
            width: self.width,
            height: self.height,
            frames_per_second: ((out.len() - 1) as f64 / took * 10.0).round() / 10.0,
            first_ms: first.saturating_duration_since(attempt.began).as_millis() as u64,
        })
    }

    /// How many of them work at a time, up to [`MOST_SESSIONS`].
    fn sessions(&self) -> u32 {
        let mut open = Vec::new();
        while open.len() < MOST_SESSIONS {
            match self.start(4) {
                Ok(attempt) if attempt.wait(1).is_ok_and(|out| out > 0) => open.push(attempt),
                _ => break,
            }
        }
        open.len() as u32
    }
}

fn at(index: usize) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(index as u64 * 1_000_000_000 / 30)
}
