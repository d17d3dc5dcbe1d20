//! A worker that dies, hangs or is fed rubbish costs its stream a moment, and never a frame that it could decode.

#![allow(clippy::disallowed_methods, reason = "each test owns its tasks")]

mod transcode_source;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use bytes::Bytes;
use media::AccessUnit;
use media_server::transcode::{Limits, RungEvent, TranscodeSpec, Transcoder, Workers, start};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use transcode_source::{Given, Wish, decode, job, presented, program, read_until, source};

/// Sends a signal by name to one process.
fn signal(name: &str, pid: u32) {
    let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()));
}

fn is_there(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

struct Running {
    transcoder: Transcoder,
    events: mpsc::Receiver<RungEvent>,
    driver: JoinHandle<()>,
    given: Given,
}

fn run(spec: TranscodeSpec) -> Running {
    let given = Given::new(spec.rungs.len());
    let (transcoder, events, driver) = start(spec, program(), CancellationToken::new());
    Running { transcoder, events, driver: tokio::spawn(driver), given }
}

impl Running {
    async fn until(&mut self, enough: impl FnMut(&Given) -> bool) {
        read_until(&mut self.events, &mut self.given, enough).await;
    }

    /// Ends the source and reads the rest.
    async fn finish(mut self) -> Given {
        drop(self.transcoder);
        read_until(&mut self.events, &mut self.given, |_| false).await;
        self.driver.await.unwrap();
        self.given
    }
}

/// Pushes units `range` of a source, an edge at every sixtieth.
fn push(running: &Running, units: &[AccessUnit], range: std::ops::Range<usize>) {
    for index in range {
        running.transcoder.push(units[index].clone(), index % 60 == 0).unwrap();
    }
}

#[tokio::test]
async fn a_killed_worker_is_replaced_and_nothing_is_lost_or_doubled() {
    for b_frames in [0, 3] {
        let source = source(Wish { b_frames, ..Wish::default() });
        let mut running = run(job(&source));
        push(&running, &source.units, 0..46);
        running.until(|given| given.units.iter().all(|units| units.len() > 40)).await;
        let (pid, before) = (running.transcoder.pid().unwrap(), running.given.units[0].len());

        let killed = Instant::now();
        signal("KILL", pid);
        // Frames come while it is dead, as they do from a publisher.
        push(&running, &source.units, 46..60);
        running.until(|given| given.units[0].len() > before + 5).await;
        // 150 ms on an idle machine (`worker_latency` measures it), with room for a busy one.
        assert!(killed.elapsed() < Duration::from_secs(5));
        assert!(!is_there(pid), "the dead worker is reaped");

        push(&running, &source.units, 60..source.units.len());
        let given = running.finish().await;
        assert_eq!((given.restarts.len(), &given.failed), (1, &None), "{:?}", given.restarts);
        assert!(given.restarts[0].contains("signal 9"), "{}", given.restarts[0]);
        for rung in 0..2 {
            assert_eq!(given.pts(rung), presented(&source.units));
            // The same settings give the same parameter sets: players need no new init segment.
            assert_eq!(given.formats[rung].len(), 1);
            assert_eq!(decode(&given.formats[rung][0], &given.units[rung]), source.units.len());
            // One keyframe beside the edges: where the new worker began.
            assert_eq!(given.keyframes(rung).len(), 4);
        }
    }
}

#[tokio::test]
async fn a_killed_worker_whose_pictures_are_reordered_is_replaced_and_nothing_is_doubled() {
    let source = source(Wish::default());
    let mut spec = job(&source);
    spec.rungs[0].tuning.b_frames = 2;
    spec.rungs[1].tuning.b_frames = 2;
    spec.rungs[1].tuning.lookahead = 20;
    let mut running = run(spec);
    push(&running, &source.units, 0..70);
    running.until(|given| given.units.iter().all(|units| units.len() > 30)).await;
    signal("KILL", running.transcoder.pid().unwrap());
    push(&running, &source.units, 70..source.units.len());
    let given = running.finish().await;
    assert_eq!((given.restarts.len(), &given.failed), (1, &None), "{:?}", given.restarts);
    let presented = presented(&source.units);
    for rung in 0..2 {
        let units = &given.units[rung];
        assert!(units.windows(2).all(|pair| pair[0].dts < pair[1].dts), "rung {rung}");
        assert!(units.iter().all(|unit| unit.dts <= unit.pts), "rung {rung}");
        let mut pts = given.pts(rung);
        assert!(!pts.is_sorted(), "no B-frame in rung {rung}");
        pts.sort_unstable();
        assert!(pts.windows(2).all(|pair| pair[0] < pair[1]), "doubled in rung {rung}");
        // Those in front of the last reference that came: what refers to it is gone with the worker.
        let lost = presented.iter().filter(|at| !pts.contains(at)).count();
        assert!(lost <= 2, "{lost} frames of rung {rung}");
        assert_eq!(given.formats[rung].len(), 1);
        assert_eq!(decode(&given.formats[rung][0], units), units.len());
    }
}

#[tokio::test]
async fn a_worker_killed_while_it_is_busy_loses_nothing_either() {
    let source = source(Wish::default());
    let mut running = run(job(&source));
    push(&running, &source.units, 0..source.units.len());
    for mark in [10, 70] {
        running.until(|given| given.units[1].len() > mark).await;
        signal("KILL", running.transcoder.pid().unwrap());
        let restarts = running.given.restarts.len();
        running.until(|given| given.restarts.len() > restarts).await;
        // The next worker's process id is there when it gives something.
        let units = running.given.units[1].len();
        running.until(|given| given.units[1].len() > units).await;
    }
    let given = running.finish().await;
    assert_eq!((given.restarts.len(), &given.failed), (2, &None));
    for rung in 0..2 {
        assert_eq!(given.pts(rung), presented(&source.units));
        assert_eq!(decode(&given.formats[rung][0], &given.units[rung]), source.units.len());
    }
}

#[tokio::test]
async fn a_worker_that_hangs_is_replaced_and_nothing_is_lost() {
    let source = source(Wish::default());
    let mut spec = job(&source);
    spec.limits.hang = Duration::from_millis(500);
    let mut running = run(spec);
    push(&running, &source.units, 0..40);
    running.until(|given| given.units.iter().all(|units| units.len() > 35)).await;
    let pid = running.transcoder.pid().unwrap();
    signal("STOP", pid);
    push(&running, &source.units, 40..source.units.len());
    running.until(|given| !given.restarts.is_empty()).await;
    assert!(running.given.restarts[0].contains("hung"), "{}", running.given.restarts[0]);
    assert!(!is_there(pid));
    let given = running.finish().await;
    assert_eq!((given.restarts.len(), &given.failed), (1, &None));
    assert_eq!(given.pts(1), presented(&source.units));
}

#[tokio::test]
async fn a_source_that_pauses_is_not_taken_for_a_hung_worker() {
    let source = source(Wish::default());
    let mut spec = job(&source);
    spec.limits.hang = Duration::from_millis(200);
    let mut running = run(spec);
    push(&running, &source.units, 0..60);
    running.until(|given| given.units.iter().all(|units| units.len() == 60)).await;
    // Nothing to wait for: the promise is that nothing happens.
    tokio::time::sleep(Duration::from_millis(900)).await;
    push(&running, &source.units, 60..source.units.len());
    let given = running.finish().await;
    assert_eq!((given.restarts, given.failed), (Vec::new(), None));
    assert_eq!(given.units[0].len(), source.units.len());
}

#[tokio::test]
async fn rubbish_in_the_payload_costs_its_frames_and_no_more() {
    let mut source = source(Wish { gop: 30, ..Wish::default() });
    // A whole GOP of noise, of lengths that lie, and of nothing.
    let mut noise = 0x2545_f491_u32;
    for index in 31..60 {
        let mut payload = source.units[index].payload.to_vec();
        for byte in &mut payload {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (noise >> 24) as u8;
        }
        if index % 3 == 0 {
            payload.truncate(index % 5);
        }
        source.units[index].payload = Bytes::from(payload);
    }
    let mut running = run(job(&source));
    push(&running, &source.units, 0..source.units.len());
    running.until(|given| given.units.iter().all(|units| units.len() >= 100)).await;
    let given = running.finish().await;
    assert_eq!(given.failed, None);
    let expected = presented(&source.units);
    for rung in 0..2 {
        let pts = given.pts(rung);
        assert!(pts.is_sorted_by(|a, b| a < b) && pts.iter().all(|pts| expected.contains(pts)));
        assert!(expected[60..].iter().all(|wanted| pts.contains(wanted)), "the next GOP is whole");
        decode(&given.formats[rung][0], &given.units[rung]);
    }
}

#[tokio::test]
async fn a_configuration_of_rubbish_ends_no_daemon_and_says_why_nothing_comes() {
    let mut source = source(Wish { seconds: 1, ..Wish::default() });
    source.format.config = Bytes::from_static(&[1, 2, 3, 255, 255, 255, 255, 255]);
    let running = run(job(&source));
    push(&running, &source.units, 0..30);
    let given = running.finish().await;
    assert!(given.units[0].is_empty());
}

#[tokio::test]
async fn a_job_that_cannot_be_done_fails_at_once_with_its_reason() {
    let source = source(Wish { seconds: 1, ..Wish::default() });
    let mut spec = job(&source);
    spec.rungs[1].width = 321;
    let given = run(spec).finish().await;
    assert!(given.failed.as_deref().is_some_and(|reason| reason.contains("321x180")), "{:?}", given.failed);
}

#[tokio::test]
async fn a_program_that_is_no_worker_is_given_up_after_its_restarts() {
    let source = source(Wish { seconds: 1, ..Wish::default() });
    let spec = TranscodeSpec { limits: Limits { restarts: 2, ..Limits::default() }, ..job(&source) };
    let (transcoder, mut events, driver) =
        start(spec, std::path::PathBuf::from("/bin/false"), CancellationToken::new());
    let driver = tokio::spawn(driver);
    let mut given = Given::new(2);
    read_until(&mut events, &mut given, |_| false).await;
    driver.await.unwrap();
    assert_eq!(given.restarts.len(), 2);
    assert!(given.failed.is_some_and(|reason| reason.contains("given up")));
    assert_eq!(transcoder.pid(), None);
    // The source goes on without it.
    for _ in 0..1000 {
        transcoder.push(source.units[0].clone(), true).unwrap();
    }
    assert_eq!(transcoder.stats().dropped, 0);
}

#[tokio::test]
async fn cancelling_ends_the_worker_at_once() {
    let source = source(Wish { seconds: 1, ..Wish::default() });
    let cancel = CancellationToken::new();
    let (transcoder, mut events, driver) = start(job(&source), program(), cancel.clone());
    let driver = tokio::spawn(driver);
    transcoder.push(source.units[0].clone(), true).unwrap();
    let mut given = Given::new(2);
    read_until(&mut events, &mut given, |given| !given.units[0].is_empty()).await;
    let pid = transcoder.pid().unwrap();
    cancel.cancel();
    driver.await.unwrap();
    let gone = async {
        while is_there(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("the worker ends and is reaped");
}

#[tokio::test]
async fn without_rungs_no_worker_starts() {
    let source = source(Wish { seconds: 1, ..Wish::default() });
    let mut spec = job(&source);
    spec.rungs.clear();
    let (transcoder, mut events, driver) = start(spec, program(), CancellationToken::new());
    driver.await;
    assert_eq!((transcoder.pid(), events.recv().await), (None, None));
}

#[tokio::test]
async fn a_spare_worker_takes_over_and_a_dead_spare_harms_nobody() {
    let source = source(Wish { seconds: 2, ..Wish::default() });
    let workers = Workers::new(program());
    workers.keep_spare().unwrap();
    let run = async |workers: Workers| {
        let (transcoder, mut events, driver) = start(job(&source), workers, CancellationToken::new());
        let driver = tokio::spawn(driver);
        let mut given = Given::new(2);
        for (index, unit) in source.units[..40].iter().enumerate() {
            transcoder.push(unit.clone(), index == 0).unwrap();
        }
        read_until(&mut events, &mut given, |given| given.units[0].len() > 30).await;
        let before = given.units[0].len();
        signal("KILL", transcoder.pid().unwrap());
        for unit in &source.units[40..] {
            transcoder.push(unit.clone(), false).unwrap();
        }
        read_until(&mut events, &mut given, |given| given.units[0].len() > before + 15).await;
        drop(transcoder);
        read_until(&mut events, &mut given, |_| false).await;
        driver.await.unwrap();
        assert_eq!((given.restarts.len(), &given.failed), (1, &None));
        assert_eq!(given.pts(1), presented(&source.units));
    };
    run(workers.clone()).await;
    run(workers).await;
}
