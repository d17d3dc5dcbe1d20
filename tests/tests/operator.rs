//! What an operator sees and does: health, metrics, signals, bad starts, and edits of a running server's file.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use weir_tests::{
    llhls,
    program::Program,
    publisher::{Ffmpeg, Source},
    wait,
    world::Plan,
};

#[tokio::test(flavor = "multi_thread")]
async fn health_metrics_and_a_clean_end() -> Result<()> {
    let mut world = Plan::admitted()?.pass_through().start().await?;
    let control = world.control()?.http.clone();
    for base in [&world.media.admin, &control] {
        for path in ["healthz", "readyz", "metrics"] {
            let answer = world.client.get(&format!("{base}/{path}")).await?;
            assert!(answer.status.is_success(), "{base}/{path}: {}", answer.status);
        }
    }
    let _publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("none"))?;
    let status = world.media.program.stop().await?;
    assert_eq!(status.code(), Some(0), "{}", world.media.program.log_tail(20));
    let status = world.control.as_mut().context("control")?.program.stop().await?;
    assert_eq!(status.code(), Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_said_and_ends_the_start() -> Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    for key in ["rtmp", "http", "admin"] {
        let plan = Plan::open()?.media(&format!("[{key}]\nlisten = \"{address}\"\n"));
        let error = plan.start().await.err().with_context(|| format!("[{key}] started on a taken port"))?;
        assert!(format!("{error:#}").contains(&address), "[{key}]: {error:#}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unwritable_data_folder_is_said_and_ends_the_start() -> Result<()> {
    // A file where the folder should be: unwritable for root too.
    let plan = Plan::open()?;
    let file = plan.folder().join("file");
    std::fs::write(&file, "")?;
    let below = file.join("data").display().to_string();
    let config = plan.folder().join("bad.toml");
    std::fs::write(
        &config,
        format!("data_dir = {}\n[admission]\nmode = \"open\"\n", toml::Value::from(below)),
    )?;
    for program in ["media-server", "control-plane"] {
        if program == "control-plane" {
            let text = std::fs::read_to_string(&config)?.replace("[admission]\nmode = \"open\"\n", "");
            std::fs::write(&config, text)?;
        }
        let path = config.to_str().context("a path")?;
        let mut command = tokio::process::Command::new(weir_tests::program::binary(program)?);
        command.args(["run", "--config", path]).env_remove("WEIR_DATA");
        let mut started = Program::start(program, command)?;
        let status = started.ended(Duration::from_secs(10)).await?;
        assert!(!status.success());
        assert!(started.log().contains("file/data"), "{program}: {}", started.log());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_of_other_settings_are_not_noticed_by_a_stream() -> Result<()> {
    let mut world = Plan::open()?.pass_through().start().await?;
    let mut publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("calm"))?;
    world.media.playlist("calm", Duration::from_secs(15)).await?;
    let config = world.media.config.clone();
    let text = std::fs::read_to_string(&config)?;
    let url = world.media.hls("calm");
    let mut check = tokio::task::JoinSet::new();
    check.spawn(async move { llhls::check(&url, Duration::from_secs(20)).await });
    for edit in 0..10_u32 {
        let changed: toml::Table = text.parse()?;
        let mut changed = changed;
        let http = changed.entry("http").or_insert_with(|| toml::Table::new().into());
        http.as_table_mut()
            .context("[http]")?
            .insert("max_connections".into(), i64::from(5000 + edit).into());
        let next = config.with_extension("next");
        std::fs::write(&next, changed.to_string())?;
        std::fs::rename(&next, &config)?;
        if edit % 2 == 1 {
            world.media.program.signal(Signal::HUP)?;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let report = check.join_next().await.context("no check")???;
    report.no_must_broken(&[])?;
    publisher.program.must_run()?;
    world.media.program.must_run()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_edit_changes_nothing_and_is_said() -> Result<()> {
    let mut world = Plan::open()?.pass_through().start().await?;
    let mut publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("kept"))?;
    world.media.playlist("kept", Duration::from_secs(15)).await?;
    let text = std::fs::read_to_string(&world.media.config)?;
    std::fs::write(&world.media.config, format!("{text}\n[rtmpp]\nlisten = \"x\"\n"))?;
    world.media.program.line("rtmpp", Duration::from_secs(10)).await?;
    publisher.program.must_run()?;
    world.media.playlist("kept", Duration::from_secs(2)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_ladder_applies_at_the_next_publish() -> Result<()> {
    let mut world = Plan::open()?.pass_through().media("[hls]\nreconnect_window_ms = 1000\n").start().await?;
    let mut publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("ladder"))?;
    let before = world.media.playlist("ladder", Duration::from_secs(15)).await?;
    assert_eq!(before.matches("#EXT-X-STREAM-INF").count(), 1, "{before}");
    let mut settings: toml::Table = std::fs::read_to_string(&world.media.config)?.parse()?;
    settings.remove("profiles");
    let text = format!("{settings}\n{}", weir_tests::ladder::SMALL);
    std::fs::write(&world.media.config, text)?;
    world.media.program.line("next publish", Duration::from_secs(10)).await?;
    let during = world.media.playlist("ladder", Duration::from_secs(1)).await?;
    assert_eq!(during.matches("#EXT-X-STREAM-INF").count(), 1, "{during}");
    publisher.program.stop().await?;
    let (client, url) = (world.client.clone(), world.media.hls("ladder"));
    wait::until("the first run's end", Duration::from_secs(30), || async {
        let answer = client.get(&url).await?;
        Ok((!answer.status.is_success() || answer.text().is_empty()).then_some(()))
    })
    .await
    .ok();
    let _publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("ladder"))?;
    wait::until("three rungs", Duration::from_secs(30), || async {
        let text = client.get(&url).await?.text();
        Ok((text.matches("#EXT-X-STREAM-INF").count() == 3).then_some(()))
    })
    .await
}
