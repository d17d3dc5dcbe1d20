//! The machine itself.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::packet::{NULL, Packet, Unusable};
use super::pes::{Assembler, Outcome, Times, Unit};
use super::program::{Coding, Program, first_program};
use super::section::Sections;
use super::sync::{Found, Sync};

/// Bytes of one PES packet at most.
const MOST_BYTES: usize = 8 << 20;
/// Events that may wait: the rest of what is pushed is taken in when they were fetched.
const MOST_EVENTS: usize = 256;

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The streams of the program from here on.
    Program(Arc<Program>),
    /// The payload of one PES packet. For video that is one access unit.
    Unit {
        /// Its elementary stream.
        pid: u16,
        /// When it is decoded and presented.
        times: Times,
        /// Its first packet says that decoding can begin here.
        random_access: bool,
        /// The payload.
        data: Bytes,
    },
    /// A whole section of a stream that carries sections (SCTE 35).
    Section {
        /// Its elementary stream.
        pid: u16,
        /// From `table_id` to its CRC.
        data: Bytes,
    },
    /// Something of this elementary stream is missing, and was dropped: what follows does not go on from before.
    Damaged {
        /// The elementary stream.
        pid: u16,
    },
}

/// What was seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets, null packets among them.
    pub packets: u64,
    /// Holes in a PID's continuity counter.
    pub holes: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Bytes that were no packet.
    pub skipped: u64,
    /// Packets that were damaged, scrambled or malformed.
    pub unusable: u64,
    /// Sections with a wrong CRC or length.
    pub bad_sections: u64,
    /// Units that were dropped because something of them was missing.
    pub damaged_units: u64,
}

impl Stats {
    fn count(counter: &mut u64) {
        *counter = counter.saturating_add(1);
    }
}

/// One elementary stream of the program.
#[derive(Debug)]
struct Elementary {
    pid: u16,
    counter: Counter,
    gathering: Gathering,
}

#[derive(Debug)]
enum Gathering {
    Units(Assembler),
    Sections(Sections),
}

/// The continuity counter of one PID (2.4.3.3).
#[derive(Clone, Debug, Default)]
struct Counter {
    last: Option<u8>,
    /// The last packet has come twice already.
    doubled: bool,
    /// The last payload's CRC: the same counter with another payload is a hole of fifteen.
    payload: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Continuity {
    Next,
    Duplicate,
    Hole,
}

impl Counter {
    fn see(&mut self, packet: &Packet<'_>) -> Continuity {
        let payload = packet.payload.unwrap_or_default();
        let Some(last) = self.last.replace(packet.continuity) else {
            self.note(payload);
            return Continuity::Next;
        };
        if packet.continuity == last && !self.doubled && glance(payload) == self.payload {
            self.doubled = true;
            return Continuity::Duplicate;
        }
        self.note(payload);
        let next = packet.continuity == last.wrapping_add(1) & 0x0f;
        if next || packet.discontinuity { Continuity::Next } else { Continuity::Hole }
    }

    fn note(&mut self, payload: &[u8]) {
        self.doubled = false;
        self.payload = glance(payload);
    }
}

/// Enough of a payload to tell one from another, at the price of a few loads.
fn glance(payload: &[u8]) -> u32 {
    let word = |at: usize| {
        let four = payload.get(at..).and_then(|tail| tail.first_chunk::<4>());
        four.map_or(0, |four| u32::from_be_bytes(*four))
    };
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let spread = [8, 40, 88, 136, 172].into_iter().map(word);
    spread.fold(length.wrapping_add(word(0)), |sum, word| sum.rotate_left(5) ^ word)
}

/// Takes a transport stream apart.
#[derive(Debug, Default)]
pub struct Demuxer {
    sync: Sync,
    association: Sections,
    /// The PID of the program's map, and what is gathered of it.
    map: Option<(u16, Sections)>,
    program: Option<Arc<Program>>,
    streams: Vec<Elementary>,
    events: VecDeque<Event>,
    stats: Stats,
}

impl Demuxer {
    /// Takes bytes in, whole packets or not. Fetch all events ([`Self::next`]) before the next call.
    pub fn push(&mut self, mut bytes: Bytes) {
        while let Some(found) = self.sync.next(&mut bytes) {
            match found {
                Found::Packet(packet) => self.packet(&packet),
                Found::Skipped(length) => {
                    self.stats.skipped = self.stats.skipped.saturating_add(length as u64);
                }
            }
        }
    }

    /// The next event.
    #[allow(clippy::should_implement_trait, reason = "more may come after None: it is no iterator")]
    pub fn next(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The transport has lost something: what is being gathered is not whole.
    pub fn lost(&mut self) {
        self.association.lose();
        if let Some((_, sections)) = &mut self.map {
            sections.lose();
        }
        for stream in &mut self.streams {
            // The counters tell the rest, unless sixteen packets are gone.
            stream.counter = Counter::default();
            stream.lose(&mut self.events, &mut self.stats);
        }
    }

    /// What was seen so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    fn packet(&mut self, bytes: &[u8]) {
        Stats::count(&mut self.stats.packets);
        let packet = match Packet::parse(bytes) {
            Ok(packet) if packet.pid == NULL => return,
            Ok(packet) => packet,
            Err(Unusable::Sync | Unusable::Damaged | Unusable::Scrambled | Unusable::Malformed) => {
                return Stats::count(&mut self.stats.unusable);
            }
        };
        let Some(payload) = packet.payload else { return };
        if packet.pid == 0 {
            return self.associate(payload, packet.start);
        }
        if self.map.as_ref().is_some_and(|(pid, _)| *pid == packet.pid) {
            return self.describe(payload, packet.start);
        }
        let (events, stats) = (&mut self.events, &mut self.stats);
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.pid == packet.pid) {
            stream.packet(&packet, payload, events, stats);
        }
        // Nobody fetches: bounded all the same.
        if self.events.len() > MOST_EVENTS {
            self.events.pop_front();
        }
    }

    /// A part of the program association table.
    fn associate(&mut self, payload: &[u8], start: bool) {
        let (map, stats) = (&mut self.map, &mut self.stats);
        self.association.push(payload, start, |section| {
            let Some(section) = section else { return Stats::count(&mut stats.bad_sections) };
            if let Some((_, pid)) = first_program(&section)
                && map.as_ref().is_none_or(|(known, _)| *known != pid)
            {
                *map = Some((pid, Sections::default()));
            }
        });
    }

    /// A part of the program's map.
    fn describe(&mut self, payload: &[u8], start: bool) {
        let Some((_, sections)) = &mut self.map else { return };
        let stats = &mut self.stats;
        let mut newest = None;
        sections.push(payload, start, |section| match section {
            Some(section) => newest = Program::parse(&section).or(newest.take()),
            None => Stats::count(&mut stats.bad_sections),
        });
        if let Some(program) = newest.filter(|new| self.program.as_deref() != Some(new)) {
            self.take_program(Arc::new(program));
        }
    }

    /// Streams that stay go on without a break.
    fn take_program(&mut self, program: Arc<Program>) {
        let mut before = std::mem::take(&mut self.streams);
        let old = self.program.take();
        for stream in &program.streams {
            let same = old.as_ref().is_some_and(|old| {
                old.streams.iter().any(|known| known.pid == stream.pid && known.coding == stream.coding)
            });
            let kept = before.iter().position(|known| same && known.pid == stream.pid);
            self.streams.push(match kept {
                Some(at) => before.swap_remove(at),
                None => Elementary::new(stream.pid, stream.coding),
            });
        }
        self.program = Some(Arc::clone(&program));
        self.events.push_back(Event::Program(program));
    }
}

impl Elementary {
    fn new(pid: u16, coding: Coding) -> Self {
        let gathering = match coding {
            Coding::Scte35 => Gathering::Sections(Sections::default()),
            _ => Gathering::Units(Assembler::default()),
        };
        Self { pid, counter: Counter::default(), gathering }
    }

    fn packet(
        &mut self,
        packet: &Packet<'_>,
        payload: &[u8],
        events: &mut VecDeque<Event>,
        stats: &mut Stats,
    ) {
        match self.counter.see(packet) {
            Continuity::Next => {}
            Continuity::Duplicate => return Stats::count(&mut stats.duplicates),
            Continuity::Hole => {
                Stats::count(&mut stats.holes);
                self.lose(events, stats);
            }
        }
        let pid = self.pid;
        match &mut self.gathering {
            Gathering::Sections(sections) => sections.push(payload, packet.start, |section| match section {
                Some(data) => events.push_back(Event::Section { pid, data }),
                None => Stats::count(&mut stats.bad_sections),
            }),
            Gathering::Units(units) => {
                if packet.start {
                    let finished = units.finish();
                    units.begin(packet.random_access);
                    if let Some(outcome) = finished {
                        give(pid, outcome, events, stats);
                    }
                }
                let Gathering::Units(units) = &mut self.gathering else { return };
                give(pid, units.push(payload, packet.stuffed, MOST_BYTES), events, stats);
            }
        }
    }

    fn lose(&mut self, events: &mut VecDeque<Event>, stats: &mut Stats) {
        match &mut self.gathering {
            Gathering::Sections(sections) => sections.lose(),
            Gathering::Units(units) => {
                if units.lose() {
                    give(self.pid, Outcome::Damaged, events, stats);
                } else {
                    // Between two units: whole ones may be missing.
                    events.push_back(Event::Damaged { pid: self.pid });
                }
            }
        }
    }
}

fn give(pid: u16, outcome: Outcome, events: &mut VecDeque<Event>, stats: &mut Stats) {
    match outcome {
        Outcome::More => {}
        Outcome::Whole(Unit { times, random_access, data }) => {
            events.push_back(Event::Unit { pid, times, random_access, data });
        }
        Outcome::Damaged => {
            Stats::count(&mut stats.damaged_units);
            events.push_back(Event::Damaged { pid });
        }
    }
}
