//! Transport streams that hurt, made by `fixtures/ts/torture.py` with what has to come out of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use serde::Deserialize;
use wire::ts::{Demuxer, Event, PACKET};

/// What has to come out.
#[derive(Deserialize)]
struct Expected {
    /// pid, pts, dts, length, CRC-32.
    units: Vec<Unit>,
    /// Units that are dropped at least.
    damaged: u64,
    /// Of this pid unit n is out after packet `ends[n]`.
    early_pid: Option<u16>,
    ends: Vec<usize>,
}

type Unit = (u16, Option<u64>, Option<u64>, usize, u32);

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/ts/torture.py")
}

/// Everything that comes out where the stream is cut into such pieces, by pid; and how often something was said to be
/// missing.
fn demuxed(stream: &Bytes, piece: usize) -> (BTreeMap<u16, Vec<Unit>>, u64) {
    let (mut demuxer, mut damaged) = (Demuxer::default(), 0);
    let mut units: BTreeMap<u16, Vec<Unit>> = BTreeMap::new();
    for from in (0..stream.len()).step_by(piece) {
        demuxer.push(stream.slice(from..stream.len().min(from + piece)));
        while let Some(event) = demuxer.next() {
            match event {
                Event::Unit { pid, times, data, .. } => {
                    let unit = (pid, times.pts, times.dts, data.len(), crc32(&data));
                    units.entry(pid).or_default().push(unit);
                }
                Event::Damaged { .. } => damaged += 1,
                Event::Program(_) | Event::Section { .. } => {}
            }
        }
    }
    (units, damaged)
}

#[test]
fn what_has_to_come_out_comes_out_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("python3").arg(fixtures()).arg(folder.path()).status().unwrap();
    assert!(made.success());
    let mut cases = 0;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "ts") {
            continue;
        }
        cases += 1;
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let stream = Bytes::from(std::fs::read(&path).unwrap());
        let expected: Expected =
            serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
        let mut wanted: BTreeMap<u16, Vec<Unit>> = BTreeMap::new();
        for unit in &expected.units {
            wanted.entry(unit.0).or_default().push(*unit);
        }
        for piece in [PACKET * 7, PACKET, 997, 61, stream.len()] {
            let (units, damaged) = demuxed(&stream, piece);
            for (pid, wanted) in &wanted {
                let got = units.get(pid).map(Vec::as_slice).unwrap_or_default();
                let differs = wanted.iter().zip(got).position(|(a, b)| a != b);
                assert_eq!(
                    (differs, wanted.len()),
                    (None, got.len()),
                    "{name}, pid {pid:#x}, pieces of {piece}: {:?}",
                    differs.map(|at| (wanted[at], got[at]))
                );
            }
            assert_eq!(units.len(), wanted.len(), "{name}: units of pids that nobody announced");
            assert!(damaged >= expected.damaged, "{name}: {damaged} of {} counted", expected.damaged);
        }
        comes_at_once(&name, &stream, &expected);
    }
    assert!(cases >= 13, "{cases} cases");
}

/// A unit without a length is not held back until the next one begins.
fn comes_at_once(name: &str, stream: &Bytes, expected: &Expected) {
    let Some(early) = expected.early_pid else { return };
    let mut demuxer = Demuxer::default();
    let mut out = 0;
    for (place, packet) in
        (0..stream.len()).step_by(PACKET).map(|at| stream.slice(at..at + PACKET)).enumerate()
    {
        demuxer.push(packet);
        while let Some(event) = demuxer.next() {
            out += usize::from(matches!(event, Event::Unit { pid, .. } if pid == early));
        }
        let due = expected.ends.iter().filter(|end| **end <= place).count();
        assert!(out >= due, "{name}: {out} units of {due} after packet {place}");
    }
}
