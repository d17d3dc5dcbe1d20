use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;

const VIDEO: u16 = 0x100;
const AUDIO: u16 = 0x101;

/// Writes a transport stream as muxers do.
#[derive(Default)]
struct Muxer {
    bytes: BytesMut,
    counters: std::collections::HashMap<u16, u8>,
}

impl Muxer {
    fn packet(&mut self, pid: u16, start: bool, payload: &[u8], random_access: bool) -> usize {
        let counter = self.counters.entry(pid).or_insert(15);
        *counter = (*counter + 1) & 15;
        let field_wanted = random_access || payload.len() < 184;
        let room = if random_access { 182 } else { 184 };
        let taken = payload.len().min(room);
        let mut packet = vec![0x47, (pid >> 8) as u8 | if start { 0x40 } else { 0 }, pid as u8];
        packet.push(*counter | if field_wanted { 0x30 } else { 0x10 });
        if field_wanted {
            let length = 183 - taken;
            packet.push(length as u8);
            if length > 0 {
                packet.push(if random_access { 0x40 } else { 0 });
                packet.resize(packet.len() + length - 1, 0xff);
            }
        }
        packet.extend_from_slice(&payload[..taken]);
        assert_eq!(packet.len(), PACKET);
        self.bytes.extend_from_slice(&packet);
        taken
    }

    fn section(&mut self, pid: u16, table: u8, extension: u16, body: &[u8]) {
        let length = body.len() + 9;
        let mut section = vec![0, table, 0xb0 | (length >> 8) as u8, length as u8];
        section.extend_from_slice(&extension.to_be_bytes());
        section.extend_from_slice(&[0xc1, 0, 0]);
        section.extend_from_slice(body);
        let crc = crc32(&section[1..]);
        section.extend_from_slice(&crc.to_be_bytes());
        section.resize(184, 0xff);
        self.packet(pid, true, &section, false);
    }

    fn tables(&mut self, streams: &[(u8, u16, &[u8])]) {
        self.section(0, 0, 1, &[0, 1, 0xe0 | 0x10, 0]);
        let mut body = vec![0xe1, 0x00, 0xf0, 0];
        for (kind, pid, descriptors) in streams {
            body.extend_from_slice(&[
                *kind,
                0xe0 | (pid >> 8) as u8,
                *pid as u8,
                0xf0,
                descriptors.len() as u8,
            ]);
            body.extend_from_slice(descriptors);
        }
        self.section(0x1000, 2, 1, &body);
    }

    /// A PES packet; `bounded`: with its length.
    fn unit(&mut self, pid: u16, pts: u64, dts: Option<u64>, data: &[u8], bounded: bool) {
        let mut fields = stamp(if dts.is_some() { 3 } else { 2 }, pts);
        fields.extend(dts.map(|dts| stamp(1, dts)).unwrap_or_default());
        let length = if bounded { data.len() + fields.len() + 3 } else { 0 };
        let mut pes = vec![0, 0, 1, 0xe0, (length >> 8) as u8, length as u8, 0x80];
        pes.extend_from_slice(&[if dts.is_some() { 0xc0 } else { 0x80 }, fields.len() as u8]);
        pes.extend_from_slice(&fields);
        pes.extend_from_slice(data);
        let (mut at, mut first) = (0, true);
        while at < pes.len() {
            at += self.packet(pid, first, &pes[at..], false);
            first = false;
        }
    }
}

fn stamp(prefix: u8, at: u64) -> Vec<u8> {
    let high = (prefix << 4) | ((at >> 29) as u8 & 0x0e) | 1;
    let middle = (((at >> 14) as u16) & 0xfffe) | 1;
    let low = ((at << 1) as u16) | 1;
    [&[high][..], &middle.to_be_bytes(), &low.to_be_bytes()].concat()
}

fn all(demuxer: &mut Demuxer, bytes: Bytes) -> Vec<Event> {
    demuxer.push(bytes);
    std::iter::from_fn(|| demuxer.next()).collect()
}

fn units(events: &[Event]) -> Vec<(u16, Option<u64>, Option<u64>, usize)> {
    let unit = |event: &Event| match event {
        Event::Unit { pid, times, data, .. } => Some((*pid, times.pts, times.dts, data.len())),
        _ => None,
    };
    events.iter().filter_map(unit).collect()
}

fn damaged(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Damaged { .. })).count()
}

fn program() -> Muxer {
    let mut muxer = Muxer::default();
    muxer.tables(&[(0x1b, VIDEO, &[]), (0x0f, AUDIO, &[0x0a, 4, b'd', b'e', b'u', 0])]);
    muxer
}

#[test]
fn the_program_is_told_with_codings_and_languages() {
    let mut muxer = Muxer::default();
    muxer.tables(&[
        (0x1b, 0x100, &[]),
        (0x24, 0x101, &[]),
        (0x0f, 0x102, &[0x0a, 4, b'e', b'n', b'g', 0]),
        (0x06, 0x103, &[0x05, 4, b'O', b'p', b'u', b's', 0x7f, 2, 0x80, 2]),
        (0x81, 0x104, &[]),
        (0x06, 0x105, &[0x6a, 1, 0]),
        (0x15, 0x106, &[0x05, 4, b'K', b'L', b'V', b'A']),
        (0x86, 0x107, &[0x05, 4, b'C', b'U', b'E', b'I']),
        (0x06, 0x108, &[]),
        (0x03, 0x109, &[]),
    ]);
    let events = all(&mut Demuxer::default(), muxer.bytes.freeze());
    let [Event::Program(program)] = &events[..] else { panic!("{events:?}") };
    let codings: Vec<_> = program.streams.iter().map(|stream| stream.coding).collect();
    assert_eq!(
        codings,
        [
            Coding::H264,
            Coding::Hevc,
            Coding::Adts,
            Coding::Opus,
            Coding::Ac3,
            Coding::Ac3,
            Coding::Klv,
            Coding::Scte35,
            Coding::Unknown(6),
            Coding::MpegAudio
        ]
    );
    assert_eq!(program.streams[2].language, Some(*b"eng"));
    assert_eq!((program.streams[3].channels, program.pcr_pid), (2, 0x100));
}

#[test]
fn units_have_their_times_and_their_bytes() {
    let mut muxer = program();
    let picture: Vec<u8> = (0..70_000_u32).map(|n| n as u8).collect();
    muxer.unit(VIDEO, 0x1_ffff_fffe, Some(0x1_ffff_0000), &picture, false);
    muxer.unit(AUDIO, 5, None, &[7; 300], true);
    let events = all(&mut Demuxer::default(), muxer.bytes.freeze());
    assert_eq!(
        units(&events),
        [(VIDEO, Some(0x1_ffff_fffe), Some(0x1_ffff_0000), 70_000), (AUDIO, Some(5), None, 300)]
    );
    let Some(Event::Unit { data, .. }) = events.get(1) else { panic!("{events:?}") };
    assert_eq!(data, &picture);
}

#[test]
fn a_unit_without_a_length_is_given_with_its_last_packet() {
    let mut muxer = program();
    muxer.unit(VIDEO, 900, None, &[1; 1000], false);
    let events = all(&mut Demuxer::default(), muxer.bytes.freeze());
    assert_eq!(units(&events), [(VIDEO, Some(900), None, 1000)], "nothing came after it");
}

#[test]
fn a_unit_that_fills_its_packets_waits_for_the_next_one() {
    let mut muxer = program();
    // 14 bytes of header in front.
    muxer.unit(VIDEO, 900, None, &vec![1; 184 * 4 - 14], false);
    let mut demuxer = Demuxer::default();
    assert_eq!(units(&all(&mut demuxer, muxer.bytes.split().freeze())), []);
    muxer.unit(VIDEO, 1800, None, &[2; 10], false);
    let lengths: Vec<_> = units(&all(&mut demuxer, muxer.bytes.freeze())).iter().map(|unit| unit.3).collect();
    assert_eq!(lengths, [184 * 4 - 14, 10]);
}

#[test]
fn stuffing_within_a_unit_is_learnt() {
    let mut muxer = program();
    let write = |muxer: &mut Muxer, pts: u64| {
        let head = [&[0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5][..], &stamp(2, pts), &[9; 50]].concat();
        muxer.packet(VIDEO, true, &head, false);
        muxer.packet(VIDEO, false, &[9; 100], false);
        muxer.packet(VIDEO, false, &[9; 184], false);
    };
    (0..4).for_each(|n| write(&mut muxer, n * 3000));
    let events = all(&mut Demuxer::default(), muxer.bytes.freeze());
    // The first was given too early, and is said to be damaged by what follows; from then on all is waited for.
    let lengths: Vec<_> = units(&events).iter().map(|unit| unit.3).collect();
    assert_eq!(lengths, [50, 334, 334]);
    assert_eq!(damaged(&events), 1);
}

#[test]
fn a_lost_packet_costs_its_unit_and_no_other() {
    let mut muxer = program();
    let tables = muxer.bytes.split();
    for n in 0..5_u64 {
        muxer.unit(VIDEO, n * 3000, None, &[n as u8; 700], false);
    }
    let packets: Vec<_> = muxer.bytes.chunks(PACKET).map(<[u8]>::to_vec).collect();
    for lost in 0..packets.len() {
        let mut bytes = tables.clone();
        packets.iter().enumerate().filter(|(n, _)| *n != lost).for_each(|(_, p)| bytes.extend_from_slice(p));
        let mut demuxer = Demuxer::default();
        let events = all(&mut demuxer, bytes.freeze());
        let whole = units(&events);
        let expected = if lost + 1 == packets.len() { 4..=4 } else { 3..=4 };
        assert!(expected.contains(&whole.len()), "{lost}: {whole:?}");
        assert!(whole.iter().all(|unit| unit.3 == 700), "{lost}: {whole:?}");
        let told = lost > 0 && lost + 1 < packets.len();
        assert!(damaged(&events) > 0 || !told, "{lost}: nothing before or behind it tells");
    }
}

#[test]
fn a_packet_that_comes_twice_is_taken_once() {
    let mut muxer = program();
    let tables = muxer.bytes.split();
    muxer.unit(VIDEO, 0, None, &(0..1000).map(|n| n as u8).collect::<Vec<_>>(), false);
    let mut bytes = tables;
    for packet in muxer.bytes.chunks(PACKET) {
        bytes.extend_from_slice(packet);
        bytes.extend_from_slice(packet);
    }
    let mut demuxer = Demuxer::default();
    let events = all(&mut demuxer, bytes.freeze());
    assert_eq!(units(&events), [(VIDEO, Some(0), None, 1000)]);
    assert_eq!((demuxer.stats().duplicates, demuxer.stats().holes), (6, 0));
}

#[test]
fn joining_in_the_middle_and_garbage_in_between_are_passed_over() {
    let mut muxer = program();
    muxer.unit(VIDEO, 0, None, &[1; 500], false);
    let clean = muxer.bytes.split();
    // The garbage hides the first table.
    (0..2).for_each(|_| muxer.tables(&[(0x1b, VIDEO, &[]), (0x0f, AUDIO, &[])]));
    muxer.unit(VIDEO, 3000, None, &[2; 500], false);
    let mut bytes = BytesMut::from(&clean[PACKET * 3 + 77..]);
    bytes.extend_from_slice(&[0x47, 1, 2, 3, 0x47]);
    bytes.extend_from_slice(&muxer.bytes);
    let mut demuxer = Demuxer::default();
    let events = all(&mut demuxer, bytes.freeze());
    assert_eq!(units(&events), [(VIDEO, Some(3000), None, 500)]);
    assert!(demuxer.stats().skipped > 0);
}

#[test]
fn a_map_that_changes_keeps_the_streams_that_stay() {
    let mut muxer = program();
    let head = [&[0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5][..], &stamp(2, 7), &[9; 170]].concat();
    muxer.packet(VIDEO, true, &head, false);
    muxer.tables(&[(0x1b, VIDEO, &[]), (0x0f, 0x222, &[])]);
    muxer.packet(VIDEO, false, &[9; 20], false);
    muxer.unit(AUDIO, 0, None, &[3; 100], true);
    muxer.unit(0x222, 1, None, &[3; 100], true);
    let events = all(&mut Demuxer::default(), muxer.bytes.freeze());
    assert_eq!(units(&events), [(VIDEO, Some(7), None, 190), (0x222, Some(1), None, 100)]);
    let programs = events.iter().filter(|event| matches!(event, Event::Program(_))).count();
    assert_eq!((programs, damaged(&events)), (2, 0));
}

#[test]
fn a_table_with_a_wrong_crc_is_left_out() {
    let mut muxer = program();
    muxer.bytes[PACKET + 20] ^= 1;
    let mut demuxer = Demuxer::default();
    assert_eq!(all(&mut demuxer, muxer.bytes.freeze()), []);
    assert_eq!(demuxer.stats().bad_sections, 1);
}

#[test]
fn what_the_transport_lost_is_not_spliced() {
    let mut muxer = program();
    let mut demuxer = Demuxer::default();
    all(&mut demuxer, muxer.bytes.split().freeze());
    muxer.unit(VIDEO, 0, None, &[1; 184 * 20], false);
    let packets = muxer.bytes.split().freeze();
    // Sixteen packets are missing: the counter does not tell.
    let before = all(&mut demuxer, packets.slice(..PACKET * 2));
    assert_eq!(before, []);
    demuxer.lost();
    let after = all(&mut demuxer, packets.slice(PACKET * 18..));
    assert_eq!((units(&after), damaged(&after)), (vec![], 2), "of both streams");
}

proptest! {
    #[test]
    fn how_the_bytes_are_cut_does_not_matter(cuts in proptest::collection::vec(1_usize..400, 1..40)) {
        let mut muxer = program();
        for n in 0..6_u64 {
            muxer.unit(VIDEO, n * 3000, Some(n * 3000), &vec![n as u8; 150 + 90 * n as usize], n % 2 == 0);
            muxer.unit(AUDIO, n * 2000, None, &[n as u8; 200], true);
        }
        let whole = muxer.bytes.freeze();
        let expected = all(&mut Demuxer::default(), whole.clone());
        let (mut demuxer, mut rest, mut seen) = (Demuxer::default(), whole, Vec::new());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let piece = rest.split_to((*cut).min(rest.len()));
            seen.extend(all(&mut demuxer, piece));
        }
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..2000), at in 0_usize..2000) {
        let mut muxer = program();
        muxer.unit(VIDEO, 0, None, &[1; 500], false);
        let mut mixed = muxer.bytes.to_vec();
        let at = at.min(mixed.len());
        mixed.splice(at..at, bytes);
        let mut demuxer = Demuxer::default();
        for piece in mixed.chunks(333) {
            all(&mut demuxer, Bytes::copy_from_slice(piece));
        }
    }

    #[test]
    fn flipped_bits_never_splice(flips in proptest::collection::vec((0_usize..4000, 0_u8..8), 1..20)) {
        let mut muxer = program();
        for n in 0..8_u64 {
            muxer.unit(VIDEO, n * 3000, None, &[n as u8; 400], true);
        }
        let mut bytes = muxer.bytes.to_vec();
        for (at, bit) in flips {
            if let Some(byte) = bytes.get_mut(at) { *byte ^= 1 << bit; }
        }
        all(&mut Demuxer::default(), bytes.into());
    }
}
