//! Going live from a browser: the studio page, with the browser's own fake camera, microphone and screen.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use weir_tests::{
    browser::Browser,
    llhls, wait,
    world::{Plan, World},
};

const SOON: Duration = Duration::from_secs(20);
/// A browser with a camera that shows a pie, and a microphone that beeps each second.
const FAKES: [&str; 3] = [
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    // Of a tab; a machine without a display has no screen.
    "--auto-select-tab-capture-source-by-title=Studio",
];

/// The studio, signed in as the demo channel's owner.
async fn studio(world: &World, further: &[&str]) -> Result<Browser> {
    let demo = world.demo().await?;
    let arguments: Vec<_> = FAKES.iter().chain(further).copied().collect();
    let browser = Browser::with(&arguments).await?;
    browser.open(&format!("{}/studio", world.control()?.http)).await?;
    browser.until("document.querySelector('#login')", SOON).await?;
    sign_in(&browser, "wrong, and long enough").await?;
    browser.until("document.body.innerText.includes('The login or the password is wrong')", SOON).await?;
    sign_in(&browser, demo["admin"]["password"].as_str().context("no password")?).await?;
    press(&browser, "Start preview").await?;
    browser.until("document.querySelector('video')?.videoWidth > 0", SOON).await?;
    Ok(browser)
}

async fn sign_in(browser: &Browser, password: &str) -> Result<()> {
    let script = "for (const [id, value] of [['login', 'admin'], ['password', arguments[0]]]) {
        const input = document.getElementById(id);
        input.value = value;
        input.dispatchEvent(new Event('input', { bubbles: true }));
    }";
    browser.run(script, vec![json!(password)]).await?;
    press(browser, "Sign in").await
}

/// Presses a button as soon as it can be.
async fn press(browser: &Browser, text: &str) -> Result<()> {
    let button = format!(
        "[...document.querySelectorAll('button')].find((it) => it.textContent.trim() === {text:?} && !it.disabled)"
    );
    browser.until(&button, SOON).await.with_context(|| format!("no button {text:?}"))?;
    browser.run(&format!("{button}.click()"), Vec::new()).await.map(drop)
}

async fn choose(browser: &Browser, show: &str) -> Result<()> {
    browser.run(&format!("document.querySelector('input[value={show}]').click()"), Vec::new()).await.map(drop)
}

async fn stream(world: &World) -> Result<Value> {
    Ok(world.media.streams().await?["items"][0].clone())
}

/// What stands beside a term of the figures.
async fn figure(browser: &Browser, term: &str) -> Result<String> {
    let expression = format!(
        "[...document.querySelectorAll('dt')].find((it) => it.textContent === {term:?})?.nextSibling?.textContent ?? ''"
    );
    Ok(browser.value(&expression).await?.as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creator_goes_live_with_camera_and_microphone() -> Result<()> {
    let world = Plan::admitted()?.pass_through().start().await?;
    let browser = studio(&world, &[]).await?;
    browser
        .until("document.querySelector('meter')?.value > -40", SOON)
        .await
        .context("the microphone beeps")?;
    press(&browser, "Go live").await?;
    browser.until("document.querySelector('[data-air=live]')", SOON).await?;
    world.media.playlist("demo", SOON).await?;
    wait::until("figures", SOON, || async {
        let sent = figure(&browser, "Sent").await?;
        let rate: f64 = sent.split(' ').next().unwrap_or_default().parse().unwrap_or(0.0);
        let (picture, trip) = (figure(&browser, "Picture").await?, figure(&browser, "Round trip").await?);
        Ok((rate > 0.1 && picture.starts_with("1280×720") && trip.ends_with(" ms"))
            .then(|| println!("{sent}, {picture}, {trip}")))
    })
    .await?;
    let now = stream(&world).await?;
    assert_eq!(
        (&now["publisher"]["protocol"], &now["video"]["width"]),
        (&json!("whip"), &json!(1280)),
        "{now}"
    );
    llhls::check(&world.media.hls("demo"), Duration::from_secs(6)).await?.no_must_broken(&[])?;
    // What the server says is what its API says.
    let word = now["publisher"]["findings"][0]["text"].as_str().unwrap_or("All is well").to_owned();
    browser.until(&format!("document.body.innerText.includes({word:?})"), SOON).await?;
    press(&browser, "Mute microphone").await?;
    browser.until("document.querySelector('meter').value <= -59", SOON).await?;
    press(&browser, "End the stream").await?;
    browser.until("document.querySelector('[data-air=off]')", SOON).await?;
    wait::until("the end", SOON, || async { Ok((stream(&world).await?["state"] == "waiting").then_some(())) })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_change_while_the_stream_goes_on() -> Result<()> {
    let world = Plan::admitted()?.pass_through().start().await?;
    // As on a phone.
    let browser = studio(&world, &["--window-size=390,800"]).await?;
    let wide = browser.value("document.documentElement.scrollWidth - window.innerWidth").await?;
    assert!(wide.as_i64().is_some_and(|wide| wide <= 0), "wider than the window by {wide}");
    press(&browser, "Go live").await?;
    browser.until("document.querySelector('[data-air=live]')", SOON).await?;
    world.media.playlist("demo", SOON).await?;
    let session = stream(&world).await?["publisher"]["session"].clone();
    for show in ["both", "screen", "camera"] {
        choose(&browser, show).await?;
        let (pictures, size) = (
            "document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames",
            "document.querySelector('video').videoWidth",
        );
        let before = browser.value(pictures).await?;
        wait::until(show, SOON, || async {
            let now = browser.value(pictures).await?;
            Ok((now.as_u64() > before.as_u64().map(|it| it + 5)).then_some(()))
        })
        .await?;
        let (preview, sent) = (browser.value(size).await?, stream(&world).await?["video"]["width"].clone());
        println!("{show}: {preview} wide, sent {sent}");
        let alert = browser.value("document.querySelector('[role=alert]')?.textContent ?? ''").await?;
        assert_eq!(alert, "", "{show}");
    }
    // Who closes the browser's own question keeps what was there.
    let refusal = "navigator.mediaDevices.getDisplayMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'))";
    browser.run(refusal, Vec::new()).await?;
    choose(&browser, "screen").await?;
    browser
        .until("document.querySelector('[role=alert]').textContent.includes('Access was not allowed')", SOON)
        .await?;
    browser.until("document.querySelector('input[value=camera]').checked", SOON).await?;
    let time = browser.value("document.querySelector('video').currentTime").await?;
    browser.until(&format!("document.querySelector('video').currentTime > {time} + 1"), SOON).await?;
    assert_eq!(stream(&world).await?["publisher"]["session"], session, "one session throughout");
    Ok(())
}
