//! Pictures of live streams: there soon, new again and again, gone with their stream; and its past as a storyboard.

use std::{io::Write as _, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use http::{Method, header};
use tempfile::NamedTempFile;
use tokio::process::Command;
use weir_tests::{
    publisher::{Ffmpeg, Source, ffmpeg, webrtc},
    wait,
    world::Plan,
};

const SOON: Duration = Duration::from_secs(20);

/// A picture where programs can read it.
fn file(jpeg: &[u8]) -> Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().suffix(".jpg").tempfile()?;
    file.write_all(jpeg)?;
    file.flush()?;
    Ok(file)
}

/// Width, height and codec of a picture.
async fn shape(jpeg: &[u8]) -> Result<String> {
    let file = file(jpeg)?;
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0"]);
    let output = command.arg(file.path()).kill_on_drop(true).output().await?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_a_picture_that_becomes_another_one() -> Result<()> {
    let world = Plan::open()?
        .pass_through()
        .media("[thumbnails]\ninterval_ms = 2000\nheight = 180\nstoryboard_ms = 0\n[hls]\nreconnect_window_ms = 500")
        .start()
        .await?;
    let url = |stream: &str| format!("{}/live/{stream}/thumb.jpg", world.media.http);
    assert_eq!(world.client.get(&url("cam")).await?.status, 404);
    let publisher = Ffmpeg::publish(&Source::default().b_frames(2), &world.media.publish_url("cam"))?;
    world.media.playlist("cam", SOON).await?;
    let _sound = Ffmpeg::publish(&Source::default().audio_only(), &world.media.publish_url("radio"))?;
    let there = || async {
        let answer = world.client.get(&url("cam")).await?;
        Ok(answer.status.is_success().then_some(answer))
    };
    let first = wait::until("a picture", SOON, there).await?;
    assert_eq!(shape(&first.body).await?, "mjpeg,320,180");
    let text = |name: header::HeaderName| -> Result<String> {
        Ok(first.headers.get(&name).with_context(|| format!("no {name}"))?.to_str()?.to_owned())
    };
    assert_eq!(text(header::CONTENT_TYPE)?, "image/jpeg");
    assert_eq!(text(header::CACHE_CONTROL)?, "public, max-age=1");
    let tag = text(header::ETAG)?;
    let known = [(header::IF_NONE_MATCH, tag.as_str())];
    let same = webrtc::call(&world.client, Method::GET, &url("cam"), &known, "").await?;
    assert!(same.status == 304 || same.headers.get(header::ETAG) != first.headers.get(header::ETAG));
    wait::until("another picture", SOON, || async {
        let answer = world.client.get(&url("cam")).await?;
        Ok((answer.status.is_success() && answer.body != first.body).then_some(()))
    })
    .await?;
    assert_eq!(world.client.get(&url("radio")).await?.status, 404, "sound has none");
    let storyboard = format!("{}/live/cam/storyboard.vtt", world.media.http);
    assert_eq!(world.client.get(&storyboard).await?.status, 404, "none is wished for");
    drop(publisher);
    wait::until("the stream's end", SOON, || async {
        let streams = world.media.streams().await?;
        let cam = streams["items"].as_array().into_iter().flatten().find(|it| it["name"] == "cam");
        Ok(cam.is_none_or(|it| it["state"] == "ended").then_some(()))
    })
    .await
}

/// A cue of a storyboard: from, to (both as they are written), the sheet, and its tile (x, y, width, height).
type Cue = (String, String, String, [usize; 4]);

fn cues(vtt: &str) -> Result<Vec<Cue>> {
    let blocks = vtt.split("\n\n").filter_map(|block| block.trim().split_once('\n'));
    blocks
        .map(|(times, address)| {
            let (from, to) = times.split_once(" --> ").context("times")?;
            let (sheet, tile) = address.trim().split_once("#xywh=").context("no tile")?;
            let tile: Result<Vec<usize>, _> = tile.split(',').map(str::parse).collect();
            let tile = <[usize; 4]>::try_from(tile?).ok().context("four numbers")?;
            Ok((from.to_owned(), to.to_owned(), sheet.to_owned(), tile))
        })
        .collect()
}

fn seconds(time: &str) -> Result<f64> {
    time.split(':').try_fold(0.0, |sum, part| Ok(sum * 60.0 + part.parse::<f64>()?))
}

/// The pixels of a grey picture, 0 to 255.
async fn grey(jpeg: &[u8]) -> Result<Vec<u8>> {
    let file = file(jpeg)?;
    let name = file.path().display().to_string();
    // Not `gray`: of that ffmpeg makes 16 to 235.
    let rgb = ffmpeg::run(["-i", &name, "-f", "rawvideo", "-pix_fmt", "rgb24"], Path::new("-")).await?;
    Ok(rgb.into_iter().step_by(3).collect())
}

/// The source begins black and becomes lighter by so many of x264's 219 steps a second.
const STEPS: f64 = 8.0;

#[tokio::test(flavor = "multi_thread")]
async fn a_storyboard_shows_each_moment_of_the_past() -> Result<()> {
    let world = Plan::open()?
        .pass_through()
        .media("[thumbnails]\ninterval_ms = 2000\nstoryboard_ms = 60000")
        .start()
        .await?;
    let filter = format!("geq=lum='min(235,16+{STEPS}*T)':cb=128:cr=128");
    let coder = ["-vf", &filter, "-c:v", "libx264", "-preset", "ultrafast", "-qp", "10"];
    let coder = [&coder[..], &["-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "20"]].concat();
    let source = Source::default().video_codec(&coder).size(320, 180).rate(10).video_only();
    let _publisher = Ffmpeg::publish(&source, &world.media.publish_url("cam"))?;
    let address = |name: &str| format!("{}/live/cam/{name}", world.media.http);
    let vtt = wait::until("six pictures", 2 * SOON, || async {
        let answer = world.client.get(&address("storyboard.vtt")).await?;
        Ok((answer.status.is_success() && cues(&answer.text())?.len() >= 6).then_some(answer))
    })
    .await?;
    assert_eq!(vtt.headers.get(header::CONTENT_TYPE).context("type")?, "text/vtt; charset=utf-8");
    assert_eq!(vtt.headers.get(header::CACHE_CONTROL).context("rule")?, "public, max-age=1");
    let text = vtt.text();
    let zero = text.lines().find_map(|line| line.strip_prefix("NOTE 00:00:00.000 is ")).context("no date")?;
    let playlist = world.client.get(&address("source/index.m3u8")).await?.text();
    assert!(playlist.contains(&format!("#EXT-X-PROGRAM-DATE-TIME:{zero}\n")), "{zero} is none of {playlist}");
    let cues = cues(&text)?;
    assert!(cues.windows(2).all(|pair| pair[0].1 == pair[1].0), "each until the next: {text}");

    let sheet = &cues[5].2;
    let answer = world.client.get(&address(sheet)).await?;
    assert_eq!(
        answer.headers.get(header::CACHE_CONTROL).context("rule")?,
        "public, max-age=31536000, immutable"
    );
    assert_eq!(shape(&answer.body).await?, "mjpeg,800,450");
    let pixels = grey(&answer.body).await?;
    let shown = |[x, y, width, height]: [usize; 4]| f64::from(pixels[(y + height / 2) * 800 + x + width / 2]);
    // White is white: a JPEG has all of the 256 steps.
    let a_second = STEPS * 255.0 / 219.0;
    // The first is of the first keyframe, or of a later one.
    let began = (shown(cues[0].3) / a_second / 2.0).round() * 2.0;
    for (from, _, name, tile) in &cues {
        assert_eq!((&tile[2..], name), (&[160, 90][..], sheet));
        let (expected, shown) = ((began + seconds(from)?) * a_second, shown(*tile));
        assert!((shown - expected).abs() < 5.0, "at {from} it was {expected:.0}, not {shown}");
    }
    let earlier = sheet.replace(&format!("-{}.jpg", cues.len()), "-1.jpg");
    assert!(world.client.get(&address(&earlier)).await?.status.is_success(), "{earlier}");
    let later = sheet.replace(&format!("-{}.jpg", cues.len()), "-25.jpg");
    assert_eq!(world.client.get(&address(&later)).await?.status, 404, "{later}");
    Ok(())
}
