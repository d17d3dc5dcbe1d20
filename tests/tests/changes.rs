//! What a publisher sends becomes something else while it is live: only what changed is made anew, every rendition breaks
//! at the same segment, and players play on.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::task::JoinSet;
use weir_tests::{
    bench::{proc, table::Table},
    llhls::{self, follow::Followed},
    player::{Player, Viewing},
    publisher::{
        Session, Source,
        enhanced::{self, Codec},
        flv::{self, Tag},
    },
    vigil::{Seen, Vigil},
    world::{Plan, World},
};

const SOON: Duration = Duration::from_secs(15);
/// The longest time in which a list may show nothing new: less than players are behind.
const PAUSE: Duration = Duration::from_millis(1500);
/// Milliseconds after which it becomes something else, in the middle of a group of pictures; and how long all of it is.
const AT: u32 = 5_500;
const ALL: u32 = 16_000;

/// What is sent.
enum Sent {
    /// By one session.
    Whole(Vec<Tag>),
    /// By two, one after the other.
    Twice(Vec<Tag>, Vec<Tag>),
}

async fn tags(source: Source) -> Result<Vec<Tag>> {
    source.seconds(ALL / 1000).tags().await
}

/// A source with its sound at another rate.
fn cd(source: Source) -> Source {
    source.sound_filter("aresample=44100")
}

/// One until then, the other from its next keyframe on.
async fn then(first: Source, second: Source) -> Result<Sent> {
    let at = AT + 500;
    Ok(Sent::Whole([flv::until(&tags(first).await?, at), flv::from(&tags(second).await?, at)].concat()))
}

/// The sound becomes another one in the middle of a group of pictures, which go on.
async fn other_sound() -> Result<Sent> {
    let (before, after) = (tags(Source::default()).await?, tags(cd(Source::default().audio_only())).await?);
    let (sound, picture): (Vec<Tag>, Vec<Tag>) = before.into_iter().partition(|tag| tag.kind == flv::AUDIO);
    Ok(Sent::Whole(enhanced::together([picture, flv::until(&sound, AT), flv::from(&after, AT)])))
}

/// The picture becomes HEVC, the sound goes on.
async fn other_codec() -> Result<Sent> {
    let at = AT + 500;
    let before = tags(Source::default()).await?;
    let (picture, sound): (Vec<Tag>, Vec<Tag>) = before.into_iter().partition(|tag| tag.kind == flv::VIDEO);
    let hevc = flv::later(&enhanced::tags(Codec::Hevc, (ALL - at) / 1000).await?, at);
    Ok(Sent::Whole(enhanced::together([sound, flv::until(&picture, at), hevc])))
}

/// What was seen of a change.
struct Change {
    /// Of the source, of a rung, of the sound.
    lists: [Seen; 3],
    report: llhls::Report,
    /// The process that encodes: before and after.
    workers: [Option<u32>; 2],
    viewing: Option<Viewing>,
}

impl Change {
    /// Different init segments of the source, of a rung, and of the sound.
    fn inits(&self) -> [usize; 3] {
        self.lists.each_ref().map(|seen| seen.inits.len())
    }

    /// Holes in the pictures of the source, in those of a rung, and in the sound, in seconds.
    fn holes(&self) -> Result<[f64; 3]> {
        let of = |name: &str| {
            let found = self.report.renditions.iter().find(|it| it.name.starts_with(name));
            found.map(Followed::longest_hole).with_context(|| format!("no {name}"))
        };
        Ok([of("source")?, of("240p")?, of("audio")?])
    }

    fn pause(&self) -> Duration {
        self.lists.iter().map(Seen::longest_pause).max().unwrap_or_default()
    }

    /// One break, at the same segment in all; the rules kept; the lists going on.
    fn is_sound(&self, what: &str) -> Result<()> {
        let breaks = self.lists.each_ref().map(|seen| seen.discontinuities.clone());
        anyhow::ensure!(breaks.iter().all(|it| it.len() == 1 && *it == breaks[0]), "{what}: {breaks:?}");
        self.report.no_must_broken(&[]).with_context(|| what.to_owned())?;
        anyhow::ensure!(self.pause() < PAUSE, "{what}: nothing new for {:?}", self.pause());
        Ok(())
    }
}

fn play(world: &World, sent: Sent) -> JoinSet<Result<()>> {
    let url = world.media.publish_url("change");
    let mut task = JoinSet::new();
    task.spawn(async move {
        let parts = match sent {
            Sent::Whole(tags) => vec![tags],
            Sent::Twice(first, second) => vec![first, second],
        };
        for tags in parts {
            Session::publish(&url).await?.play(&tags).await?;
        }
        Ok(())
    });
    task
}

async fn watched(sent: Sent, browser: bool) -> Result<Change> {
    let world = Plan::open()?.small_ladder().start().await?;
    let mut publisher = play(&world, sent);
    world.media.playlist("change", SOON).await?;
    let list = |rung: &str| format!("{}/live/change/{rung}/index.m3u8", world.media.http);
    let vigils = ["source", "240p", "audio"].map(|rung| Vigil::begin(&list(rung)));
    let before = world.media.worker("change").await?;
    let (url, http) = (world.media.hls("change"), world.media.http.clone());
    let mut check = JoinSet::new();
    check.spawn(async move { llhls::check(&url, Duration::from_secs(11)).await });
    let mut watching = JoinSet::new();
    if browser {
        watching.spawn(async move {
            let player = Player::open(&http, "change", json!({})).await?;
            player.begin().await?;
            tokio::time::sleep(Duration::from_secs(9)).await;
            let seen = player.seen().await?;
            player.browser.close().await?;
            anyhow::Ok(seen)
        });
    }
    let report = check.join_next().await.context("no report")???;
    let viewing = match watching.join_next().await {
        Some(seen) => Some(seen??),
        None => None,
    };
    let after = world.media.worker("change").await?;
    let mut lists = Vec::new();
    for vigil in vigils {
        lists.push(vigil?.end().await?);
    }
    if let Some(ended) = publisher.try_join_next() {
        ended??;
    }
    let lists = lists.try_into().map_err(|_| anyhow::anyhow!("three lists"))?;
    Ok(Change { lists, report, workers: [before, after], viewing })
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_that_becomes_another_costs_no_picture_and_no_encoder() -> Result<()> {
    let change = watched(other_sound().await?, false).await?;
    println!("inits {:?}, holes {:.3?}, pause {:?}", change.inits(), change.holes()?, change.pause());
    change.is_sound("sound")?;
    assert_eq!(change.inits(), [1, 1, 2], "of the source, a rung, the sound");
    assert_eq!(change.workers[0], change.workers[1], "the encoder began anew");
    let [source, rung, sound] = change.holes()?;
    assert!(source < 0.02 && rung < 0.02 && sound < 0.05, "{source} {rung} {sound}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: what a publisher sends becomes something else, one after the other, in a browser"]
async fn whatever_changes_only_that_is_made_anew_and_players_play_on() -> Result<()> {
    let plain = Source::default;
    let large = || Source::default().size(960, 540);
    let back =
        Sent::Twice(flv::until(&tags(plain()).await?, AT), flv::later(&tags(cd(large().rate(25))).await?, 0));
    let cases = [
        ("size of the picture", then(plain(), large()).await?, [2, 1, 1]),
        ("pictures a second", then(plain(), plain().rate(25)).await?, [2, 2, 1]),
        (
            "samples a second of the sound, in the middle of a group of pictures",
            other_sound().await?,
            [1, 1, 2],
        ),
        ("codec of the picture: H.264 to HEVC", other_codec().await?, [2, 1, 1]),
        ("all of it, by a publisher that comes back", back, [2, 2, 2]),
    ];
    let mut rows = Vec::new();
    for (what, sent, inits) in cases {
        let change = watched(sent, true).await?;
        let (holes, viewing) = (change.holes()?, change.viewing.as_ref().context("nobody watched")?);
        println!(
            "{what}: inits {:?}, holes {holes:.3?}, pause {:?}, workers {:?}, {viewing:?}",
            change.inits(),
            change.pause(),
            change.workers
        );
        change.is_sound(what)?;
        assert_eq!(change.inits(), inits, "{what}: init segments of the source, a rung, the sound");
        rows.push(vec![
            what.to_owned(),
            format!("{} / {} / {}", inits[0] - 1, inits[1] - 1, inits[2] - 1),
            format!("{} ms", change.pause().as_millis()),
            holes.map(|hole| format!("{:.0} ms", hole.max(0.0) * 1e3)).join(" / "),
            format!("{} stalls, {} seeks, {:.0} ms off", viewing.stalls, viewing.seeks, viewing.jump),
        ]);
    }
    let table = Table {
        name: "changes",
        title: format!(
            "What a publisher sends becomes something else while it is live, 640x360 with two encoded rungs: new init segments, the \
             longest time in which a list showed nothing new, what is missing between two segments, and what a viewer in Chromium \
             (hls.js) saw. {}.",
            proc::machine()
        ),
        columns: vec![
            "what changes",
            "new inits: source / rung / sound",
            "list",
            "missing: source / rung / sound",
            "viewer",
        ],
        rows,
    };
    println!("{}", table.markdown());
    std::env::var_os("WEIR_ROWS").map_or(Ok(()), |file| table.write(&PathBuf::from(file)))
}
