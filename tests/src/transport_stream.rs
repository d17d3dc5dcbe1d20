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
