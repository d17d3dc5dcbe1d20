//! What the control plane gets to know, whatever happens to it or to this process.

use std::path::Path;
use std::time::Duration;

use tokio::task::JoinSet;

use super::*;
use crate::admission::control::{Call, ControlPlane, Reply, endpoint, secret};
use crate::admission::event::tests::client;
use crate::admission::event::{HealthData, ThumbnailData};

fn started() -> EventData {
    EventData::Started { protocol: "rtmp", client: client() }
}

fn stopped() -> EventData {
    EventData::Stopped(StoppedData { reason: "left", duration_ms: 1, bytes: 2 })
}

fn health() -> EventData {
    EventData::Health(HealthData { bitrate_kbps: 1, millifps: 30_000, repairs: 0, findings: Vec::new() })
}

/// An outbox whose delivery runs until it is dropped, as if the process were killed.
struct Running {
    outbox: Outbox,
    endpoint: SharedEndpoint,
    _delivery: JoinSet<()>,
}

fn run(folder: &Path, target: Option<Endpoint>) -> Running {
    let endpoint = SharedEndpoint::new(target);
    let (outbox, delivery) =
        Outbox::open(folder.to_owned(), endpoint.clone(), "origin-1".into(), Metrics::new()).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(delivery);
    Running { outbox, endpoint, _delivery: tasks }
}

fn told(calls: &[Call]) -> Vec<String> {
    let line = |call: &Call| {
        let json = call.json();
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", text("stream"), text("type"), json["seq"])
    };
    calls.iter().map(line).collect()
}

async fn acknowledged(outbox: &Outbox) {
    let told = async {
        while outbox.pending() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), told).await.expect("everything is acknowledged");
}

async fn emptied(outbox: &Outbox, folder: &Path) {
    let empty = async {
        while outbox.pending() > 0 || std::fs::read_dir(folder).unwrap().count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), empty).await.expect("the outbox empties");
}

#[tokio::test]
async fn a_session_is_told_from_its_start_to_its_end_and_nothing_stays_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = ControlPlane::start([]).await;
    let running = run(folder.path(), Some(control.endpoint()));
    running.outbox.record("ada", "ses_1", started()).await;
    running.outbox.record("ada", "ses_1", health()).await;
    running.outbox.record("ada", "ses_1", stopped()).await;
    let calls = control.calls(3).await;
    assert_eq!(told(&calls), ["ada publish.started 1", "ada stream.health 2", "ada publish.stopped 3"]);
    let (id, timestamp) = (calls[0].header("webhook-id"), calls[0].header("webhook-timestamp"));
    assert_eq!(calls[0].header("webhook-signature"), secret().sign(id, timestamp, &calls[0].body));
    emptied(&running.outbox, folder.path()).await;
}

#[tokio::test]
async fn what_fails_is_told_again_under_the_same_id_before_what_follows() {
    let folder = tempfile::tempdir().unwrap();
    let mut control =
        ControlPlane::start([Reply::Answer(500, Vec::new()), Reply::Cut, Reply::Answer(503, Vec::new())])
            .await;
    let running = run(folder.path(), Some(control.endpoint()));
    running.outbox.record("ada", "ses_1", started()).await;
    running.outbox.record("ada", "ses_1", stopped()).await;
    let calls = control.calls(5).await;
    let expected = [&["ada publish.started 1"; 4][..], &["ada publish.stopped 2"]].concat();
    assert_eq!(told(&calls), expected);
    assert!(calls[..4].iter().all(|c| c.header("webhook-id") == calls[0].header("webhook-id")));
    assert!(calls[..4].iter().all(|c| c.body == calls[0].body));
    emptied(&running.outbox, folder.path()).await;
}

#[tokio::test]
async fn one_stream_that_hangs_does_not_hold_up_another() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = ControlPlane::start([Reply::Hang]).await;
    let running = run(folder.path(), Some(endpoint(control.address, Duration::from_secs(90))));
    running.outbox.record("ada", "ses_1", started()).await;
    control.calls(1).await;
    running.outbox.record("bob", "ses_2", started()).await;
    assert_eq!(told(&control.calls(2).await)[1], "bob publish.started 1");
}

#[tokio::test]
async fn a_control_plane_that_is_away_hears_of_it_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let away = ControlPlane::start([]).await.address;
    let running = run(folder.path(), Some(endpoint(away, Duration::from_millis(500))));
    running.outbox.record("ada", "ses_1", started()).await;
    assert_eq!(running.outbox.pending(), 1);
    let mut control = ControlPlane::start_at(away, []).await;
    assert_eq!(told(&control.calls(1).await), ["ada publish.started 1"]);
}

#[tokio::test]
async fn another_address_gets_what_waits_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let away = ControlPlane::start([]).await.address;
    let running = run(folder.path(), Some(endpoint(away, Duration::from_millis(500))));
    running.outbox.record("ada", "ses_1", started()).await;
    let mut control = ControlPlane::start([]).await;
    running.endpoint.set(Some(control.endpoint()));
    assert_eq!(told(&control.calls(1).await), ["ada publish.started 1"]);
}

#[tokio::test]
async fn a_killed_process_tells_at_its_next_start_what_it_had_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = ControlPlane::start([Reply::Hang]).await;
    let running = run(folder.path(), Some(endpoint(control.address, Duration::from_secs(90))));
    running.outbox.record("ada", "ses_1", started()).await;
    running.outbox.record("ada", "ses_1", stopped()).await;
    let first = control.calls(1).await;
    // In the middle of the first call.
    drop(running);
    let running = run(folder.path(), Some(control.endpoint()));
    let calls = control.calls(3).await;
    assert_eq!(told(&calls), ["ada publish.started 1", "ada publish.started 1", "ada publish.stopped 2"]);
    assert_eq!(calls[1].header("webhook-id"), first[0].header("webhook-id"));
    emptied(&running.outbox, folder.path()).await;
}

#[tokio::test]
async fn a_picture_that_is_ready_after_the_end_opens_no_session_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = ControlPlane::start([]).await;
    let running = run(folder.path(), Some(control.endpoint()));
    let picture = || {
        let path = "/live/ada/thumb.jpg".to_owned();
        EventData::Thumbnail(ThumbnailData { path, width: 640, height: 360, bytes: 1 })
    };
    for data in [started(), picture(), stopped(), picture()] {
        running.outbox.record("ada", "ses_1", data).await;
    }
    let calls = control.calls(3).await;
    acknowledged(&running.outbox).await;
    assert_eq!(told(&calls), ["ada publish.started 1", "ada thumbnail.ready 2", "ada publish.stopped 3"]);
    drop(running);
    let running = run(folder.path(), Some(control.endpoint()));
    assert_eq!(running.outbox.pending(), 0, "no session is taken for one that the server died in");
}

#[tokio::test]
async fn the_next_start_ends_the_sessions_that_a_kill_left_open() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = ControlPlane::start([]).await;
    let running = run(folder.path(), Some(control.endpoint()));
    running.outbox.record("ada", "ses_1", started()).await;
    running.outbox.record("ada", "ses_1", health()).await;
    control.calls(2).await;
    acknowledged(&running.outbox).await;
    drop(running);
    let running = run(folder.path(), Some(control.endpoint()));
    let calls = control.calls(3).await;
    assert_eq!(told(&calls)[2], "ada publish.stopped 3");
    assert_eq!(calls[2].json()["reason"], "server-died");
    emptied(&running.outbox, folder.path()).await;
}

#[tokio::test]
async fn without_a_control_plane_nothing_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let running = run(folder.path(), None);
    running.outbox.record("ada", "ses_1", started()).await;
    running.outbox.record("ada", "ses_1", stopped()).await;
    assert_eq!(running.outbox.pending(), 0);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_full_outbox_loses_health_first_and_counts_it() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = SharedEndpoint::new(Some(endpoint("127.0.0.1:9".parse().unwrap(), Duration::from_secs(1))));
    let (outbox, _never_polled) =
        Outbox::bounded(folder.path().to_owned(), nobody, "n".into(), Metrics::new(), 3).unwrap();
    for data in [started(), health(), health(), health(), stopped()] {
        outbox.record("ada", "ses_1", data).await;
    }
    assert_eq!((outbox.pending(), outbox.lost()), (3, 2));
    let mut control = ControlPlane::start([]).await;
    let running = run(folder.path(), Some(control.endpoint()));
    assert_eq!(
        told(&control.calls(3).await),
        ["ada publish.started 1", "ada stream.health 4", "ada publish.stopped 5"]
    );
    emptied(&running.outbox, folder.path()).await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let opened = Outbox::open(file, SharedEndpoint::new(None), "n".into(), Metrics::new());
    assert!(opened.is_err());
}
