//! hls.js in a real browser, told when to change rungs, and what its viewer saw.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::browser::Browser;

/// How long the first picture may take.
const FIRST: Duration = Duration::from_secs(30);
/// Places are compared over this long, in milliseconds: single ones come late where the machine is busy.
const SPAN: f64 = 500.0;

/// A page that plays one stream.
pub struct Player {
    /// Its browser.
    pub browser: Browser,
}

/// What was seen from [`Player::begin`] on.
#[derive(Debug)]
pub struct Viewing {
    /// Times that the player had to wait for media.
    pub stalls: u64,
    /// Times that it left its place, over a hole for instance.
    pub seeks: u64,
    /// Rungs that were shown, one after the other.
    pub shown: Vec<u64>,
    /// What it complained of.
    pub errors: Vec<String>,
    /// Widths of the pictures, one after the other.
    pub widths: Vec<u64>,
    /// The furthest that its place came off the clock within half a second, milliseconds.
    pub jump: f64,
    /// The longest step from one picture to the next that was shown, milliseconds of media.
    pub step: f64,
    /// Seconds of media that were played.
    pub played: f64,
    /// The least media that lay ahead without a hole, seconds.
    pub ahead: f64,
}

impl Player {
    /// Plays a stream of `http` (the media server's public address). `options`: of hls.js.
    pub async fn open(http: &str, stream: &str, options: Value) -> Result<Self> {
        let browser = Browser::start().await?;
        browser.open(&format!("{http}/live/{stream}/index.m3u8")).await?;
        let list = format!("{http}/live/{stream}/index.m3u8");
        let library = format!("{http}/live/{stream}/hls.min.js");
        let arguments = vec![json!(list), json!(library), json!({ "muted": true, "hls": options })];
        let script =
            concat!(include_str!("../../media-server/player/between_segments.js"), include_str!("player.js"));
        browser.run(script, arguments).await?;
        let player = Self { browser };
        player.plays(FIRST).await?;
        Ok(player)
    }

    /// Waits until the place moves, with enough ahead of it to go on.
    pub async fn plays(&self, within: Duration) -> Result<()> {
        let moves = "(() => { const last = window.__player.clock.slice(-8); \
            return last.length === 8 && last[7][1] - last[0][1] > 0.2 && last[7][2] > 0; })()";
        if let Err(error) = self.browser.until(moves, within).await {
            let state =
                self.browser.value("[window.__player.errors, window.__player.clock.slice(-3)]").await?;
            return Err(error.context(state.to_string()));
        }
        Ok(())
    }

    /// What counts begins now.
    pub async fn begin(&self) -> Result<()> {
        let script = "const p = window.__player; p.plays = true; p.waiting = 0; p.seeking = 0; p.errors = []; \
            p.frames = []; p.clock = []; p.shown = [];";
        self.browser.run(script, Vec::new()).await.map(drop)
    }

    /// How many rungs there are, the least first.
    pub async fn rungs(&self) -> Result<u64> {
        self.browser.value("window.__hls.levels.length").await?.as_u64().context("no levels")
    }

    /// Loads this rung from the next segment on, as hls.js does when it finds another line.
    pub async fn load(&self, rung: u64) -> Result<()> {
        self.browser.run("window.__player.rung = arguments[0];", vec![json!(rung)]).await.map(drop)
    }

    /// What was seen since [`Self::begin`].
    pub async fn seen(&self) -> Result<Viewing> {
        Viewing::of(&self.browser.value("window.__player").await?)
    }
}

impl Viewing {
    fn of(state: &Value) -> Result<Self> {
        let rows = |name: &str| -> Vec<Vec<f64>> {
            let all = state[name].as_array().into_iter().flatten();
            all.map(|row| row.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()).collect()
        };
        let count = |name: &str| state[name].as_u64().with_context(|| format!("no {name}"));
        let (clock, frames) = (rows("clock"), rows("frames"));
        let (first, last) = (clock.first().context("no place")?, clock.last().context("no place")?);
        let mut widths: Vec<u64> = frames.iter().filter_map(|row| row.get(3)).map(|it| *it as u64).collect();
        widths.dedup();
        Ok(Self {
            stalls: count("waiting")?,
            seeks: count("seeking")?,
            shown: rows("shown").iter().filter_map(|row| row.get(1)).map(|it| *it as u64).collect(),
            errors: state["errors"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|it| it.as_str().map(str::to_owned))
                .collect(),
            widths,
            jump: jump(&clock),
            step: step(&frames),
            played: last.get(1).zip(first.get(1)).map_or(0.0, |(last, first)| last - first),
            ahead: clock.iter().filter_map(|row| row.get(2)).copied().fold(f64::MAX, f64::min),
        })
    }

    /// Nothing that a viewer would notice: no wait, no place that was left, no picture that stood still for longer than
    /// `step` while the sound went on.
    pub fn is_smooth(&self, most: Duration, step: Duration) -> bool {
        let within = |value: f64, most: Duration| value <= most.as_secs_f64() * 1e3;
        self.stalls == 0 && self.seeks == 0 && within(self.jump, most) && within(self.step, step)
    }
}

/// The furthest that the place (seconds) comes off the clock (milliseconds) from one span to the next.
fn jump(clock: &[Vec<f64>]) -> f64 {
    let Some(start) = clock.first().and_then(|row| row.first()) else { return 0.0 };
    let mut spans: Vec<Vec<f64>> = Vec::new();
    for row in clock {
        let [at, place, ..] = row[..] else { continue };
        let span = ((at - start) / SPAN) as usize;
        spans.resize_with(spans.len().max(span + 1), Vec::new);
        spans[span].push(place * 1e3 - at);
    }
    let middles: Vec<f64> = spans
        .into_iter()
        .filter(|span| !span.is_empty())
        .map(|mut span| {
            span.sort_by(f64::total_cmp);
            span[span.len() / 2]
        })
        .collect();
    middles.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f64::max)
}

/// The longest step between pictures that were shown one after the other.
fn step(frames: &[Vec<f64>]) -> f64 {
    let next = |pair: &&[Vec<f64>]| pair[0].get(2).zip(pair[1].get(2)).is_some_and(|(a, b)| b - a < 1.5);
    let steps = frames.windows(2).filter(next).filter_map(|pair| Some(pair[1].get(1)? - pair[0].get(1)?));
    steps.fold(0.0, f64::max) * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that is looked at every 50 ms, in the middle of which the place goes by `off` seconds.
    fn clock(off: f64) -> Vec<Vec<f64>> {
        let place = |n: i32| f64::from(n) * 0.05 + if n > 100 { off } else { 0.0 };
        (0..200).map(|n| vec![f64::from(n) * 50.0, place(n), 1.0]).collect()
    }

    #[test]
    fn a_jump_and_a_standstill_are_seen_and_a_late_look_is_not() {
        assert!((jump(&clock(0.2)) - 200.0).abs() < 1.0);
        assert!((jump(&clock(-0.1)) - 100.0).abs() < 1.0);
        let mut late = clock(0.0);
        late[50][0] += 40.0;
        assert!(jump(&late) < 1.0);
    }

    #[test]
    fn a_picture_that_is_left_out_of_the_media_is_seen_and_one_that_the_page_missed_is_not() {
        let frame = |shown: f64| vec![shown * 33.3, shown / 30.0, shown, 640.0];
        let mut frames: Vec<_> = (0..30).map(|n| frame(f64::from(n))).collect();
        frames.remove(10);
        assert!(step(&frames) < 34.0);
        for frame in &mut frames[20..] {
            frame[1] += 0.1;
        }
        assert!((step(&frames) - 133.3).abs() < 1.0);
    }
}
