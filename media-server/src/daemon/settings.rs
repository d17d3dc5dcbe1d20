//! Configuration → what each room takes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderValue;
use media::Span;
use media::ladder::{Profile, Rate, RungCodec, RungWish, Size, SoundCodec, SoundWish, Tuning, When};
use media::segmenter::Targets;
use wire::PushTarget;
use wire::srt::Passphrase;

use super::DaemonError;
use super::codecs::Codecs;
use super::posters;
use super::slate::Wish;
use crate::admission::{self, Admission, Endpoint, Hidden, HookSettings, Outbox, SharedEndpoint, StaticKey};
use crate::config::{self, Config, Fps};
use crate::flight::{Folder, Keep};
use crate::ingest::{Rules, SrtRules, Target};
use crate::live::{Policy, Settings, SourceStart, SourceWish};
use crate::metrics::Metrics;
use crate::transport::rtc::{Tally, Terms};

/// Recordings that stay on the disk.
const RECORDINGS: usize = 20;

/// Makes the data folder, and makes sure that it can be written to before a port opens.
pub(super) fn prepare_data_dir(path: &Path) -> Result<(), DaemonError> {
    let failed = |source| DaemonError::DataDir { path: path.to_owned(), source };
    std::fs::create_dir_all(path).map_err(failed)?;
    let probe = path.join(format!(".write-probe-{}", std::process::id()));
    std::fs::write(&probe, b"weir").map_err(failed)?;
    std::fs::remove_file(&probe).map_err(failed)
}

/// What the next publish is measured against.
pub(super) fn rules(config: &Config) -> Rules {
    let ms = |ms: u64| Span::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
    let codecs = Codecs::known(config);
    Rules {
        profiles: config
            .profiles
            .iter()
            .map(|(name, profile)| (name.clone(), ladder(profile, &codecs)))
            .collect::<HashMap<_, _>>(),
        settings: Settings {
            targets: Targets {
                part: ms(config.hls.part_ms),
                segment: ms(config.hls.segment_ms),
                window: config.hls.window_segments,
            },
            reconnect_window: Duration::from_millis(config.hls.reconnect_window_ms),
            silence: Duration::from_millis(config.hls.silence_ms),
            policy: match config.publish.policy {
                config::Policy::Reject => Policy::Reject,
                config::Policy::Takeover => Policy::Takeover,
            },
            slate: (!config.slate.file.as_os_str().is_empty())
                .then(|| Duration::from_millis(config.slate.after_ms)),
            park: (config.transcode.encode == config::Encode::OnDemand)
                .then(|| Duration::from_millis(config.transcode.park_after_ms)),
        },
        max_streams: config.hls.max_streams,
        idle_timeout: Duration::from_millis(config.rtmp.idle_timeout_ms),
        targets: config.restream.targets.iter().filter_map(target).collect(),
        max_pending_per_ip: config.rtmp.max_pending_per_ip,
        max_bitrate_kbps: config.publish.max_bitrate.0 / 1000,
        max_message_bytes: config.rtmp.max_message_bytes,
        recorder: (config.recorder.seconds > 0).then(|| Keep {
            time: Duration::from_secs(config.recorder.seconds),
            bytes: config.recorder.max_bytes,
        }),
        storm: config.recorder.storm,
        authorities: config.restream.ca_file.clone(),
        source_idle: Duration::from_millis(config.pull.idle_ms),
        srt: SrtRules {
            latency: Duration::from_millis(config.srt.latency_ms),
            passphrase: Passphrase::new(&config.srt.passphrase.0),
        },
    }
}

/// Pictures of streams.
pub(super) fn thumbnails(config: &Config) -> posters::Wish {
    let wish = &config.thumbnails;
    let (interval, storyboard) = (wish.interval_ms, wish.storyboard_ms);
    posters::Wish {
        interval: Duration::from_millis(interval),
        height: wish.height,
        storyboard: Duration::from_millis(storyboard),
    }
}

/// What WebRTC clients are told of where to send. What does not parse was refused with the file.
pub(super) fn webrtc(config: &Config) -> Terms {
    let advertised = config.webrtc.advertise.iter().filter_map(|address| config::advertised(address));
    Terms { advertised: advertised.collect(), own_addresses: config.webrtc.own_addresses }
}

/// Where the WebRTC port counts.
pub(super) fn tally(metrics: &Metrics) -> Tally {
    Tally {
        strays: metrics.webrtc_strays.clone(),
        overflow: metrics.webrtc_overflow.clone(),
        held: metrics.webrtc_held.clone(),
    }
}

/// Where STUN and TURN are, as WebRTC clients are told.
pub(super) fn links(config: &Config) -> Vec<HeaderValue> {
    let link = |server: &config::IceServer| {
        let mut link = format!("<{}>; rel=\"ice-server\"", server.url);
        if !server.username.is_empty() {
            let (name, credential) = (&server.username, &server.credential.0);
            let attributes =
                format!("; username=\"{name}\"; credential=\"{credential}\"; credential-type=\"password\"");
            link.push_str(&attributes);
        }
        HeaderValue::from_str(&link).ok()
    };
    config.webrtc.ice_servers.iter().filter_map(link).collect()
}

/// What does not parse was refused with the file.
fn target(target: &config::PushTarget) -> Option<Target> {
    let url = PushTarget::parse(&target.url.0).ok()?;
    Some(Target { stream: target.stream.clone(), url })
}

fn codec(codec: config::Codec) -> RungCodec {
    match codec {
        config::Codec::H264 => RungCodec::H264,
        config::Codec::Hevc => RungCodec::Hevc,
        config::Codec::Av1 => RungCodec::Av1,
    }
}

/// A ladder as the configuration writes it.
pub(super) fn ladder(profile: &config::Profile, codecs: &Codecs) -> Profile {
    let wish = |rung: &config::Rung| RungWish {
        name: rung.name.clone(),
        size: match rung.size {
            Some(frame) => Size::Within(frame.width, frame.height),
            None if rung.height > 0 => Size::Lines(rung.height),
            None => Size::Source,
        },
        rate: match rung.fps {
            Fps::Most(most) if most > 0.0 => Rate::Most(most),
            Fps::Most(_) => Rate::Source,
            Fps::Share(one_of) => Rate::Share(one_of),
        },
        video_bitrate: rung.video_bitrate.0,
        audio_bitrate: rung.audio_bitrate.0,
        codec: codec(rung.codec),
        encoder: codecs.encoder(codec(rung.codec)),
        when: When {
            min_height: rung.when.min_height,
            max_height: rung.when.max_height,
            min_fps: rung.when.min_fps,
            max_fps: rung.when.max_fps,
        },
        tuning: Tuning {
            preset: rung.preset.clone(),
            crf: rung.crf,
            max_bitrate: rung.max_bitrate.map(|most| most.0),
            buffer_ms: rung.buffer_ms,
            profile: rung.profile.clone(),
            tune: rung.tune.clone(),
            b_frames: rung.b_frames,
            lookahead: rung.lookahead,
        },
    };
    let sound = |rung: &config::AudioRung| SoundWish {
        name: rung.name.clone(),
        codec: match rung.codec {
            config::AudioCodec::Aac => SoundCodec::AacLc,
            config::AudioCodec::HeAac => SoundCodec::HeAac,
            config::AudioCodec::Opus => SoundCodec::Opus,
        },
        bitrate: rung.bitrate.0,
        channels: Some(rung.channels),
    };
    Profile {
        passthrough: profile.passthrough,
        rungs: profile.rungs.iter().map(wish).collect(),
        sounds: profile.audio.iter().map(sound).collect(),
    }
}

fn secret_file(config: &Config) -> PathBuf {
    let named = &config.admission.secret_file;
    if named.as_os_str().is_empty() { config.data_dir.join("webhook.secret") } else { named.clone() }
}

fn endpoint(config: &Config) -> Result<Endpoint, DaemonError> {
    let admission = &config.admission;
    endpoint_at(config, &admission.url, admission.timeout_ms)
}

fn endpoint_at(config: &Config, url: &str, timeout_ms: u64) -> Result<Endpoint, DaemonError> {
    let failed = |error: admission::SecretError| DaemonError::Admission(error.to_string());
    let secret = match config.admission.secret.0.as_str() {
        "" => admission::load_or_create_secret(&secret_file(config)).map_err(failed)?,
        written => written.parse().map_err(failed)?,
    };
    Ok(Endpoint { url: url.to_owned(), timeout: Duration::from_millis(timeout_ms), secret })
}

/// Who is asked which ladder a source is to have.
fn profile_hook(config: &Config) -> Result<Option<HookSettings>, DaemonError> {
    let hook = &config.profile_hook;
    if !hook.enabled {
        return Ok(None);
    }
    let url = if hook.url.is_empty() { &config.admission.url } else { &hook.url };
    Ok(Some(HookSettings {
        endpoint: endpoint_at(config, url, hook.timeout_ms)?,
        encoder: config.transcode.encoder.clone(),
        unanswered: hook.unanswered,
        refused: hook.refused,
        unusable: hook.unusable,
    }))
}

fn admission_settings(config: &Config) -> Result<admission::Settings, DaemonError> {
    let written = &config.admission;
    let mode = match written.mode {
        config::Mode::Open => admission::Mode::Open { profile: written.profile.clone() },
        config::Mode::Static => admission::Mode::Static(
            written
                .keys
                .iter()
                .map(|k| StaticKey {
                    key: k.key.0.clone(),
                    stream: k.stream.clone(),
                    profile: k.profile.clone(),
                    passphrase: Some(&k.passphrase.0).filter(|text| !text.is_empty()).cloned().map(Hidden),
                })
                .collect(),
        ),
        config::Mode::Webhook => admission::Mode::Webhook(endpoint(config)?),
    };
    let profile_hook = profile_hook(config)?;
    Ok(admission::Settings { mode, node: config.node.name.clone(), profile_hook })
}

/// Who decides about a publish.
pub(super) fn admission(config: &Config) -> Result<Admission, DaemonError> {
    Admission::new(admission_settings(config)?).map_err(|error| DaemonError::Admission(error.to_string()))
}

/// The same, changed while it runs; events go to the new endpoint too.
pub(super) fn set_admission(
    admission: &Admission,
    events: &SharedEndpoint,
    config: &Config,
) -> Result<(), DaemonError> {
    let target = events_endpoint(config)?;
    admission.set(admission_settings(config)?).map_err(|error| DaemonError::Admission(error.to_string()))?;
    events.set(target);
    Ok(())
}

fn events_endpoint(config: &Config) -> Result<Option<Endpoint>, DaemonError> {
    let told = config.admission.mode == config::Mode::Webhook;
    told.then(|| endpoint(config)).transpose()
}

/// Where events go: nowhere without a control plane.
pub(super) fn shared_endpoint(config: &Config) -> Result<SharedEndpoint, DaemonError> {
    Ok(SharedEndpoint::new(events_endpoint(config)?))
}

/// What is shown while no publisher sends.
pub(super) fn slate(config: &Config) -> Wish {
    Wish { file: config.slate.file.clone(), preset: config.transcode.preset.clone() }
}

/// Where recordings of publishers are written.
pub(super) fn flights(config: &Config) -> Folder {
    Folder::new(config.data_dir.join("flight"), RECORDINGS)
}

/// The outbox of events, and what delivers them.
pub(super) fn outbox(
    config: &Config,
    events: &SharedEndpoint,
    metrics: Metrics,
) -> Result<(Outbox, impl Future<Output = ()> + use<>), DaemonError> {
    let folder = config.data_dir.join("outbox");
    Outbox::open(folder.clone(), events.clone(), config.node.name.clone(), metrics)
        .map_err(|source| DaemonError::DataDir { path: folder, source })
}

/// Streams that the configuration has fetched.
pub(super) fn sources(config: &Config) -> Vec<SourceWish> {
    let wish = |source: &config::PullSource| SourceWish {
        stream: source.stream.clone(),
        url: source.url.0.clone(),
        profile: source.profile.clone(),
        start: match source.start {
            config::PullStart::Always => SourceStart::Always,
            config::PullStart::OnDemand => SourceStart::OnDemand,
        },
    };
    config.pull.sources.iter().map(wish).collect()
}
