//! Pictures of live streams: there soon, new again and again, and gone with their stream.

use std::{io::Write as _, time::Duration};

use anyhow::{Context as _, Result};
use http::{Method, header};
use tokio::process::Command;
use weir_tests::{
    publisher::{Ffmpeg, Source, webrtc},
    wait,
    world::Plan,
};

const SOON: Duration = Duration::from_secs(20);

/// Width, height and codec of a picture.
async fn shape(jpeg: &[u8]) -> Result<String> {
    let mut file = tempfile::Builder::new().suffix(".jpg").tempfile()?;
    file.write_all(jpeg)?;
    file.flush()?;
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
        .media("[thumbnails]\ninterval_ms = 2000\nheight = 180\n[hls]\nreconnect_window_ms = 500")
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
    drop(publisher);
    wait::until("the stream's end", SOON, || async {
        let streams = world.media.streams().await?;
        let cam = streams["items"].as_array().into_iter().flatten().find(|it| it["name"] == "cam");
        Ok(cam.is_none_or(|it| it["state"] == "ended").then_some(()))
    })
    .await
}
