//! The worker process by itself: how it ends, and what it may not do.

#![allow(clippy::disallowed_methods, reason = "a process of std has no wait with a deadline")]

use std::{
    io::{Read as _, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

fn worker() -> (UnixStream, Child) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_media-server"))
        .arg("transcode-worker")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    (ours, child)
}

fn ends(mut child: Child) -> ExitStatus {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().ok();
            child.wait().ok();
            panic!("the worker outlives its daemon");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_worker_whose_daemon_is_gone_ends_by_itself() {
    let (socket, child) = worker();
    drop(socket);
    ends(child);
}

#[test]
fn a_worker_that_is_sent_garbage_says_so_and_ends() {
    let (mut socket, child) = worker();
    socket.write_all(&[0, 0, 0, 3, 99, 1, 2, 3]).unwrap();
    let mut said = Vec::new();
    socket.read_to_end(&mut said).unwrap();
    assert!(String::from_utf8_lossy(&said).contains("unknown message kind 99"));
    assert!(!ends(child).success());
}

#[test]
fn a_worker_started_by_hand_says_who_should_start_it() {
    let output = Command::new(env!("CARGO_BIN_EXE_media-server"))
        .arg("transcode-worker")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("media-server run"));
}

#[test]
fn a_worker_has_its_memory_bounded_and_its_system_calls_filtered() {
    let (socket, child) = worker();
    let status = format!("/proc/{}/status", child.id());
    let deadline = Instant::now() + Duration::from_secs(10);
    // 2: a filter is in force (proc(5)).
    while !std::fs::read_to_string(&status).unwrap().contains("Seccomp:\t2") {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let data = limits.lines().find(|line| line.starts_with("Max data size")).unwrap();
    assert!(!data.contains("unlimited"), "{data}");
    drop(socket);
    ends(child);
}
