//! An element on trial, in a process of its own: does it start, how fast is it, and does it do what a live rung needs of it?
//! One line of JSON on standard output; whoever waits for it does so for a while only.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use media::ladder::Tuning;

use super::pipeline::PipelineError;
use super::{confinement, part, plugins, step};
use crate::transcode::backend::{Backend, Family};
use crate::transcode::dialect::Ask;
use crate::transcode::plan;
use crate::transcode::survey::{MOST_SESSIONS, Plugin, Run, SIZES, Trial};

/// Pictures of a trial, and the one at which a keyframe is asked for.
pub(super) const PICTURES: usize = 30;
const ASKED: usize = 15;
/// Bits of a pixel and second, for the rate that is asked for.
const BITS_A_PIXEL: u32 = 2;
/// How long a picture may take to come out.
const PATIENCE: Duration = Duration::from_secs(5);
/// Why an element is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error(transparent)]
    Plugin(#[from] plugins::PluginError),
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    #[error("this program knows no element of that name")]
    Unknown,
    #[error("there is nothing to decode: {0}")]
    NoSource(PipelineError),
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
    confinement::apply(backend.is_none_or(|it| it.family != Family::Cpu));
    let mut trial = Trial::default();
    let measured = match backend {
        Some(backend) => measure(name, backend, &mut trial),
        None => part::measure(name, &mut trial),
    };
    match measured {
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
    plugins::load()?;
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
pub(super) struct Attempt {
    pipeline: gst::Pipeline,
    /// What is on trial.
    element: gst::Element,
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
    /// Puts buffers through a chain, as fast as they are taken.
    pub(super) fn start(
        caps: &gst::Caps,
        chain: Vec<gst::Element>,
        element: gst::Element,
        (buffers, ends): (Vec<gst::Buffer>, bool),
    ) -> Result<Self, PipelineError> {
        let pipeline = gst::Pipeline::new();
        let source = gst_app::AppSrc::builder().caps(caps).format(gst::Format::Time).build();
        let out = Out::default();
        let sink = super::slate::sink({
            let out = Arc::clone(&out);
            move |sample| {
                let buffer = sample.buffer()?;
                let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
                let time = segment.to_running_time(buffer.pts()?).map(gst::ClockTime::nseconds);
                let keyframe = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
                lock(&out).push((Instant::now(), time, keyframe));
                Some(())
            }
        });
        sink.set_property("async", false);
        let mut all = vec![source.clone().upcast::<gst::Element>()];
        all.extend(chain);
        all.push(sink.upcast());
        pipeline.add_many(&all).map_err(PipelineError::Link)?;
        gst::Element::link_many(&all).map_err(PipelineError::Link)?;
        pipeline.set_state(gst::State::Playing)?;
        let began = Instant::now();
        for buffer in buffers {
            // Refused only by a pipeline that has failed, which `wait` reports.
            source.push_buffer(buffer).ok();
        }
        if ends {
            source.end_of_stream().ok();
        }
        Ok(Self { pipeline, element, out, began })
    }

    /// Where it works, where the element says so.
    pub(super) fn device(&self) -> Option<String> {
        let path = self.element.find_property("device-path");
        if path.is_some_and(|it| it.value_type() == String::static_type()) {
            return self.element.property::<Option<String>>("device-path");
        }
        let cuda = self.element.find_property("cuda-device-id");
        let number = cuda.filter(|it| it.value_type() == u32::static_type());
        number.map(|_| format!("cuda {}", self.element.property::<u32>("cuda-device-id")))
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

    /// Waits for all pictures: how fast they came, and that each came in its turn.
    pub(super) fn judge(&self, (width, height): (u32, u32)) -> Result<Run, Unfit> {
        let out = self.wait(PICTURES)?;
        if out < PICTURES {
            return Err(Unfit::Incomplete { out });
        }
        let out = lock(&self.out);
        if out.iter().enumerate().any(|(index, (_, time, _))| *time != Some(at(index).nseconds())) {
            return Err(Unfit::Order);
        }
        let (first, last) = (out[0].0, out[out.len() - 1].0);
        let took = last.saturating_duration_since(first).as_secs_f64().max(1e-6);
        Ok(Run {
            width,
            height,
            frames_per_second: ((out.len() - 1) as f64 / took * 10.0).round() / 10.0,
            first_ms: first.saturating_duration_since(self.began).as_millis() as u64,
        })
    }

    fn keyframes(&self) -> Vec<usize> {
        let out = lock(&self.out);
        (0..out.len()).filter(|index| out[*index].2).collect()
    }
}

impl Job<'_> {
    /// Encodes so many pictures.
    fn start(&self, pictures: usize) -> Result<Attempt, PipelineError> {
        let size = (self.width, self.height);
        let tuning = Tuning::default();
        let ask = ask(&tuning, size);
        let coder = step::make(&plan::coder(self.name, self.backend, &ask))?;
        step::force_keyframes(&coder, move |time| time == Some(at(ASKED)))?;
        let mut chain = vec![coder.clone()];
        chain.extend(step::make_all(&plan::finish(self.backend, None))?);
        let buffers = (buffers(size, pictures), pictures == PICTURES);
        Attempt::start(&raw(size, self.backend.pixels()), chain, coder, buffers)
    }

    fn judge(&self, attempt: &Attempt) -> Result<Run, Unfit> {
        let run = attempt.judge((self.width, self.height))?;
        match attempt.keyframes() {
            keyframes if keyframes == [0, ASKED] => Ok(run),
            keyframes => Err(Unfit::Keyframes(keyframes)),
        }
    }

    /// How many of them work at a time, up to [`MOST_SESSIONS`].
    fn sessions(&self) -> u32 {
        let mut open = Vec::new();
        while open.len() < MOST_SESSIONS as usize {
            match self.start(4) {
                Ok(attempt) if attempt.wait(1).is_ok_and(|out| out > 0) => open.push(attempt),
                _ => break,
            }
        }
        open.len() as u32
    }
}

/// What is asked of an encoder for a trial.
pub(super) fn ask(tuning: &Tuning, (width, height): (u32, u32)) -> Ask<'_> {
    Ask {
        tuning,
        bitrate: width.saturating_mul(height).saturating_mul(BITS_A_PIXEL),
        preset: "veryfast",
        threads: std::thread::available_parallelism().map_or(1, |it| it.get() as u32),
    }
}

/// Pictures as they are given to an element.
pub(super) fn raw((width, height): (u32, u32), pixels: &str) -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("format", pixels)
        .field("width", width.cast_signed())
        .field("height", height.cast_signed())
        .field("framerate", gst::Fraction::new(30, 1))
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .build()
}

/// Pictures that move, with some detail.
pub(super) fn buffers(size: (u32, u32), count: usize) -> Vec<gst::Buffer> {
    let moving = pictures(size);
    let buffers = moving.iter().cycle().take(count).enumerate().map(|(index, picture)| {
        let mut buffer = gst::Buffer::from_slice(picture.clone());
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(at(index));
            buffer.set_duration(at(1));
        }
        buffer
    });
    buffers.collect()
}

fn pictures((width, height): (u32, u32)) -> Vec<Bytes> {
    let (width, height) = (width as usize, height as usize);
    let pictures = (0..4_usize).map(|turn| {
        let luma = (0..width * height).map(|index| {
            let (x, y) = (index % width + 8 * turn, index / width);
            ((x * 255 / width) ^ (y * 3 + (x / 16) * 7)) as u8
        });
        luma.chain(std::iter::repeat_n(128, width * height / 2)).collect::<Vec<u8>>().into()
    });
    pictures.collect()
}

fn at(index: usize) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(index as u64 * 1_000_000_000 / 30)
}
