//! Once a source's tracks are known the control plane may choose its ladder; where it does not, the fallbacks hold.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use weir_tests::{
    publisher::{Ffmpeg, Source},
    rtmp_url::RtmpUrl,
    wait,
    world::{Plan, World, free_address},
};

/// A start with a worker, on a machine that is busy.
const START: Duration = Duration::from_secs(20);
/// What `[profile_hook] timeout_ms` is by default.
const DEADLINE: Duration = Duration::from_millis(1500);
/// Besides the small ladder, which is the one of admission.
const PHONE: &str =
    "[profiles.phone]\nrungs = [{ name = \"phone\", height = 120, video_bitrate = \"150k\" }]\n";

/// A control plane of a few lines: it answers each stream as its test says, or, with None, not at all.
struct Control {
    url: String,
    asked: Arc<Mutex<Vec<Value>>>,
    _serving: JoinSet<()>,
}

impl Control {
    async fn start(answer: fn(&str) -> Option<String>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut serving = JoinSet::new();
        let told = Arc::clone(&asked);
        serving.spawn(async move {
            let mut calls = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let told = Arc::clone(&told);
                calls.spawn(async move {
                    // Whoever hung up asks again.
                    let _answered = serve(socket, answer, &told).await.is_ok();
                });
            }
        });
        Ok(Self { url, asked, _serving: serving })
    }

    /// What was asked about a stream.
    fn asked(&self, stream: &str) -> Vec<Value> {
        let asked = self.asked.lock().expect("no test panics with it");
        asked.iter().filter(|question| question["stream"] == stream).cloned().collect()
    }

    /// The media server's settings that have it asked.
    fn hook(&self, more: &str) -> String {
        format!("[profile_hook]\nenabled = true\nurl = \"{}\"\n{more}\n", self.url)
    }
}

async fn serve(
    mut socket: TcpStream,
    answer: fn(&str) -> Option<String>,
    told: &Mutex<Vec<Value>>,
) -> Result<()> {
    let mut request = Vec::new();
    let question: Value = loop {
        anyhow::ensure!(socket.read_buf(&mut request).await? > 0, "cut");
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        anyhow::ensure!(head.to_lowercase().contains("webhook-signature: v1,"), "not signed: {head}");
        if let Ok(whole) = serde_json::from_str(body) {
            break whole;
        }
    };
    let stream = question["stream"].as_str().unwrap_or_default().to_owned();
    told.lock().expect("no test panics with it").push(question);
    let Some(body) = answer(&stream) else { return std::future::pending().await };
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
    socket.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await?;
    Ok(())
}

/// The renditions of pictures in the first multivariant playlist, best first.
async fn first_rungs(world: &World, stream: &str) -> Result<Vec<String>> {
    let playlist = world.media.playlist(stream, START).await?;
    let names = playlist.lines().filter(|line| !line.starts_with('#'));
    Ok(names.filter_map(|line| line.split_once('/')).map(|(name, _)| name.to_owned()).collect())
}

/// The ladder in force, as the admin API shows it.
async fn ladder(world: &World, stream: &str) -> Result<Value> {
    let streams = world.media.streams().await?;
    let items = streams["items"].as_array().context("no items")?;
    let found = items.iter().find(|item| item["name"] == stream).context("no such stream")?;
    Ok(found["ladder"].clone())
}

async fn ladder_becomes(world: &World, stream: &str, expected: Value) -> Result<()> {
    wait::until(&format!("{stream} has {expected}"), START, || async {
        Ok((ladder(world, stream).await? == expected).then_some(()))
    })
    .await
}

async fn outcomes(world: &World, outcome: &str) -> Result<Option<f64>> {
    let label = format!("outcome=\"{outcome}\"");
    Ok(world.media.metrics().await?.sum("weir_ladder_questions_total", &[&label]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_the_control_plane_decides_by_the_source_and_again_for_another_source() -> Result<()> {
    let world = Plan::admitted()?
        .small_ladder()
        .media(&format!("{PHONE}[profile_hook]\nenabled = true\n"))
        .control("[publish]\nladders = [{ min_height = 300, profile = \"phone\" }]\n")
        .start()
        .await?;
    let demo = world.demo().await?;
    let text = |name: &str| demo[name].as_str().map(str::to_owned).context("no demo");
    let (url, stream) = (RtmpUrl::new(&world.media.rtmp, "live", &text("key")?), text("stream")?);
    let mut publisher = Ffmpeg::publish(&Source::default(), &url)?;
    assert_eq!(first_rungs(&world, &stream).await?, ["source", "phone"]);
    assert_eq!(ladder(&world, &stream).await?, json!({"profile": "phone", "from": "hook"}));
    publisher.program.stop().await?;
    // Back within the window, and smaller: no rule fits.
    let _smaller = Ffmpeg::publish(&Source::default().size(320, 180), &url)?;
    ladder_becomes(&world, &stream, json!({"profile": "default", "from": "hook"})).await?;
    wait::until("the ladder of admission", START, || async {
        let answer = world.client.get(&world.media.hls(&stream)).await?;
        let text = answer.text();
        Ok((text.contains("160p/") && !text.contains("phone/")).then_some(()))
    })
    .await?;
    assert_eq!(outcomes(&world, "chosen").await?, Some(2.0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answered_ladder_is_whole_in_the_first_playlist_and_who_comes_back_is_not_asked_about_again()
-> Result<()> {
    let control = Control::start(|_| {
        let rung = |name: &str, height: u32| json!({"name": name, "height": height, "video_bitrate": "150k"});
        let ladder = json!({"ladder": {"passthrough": true, "rungs": [rung("a", 180), rung("b", 90)]}});
        Some(ladder.to_string())
    })
    .await?;
    let world = Plan::open()?.small_ladder().media(&control.hook("")).start().await?;
    let source = Source::default().b_frames(2);
    let mut publisher = Ffmpeg::publish(&source, &world.media.publish_url("on"))?;
    assert_eq!(first_rungs(&world, "on").await?, ["source", "a", "b"]);
    assert_eq!(ladder(&world, "on").await?, json!({"from": "hook"}));
    let asked = control.asked("on").pop().context("nothing was asked")?;
    for (field, expected) in [("type", "profile"), ("protocol", "rtmp"), ("profile", "default")] {
        assert_eq!(asked[field], expected, "{asked}");
    }
    assert!(asked["session"].as_str().is_some_and(|id| id.starts_with("ses_")), "{asked}");
    let (picture, sound) = (&asked["tracks"][0], &asked["tracks"][1]);
    assert_eq!(
        (&picture["kind"], &picture["height"], &picture["fps"]),
        (&json!("video"), &json!(360), &json!(30.0))
    );
    assert_eq!(picture["b_frames"], true, "{asked}");
    assert!(picture["bitrate_kbps"].as_u64().is_some_and(|kbps| kbps > 100), "{asked}");
    assert_eq!((&sound["kind"], &sound["sample_rate"]), (&json!("audio"), &json!(48_000)), "{asked}");
    publisher.program.stop().await?;
    let _back = Ffmpeg::publish(&source, &world.media.publish_url("on"))?;
    let session = asked["session"].clone();
    wait::until("it is back", START, || async {
        let streams = world.media.streams().await?;
        let on = &streams["items"][0];
        let units = on["counters"]["video_units"].as_u64().unwrap_or_default();
        Ok((on["publisher"]["session"] != session && on["on_air"] == "primary" && units > 30).then_some(()))
    })
    .await?;
    assert_eq!(control.asked("on").len(), 1, "it was asked about again");
    assert_eq!(ladder(&world, "on").await?, json!({"from": "hook"}));
    Ok(())
}

/// By the stream's name.
fn as_named(stream: &str) -> Option<String> {
    match stream {
        "slow" => None,
        "nonsense" => Some("<html>It works!</html>".into()),
        "unknown" => Some(json!({"profile": "nowhere"}).to_string()),
        "invalid" => Some(json!({"ladder": {"passthrough": false, "rungs": []}}).to_string()),
        _ => Some(json!({"allow": false, "reason": "no", "message": "Send 720 lines."}).to_string()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_ladder_from_the_hook_each_fallback_is_what_the_configuration_says() -> Result<()> {
    let control = Control::start(as_named).await?;
    let world =
        Plan::open()?.small_ladder().media(&control.hook("unanswered = \"source-only\"")).start().await?;
    // Slow: the source alone, once the deadline has passed, and not much later.
    let slow = Ffmpeg::publish(&Source::default(), &world.media.publish_url("slow"))?;
    wait::until("the question", START, || async { Ok((!control.asked("slow").is_empty()).then_some(())) })
        .await?;
    let asked = Instant::now();
    let early = world.client.get(&world.media.hls("slow")).await?;
    assert!(early.status.is_success(), "a viewer who comes meanwhile waits: {}", early.text());
    let waited = asked.elapsed();
    assert!(waited + Duration::from_millis(700) > DEADLINE && waited < DEADLINE * 3, "{waited:?}");
    assert_eq!(first_rungs(&world, "slow").await?, ["source"]);
    assert_eq!(ladder(&world, "slow").await?, json!({"from": "fallback:unanswered"}));
    drop(slow);
    // Nonsense of three kinds: what it was admitted with.
    for stream in ["nonsense", "unknown", "invalid"] {
        let _publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url(stream))?;
        assert_eq!(first_rungs(&world, stream).await?, ["source", "240p", "160p"], "{stream}");
        let expected = json!({"profile": "default", "from": "fallback:unusable"});
        assert_eq!(ladder(&world, stream).await?, expected, "{stream}");
    }
    // Refused: the broadcaster is told, and the stream is over.
    let mut refused = Ffmpeg::publish(&Source::default(), &world.media.publish_url("refused"))?;
    refused.program.line("Send 720 lines.", START).await?;
    refused.program.ended(Duration::from_secs(10)).await?;
    wait::until("the end of it", START, || async {
        let streams = world.media.streams().await?;
        let ended = streams["items"].as_array().and_then(|all| all.iter().find(|it| it["name"] == "refused"));
        Ok(ended.is_some_and(|stream| stream["state"] == "ended").then_some(()))
    })
    .await?;
    for (outcome, times) in [("unanswered", 1.0), ("unusable", 3.0), ("refused", 1.0)] {
        assert_eq!(outcomes(&world, outcome).await?, Some(times), "{outcome}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_hook_costs_no_rung_and_may_as_well_refuse() -> Result<()> {
    let dead = free_address()?;
    let hook = format!("[profile_hook]\nenabled = true\nurl = \"http://{dead}/\"\n");
    let world = Plan::open()?.small_ladder().media(&hook).start().await?;
    let publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("on"))?;
    assert_eq!(first_rungs(&world, "on").await?, ["source", "240p", "160p"]);
    let expected = json!({"profile": "default", "from": "fallback:unanswered"});
    assert_eq!(ladder(&world, "on").await?, expected);
    drop((publisher, world));
    let strict = format!("{hook}unanswered = \"refuse\"\n");
    let world = Plan::open()?.small_ladder().media(&strict).start().await?;
    let mut refused = Ffmpeg::publish(&Source::default(), &world.media.publish_url("on"))?;
    refused.program.line("cannot decide at the moment", START).await?;
    refused.program.ended(Duration::from_secs(10)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_source_may_go_on_as_a_late_answer_has_it_do_and_a_bad_answer_may_end_it() -> Result<()> {
    let control = Control::start(as_named).await?;
    let hook = control.hook("refused = \"use-admitted\"\nunusable = \"refuse\"");
    let world = Plan::open()?.small_ladder().media(&hook).start().await?;
    let _publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("refused"))?;
    assert_eq!(first_rungs(&world, "refused").await?, ["source", "240p", "160p"]);
    let expected = json!({"profile": "default", "from": "fallback:refused"});
    assert_eq!(ladder(&world, "refused").await?, expected);
    // What came meanwhile is encoded after the deadline: the rungs are in the first playlist all the same.
    let _slow = Ffmpeg::publish(&Source::default(), &world.media.publish_url("slow"))?;
    assert_eq!(first_rungs(&world, "slow").await?, ["source", "240p", "160p"]);
    let expected = json!({"profile": "default", "from": "fallback:unanswered"});
    assert_eq!(ladder(&world, "slow").await?, expected);
    let mut ended = Ffmpeg::publish(&Source::default(), &world.media.publish_url("nonsense"))?;
    ended.program.line("cannot decide at the moment", START).await?;
    ended.program.ended(Duration::from_secs(10)).await?;
    Ok(())
}
