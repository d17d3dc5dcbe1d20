//! Writes a transport stream of one program (2.4): tables, clock, PES packets.

use bytes::{BufMut, BytesMut};

use super::packet::{PACKET, SYNC};
use super::program::Coding;
use super::section::crc32;

/// Ticks a second of the timestamps.
const RATE: u64 = 90_000;
const MASK: u64 = (1 << 33) - 1;
/// The tables come at least this often, ticks (TR 101 290 1.3.a and 1.5.a allow 500 ms).
const TABLES_EVERY: u64 = RATE / 10;
/// The clock is told at least this often where units come as often (TR 101 290 2.3.b: 40 ms).
const CLOCK_EVERY: u64 = RATE / 30;
/// A unit is decoded so long after the clock at which it was sent: sound may be behind the pictures by less.
const LEAD: u64 = RATE * 3 / 10;
/// PIDs: of the program's map, and of its first stream.
const MAP: u16 = 0x1000;
const FIRST: u16 = 0x100;
/// Bytes of a packet behind its header.
const ROOM: usize = PACKET - 4;

/// A stream to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elementary {
    /// Its PID is so far behind the first one. No other stream has it, and it keeps it over changes of the program.
    pub place: u8,
    /// How it is coded: H.264, HEVC, ADTS or Opus. Others are written as private data.
    pub coding: Coding,
    /// Channels, of Opus.
    pub channels: u8,
    /// ISO 639-2 code of its language.
    pub language: Option<[u8; 3]>,
}

/// One access unit.
#[derive(Clone, Copy, Debug)]
pub struct Unit<'a> {
    /// Which of the streams: its place in what [`Muxer::set`] was given.
    pub stream: usize,
    /// Ticks of 90 kHz; they may count on beyond 33 bits.
    pub pts: u64,
    /// The same.
    pub dts: u64,
    /// Decoding can begin here.
    pub random_access: bool,
    /// Its bytes, in pieces.
    pub data: &'a [&'a [u8]],
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Muxer {
    streams: Vec<Elementary>,
    version: u8,
    /// Continuity counters of the tables and of each stream.
    counters: [u8; 2],
    of_places: Vec<u8>,
    tables_at: Option<u64>,
    /// The clock as it was last told, in ticks of 90 kHz.
    clock: Option<u64>,
}

impl Muxer {
    /// The program has these streams from here on. Its clock goes with the first video stream, or the first of all.
    pub fn set(&mut self, streams: &[Elementary]) {
        if self.streams == streams {
            return;
        }
        if !self.streams.is_empty() {
            self.version = self.version.wrapping_add(1) & 0x1f;
        }
        self.streams = streams.to_vec();
        let places = streams.iter().map(|stream| usize::from(stream.place).saturating_add(1)).max();
        self.of_places.resize(places.unwrap_or(0).max(self.of_places.len()), 0);
        self.tables_at = None;
    }

    fn is_video(coding: Coding) -> bool {
        matches!(coding, Coding::H264 | Coding::Hevc)
    }

    fn clock_stream(&self) -> usize {
        self.streams.iter().position(|stream| Self::is_video(stream.coding)).unwrap_or(0)
    }

    /// Writes a unit, and what has to come before it. Units come in the order of their `dts`, nearly.
    pub fn write(&mut self, unit: &Unit<'_>, out: &mut BytesMut) {
        let Some(stream) = self.streams.get(unit.stream).copied() else { return };
        let due = |last: Option<u64>, every: u64| {
            last.is_none_or(|last| {
                unit.dts.saturating_sub(last) >= every || last > unit.dts.saturating_add(RATE)
            })
        };
        if due(self.tables_at, TABLES_EVERY) || (unit.random_access && Self::is_video(stream.coding)) {
            self.tables_at = Some(unit.dts);
            self.tables(out);
        }
        let clock_stream = self.clock_stream();
        let mut clock = None;
        if unit.stream == clock_stream || due(self.clock.map(|at| at.saturating_add(LEAD)), CLOCK_EVERY) {
            // It never goes back but where the timestamps do.
            let at = unit.dts.saturating_sub(LEAD);
            let back = self.clock.is_some_and(|last| last > at && last.saturating_sub(at) < RATE);
            if !back {
                self.clock = Some(at);
                clock = Some(at);
            }
        }
        if let Some(at) = clock.filter(|_| unit.stream != clock_stream) {
            self.packet(
                clock_stream,
                false,
                Field { clock: Some(at), random_access: false },
                &mut Pieces::none(),
                out,
            );
            clock = None;
        }
        self.pes(unit, stream.coding, clock, out);
    }

    fn pes(&mut self, unit: &Unit<'_>, coding: Coding, clock: Option<u64>, out: &mut BytesMut) {
        let length: usize = unit.data.iter().map(|piece| piece.len()).sum();
        let mut header = BytesMut::with_capacity(19);
        header.put_slice(&[0, 0, 1]);
        header.put_u8(match coding {
            Coding::H264 | Coding::Hevc => 0xe0,
            Coding::Adts | Coding::MpegAudio => 0xc0,
            _ => 0xbd,
        });
        let apart = unit.pts & MASK != unit.dts & MASK;
        let fields: u8 = if apart { 10 } else { 5 };
        // Video may be longer than the field can say.
        let whole = length.saturating_add(usize::from(fields)).saturating_add(3);
        header.put_u16(if Self::is_video(coding) { 0 } else { u16::try_from(whole).unwrap_or(0) });
        // The payload begins with an access unit.
        header.put_u8(0x84);
        header.put_u8(if apart { 0xc0 } else { 0x80 });
        header.put_u8(fields);
        put_time(if apart { 3 } else { 2 }, unit.pts, &mut header);
        if apart {
            put_time(1, unit.dts, &mut header);
        }
        let mut pieces = Pieces::new(&header, unit.data);
        let mut field = Field { clock, random_access: unit.random_access };
        let mut start = true;
        out.reserve(length.saturating_add(512));
        while pieces.left > 0 {
            self.packet(unit.stream, start, std::mem::take(&mut field), &mut pieces, out);
            start = false;
        }
    }

    /// One packet of a stream, filled up with stuffing.
    fn packet(
        &mut self,
        stream: usize,
        start: bool,
        field: Field,
        pieces: &mut Pieces<'_>,
        out: &mut BytesMut,
    ) {
        let payload = pieces.left > 0;
        let Some(place) = self.streams.get(stream).map(|stream| stream.place) else { return };
        let Some(counter) = self.of_places.get_mut(usize::from(place)) else { return };
        if payload {
            *counter = counter.wrapping_add(1) & 0x0f;
        }
        let continuity = *counter;
        let pid = FIRST.saturating_add(u16::from(place));
        out.put_u8(SYNC);
        out.put_u16(pid | if start { 0x4000 } else { 0 });
        let wanted = field.length();
        let stuffing = ROOM.saturating_sub(wanted).saturating_sub(pieces.left);
        let length = wanted.saturating_add(stuffing);
        out.put_u8(continuity | if payload { 0x10 } else { 0 } | if length > 0 { 0x20 } else { 0 });
        if length > 0 {
            field.write(length, out);
        }
        pieces.put(ROOM.saturating_sub(length), out);
    }

    /// Program association and program map.
    fn tables(&mut self, out: &mut BytesMut) {
        let mut body = BytesMut::new();
        body.put_u16(1);
        body.put_u16(0xe000 | MAP);
        self.table(0, 0, 0, &body, out);
        let mut body = BytesMut::new();
        let clock = self.streams.get(self.clock_stream()).map_or(0, |stream| u16::from(stream.place));
        let clock = FIRST.saturating_add(clock);
        body.put_u16(0xe000 | clock);
        body.put_u16(0xf000);
        for stream in &self.streams {
            let pid = FIRST.saturating_add(u16::from(stream.place));
            let (kind, mut descriptors): (u8, Vec<u8>) = match stream.coding {
                Coding::H264 => (0x1b, Vec::new()),
                Coding::Hevc => (0x24, [&[0x05, 4], &b"HEVC"[..]].concat()),
                Coding::Adts => (0x0f, Vec::new()),
                Coding::Opus => {
                    (0x06, [&[0x05, 4], &b"Opus"[..], &[0x7f, 2, 0x80, stream.channels]].concat())
                }
                _ => (0x06, Vec::new()),
            };
            if let Some([a, b, c]) = stream.language {
                descriptors.extend([0x0a, 4, a, b, c, 0]);
            }
            body.put_u8(kind);
            body.put_u16(0xe000 | pid);
            body.put_u16(0xf000 | u16::try_from(descriptors.len()).unwrap_or(0));
            body.put_slice(&descriptors);
        }
        self.table(1, MAP, 2, &body, out);
    }

    /// A table of one section, in packets of its own.
    fn table(&mut self, counter: usize, pid: u16, id: u8, body: &[u8], out: &mut BytesMut) {
        let Some(continuity) = self.counters.get_mut(counter) else { return };
        let mut section = BytesMut::with_capacity(ROOM);
        section.put_u8(id);
        // Behind the length: five bytes, the body, the checksum.
        section.put_u16(0xb000 | u16::try_from(body.len().saturating_add(9)).unwrap_or(0));
        section.put_u16(1);
        section.put_u8(0xc1 | (self.version << 1));
        section.put_slice(&[0, 0]);
        section.put_slice(body);
        section.put_u32(crc32(&section));
        let mut start = 0x4000;
        while !section.is_empty() {
            *continuity = continuity.wrapping_add(1) & 0x0f;
            out.put_u8(SYNC);
            out.put_u16(start | pid);
            out.put_u8(0x10 | *continuity);
            let mut room = ROOM;
            if std::mem::take(&mut start) > 0 {
                // The section begins at once.
                out.put_u8(0);
                room = room.saturating_sub(1);
            }
            let part = section.split_to(room.min(section.len()));
            out.put_slice(&part);
            out.put_bytes(0xff, room.saturating_sub(part.len()));
        }
    }
}

/// What an adaptation field is for.
#[derive(Clone, Copy, Debug, Default)]
struct Field {
    clock: Option<u64>,
    random_access: bool,
}

impl Field {
    /// Bytes that it needs, its own length among them.
    fn length(self) -> usize {
        match (self.clock, self.random_access) {
            (Some(_), _) => 8,
            (None, true) => 2,
            (None, false) => 0,
        }
    }

    fn write(self, length: usize, out: &mut BytesMut) {
        out.put_u8(u8::try_from(length.saturating_sub(1)).unwrap_or(0));
        if length == 1 {
            return;
        }
        let random_access = if self.random_access { 0x40 } else { 0 };
        let mut left = length.saturating_sub(2);
        out.put_u8(random_access | if self.clock.is_some() { 0x10 } else { 0 });
        if let Some(clock) = self.clock {
            // 33 bits in units of 300, six bits between, nine bits of the rest, which is 0.
            out.put_u32(((clock & MASK) >> 1) as u32);
            out.put_u16((((clock & 1) as u16) << 15) | 0x7e00);
            left = left.saturating_sub(6);
        }
        out.put_bytes(0xff, left);
    }
}

/// A timestamp of 33 bits between marker bits, behind a prefix of four.
fn put_time(prefix: u8, time: u64, out: &mut BytesMut) {
    let time = time & MASK;
    out.put_u8((prefix << 4) | ((time >> 29) as u8 & 0x0e) | 1);
    out.put_u16(((time >> 14) as u16 & 0xfffe) | 1);
    out.put_u16(((time << 1) as u16 & 0xfffe) | 1);
}

/// What is left of a PES packet.
struct Pieces<'a> {
    now: &'a [u8],
    rest: &'a [&'a [u8]],
    left: usize,
}

impl<'a> Pieces<'a> {
    fn new(first: &'a [u8], rest: &'a [&'a [u8]]) -> Self {
        let left = rest.iter().map(|piece| piece.len()).fold(first.len(), usize::saturating_add);
        Self { now: first, rest, left }
    }

    fn none() -> Self {
        Self { now: &[], rest: &[], left: 0 }
    }

    fn put(&mut self, mut count: usize, out: &mut BytesMut) {
        count = count.min(self.left);
        self.left = self.left.saturating_sub(count);
        while count > 0 {
            if self.now.is_empty() {
                let Some((next, rest)) = self.rest.split_first() else { return };
                (self.now, self.rest) = (next, rest);
                continue;
            }
            let (head, tail) = self.now.split_at(count.min(self.now.len()));
            out.put_slice(head);
            count = count.saturating_sub(head.len());
            self.now = tail;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::{Demuxer, Event, Packet};
    use super::*;

    const BOTH: [Elementary; 2] = [
        Elementary { place: 0, coding: Coding::H264, channels: 0, language: None },
        Elementary { place: 1, coding: Coding::Adts, channels: 0, language: None },
    ];

    fn events(stream: BytesMut) -> Vec<Event> {
        let mut demuxer = Demuxer::default();
        let mut events = Vec::new();
        for packet in stream.freeze().chunks(PACKET) {
            demuxer.push(Bytes::copy_from_slice(packet));
            events.extend(std::iter::from_fn(|| demuxer.next()));
        }
        assert_eq!((demuxer.stats().holes, demuxer.stats().bad_sections, demuxer.stats().skipped), (0, 0, 0));
        events
    }

    /// Ten seconds of 25 pictures a second and their sound, over the wrap of the clock.
    fn ten_seconds() -> BytesMut {
        let mut muxer = Muxer::default();
        muxer.set(&BOTH);
        let mut out = BytesMut::new();
        let zero = (1 << 33) - 5 * RATE;
        let mut sound = 0;
        for picture in 0..250_u64 {
            let dts = zero + picture * 3600;
            let data = vec![picture as u8; 200 + 40 * (picture as usize % 50)];
            let unit =
                Unit { stream: 0, pts: dts + 7200, dts, random_access: picture % 50 == 0, data: &[&data] };
            muxer.write(&unit, &mut out);
            while sound * 1920 < (picture + 1) * 3600 {
                let dts = zero + sound * 1920;
                muxer.write(
                    &Unit { stream: 1, pts: dts, dts, random_access: true, data: &[b"head", &[7; 300]] },
                    &mut out,
                );
                sound += 1;
            }
        }
        out
    }

    #[test]
    fn our_own_demuxer_reads_it_back_whole() {
        let stream = ten_seconds();
        assert_eq!(stream.len() % PACKET, 0);
        let all = events(stream);
        let Event::Program(program) = &all[0] else { panic!("{:?}", all[0]) };
        assert_eq!((program.pcr_pid, program.streams.len()), (FIRST, 2));
        let of = |wanted: u16| {
            all.iter().filter_map(move |event| match event {
                Event::Unit { pid, times, data, .. } if *pid == wanted => Some((*times, data.clone())),
                _ => None,
            })
        };
        // The last one has no packet behind it that ends it, unless it ends with stuffing.
        assert!(
            of(FIRST).count() >= 249 && of(FIRST + 1).count() == 469,
            "{} {}",
            of(FIRST).count(),
            of(FIRST + 1).count()
        );
        for (n, (times, data)) in of(FIRST).enumerate() {
            let dts = ((1 << 33) - 5 * RATE + n as u64 * 3600) & MASK;
            assert_eq!((times.dts, times.pts), (Some(dts), Some((dts + 7200) & MASK)));
            assert_eq!(data, vec![n as u8; 200 + 40 * (n % 50)]);
        }
        assert!(of(FIRST + 1).all(|(times, data)| times.dts.is_none() && data.len() == 304));
    }

    #[test]
    fn tables_and_clock_come_often_and_the_clock_never_goes_back() {
        let stream = ten_seconds();
        let (mut tables, mut clocks) = (0, Vec::new());
        for packet in stream.chunks(PACKET) {
            let read = Packet::parse(packet).unwrap();
            tables += u32::from(read.pid == 0);
            if packet[3] & 0x20 != 0 && packet[4] > 0 && packet[5] & 0x10 != 0 {
                assert_eq!(read.pid, FIRST);
                let base = u64::from(u32::from_be_bytes(*packet[6..].first_chunk().unwrap())) << 1;
                clocks.push(base | u64::from(packet[10] >> 7));
            }
        }
        assert!((90..=130).contains(&tables), "{tables} in ten seconds");
        assert!(clocks.len() >= 250, "{}", clocks.len());
        for pair in clocks.windows(2) {
            let step = pair[1].wrapping_sub(pair[0]) & MASK;
            assert!(step > 0 && step <= 3600, "{step} ticks");
        }
    }

    #[test]
    fn a_program_that_changes_says_so() {
        let mut muxer = Muxer::default();
        let mut out = BytesMut::new();
        muxer.set(&BOTH[..1]);
        muxer.write(&Unit { stream: 0, pts: 0, dts: 0, random_access: true, data: &[b"picture"] }, &mut out);
        let opus = Elementary { place: 1, coding: Coding::Opus, channels: 2, language: None };
        muxer.set(&[BOTH[0], opus]);
        muxer.write(&Unit { stream: 1, pts: 1, dts: 1, random_access: true, data: &[b"sound"] }, &mut out);
        muxer.write(&Unit { stream: 9, pts: 1, dts: 1, random_access: true, data: &[b"nobody's"] }, &mut out);
        let programs: Vec<_> = events(out)
            .into_iter()
            .filter_map(|event| if let Event::Program(program) = event { Some(program) } else { None })
            .collect();
        assert_eq!(programs.len(), 2);
        assert_eq!((programs[1].streams[1].coding, programs[1].streams[1].channels), (Coding::Opus, 2));
    }

    #[test]
    fn a_stream_that_comes_between_moves_no_other() {
        let mut muxer = Muxer::default();
        let mut out = BytesMut::new();
        let later = Elementary { place: 2, ..BOTH[1] };
        for (at, streams) in [(0, &[BOTH[0], later][..]), (1, &[BOTH[0], BOTH[1], later])] {
            muxer.set(streams);
            let stream = streams.len() - 1;
            muxer.write(&Unit { stream, pts: at, dts: at, random_access: true, data: &[b"sound"] }, &mut out);
        }
        // No hole in its counter, which is asserted there.
        let came = events(out)
            .into_iter()
            .filter(|event| matches!(event, Event::Unit { pid, .. } if *pid == FIRST + 2));
        assert_eq!(came.count(), 2);
    }

    #[test]
    fn a_map_that_fills_more_than_a_packet_is_read_back_with_its_languages() {
        let mut muxer = Muxer::default();
        let sound = |(place, code): (u8, &[u8; 3])| Elementary {
            place,
            coding: Coding::Opus,
            channels: 2,
            language: Some(*code),
        };
        let codes = [b"eng", b"spa", b"deu", b"fra", b"ita", b"nld", b"por", b"pol"];
        let streams: Vec<_> = std::iter::once(BOTH[0]).chain((1..).zip(codes).map(sound)).collect();
        muxer.set(&streams);
        let mut out = BytesMut::new();
        for at in [0, 900_000] {
            muxer.write(
                &Unit { stream: 0, pts: at, dts: at, random_access: true, data: &[b"picture"] },
                &mut out,
            );
        }
        let Some(Event::Program(program)) = events(out).into_iter().next() else { panic!("no program") };
        let languages: Vec<_> = program.streams.iter().filter_map(|stream| stream.language).collect();
        assert_eq!(languages, codes.map(|code| *code));
    }

    proptest! {
        #[test]
        fn units_of_any_length_come_back(lengths in proptest::collection::vec(1_usize..2000, 1..30), video: bool) {
            let mut muxer = Muxer::default();
            muxer.set(if video { &BOTH[..1] } else { &BOTH[1..] });
            let mut out = BytesMut::new();
            for (n, length) in lengths.iter().enumerate() {
                let (at, data) = (n as u64 * 3000, vec![n as u8 | 1; *length]);
                muxer.write(&Unit { stream: 0, pts: at, dts: at, random_access: n == 0, data: &[&data] }, &mut out);
            }
            // Ends the last one.
            muxer.write(&Unit { stream: 0, pts: 1 << 20, dts: 1 << 20, random_access: false, data: &[b"end"] }, &mut out);
            let came: Vec<usize> = events(out)
                .into_iter()
                .filter_map(|event| if let Event::Unit { data, .. } = event { Some(data.len()) } else { None })
                .take(lengths.len())
                .collect();
            prop_assert_eq!(came, lengths);
        }
    }
}
