//! What a transport stream is like, read packet by packet (ISO/IEC 13818-1, TR 101 290).

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

/// Ticks a second of the timestamps.
const RATE: f64 = 90_000.0;

/// What was seen of one.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// From the first to the last time of its clock.
    pub seconds: f64,
    /// Continuity counters that did not go on.
    pub holes: usize,
    /// The longest time between two program association tables, seconds.
    pub tables_apart: f64,
    /// The longest time between two times of the clock, seconds.
    pub clock_apart: f64,
    /// Every unit's decoding time lies after the clock at its first packet.
    pub clock_before_units: bool,
    /// Units by PID.
    pub units: BTreeMap<u16, usize>,
}

fn time(bytes: &[u8]) -> f64 {
    let at = |n: usize| u64::from(bytes[n]);
    ((at(0) & 0x0e) << 29 | at(1) << 22 | (at(2) & 0xfe) << 14 | at(3) << 7 | at(4) >> 1) as f64
}

impl Seen {
    /// Reads whole packets.
    pub fn of(stream: &[u8]) -> Result<Self> {
        let mut seen = Self { clock_before_units: true, ..Self::default() };
        let mut counters: BTreeMap<u16, u8> = BTreeMap::new();
        let (mut first, mut clock, mut tables) = (None, None::<f64>, None::<f64>);
        ensure!(stream.len() >= 188, "no packet");
        for packet in stream.chunks_exact(188) {
            ensure!(packet[0] == 0x47, "no sync byte");
            let pid = u16::from_be_bytes([packet[1], packet[2]]) & 0x1fff;
            let (start, field, payload) =
                (packet[1] & 0x40 != 0, packet[3] & 0x20 != 0, packet[3] & 0x10 != 0);
            if payload && let Some(last) = counters.insert(pid, packet[3] & 0x0f) {
                seen.holes += usize::from((last + 1) & 0x0f != packet[3] & 0x0f);
            }
            if field && packet[4] >= 7 && packet[5] & 0x10 != 0 {
                let base = [6, 7, 8, 9].iter().fold(0_u64, |sum, at| sum << 8 | u64::from(packet[*at])) << 1;
                let now = (base | u64::from(packet[10] >> 7)) as f64 / RATE;
                if let Some(last) = clock.replace(now) {
                    ensure!(now > last, "the clock goes back: {last} to {now}");
                    seen.clock_apart = seen.clock_apart.max(now - last);
                }
                first.get_or_insert(now);
                seen.seconds = now - first.unwrap_or(now);
            }
            if pid == 0
                && let Some(now) = clock
                && let Some(last) = tables.replace(now)
            {
                seen.tables_apart = seen.tables_apart.max(now - last);
            }
            let at = 4 + if field { 1 + usize::from(packet[4]) } else { 0 };
            if start && payload && packet.get(at..at + 3) == Some(&[0, 0, 1]) {
                *seen.units.entry(pid).or_default() += 1;
                let both = packet[at + 7] & 0x40 != 0;
                let dts = time(&packet[at + if both { 14 } else { 9 }..]) / RATE;
                seen.clock_before_units &= clock.is_none_or(|clock| dts > clock && dts < clock + 1.0);
            }
        }
        Ok(seen)
    }
}

/// CRC_32 of annex A.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            if crc & 0x8000_0000 == 0 { crc << 1 } else { crc << 1 ^ 0x04c1_1db7 }
        })
    })
}

/// A packet of this PID with a payload that begins in it, filled up with stuffing before it.
fn packet(pid: u16, counter: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x47, 0x40 | (pid >> 8) as u8, pid as u8, 0x30 | counter & 0x0f];
    let stuffing = 183 - payload.len();
    out.push(stuffing as u8);
    if stuffing > 0 {
        out.push(0);
        out.resize(4 + 1 + stuffing, 0xff);
    }
    out.extend(payload);
    out
}

/// PIDs of what [`with_metadata`] adds.
const SPLICES: u16 = 0x1f0;
const TAGS: u16 = 0x1f1;

/// A whole splice information section: `splice_insert` out of the programme, at once.
pub fn splice_section() -> Vec<u8> {
    let mut section = vec![0xfc, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xf0, 10, 5];
    section.extend([0, 0, 0, 9, 0x7f, 0xdf, 0, 1, 0, 0, 0, 0]);
    section[2] = (section.len() + 4 - 3) as u8;
    let sum = crc(&section);
    section.extend(sum.to_be_bytes());
    section
}

/// The section of a program's map without its checksum, where this packet has it. `map`: the PID that it comes by, once the
/// association has said it.
fn map_section(packet: &[u8], map: &mut Option<u16>) -> Option<Vec<u8>> {
    let pid = u16::from_be_bytes([packet[1], packet[2]]) & 0x1fff;
    let start = packet[1] & 0x40 != 0;
    if pid == 0 && start {
        // The first program behind the section's head.
        *map = Some(u16::from_be_bytes([packet[15], packet[16]]) & 0x1fff);
    }
    let length = usize::from(u16::from_be_bytes([packet[6], packet[7]]) & 0x0fff);
    (Some(pid) == *map && start).then(|| packet[5..5 + 3 + length - 4].to_vec())
}

/// The packet with another section, whose length and checksum are put right.
fn with_section(packet: &[u8], mut section: Vec<u8>) -> Vec<u8> {
    let length = section.len() + 4 - 3;
    (section[1], section[2]) = (0xb0 | (length >> 8) as u8, length as u8);
    let sum = crc(&section);
    section.extend(sum.to_be_bytes());
    let mut changed = packet[..4].to_vec();
    changed.push(0);
    changed.extend(section);
    changed.resize(188, 0xff);
    changed
}

/// The stream of a muxer that puts each table into one packet (ffmpeg), and learns of its picture late: the first `packets`
/// have a map of the sound alone.
pub fn with_late_picture(stream: &[u8], packets: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut map = None;
    for (n, original) in stream.chunks_exact(188).enumerate() {
        let section = map_section(original, &mut map).filter(|_| n < packets);
        let Some(mut section) = section else {
            out.extend(original);
            continue;
        };
        // A version before the real one.
        section[5] = 0xc1 | (section[5] & 0x3e).wrapping_sub(2) & 0x3e;
        let mut at = 12 + (usize::from(section[10] & 0x0f) << 8 | usize::from(section[11]));
        while at < section.len() {
            let entry = 5 + (usize::from(section[at + 3] & 0x0f) << 8 | usize::from(section[at + 4]));
            if section[at] == 0x1b {
                section.drain(at..at + entry);
            } else {
                at += entry;
            }
        }
        out.extend(with_section(original, section));
    }
    out
}

/// The stream of a muxer that puts each table into one packet (ffmpeg), with two more streams: SCTE 35, of which a
/// section comes every 200 packets, and ID3 tags, as often.
pub fn with_metadata(stream: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut map = None;
    let mut counter = 0;
    for (n, original) in stream.chunks_exact(188).enumerate() {
        if let Some(mut section) = map_section(original, &mut map) {
            section.extend([0x86, 0xe0 | (SPLICES >> 8) as u8, SPLICES as u8, 0xf0, 6]);
            section.extend([&[5, 4][..], b"CUEI"].concat());
            section.extend([0x15, 0xe0 | (TAGS >> 8) as u8, TAGS as u8, 0xf0, 6]);
            section.extend([&[5, 4][..], b"ID3 "].concat());
            out.extend(with_section(original, section));
        } else {
            out.extend(original);
        }
        if n % 200 == 100 {
            counter += 1;
            out.extend(packet(SPLICES, counter, &[&[0][..], &splice_section()].concat()));
            let tag = b"ID3\x04\0\0\0\0\0\x02hi";
            let length = (tag.len() + 3) as u8;
            let unit = [&[0, 0, 1, 0xbd, 0, length, 0x80, 0, 0][..], tag].concat();
            out.extend(packet(TAGS, counter, &unit));
        }
    }
    out
}
