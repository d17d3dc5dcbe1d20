//! What serde cannot know: ranges, and keys that have to agree. Every problem is found, not only the first.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use wire::srt::Passphrase;
use wire::{PullUrl, PushTarget};

use super::ladder_rules::{PRESETS, ladder};
use super::types::{Config, Mode};
use super::webrtc::{advertised, is_ice_server};

/// Pictures of a storyboard: six hours of one each ten seconds.
const MOST_TILES: u64 = 2160;

pub(super) type Problems = Vec<(String, String)>;

/// Every problem as (key, what is wrong and what would be right).
pub(super) fn validate(config: &Config) -> Problems {
    let mut problems = Vec::new();
    listeners(config, &mut problems);
    limits(config, &mut problems);
    admission(config, &mut problems);
    restream(config, &mut problems);
    pull(config, &mut problems);
    packaging(config, &mut problems);
    if !PRESETS.contains(&config.transcode.preset.as_str()) {
        say(&mut problems, "transcode.preset", format!("is one of {}", PRESETS.join(", ")));
    }
    within(&mut problems, "transcode.park_after_ms", config.transcode.park_after_ms, 1_000, 3_600_000);
    let encoder = &config.transcode.encoder;
    let element = encoder.len() <= 64 && encoder.chars().all(|it| it.is_ascii_alphanumeric());
    if encoder != "auto" && !(element && encoder.ends_with("enc") && encoder.contains("264")) {
        let text = "is \"auto\" or an element that encodes H.264, as `media-server encoders` lists them";
        say(&mut problems, "transcode.encoder", text);
    }
    for (name, profile) in &config.profiles {
        ladder(name, profile, encoder, &mut problems);
    }
    if !is_name(&config.node.name) {
        say(&mut problems, "node.name", NAME_RULE);
    }
    problems
}

pub(super) const NAME_RULE: &str = "is 1 to 64 letters, digits, '-' or '_'";

pub(super) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

pub(super) fn say(problems: &mut Problems, key: impl Into<String>, text: impl Into<String>) {
    problems.push((key.into(), text.into()));
}

fn within(problems: &mut Problems, key: &str, value: u64, low: u64, high: u64) {
    if !(low..=high).contains(&value) {
        say(problems, key, format!("is {value}; it must be {low} to {high}"));
    }
}

fn listeners(config: &Config, problems: &mut Problems) {
    let named = [
        ("rtmp.listen", config.rtmp.listen),
        ("rtmp.tls_listen", config.rtmp.tls_listen.filter(|_| config.tls.is_set())),
        ("webrtc.listen", config.webrtc.listen),
        ("http.listen", config.http.listen),
        ("http.tls_listen", config.http.tls_listen.filter(|_| config.tls.is_set())),
        ("admin.listen", Some(config.admin.listen)),
    ];
    for (at, (key, address)) in named.iter().enumerate() {
        let Some(address) = address else { continue };
        let clash = named.iter().take(at).find(|(_, other)| {
            other.is_some_and(|o| {
                let same_ip =
                    o.ip() == address.ip() || o.ip().is_unspecified() || address.ip().is_unspecified();
                o.port() == address.port() && o.port() != 0 && same_ip
            })
        });
        if let Some((other, _)) = clash {
            say(problems, *key, format!("uses the port of {other}: give each its own"));
        }
    }
    if !config.admin.listen.ip().is_loopback() {
        let text =
            "is not a loopback address: the admin API has no password, so it stays on 127.0.0.1 or [::1]";
        say(problems, "admin.listen", text);
    }
}

/// What SRT takes.
const PASSPHRASE: &str = "must have 10 to 79 characters, or be empty";

fn limits(config: &Config, problems: &mut Problems) {
    within(problems, "rtmp.max_connections", config.rtmp.max_connections as u64, 1, 100_000);
    within(problems, "srt.max_connections", config.srt.max_connections as u64, 1, 100_000);
    within(problems, "srt.latency_ms", config.srt.latency_ms, 20, 8_000);
    within(problems, "webrtc.max_sessions", config.webrtc.max_sessions as u64, 1, 100_000);
    for (at, address) in config.webrtc.advertise.iter().enumerate() {
        if advertised(address).is_none() {
            let text = "is an address as clients see it: \"203.0.113.7\", or \"203.0.113.7:18189\"";
            say(problems, format!("webrtc.advertise[{at}]"), text);
        }
    }
    for (at, server) in config.webrtc.ice_servers.iter().enumerate() {
        if !is_ice_server(server) {
            let text = "has a url such as \"stun:HOST:3478\" or \"turn:HOST:3478?transport=udp\", and for TURN a username and a credential, without quotes in them";
            say(problems, format!("webrtc.ice_servers[{at}]"), text);
        }
    }
    let passphrase = &config.srt.passphrase.0;
    if !passphrase.is_empty() && Passphrase::new(passphrase).is_none() {
        say(problems, "srt.passphrase", PASSPHRASE);
    }
    within(problems, "rtmp.max_pending_per_ip", config.rtmp.max_pending_per_ip as u64, 1, 100_000);
    if !(100_000..=2_000_000_000).contains(&config.publish.max_bitrate.0) {
        say(problems, "publish.max_bitrate", "is 100k to 2000M bits a second");
    }
    within(problems, "slate.after_ms", config.slate.after_ms, 500, 600_000);
    let thumbnails = &config.thumbnails;
    if thumbnails.interval_ms != 0 {
        within(problems, "thumbnails.interval_ms", thumbnails.interval_ms, 1000, 3_600_000);
    }
    within(problems, "thumbnails.height", thumbnails.height.into(), 64, 2160);
    let most = thumbnails.interval_ms.saturating_mul(MOST_TILES);
    if thumbnails.interval_ms != 0 && thumbnails.storyboard_ms > most {
        let hint = format!("is at most {most} with this interval_ms: {MOST_TILES} pictures");
        say(problems, "thumbnails.storyboard_ms", hint);
    }
    within(problems, "recorder.seconds", config.recorder.seconds, 0, 600);
    within(problems, "recorder.max_bytes", config.recorder.max_bytes as u64, 1 << 20, 1 << 30);
    within(problems, "recorder.storm", config.recorder.storm, 0, 1_000_000);
    within(problems, "rtmp.idle_timeout_ms", config.rtmp.idle_timeout_ms, 100, 600_000);
    within(problems, "rtmp.max_message_bytes", config.rtmp.max_message_bytes as u64, 64 << 10, 16 << 20);
    within(problems, "http.max_connections", config.http.max_connections as u64, 1, 1_000_000);
    within(problems, "http.max_blocked_requests", config.http.max_blocked_requests as u64, 1, 1_000_000);
    for (at, origin) in config.http.cors_origins.iter().enumerate() {
        let plain = origin.starts_with("http://") || origin.starts_with("https://");
        if origin != "*" && (!plain || origin.contains(char::is_whitespace) || !origin.is_ascii()) {
            let text = "is \"*\", or an origin such as \"https://example.org\"";
            say(problems, format!("http.cors_origins[{at}]"), text);
        }
    }
}

fn admission(config: &Config, problems: &mut Problems) {
    let admission = &config.admission;
    within(problems, "admission.timeout_ms", admission.timeout_ms, 50, 60_000);
    if admission.mode == Mode::Webhook && !is_endpoint(&admission.url) {
        let text =
            "is the control plane's endpoint, http://HOST:PORT/PATH or https://…, without user and password";
        say(problems, "admission.url", text);
    }
    if !admission.secret.0.is_empty() && !admission.secret.0.split_whitespace().all(is_webhook_secret) {
        let text = "is whsec_ and 24 to 64 bytes in base64 (Standard Webhooks), or is left out";
        say(problems, "admission.secret", text);
    }
    if !config.profiles.contains_key(&admission.profile) {
        say(problems, "admission.profile", format!("names no profile; there are {}", names(config)));
    }
    if admission.mode == Mode::Static && admission.keys.is_empty() {
        say(problems, "admission.keys", "mode \"static\" needs keys = [{ key = \"…\", stream = \"…\" }]");
    }
    let hook = &config.profile_hook;
    within(problems, "profile_hook.timeout_ms", hook.timeout_ms, 50, 3_000);
    let unnamed = hook.url.is_empty() && (!hook.enabled || is_endpoint(&admission.url));
    if !unnamed && !is_endpoint(&hook.url) {
        let text = "is http://HOST:PORT/PATH or https://…, without user and password, or empty where [admission] url is one";
        say(problems, "profile_hook.url", text);
    }
    let mut seen = HashSet::new();
    for (at, key) in admission.keys.iter().enumerate() {
        let path = |field| format!("admission.keys[{at}].{field}");
        if key.key.0.is_empty() || key.key.0.len() > 1024 {
            say(problems, path("key"), "is 1 to 1024 characters");
        }
        if !seen.insert(&key.key.0) {
            say(problems, path("key"), "is there twice: each key names one stream");
        }
        if !is_name(&key.stream) {
            say(problems, path("stream"), NAME_RULE);
        }
        if !config.profiles.contains_key(&key.profile) {
            say(problems, path("profile"), format!("names no profile; there are {}", names(config)));
        }
        if !key.passphrase.0.is_empty() && Passphrase::new(&key.passphrase.0).is_none() {
            say(problems, path("passphrase"), PASSPHRASE);
        }
    }
}

fn restream(config: &Config, problems: &mut Problems) {
    for (at, target) in config.restream.targets.iter().enumerate() {
        let path = |field| format!("restream.targets[{at}].{field}");
        if target.stream != "*" && !is_name(&target.stream) {
            say(problems, path("stream"), format!("{NAME_RULE}; or it is \"*\" for every stream"));
        }
        if let Err(error) = PushTarget::parse(&target.url.0) {
            say(problems, path("url"), format!("is no address to push to: {error}"));
        }
    }
}

fn pull(config: &Config, problems: &mut Problems) {
    within(problems, "pull.idle_ms", config.pull.idle_ms, 1_000, 86_400_000);
    for (at, source) in config.pull.sources.iter().enumerate() {
        let path = |field| format!("pull.sources[{at}].{field}");
        if !is_name(&source.stream) {
            say(problems, path("stream"), NAME_RULE);
        }
        if config.pull.sources.iter().take(at).any(|other| other.stream == source.stream) {
            say(problems, path("stream"), "has a source already: a stream comes from one place");
        }
        if !config.profiles.contains_key(&source.profile) {
            say(problems, path("profile"), format!("names no profile; there are {}", names(config)));
        }
        if let Err(error) = PullUrl::parse(&source.url.0) {
            say(problems, path("url"), format!("is no address to fetch from: {error}"));
        }
    }
}

fn is_endpoint(url: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else { return false };
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    matches!(uri.scheme_str(), Some("http" | "https")) && !authority.is_empty() && !authority.contains('@')
}

fn is_webhook_secret(text: &str) -> bool {
    let bytes = text.strip_prefix("whsec_").and_then(|code| STANDARD.decode(code).ok());
    bytes.is_some_and(|bytes| (24..=64).contains(&bytes.len()))
}

fn names(config: &Config) -> String {
    config.profiles.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn packaging(config: &Config, problems: &mut Problems) {
    let hls = &config.hls;
    within(problems, "hls.part_ms", hls.part_ms, 100, 2000);
    within(problems, "hls.segment_ms", hls.segment_ms, 500, 20_000);
    if hls.segment_ms < hls.part_ms.saturating_mul(2) {
        say(problems, "hls.segment_ms", "must be at least two parts long");
    }
    within(problems, "hls.window_segments", hls.window_segments as u64, 4, 10_000);
    within(problems, "hls.reconnect_window_ms", hls.reconnect_window_ms, 0, 3_600_000);
    within(problems, "hls.silence_ms", hls.silence_ms, 100, 600_000);
    within(problems, "hls.max_streams", hls.max_streams as u64, 1, 100_000);
}
