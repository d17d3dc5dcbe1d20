//! ffmpeg as the broadcaster: a moving picture, a tone, and the faults that real sources have.

use std::{ffi::OsStr, path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use super::flv;
use crate::{program::Program, rtmp_url::RtmpUrl};

/// What the picture shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Picture {
    /// ffmpeg's moving test card.
    TestCard,
    /// The same under noise: it fills whatever bit rate it is given, without filler.
    NoisyTestCard,
    /// Black, white for the first 100 ms of each second; the tone sounds at the same time.
    Flash,
}

/// What is published. Begins as 640x360, 30 frames and 48 000 samples a second, a keyframe every 2 s.
#[derive(Clone, Debug)]
pub struct Source {
    picture: Option<Picture>,
    sound: bool,
    sound_filter: Option<String>,
    size: (u32, u32),
    rate: u32,
    gop: u32,
    b_frames: u32,
    video_kbps: u32,
    seconds: Option<u32>,
    codec: Vec<String>,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            picture: Some(Picture::TestCard),
            sound: true,
            sound_filter: None,
            size: (640, 360),
            rate: 30,
            gop: 60,
            b_frames: 0,
            video_kbps: 800,
            seconds: None,
            codec: Vec::new(),
        }
    }
}

impl Source {
    /// No picture.
    #[must_use]
    pub fn audio_only(mut self) -> Self {
        self.picture = None;
        self
    }

    /// No sound.
    #[must_use]
    pub fn video_only(mut self) -> Self {
        self.sound = false;
        self
    }

    /// Changes the sound by an ffmpeg filter.
    #[must_use]
    pub fn sound_filter(mut self, filter: &str) -> Self {
        self.sound_filter = Some(filter.to_owned());
        self
    }

    /// A flash and a beep at each full second, to measure how far apart they come out.
    #[must_use]
    pub fn flash_and_beep(mut self) -> Self {
        self.picture = Some(Picture::Flash);
        self
    }

    /// A picture that fills the bit rate.
    #[must_use]
    pub fn noisy(mut self) -> Self {
        self.picture = Some(Picture::NoisyTestCard);
        self
    }

    /// One keyframe at the start and then none for that many seconds.
    #[must_use]
    pub fn keyframe_every(mut self, seconds: u32) -> Self {
        self.gop = seconds * self.rate;
        self
    }

    /// Reordered frames, as encoders for quality send them.
    #[must_use]
    pub fn b_frames(mut self, count: u32) -> Self {
        self.b_frames = count;
        self
    }

    /// Another size of the picture.
    #[must_use]
    pub fn size(mut self, width: u32, height: u32) -> Self {
        self.size = (width, height);
        self
    }

    /// Other frames a second; the keyframe distance stays 2 s.
    #[must_use]
    pub fn rate(mut self, rate: u32) -> Self {
        self.rate = rate;
        self.gop = rate * 2;
        self
    }

    /// Another video bit rate.
    #[must_use]
    pub fn video_kbps(mut self, kbps: u32) -> Self {
        self.video_kbps = kbps;
        self
    }

    /// Ends by itself after that much media.
    #[must_use]
    pub fn seconds(mut self, seconds: u32) -> Self {
        self.seconds = Some(seconds);
        self
    }

    /// Another encoder than x264, with its options: to see a codec refused.
    #[must_use]
    pub fn video_codec(mut self, arguments: &[&str]) -> Self {
        self.codec = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self
    }

    fn arguments(&self, real_time: bool, container: &str) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let mut add = |text: &str| all.extend(text.split_whitespace().map(str::to_owned));
        let pace = if real_time { "-re" } else { "" };
        let ((width, height), rate) = (self.size, self.rate);
        match self.picture {
            Some(Picture::TestCard) => {
                add(&format!("{pace} -f lavfi -i testsrc2=size={width}x{height}:rate={rate}"));
            }
            Some(Picture::NoisyTestCard) => add(&format!(
                "{pace} -f lavfi -i testsrc2=size={width}x{height}:rate={rate},noise=alls=24:allf=t"
            )),
            Some(Picture::Flash) => add(&format!(
                "{pace} -f lavfi -i \
                 color=black:size={width}x{height}:rate={rate},drawbox=c=white:t=fill:enable='lt(mod(t\\,1)\\,0.0999)'"
            )),
            None => {}
        }
        if self.sound {
            let beeps = self.picture == Some(Picture::Flash);
            add(&if beeps {
                format!(
                    "{pace} -f lavfi -i aevalsrc=exprs='if(lt(mod(t\\,1)\\,0.1)\\,0.8*sin(2*PI*1000*t)\\,0)':s=48000"
                )
            } else {
                format!("{pace} -f lavfi -i sine=frequency=440:sample_rate=48000")
            });
        }
        if let Some(seconds) = self.seconds {
            add(&format!("-t {seconds}"));
        }
        if self.picture.is_some() {
            if self.codec.is_empty() {
                let (gop, b_frames, kbps) = (self.gop, self.b_frames, self.video_kbps);
                let tune = if b_frames == 0 { "-tune zerolatency" } else { "" };
                add(&format!(
                    "-c:v libx264 -preset ultrafast {tune} -pix_fmt yuv420p -g {gop} -keyint_min {gop} \
                     -sc_threshold 0 -bf {b_frames} -b:v {kbps}k -maxrate {kbps}k -bufsize {kbps}k"
                ));
            } else {
                all.extend(self.codec.iter().cloned());
            }
        }
        if self.sound {
            if let Some(filter) = &self.sound_filter {
                all.extend(["-af".to_owned(), filter.clone()]);
            }
            all.extend(["-c:a", "aac", "-b:a", "96k", "-ac", "2"].map(str::to_owned));
        }
        all.extend(["-f", container].map(str::to_owned));
        all
    }

    /// Makes it beforehand, to be sent at a test's own pace. Needs [`Source::seconds`].
    pub async fn tags(&self) -> Result<Vec<flv::Tag>> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("source.flv");
        self.write_flv(&file).await?;
        flv::read(&file)
    }

    /// Makes an MPEG transport stream of it, as fast as it goes. Needs [`Source::seconds`].
    pub async fn write_ts(&self, file: &Path) -> Result<()> {
        anyhow::ensure!(self.seconds.is_some(), "an endless file");
        run(self.arguments(false, "mpegts"), file).await?;
        Ok(())
    }

    /// Makes an FLV file of it, as fast as it goes. Needs [`Source::seconds`].
    pub async fn write_flv(&self, file: &Path) -> Result<()> {
        anyhow::ensure!(self.seconds.is_some(), "an endless file");
        run(self.arguments(false, "flv"), file).await?;
        Ok(())
    }
}

/// Runs ffmpeg to its end, `file` (`-` for the answer) being what it writes; an error with its words where it fails.
pub async fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>, file: &Path) -> Result<Vec<u8>> {
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"])
        .args(arguments)
        .arg(file)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("ffmpeg")?;
    anyhow::ensure!(
        output.status.success(),
        "ffmpeg ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

/// A running ffmpeg.
pub struct Ffmpeg {
    /// The process.
    pub program: Program,
}

impl Ffmpeg {
    /// Publishes in real time by SRT to `host:port`, with ffmpeg's own options for it (`-srt_streamid`, `-passphrase`, …).
    pub fn publish_srt(source: &Source, address: &str, options: &[&str]) -> Result<Self> {
        let mut command = Command::new("ffmpeg");
        command
            .args(["-hide_banner", "-loglevel", "info", "-nostats", "-progress", "pipe:1", "-nostdin"])
            .args(source.arguments(true, "mpegts"))
            .args(options)
            .arg(format!("srt://{address}"));
        Ok(Self { program: Program::start("ffmpeg", command)? })
    }

    /// Sends a transport stream in real time to an address that ffmpeg knows (`udp://…`).
    pub fn send_ts(source: &Source, to: &str) -> Result<Self> {
        let mut command = Command::new("ffmpeg");
        command
            .args(["-hide_banner", "-loglevel", "info", "-nostats", "-progress", "pipe:1", "-nostdin"])
            .args(source.arguments(true, "mpegts"))
            .arg(to);
        Ok(Self { program: Program::start("ffmpeg", command)? })
    }

    /// Publishes in real time.
    pub fn publish(source: &Source, url: &RtmpUrl) -> Result<Self> {
        let mut command = Command::new("ffmpeg");
        command
            .args(["-hide_banner", "-loglevel", "info", "-nostats", "-progress", "pipe:1", "-nostdin"])
            .args(source.arguments(true, "flv"))
            .args(["-flvflags", "no_duration_filesize"])
            .arg(url.to_string());
        Ok(Self { program: Program::start("ffmpeg", command)? })
    }

    /// Waits until it has sent its first pictures (or sound).
    pub async fn publishing(&mut self, within: Duration) -> Result<()> {
        self.program.line("out_time_us=", within).await.map(drop)
    }
}
