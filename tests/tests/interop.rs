//! Real encoders against the ports, each with what it can: `make soak` fills docs/interop.md with what was seen.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{process::Command, task::JoinSet};
use weir_tests::{
    bench::table::Table,
    certificate::{self, Trust},
    llhls,
    program::{Program, repository},
    publisher::{
        Ffmpeg, Session, Source,
        enhanced::{self, Codec},
        flv::{self, Tag},
        obs::{OBS, Obs},
    },
    rtmp_url::RtmpUrl,
    world::{Plan, World},
};

/// How long each stream is judged.
const JUDGED: Duration = Duration::from_secs(8);

struct Matrix {
    world: World,
    certificate: Trust,
    rows: Vec<Vec<String>>,
}

impl Matrix {
    async fn begin() -> Result<Self> {
        let plan = Plan::open()?.pass_through();
        let certificate = certificate::make(plan.folder())?;
        let settings = certificate::settings(plan.folder(), "127.0.0.1:0");
        let world = plan.media(&settings).start().await?;
        Ok(Self { world, certificate, rows: Vec::new() })
    }

    fn url(&self, tls: bool, key: &str) -> Result<RtmpUrl> {
        let media = &self.world.media;
        Ok(if tls {
            RtmpUrl::tls(media.rtmps.as_deref().context("no RTMPS port")?, "live", key)
        } else {
            media.publish_url(key)
        })
    }

    /// Judges the stream that a client publishes as `key`.
    async fn seen(&mut self, client: &str, transport: &str, codec: &str, key: &str) -> Result<()> {
        let list = self.world.media.playlist(key, Duration::from_secs(40)).await.with_context(|| {
            format!("{client}, {transport}, {codec}:\n{}", self.world.media.program.log_tail(10))
        })?;
        let codecs = list.lines().find_map(|line| line.split("CODECS=\"").nth(1)?.split('"').next());
        let codecs = codecs.unwrap_or("?").to_owned();
        let report = llhls::check(&self.world.media.hls(key), JUDGED).await?;
        report.no_must_broken(&[]).with_context(|| format!("{client}, {transport}, {codec}"))?;
        self.row(client, transport, codec, &format!("seen: `{codecs}`, decodes, no rule broken"));
        Ok(())
    }

    fn row(&mut self, client: &str, transport: &str, codec: &str, what: &str) {
        println!("{client} | {transport} | {codec} | {what}");
        self.rows.push([client, transport, codec, what].map(str::to_owned).to_vec());
    }
}

fn transport(tls: bool) -> &'static str {
    if tls { "RTMPS" } else { "RTMP" }
}

async fn ffmpeg(matrix: &mut Matrix) -> Result<()> {
    for tls in [false, true] {
        let key = format!("ffmpeg-{tls}");
        let _publisher = Ffmpeg::publish(&Source::default(), &matrix.url(tls, &key)?)?;
        matrix.seen("ffmpeg (Debian 12)", transport(tls), "H.264, AAC", &key).await?;
    }
    let reason = "impossible: its FLV muxer (5.1) carries neither, Enhanced RTMP came with ffmpeg 6.1";
    matrix.row("ffmpeg (Debian 12)", "both", "HEVC, AV1", reason);
    Ok(())
}

async fn gstreamer(matrix: &mut Matrix) -> Result<()> {
    for tls in [false, true] {
        let key = format!("gst-{tls}");
        let url = matrix.url(tls, &key)?;
        // The test's certificate is nobody's.
        let flags = if tls { " tls-validation-flags=no-flags" } else { "" };
        let pipeline = format!(
            "flvmux name=mux streamable=true ! rtmp2sink location={url}{flags} \
             videotestsrc is-live=true ! video/x-raw,width=640,height=360,framerate=30/1 ! \
             x264enc tune=zerolatency speed-preset=ultrafast bitrate=800 key-int-max=60 ! h264parse ! queue ! mux. \
             audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! avenc_aac ! aacparse ! queue ! mux."
        );
        let mut command = Command::new("gst-launch-1.0");
        command.arg("-q").args(pipeline.split_whitespace());
        let _publisher = Program::start("gst-launch-1.0", command)?;
        matrix.seen("GStreamer rtmp2sink", transport(tls), "H.264, AAC", &key).await?;
    }
    let reason = "impossible: flvmux of GStreamer 1.22 carries neither";
    matrix.row("GStreamer rtmp2sink", "both", "HEVC, AV1", reason);
    Ok(())
}

/// SRT: the codecs; encoders and players of every kind are in `interop_srt.rs`.
async fn srt(matrix: &mut Matrix) -> Result<()> {
    const CASES: [(&str, &[&str], &str); 3] = [
        ("H.264, AAC", &[], "h264"),
        (
            "HEVC, AAC",
            &["-c:v", "libx265", "-x265-params", "log-level=error:keyint=30", "-preset", "ultrafast"],
            "hevc",
        ),
        ("H.264, Opus", &["-c:a", "libopus", "-ar", "48000", "-ac", "2"], "opus"),
    ];
    let address = matrix.world.media.srt.clone();
    for (codecs, options, key) in CASES {
        let id = format!("publish/{key}");
        let options = [options, &["-srt_streamid", &id]].concat();
        let _publisher = Ffmpeg::publish_srt(&Source::default().keyframe_every(1), &address, &options)?;
        matrix.seen("ffmpeg (Debian 12)", "SRT", codecs, key).await?;
    }
    Ok(())
}

async fn rml(matrix: &mut Matrix) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("source.flv");
    Source::default().seconds(25).write_flv(&file).await?;
    let legacy = flv::read(&file)?;
    let sound: Vec<Tag> = legacy.iter().filter(|tag| tag.kind != flv::VIDEO).cloned().collect();
    let hevc = enhanced::together([sound, enhanced::tags(Codec::Hevc, 25).await?]);
    let said: Vec<Tag> = legacy.iter().filter(|tag| tag.kind == flv::SCRIPT).cloned().collect();
    let av1 = [said, enhanced::tags(Codec::Av1, 25).await?, enhanced::tags(Codec::Opus, 25).await?];
    let av1 = enhanced::together(av1);
    for (codec, tags) in [("H.264, AAC", legacy), ("HEVC, AAC", hevc), ("AV1, Opus", av1)] {
        for tls in [false, true] {
            let key = format!("rml-{}-{tls}", &codec[..3].replace('.', ""));
            let url = matrix.url(tls, &key)?;
            let mut session = if tls {
                Session::publish_on(matrix.certificate.connect(&url.address).await?, &url).await?
            } else {
                Session::publish(&url).await?
            };
            let tags = tags.clone();
            let mut sending = JoinSet::new();
            sending.spawn(async move { session.play(&tags).await });
            matrix.seen("rml_rtmp's client", transport(tls), codec, &key).await?;
        }
    }
    Ok(())
}

async fn obs(matrix: &mut Matrix) -> Result<()> {
    for tls in [false, true] {
        let mut url = matrix.url(tls, &format!("obs-{tls}"))?;
        // The certificate names no address.
        url.address = url.address.replace("127.0.0.1", "localhost");
        let certificate = matrix.world.folder().join("cert.pem");
        let obs = Obs::start(&url.server(), &url.key, tls.then_some(&*certificate)).await?;
        let seen = matrix.seen(OBS, transport(tls), "H.264, AAC", &url.key).await;
        let said = obs.end().await?;
        seen.context(said)?;
    }
    let reason = "impossible: OBS 29.0 sends H.264 only by RTMP, Enhanced RTMP came with 29.1";
    matrix.row(OBS, "both", "HEVC, AV1", reason);
    let reason = "impossible: OBS sends several video tracks from 30.2 on";
    matrix.row(OBS, "both", "several video tracks", reason);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: every encoder, one after the other"]
async fn every_encoder_publishes_what_it_can() -> Result<()> {
    let mut matrix = Matrix::begin().await?;
    ffmpeg(&mut matrix).await?;
    gstreamer(&mut matrix).await?;
    srt(&mut matrix).await?;
    rml(&mut matrix).await?;
    obs(&mut matrix).await?;
    let table = Table {
        name: "interop",
        title: "Each published for some seconds; its LL-HLS was followed and judged by the rules that \
                `make test` holds all renditions to, and decoded by ffmpeg."
            .into(),
        columns: vec!["client", "transport", "codecs", "result"],
        rows: std::mem::take(&mut matrix.rows),
    };
    println!("{}", table.markdown());
    if std::env::var_os("WEIR_ROWS").is_some() {
        table.write(&PathBuf::from(repository()).join("docs/interop.md"))?;
    }
    Ok(())
}
