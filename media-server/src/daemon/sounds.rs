//! Gives sounds their encoders: those that players do not decode, rungs of sound, and Opus for players by WebRTC.

use std::path::PathBuf;
use std::sync::Arc;

use media::{AudioFormat, opus};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ingest::{SoundFactory, SoundRequest};
use crate::live::{SoundRungFactory, SoundRungOutlet, SoundRungRequest};
use crate::serve::OpusFactory;
use crate::transcode::{self, Hearer, SoundCodec, SoundMade, SoundSpec, Workers};

/// Bits a second of sound for players by WebRTC.
const OPUS_BITRATE: u32 = 128_000;

/// Encodes sound that players do not decode, each in a worker `program transcode-worker` of its own, until `stop`.
pub(super) fn undecoded(program: PathBuf, tasks: TaskTracker, stop: CancellationToken) -> SoundFactory {
    let workers = Workers::new(program);
    Arc::new(move |request: SoundRequest, inlet| {
        let SoundRequest { stream, format, bitrate } = request;
        let spec = sound_spec(stream, &format, SoundMade::AacLc, bitrate);
        let hearer = Hearer::Stream(inlet);
        let (frames, job) = transcode::encode_sound(workers.clone(), spec, hearer, stop.child_token());
        tasks.spawn(job);
        frames
    })
}

/// A sound of this format, to be encoded with all of its channels that players take.
fn sound_spec(stream: String, format: &AudioFormat, makes: SoundMade, bitrate: u32) -> SoundSpec {
    let codec = match format.codec.as_str() {
        "ac-3" => SoundCodec::Ac3,
        "ec-3" => SoundCodec::Eac3,
        "opus" => SoundCodec::Opus,
        "mp1" => SoundCodec::MpegAudio(1),
        "mp2" => SoundCodec::MpegAudio(2),
        aac if aac.starts_with("mp4a") => SoundCodec::Aac,
        _ => SoundCodec::MpegAudio(3),
    };
    let config = if codec == SoundCodec::Aac { format.config.to_vec() } else { Vec::new() };
    let (sample_rate, channels) = (format.sample_rate, format.channels);
    SoundSpec { stream, codec, config, sample_rate, channels, makes, most_channels: 2, bitrate }
}

/// Encodes the rungs of streams' sounds, each in a worker of its own, until `stop`.
pub(super) fn rungs(program: PathBuf, tasks: TaskTracker, stop: CancellationToken) -> SoundRungFactory {
    let workers = Workers::new(program);
    Arc::new(move |request: SoundRungRequest, outlet: SoundRungOutlet| {
        let SoundRungRequest { stream, source, wish } = request;
        let channels = wish.channels_of(&source);
        let spec = sound_spec(stream, &source, wish.codec.into(), wish.bitrate);
        let spec = SoundSpec { most_channels: channels, ..spec };
        // AAC says itself how it decodes.
        if spec.makes == SoundMade::Opus
            && let Ok(format) = opus::format(&opus::header(u8::try_from(channels).unwrap_or(2)))
        {
            outlet.format(format);
        }
        let hearer = Hearer::Rung(outlet);
        let (frames, job) = transcode::encode_sound(workers.clone(), spec, hearer, stop.child_token());
        tasks.spawn(job);
        frames
    })
}

/// Encodes AAC as Opus for players by WebRTC, each stream in a worker of its own, until `stop`.
pub(super) fn opus(program: PathBuf, tasks: TaskTracker, stop: CancellationToken) -> OpusFactory {
    let workers = Workers::new(program);
    Arc::new(move |stream: &str, format: &AudioFormat, units| {
        let spec = sound_spec(stream.to_owned(), format, SoundMade::Opus, OPUS_BITRATE);
        let hearer = Hearer::Packets(units);
        let (frames, job) = transcode::encode_sound(workers.clone(), spec, hearer, stop.child_token());
        tasks.spawn(job);
        frames
    })
}
