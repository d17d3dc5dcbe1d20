//! The sample file and the reference page, made from the types' own defaults and one description a key.

use std::fmt;

use super::ladder::Fps;
use super::types::Config;

/// Section, key, what it does, and when a change of it takes effect.
const KEYS: &[(&str, &str, &str, &str)] = &[
    (
        "",
        "data_dir",
        "Where everything that must outlive the process is kept. `$WEIR_DATA` overrides it.",
        RESTART,
    ),
    ("node", "name", "This machine's name in events. By default its host name.", RESTART),
    (
        "log",
        "format",
        "`text` for people, `json` for collectors. What is logged: `RUST_LOG` (default `info`).",
        LIVE,
    ),
    (
        "tls",
        "cert_file",
        "PEM file of the certificate and its chain; a renewed file is picked up within 10 s. No encrypted port where empty.",
        TLS,
    ),
    ("tls", "key_file", "PEM file of its private key; where empty, the key is in `cert_file` too.", TLS),
    (
        "tls",
        "certificates",
        "Further certificates: `[{ cert_file = \"…\", key_file = \"…\" }]`. A client gets the first of all that is for the name that it asks for, else the first, which is that of `cert_file` where it is set.",
        TLS,
    ),
    ("rtmp", "listen", "Where publishers connect; `\"\"` for nowhere.", LISTENER),
    (
        "rtmp",
        "tls_listen",
        "Where publishers connect by TLS (RTMPS), once `tls.cert_file` is set; `\"\"` for nowhere.",
        LISTENER,
    ),
    (
        "rtmp",
        "max_pending_per_ip",
        "Connections of one address (IPv6: one /64) at a time that have not published; more are refused.",
        LIVE,
    ),
    ("rtmp", "max_connections", "Connections at a time; more are refused.", RESTART),
    (
        "rtmp",
        "idle_timeout_ms",
        "A connection that has not published, or a publisher that has sent no media, for so long is closed.",
        PUBLISH,
    ),
    ("rtmp", "max_message_bytes", "Longest audio or video message.", PUBLISH),
    ("srt", "listen", "Where publishers call by SRT (UDP); `\"\"` for nowhere.", LISTENER),
    (
        "srt",
        "latency_ms",
        "What is held back at least so that lost packets can come again: three to four round trips of the path. A caller may ask for more.",
        PUBLISH,
    ),
    (
        "srt",
        "passphrase",
        "What every caller must encrypt with (AES-128, 192 or 256: the caller's choice), 10 to 79 characters; with `\"\"` none may.",
        PUBLISH,
    ),
    ("srt", "max_connections", "Callers at a time; more are refused.", RESTART),
    (
        "webrtc",
        "listen",
        "Where WebRTC media comes and goes (UDP, and TCP of the same number), of publishers by WHIP and viewers by WHEP; `\"\"` for nowhere.",
        LISTENER,
    ),
    (
        "webrtc",
        "advertise",
        "Addresses of this server as clients see them, where it stands behind a NAT or has several: `[\"203.0.113.7\"]`, or `[\"203.0.113.7:18189\"]` where the port is another outside. With none, clients are told the address that their request came to, and those from which this machine reaches others.",
        LIVE,
    ),
    (
        "webrtc",
        "own_addresses",
        "Those are told to clients beside what is advertised: for clients on the same side of the NAT.",
        LIVE,
    ),
    (
        "webrtc",
        "ice_servers",
        "STUN and TURN servers that clients are told of: `[{ url = \"turn:turn.example.org:3478?transport=udp\", username = \"…\", credential = \"…\" }]`. The server itself needs none.",
        LIVE,
    ),
    (
        "webrtc",
        "encode",
        "Where no rung of a stream is H.264 without B-frames, which is what browsers play by WebRTC, one of the source's size is encoded while somebody watches by WHEP. With `false` such a viewer is told why there is nothing to see (409).",
        LIVE,
    ),
    ("webrtc", "max_sessions", "Publishers and viewers at a time; more are refused.", RESTART),
    ("http", "listen", "Where players connect; `\"\"` for nowhere.", LISTENER),
    (
        "http",
        "tls_listen",
        "Where players connect by TLS (HTTP/1.1 and 2), once `tls.cert_file` is set; `\"\"` for nowhere.",
        LISTENER,
    ),
    (
        "http",
        "http3",
        "HTTP/3 on the port of `tls_listen`, by UDP; answers there name it (Alt-Svc).",
        LISTENER,
    ),
    (
        "http",
        "max_connections",
        "Connections of each listener at a time; more wait (HTTP/3: are refused).",
        RESTART,
    ),
    ("http", "max_blocked_requests", "Requests that wait for media at a time; more get 503.", RESTART),
    (
        "http",
        "cors_origins",
        "Origins whose pages may play: `[\"*\"]`, or `[\"https://example.org\"]`.",
        LIVE,
    ),
    (
        "admin",
        "listen",
        "Where operators and the control plane connect; loopback only, it has no password.",
        LISTENER,
    ),
    (
        "admission",
        "mode",
        "Who decides about a publish: `webhook` (the control plane), `static` (`keys` below), `open` (nobody: the key is the stream's name).",
        PUBLISH,
    ),
    ("admission", "url", "The control plane's endpoint for publishes and events.", PUBLISH),
    ("admission", "timeout_ms", "How long it may take; then the publish is denied.", PUBLISH),
    (
        "admission",
        "secret",
        "`whsec_…`, the secret that signs requests; `\"\"` reads `secret_file`.",
        PUBLISH,
    ),
    (
        "admission",
        "secret_file",
        "Where the secret is kept, made where absent; `\"\"` means `webhook.secret` in `data_dir`.",
        PUBLISH,
    ),
    ("admission", "profile", "Ladder profile of streams in mode `open`.", PUBLISH),
    (
        "admission",
        "keys",
        "Mode `static`: `[{ key = \"…\", stream = \"…\", profile = \"default\" }]`; with `passphrase = \"…\"` its SRT callers must encrypt with that one in place of `[srt] passphrase`.",
        PUBLISH,
    ),
    (
        "profile_hook",
        "enabled",
        "Once a publisher's tracks are known, the control plane is asked which ladder they are to have.",
        PUBLISH,
    ),
    (
        "profile_hook",
        "url",
        "Where it is asked; `\"\"` means `url` of `[admission]`. Signed in the same way.",
        PUBLISH,
    ),
    ("profile_hook", "timeout_ms", "How long it may take.", PUBLISH),
    (
        "profile_hook",
        "unanswered",
        "Where there is no connection, or no answer in time: `use-admitted` (the profile that admission named), `source-only` (nothing is encoded), `refuse` (the publisher is ended, and told why).",
        PUBLISH,
    ),
    ("profile_hook", "refused", "Where the answer is no: the same three.", PUBLISH),
    (
        "profile_hook",
        "unusable",
        "Where the answer is none (no JSON, no profile of that name, a ladder that this file could not have): the same three.",
        PUBLISH,
    ),
    (
        "publish",
        "policy",
        "What a newcomer meets while the publisher with its key sends: `reject`, or `takeover`. One that is silent (`hls.silence_ms`) always gives way.",
        PUBLISH,
    ),
    (
        "publish",
        "max_bitrate",
        "What a publisher may send (sound and picture, averaged over 10 s, a fifth more is tolerated) where admission names no limit; more ends it.",
        PUBLISH,
    ),
    (
        "recorder",
        "seconds",
        "The last so many seconds of what each publisher sent are kept in memory; 0 keeps nothing.",
        PUBLISH,
    ),
    ("recorder", "max_bytes", "Memory that they may take, for each publisher.", PUBLISH),
    (
        "recorder",
        "storm",
        "So many repairs and dropped frames within 10 s have them written to `flight` in `data_dir` (the newest 20 stay); 0 for never.",
        PUBLISH,
    ),
    (
        "slate",
        "file",
        "A picture (PNG, JPEG, WebP) or a video (MP4, Matroska, FLV, MPEG-TS; its first minute, again and again) that is shown while a stream waits for its publisher; the last picture is held where empty.",
        PUBLISH,
    ),
    (
        "slate",
        "after_ms",
        "It is shown once nobody has sent for so long; until then the last picture is held.",
        RUN,
    ),
    (
        "restream",
        "targets",
        "Where streams are sent on to: `[{ stream = \"ada\", url = \"rtmp://HOST/APP/KEY\" }]`, also `rtmps://` and `srt://HOST:PORT?streamid=ID&passphrase=…&pbkeylen=16&latency=MS`; `stream = \"*\"` for every one. Admission may name more.",
        PUBLISH,
    ),
    (
        "restream",
        "ca_file",
        "PEM file of authorities that servers of `rtmps://` targets may be certified by, besides the public ones.",
        PUBLISH,
    ),
    (
        "pull",
        "sources",
        "Streams that are fetched from elsewhere: `[{ stream = \"ada\", url = \"srt://HOST:PORT?streamid=play/ada\", profile = \"default\", start = \"always\" }]`. Also `rtmp://` and `rtmps://HOST/APP/KEY`, and `udp://ADDRESS:PORT?interface=ADDRESS` (an address of this machine, or a multicast group) for an MPEG transport stream that somebody sends, `http://` and `https://` for HLS, and `file:///PATH` for a file that is played again and again. `start = \"on-demand\"`: only while somebody wants to see it. The admin API adds more.",
        LIVE,
    ),
    (
        "pull",
        "idle_ms",
        "A stream that is fetched on demand is let go when nobody has wanted to see it for so long.",
        PUBLISH,
    ),
    (
        "hls",
        "part_ms",
        "Nominal part length; PART-TARGET is 1 ms more, for sources with millisecond timestamps.",
        RUN,
    ),
    (
        "hls",
        "segment_ms",
        "Segment length aimed at: each segment is the GOP nearest to it. Set the encoders' keyframe interval to this.",
        RUN,
    ),
    ("hls", "window_segments", "Segments in a playlist.", RUN),
    (
        "hls",
        "reconnect_window_ms",
        "How long a publisher may be gone and come back into the same playlists.",
        RUN,
    ),
    (
        "hls",
        "silence_ms",
        "A publisher silent for so long gives way to a newcomer with its key, whatever the policy.",
        RUN,
    ),
    ("hls", "max_streams", "Streams at a time, live or ended a moment ago.", PUBLISH),
    (
        "thumbnails",
        "interval_ms",
        "From one picture of a stream to the next (`/live/STREAM/thumb.jpg`), made of its newest keyframe; `0` for none. They are made one after the other: with many streams they come as soon as there is time.",
        LIVE,
    ),
    ("thumbnails", "height", "Lines of such a picture, at most.", LIVE),
    (
        "thumbnails",
        "storyboard_ms",
        "How far back the small pictures go that are kept of them (`/live/STREAM/storyboard.vtt`), 2160 pictures at most; `0` for none.",
        LIVE,
    ),
    (
        "transcode",
        "preset",
        "x264's speed preset, `ultrafast` to `veryslow`; other encoders are told what comes near it.",
        PUBLISH,
    ),
    (
        "transcode",
        "encoder",
        "What encodes: GStreamer's element of H.264 as `media-server encoders` lists them (`x264enc`, `vah264enc`, `nvcudah264enc`, …), or `auto`: for each stream the device with the most room, of those that were measured to work at twice 1080p30, else x264.",
        RESTART,
    ),
    (
        "transcode",
        "shortage",
        "Where no device has room for a stream's rungs, or an encoder says no: `cpu`, x264 makes them; `shed`, the largest are left out until the others fit; `passthrough`, the stream has none; `fail`, its publisher is ended. The API names the rungs that are missing, and why.",
        RESTART,
    ),
    (
        "transcode",
        "encode",
        "`always`: every rung is made as long as its stream is live. `on-demand`: a rung is made while somebody watches it; it is listed all the same, and whoever asks for it waits some tenths of a second where no other rung of the stream is made, else for the next segment. A stream that nobody watches has no worker.",
        RUN,
    ),
    (
        "transcode",
        "park_after_ms",
        "With `on-demand`: how long nobody must have asked for a rung before it is no longer made, in milliseconds.",
        RUN,
    ),
];

const RESTART: &str = "restart";
const LIVE: &str = "at once";
const TLS: &str = "new connections at once; open ones stay";
const LISTENER: &str = "at once; open connections stay";
const PUBLISH: &str = "next publish";
const RUN: &str = "next run of a stream (after its end)";

const LADDER: &str = "\
Ladders by name; `default` and `source` are there without being written, and can be written anew. A rung that is not \
below the source is left out (never upscaled).";

/// `conf/media-server.toml`: every key with its default.
pub fn sample() -> String {
    let defaults = toml::Table::try_from(Config::default()).unwrap_or_default();
    let mut out = String::from(
        "# Weir media server. Every key has the default that is written here; an empty file is complete.\n\
         # Lines that start with \"#:\" are keys whose default is worked out, as their comment says.\n\
         # Check a file with: media-server check-config --config FILE\n\n",
    );
    let mut open = "";
    for (section, key, told, _) in KEYS {
        if *section != open {
            put(&mut out, format_args!("\n[{section}]\n"));
            open = section;
        }
        put_line(&mut out, format_args!("# {told}"));
        match worked_out(section, key) {
            Some((_, example)) => put_line(&mut out, format_args!("#: {key} = {example}")),
            None => put_line(&mut out, format_args!("{key} = {}", value(&defaults, section, key))),
        }
    }
    put(&mut out, format_args!("\n# {LADDER}\n"));
    for (name, profile) in Config::default().profiles {
        put(
            &mut out,
            format_args!(
                "[profiles.{name}]\n# The publisher's own video is the top rung.\npassthrough = {}\n",
                profile.passthrough
            ),
        );
        put_line(&mut out, format_args!("rungs = ["));
        for rung in profile.rungs {
            put_line(
                &mut out,
                format_args!(
                    "  {{ name = \"{}\", height = {}, fps = {}, video_bitrate = \"{}k\", audio_bitrate = \"{}k\", codec = \"{}\" }},",
                    rung.name,
                    rung.height,
                    rate(rung.fps),
                    rung.video_bitrate.0 / 1000,
                    rung.audio_bitrate.0 / 1000,
                    rung.codec.name()
                ),
            );
        }
        put(&mut out, format_args!("]\n\n"));
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// `docs/config-media-server.md`.
pub fn reference() -> String {
    let defaults = toml::Table::try_from(Config::default()).unwrap_or_default();
    let mut out = String::from(
        "# media-server.toml\n\n\
         Made from the types by `UPDATE=1 cargo test -p media-server config::docs`; a test fails where it is stale.\n\n\
         Every key has a default: an empty file, or one with nothing but `[admission] mode = \"open\"`, is complete.\n\
         Unknown keys are refused with their line and the nearest known key. The file is watched: an edit (or SIGHUP)\n\
         is validated whole, then applied as the last column says; a file with a mistake changes nothing. What a\n\
         reload did: the log, `weir_config_reloads_total`, and `GET /api/v1/reload` of the admin API.\n\n\
         | key | default | what | a change takes effect |\n|---|---|---|---|\n",
    );
    for (section, key, told, when) in KEYS {
        let name = if section.is_empty() { (*key).to_owned() } else { format!("{section}.{key}") };
        let default = match worked_out(section, key) {
            Some((default, _)) => default.to_owned(),
            None => format!("`{}`", value(&defaults, section, key)),
        };
        put_line(&mut out, format_args!("| `{name}` | {default} | {told} | {when} |"));
    }
    put(
        &mut out,
        format_args!(
            "\n## Ladders: `[profiles.NAME]`\n\n{LADDER}\n\n| key | default | what |\n|---|---|---|\n\
         | `passthrough` | `true` | the publisher's own video is the top rung |\n\
         | `rungs[].name` | | its folder in addresses |\n\
         | `rungs[].height` | `0` | the picture's short side in pixels; 0 keeps the source's |\n\
         | `rungs[].size` | | in place of `height` a frame that the picture fits into, its aspect kept: `\"1280x720\"` |\n\
         | `rungs[].fps` | `0` | frames a second at most (the source's rate divided by a whole number); 0 keeps the source's; `\"1/2\"` is every second frame of the source's |\n\
         | `rungs[].video_bitrate` | | bits a second: `2800000`, `\"2800k\"`, `\"2.8M\"` |\n\
         | `rungs[].max_bitrate` | | bits a second that are never exceeded over the buffer, for a rate that varies below them; x264 varies with `crf` alone |\n\
         | `rungs[].buffer_ms` | `1000` | the decoder's buffer (VBV), in milliseconds of the greatest rate: longer is a steadier picture and a less steady rate |\n\
         | `rungs[].audio_bitrate` | `128000` | bits a second of audio that has to be encoded; AAC is passed through, so nothing is encoded from RTMP |\n\
         | `rungs[].codec` | `\"h264\"` | `h264`, `hevc` or `av1`; where no encoder of this machine makes it, the rung is missing and the API says why |\n\
         | `rungs[].profile` | | `baseline`, `main` or `high` of H.264 (x264 makes `high` by itself); `main` of the others |\n\
         | `rungs[].preset` | `[transcode] preset` | x264's speed preset of this rung; other encoders are told what comes near it |\n\
         | `rungs[].tune` | | what the pictures are like: `film`, `animation`, `grain`, `stillimage`, `fastdecode` of x264; `animation`, `grain`, `fastdecode` of x265 |\n\
         | `rungs[].crf` | | a quality (0 to 51, less is better) in place of a constant bit rate; `max_bitrate`, else `video_bitrate`, is then the most. x264 and x265: other encoders keep the bit rate |\n\
         | `rungs[].b_frames` | `0` | pictures in a row that may refer to later ones, 0 to 8: fewer bits, some frames of delay, and not for viewers by WebRTC |\n\
         | `rungs[].lookahead` | `0` | frames that the encoder looks ahead, 0 to 60: better use of the bits, and the rung is as many frames late |\n\
         | `rungs[].when` | | the sources that the rung is made for: `{{ min_height = 1080, max_height = 2160, min_fps = 50, max_fps = 60 }}`, any of them; a source whose rate is not known counts as 30 |\n\
         | `audio[]` | | rungs of sound, four at most: `audio = [{{ name = \"opus\", codec = \"opus\", bitrate = \"96k\" }}, {{ name = \"low\", bitrate = \"48k\", channels = 1 }}]`. Each of the stream's sounds, in every language, is encoded so beside itself as it was sent; a rung is listed with one sound of each codec, the best that takes no more than a fourth of what its picture takes |\n\
         | `audio[].name` | | its group in playlists |\n\
         | `audio[].codec` | `\"aac\"` | `aac` (AAC-LC), `opus`, or `he-aac`, where GStreamer 1.24 or newer has `fdkaacenc`; where it has not, the rung is missing and the API says why |\n\
         | `audio[].bitrate` | | bits a second |\n\
         | `audio[].channels` | `2` | channels at most, 1 or 2; sound of more is mixed down |\n\n\
         The built-in `default` ladder:\n\n| rung | height | fps | video |\n|---|---|---|---|\n"
        ),
    );
    for rung in Config::default().profiles.get("default").into_iter().flat_map(|p| &p.rungs) {
        put_line(
            &mut out,
            format_args!(
                "| {} | {} | {} | {}k |",
                rung.name,
                rung.height,
                rate(rung.fps).trim_end_matches(".0"),
                rung.video_bitrate.0 / 1000
            ),
        );
    }
    out
}

/// As it is written in the file.
fn rate(fps: Fps) -> String {
    match fps {
        Fps::Most(most) => format!("{most:?}"),
        Fps::Share(one_of) => format!("\"1/{one_of}\""),
    }
}

fn put(out: &mut String, text: fmt::Arguments<'_>) {
    out.push_str(&text.to_string());
}

fn put_line(out: &mut String, text: fmt::Arguments<'_>) {
    put(out, text);
    out.push('\n');
}

/// For a key whose default is not the same on every machine: what it is, and an example.
fn worked_out(section: &str, key: &str) -> Option<(&'static str, &'static str)> {
    ((section, key) == ("node", "name")).then_some(("the host name", "\"origin-1\""))
}

fn value(defaults: &toml::Table, section: &str, key: &str) -> String {
    let table = if section.is_empty() {
        Some(defaults)
    } else {
        defaults.get(section).and_then(toml::Value::as_table)
    };
    table.and_then(|t| t.get(key)).map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::super::load::parse;
    use super::*;

    #[test]
    fn every_key_is_described_and_every_description_has_a_key() {
        let defaults = toml::Table::try_from(Config::default()).expect("serializes");
        let mut there = BTreeSet::new();
        for (name, value) in &defaults {
            match value {
                toml::Value::Table(_) if name == "profiles" => {}
                toml::Value::Table(inner) => there.extend(inner.keys().map(|k| (name.clone(), k.clone()))),
                _ => drop(there.insert((String::new(), name.clone()))),
            }
        }
        let told: BTreeSet<_> = KEYS.iter().map(|(s, k, _, _)| ((*s).to_owned(), (*k).to_owned())).collect();
        assert_eq!(there, told);
    }

    #[test]
    fn the_sample_file_says_the_defaults() {
        assert_eq!(parse(&sample(), "sample").expect("valid"), Config::default());
    }

    #[test]
    fn the_files_in_the_repository_are_fresh() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (path, text) in
            [("conf/media-server.toml", sample()), ("docs/config-media-server.md", reference())]
        {
            let path = root.join(path);
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&path, &text).expect("write");
            }
            let kept = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                kept == text,
                "{} is stale: run UPDATE=1 cargo test -p media-server config::docs",
                path.display()
            );
        }
    }
}
