//! Real H.264 for the transcoder's tests: made by ffmpeg, read from FLV, pushed as a publisher's units come.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{path::PathBuf, process::Command, time::Duration};

use bytes::Bytes;
use media::{AccessUnit, Span, Timestamp, VideoFormat};
use media_server::transcode::{Limits, RungEvent, RungSpec, TranscodeSpec};
use tokio::sync::mpsc;

/// A source: its format and units in decode order.
pub(crate) struct Source {
    pub format: VideoFormat,
    pub units: Vec<AccessUnit>,
}

/// What to ask ffmpeg for.
#[derive(Clone, Copy)]
pub(crate) struct Wish {
    pub seconds: u32,
    pub fps: u32,
    pub b_frames: u32,
    /// Frames between keyframes.
    pub gop: u32,
    pub size: (u32, u32),
}

impl Default for Wish {
    fn default() -> Self {
        Self { seconds: 5, fps: 30, b_frames: 0, gop: 60, size: (640, 360) }
    }
}

/// Makes a source.
pub(crate) fn source(wish: Wish) -> Source {
    let (width, height) = wish.size;
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i"])
        .arg(format!("testsrc2=size={width}x{height}:rate={}:duration={}", wish.fps, wish.seconds))
        .args(["-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-threads", "1"])
        .args(["-bf", &wish.b_frames.to_string(), "-g", &wish.gop.to_string()])
        .args(["-sc_threshold", "0", "-f", "flv", "-"])
        .output()
        .expect("ffmpeg is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let source = parse(&output.stdout, wish);
    assert_eq!(source.units.len(), (wish.seconds * wish.fps) as usize);
    source
}

fn be(bytes: &[u8]) -> i64 {
    bytes.iter().fold(0, |value, byte| value << 8 | i64::from(*byte))
}

fn parse(flv: &[u8], wish: Wish) -> Source {
    let mut rest = &flv[13..];
    let mut config = Bytes::new();
    let mut units = Vec::new();
    while rest.len() > 11 {
        let size = be(&rest[1..4]) as usize;
        let at = be(&rest[4..7]) | i64::from(rest[7]) << 24;
        let body = &rest[11..11 + size];
        if rest[0] == 9 {
            match body[1] {
                0 => config = Bytes::copy_from_slice(&body[5..]),
                1 => units.push(AccessUnit {
                    dts: Timestamp::from_ticks(at, 1000),
                    pts: Timestamp::from_ticks(at + be(&body[2..5]), 1000),
                    duration: Span::from_ticks(1, wish.fps),
                    keyframe: body[0] >> 4 == 1,
                    payload: Bytes::copy_from_slice(&body[5..]),
                }),
                _ => {}
            }
        }
        rest = &rest[11 + size + 4..];
    }
    let format = VideoFormat {
        codec: format!("avc1.{:02x}{:02x}{:02x}", config[1], config[2], config[3]),
        width: wish.size.0,
        height: wish.size.1,
        frame_rate: Some((wish.fps, 1)),
        config,
    };
    Source { format, units }
}

/// The program with the `transcode-worker` subcommand.
pub(crate) fn program() -> PathBuf {
    // Set for tests; examples are told the path.
    PathBuf::from(option_env!("CARGO_BIN_EXE_media-server").unwrap_or("media-server"))
}

/// A rung with the source's frame rate.
pub(crate) fn rung(name: &str, width: u32, height: u32) -> RungSpec {
    RungSpec::new(name, (width, height), 400_000)
}

/// A job with two rungs, and room for a whole source pushed at once.
pub(crate) fn job(source: &Source) -> TranscodeSpec {
    TranscodeSpec {
        stream: "ada".to_owned(),
        video: source.format.clone(),
        rungs: vec![rung("240p", 426, 240), rung("180p", 320, 180)],
        preset: "veryfast".to_owned(),
        encoder: media_server::transcode::X264.into(),
        decoder: None,
        scaler: None,
        limits: Limits { queue_span: Duration::from_mins(1), ..Limits::default() },
    }
}

/// What the rungs gave.
#[derive(Default)]
pub(crate) struct Given {
    pub formats: Vec<Vec<VideoFormat>>,
    pub units: Vec<Vec<AccessUnit>>,
    pub restarts: Vec<String>,
    pub failed: Option<String>,
}

impl Given {
    pub(crate) fn new(rungs: usize) -> Self {
        Self { formats: vec![Vec::new(); rungs], units: vec![Vec::new(); rungs], ..Self::default() }
    }

    pub(crate) fn take(&mut self, event: RungEvent) {
        match event {
            RungEvent::Format { rung, format } => self.formats[rung].push(format),
            RungEvent::Unit { rung, unit } => self.units[rung].push(unit),
            RungEvent::Restarted { reason } => self.restarts.push(reason),
            // Of who chooses where it is encoded.
            RungEvent::Left { .. } | RungEvent::Refused { .. } => {}
            RungEvent::Failed { reason } => self.failed = Some(reason),
        }
    }

    pub(crate) fn pts(&self, rung: usize) -> Vec<Timestamp> {
        self.units[rung].iter().map(|unit| unit.pts).collect()
    }

    pub(crate) fn keyframes(&self, rung: usize) -> Vec<Timestamp> {
        self.units[rung].iter().filter(|unit| unit.keyframe).map(|unit| unit.pts).collect()
    }
}

/// Reads events until `enough` says so or they end. Panics after 30 s.
pub(crate) async fn read_until(
    events: &mut mpsc::Receiver<RungEvent>,
    given: &mut Given,
    mut enough: impl FnMut(&Given) -> bool,
) {
    let reading = async {
        while !enough(given) {
            let Some(event) = events.recv().await else { return };
            given.take(event);
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reading).await.expect("the transcoder goes on");
}

/// The source's PTS in presentation order.
pub(crate) fn presented(units: &[AccessUnit]) -> Vec<Timestamp> {
    let mut pts: Vec<_> = units.iter().map(|unit| unit.pts).collect();
    pts.sort_unstable();
    pts
}

/// Decodes a rung with ffmpeg. Returns the frames it saw; panics on any complaint.
pub(crate) fn decode(format: &VideoFormat, units: &[AccessUnit]) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let name = if format.codec.starts_with("hvc1") { "hevc" } else { "h264" };
    let path = folder.path().join("rung");
    std::fs::write(&path, annex_b(format, units)).unwrap();
    let output = Command::new("ffmpeg")
        .args(["-v", "warning", "-err_detect", "explode", "-f", name, "-i"])
        .arg(&path)
        .args(["-f", "framecrc", "-"])
        .output()
        .expect("ffmpeg is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
    String::from_utf8_lossy(&output.stdout).lines().filter(|line| !line.starts_with('#')).count()
}

/// As a raw byte stream with its parameter sets in front (ITU-T H.264 and H.265, Annex B).
pub(crate) fn annex_b(format: &VideoFormat, units: &[AccessUnit]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut nal = |bytes: &[u8]| {
        out.extend_from_slice(&[0, 0, 0, 1]);
        out.extend_from_slice(bytes);
    };
    if format.codec.starts_with("hvc1") {
        let config = media::h265::Config::parse(&format.config).unwrap();
        [config.vps, config.sps, config.pps].concat().iter().for_each(|set| nal(set));
    } else {
        let config = media::h264::Config::parse(&format.config).unwrap();
        [config.sps, config.pps].concat().iter().for_each(|set| nal(set));
    }
    for unit in units {
        let mut rest = &unit.payload[..];
        while !rest.is_empty() {
            let length = be(&rest[..4]) as usize;
            nal(&rest[4..4 + length]);
            rest = &rest[4 + length..];
        }
    }
    out
}
