//! One caller that was accepted, and what it sends.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use core::time::Duration;

use super::clock::{DeliveryClock, micros};
use super::crypto::{Keys, REFRESH};
use super::estimate::{Rate, RoundTrip, share};
use super::packet::{Control, Data, HEADER, Kind, Packet};
use super::receiver::{Due, Receiver, Taken};
use super::sender::Sender;
use super::sending::Following;
use super::sequence::Sequence;
use crate::cursor::Cursor;

/// Between two acknowledgements (4.8.1).
const ACK_PACE: Duration = Duration::from_millis(10);
/// Packets after which one goes out before its time.
const ACK_PACKETS: u32 = 64;
/// Missing packets are not asked for again sooner than this (4.8.2).
const NAK_LEAST: Duration = Duration::from_millis(20);
/// The peer hears from us at least this often.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// A peer that was not heard of for so long is gone.
const SILENCE: Duration = Duration::from_secs(5);
/// Acknowledgements whose answer may still come.
const OPEN_ACKS: usize = 64;
/// Datagrams that may wait to be sent.
const MOST_OUT: usize = 256;
/// Packets overtake each other on this path: what is missing is not asked for before so long, at most.
const REORDERING: Duration = Duration::from_millis(10);

/// Control messages for keys (3.2.2): asked, answered.
pub(super) const KEYS_ASKED: u16 = 3;
const KEYS_ANSWERED: u16 = 4;

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The peer said so.
    Left,
    /// Nothing was heard of it.
    Silent,
}

/// What comes out, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// A payload.
    Payload(Bytes),
    /// So many packets that did not come in time, or could not be decrypted.
    Lost(u32),
}

/// What was seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Data packets that came, those that came twice among them.
    pub packets: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
    /// Packets that were found missing.
    pub missing: u64,
    /// Of those, came after all.
    pub recovered: u64,
    /// Packets that were given up: not there when they were due.
    pub too_late: u64,
    /// Packets that came for nothing: twice, or after they had been given up.
    pub redundant: u64,
    /// Packets marked as sent again.
    pub retransmitted: u64,
    /// Packets for which there was no room.
    pub beyond: u64,
    /// Packets that could not be decrypted.
    pub undecryptable: u64,
    /// Data packets that we sent, those that were sent again among them.
    pub sent: u64,
    /// Of those, sent again.
    pub sent_again: u64,
    /// Packets of ours that were given up: too old, and not acknowledged.
    pub given_up: u64,
    /// Packets of ours that wait to be acknowledged.
    pub unacknowledged: usize,
    /// Control packets that made no sense.
    pub malformed: u64,
    /// Round trip time.
    pub round_trip: Duration,
    /// Its variance.
    pub variance: Duration,
    /// What the packets are held back by.
    pub latency: Duration,
    /// Packets that wait to be due.
    pub waiting: usize,
    /// Bits a second of the last whole second.
    pub bitrate: u64,
}

pub(super) fn count(counter: &mut u64, by: u64) {
    *counter = counter.saturating_add(by);
}

/// What two sides have agreed on.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) peer: u32,
    /// Zero of the timestamps that we send.
    pub(super) began: Duration,
    /// The first number that comes, and the first that we send.
    pub(super) first: Sequence,
    pub(super) sends_from: Sequence,
    /// What we hold back, and what the peer does.
    pub(super) latency: Duration,
    pub(super) peer_latency: Duration,
    pub(super) keys: Option<Keys>,
    /// Timestamp of the peer's handshake.
    pub(super) timestamp: u32,
    /// A listener's answer to it, given again whenever it is asked again.
    pub(super) answer: Option<Bytes>,
}

/// See the module.
#[derive(Debug)]
pub struct Connection {
    pub(super) peer: u32,
    pub(super) began: Duration,
    answer: Option<Bytes>,
    pub(super) keys: Option<Keys>,
    pub(super) sender: Sender,
    /// Packets that were encrypted with the present key, how many one is good for, and the key that follows.
    pub(super) encrypted: u32,
    pub(super) refresh: u32,
    pub(super) following: Option<Following>,
    clock: DeliveryClock,
    receiver: Receiver,
    pub(super) round_trip: RoundTrip,
    rate: Rate,
    pub(super) stats: Stats,
    pub(super) out: VecDeque<Bytes>,
    heard: Duration,
    pub(super) said: Duration,
    /// The number that was acknowledged last, and how often acknowledgements were sent.
    acked: Sequence,
    acks: u32,
    /// Number and time of those that were not answered yet.
    open_acks: VecDeque<(u32, Duration)>,
    ack_at: Duration,
    since_ack: u32,
    /// What is missing is given so long before it is asked for: packets that overtake each other.
    patience: Duration,
    lateness: Duration,
    pub(super) closed: Option<Closed>,
}

impl Connection {
    pub(super) fn new(now: Duration, agreed: Agreed) -> Self {
        let stats = Stats { latency: agreed.latency, ..Stats::default() };
        let mut connection = Self {
            peer: agreed.peer,
            began: agreed.began,
            out: VecDeque::new(),
            answer: agreed.answer,
            keys: agreed.keys,
            sender: Sender::new(agreed.began, agreed.sends_from, agreed.peer_latency),
            encrypted: 0,
            refresh: REFRESH,
            following: None,
            clock: DeliveryClock::new(now, agreed.timestamp, agreed.latency),
            receiver: Receiver::new(agreed.first),
            round_trip: RoundTrip::default(),
            rate: Rate::default(),
            stats,
            heard: now,
            said: now,
            acked: agreed.first,
            acks: 0,
            open_acks: VecDeque::new(),
            ack_at: now,
            since_ack: 0,
            patience: Duration::ZERO,
            lateness: Duration::ZERO,
            closed: None,
        };
        connection.answer(agreed.began);
        connection
    }

    /// A listener's answer: its timestamp is of now, so that the caller knows our clock.
    fn answer(&mut self, now: Duration) {
        if let Some(answer) = self.answer.clone() {
            self.say(now, Kind::Handshake, 0, &answer);
        }
    }

    /// The peer's own socket id.
    pub fn peer(&self) -> u32 {
        self.peer
    }

    /// Bits of the key that its payloads are encrypted with; 0 where they are not.
    pub fn key_bits(&self) -> usize {
        self.keys.as_ref().map_or(0, Keys::bits)
    }

    /// Why it is over, if it is.
    pub fn closed(&self) -> Option<Closed> {
        self.closed
    }

    /// What was seen so far.
    pub fn stats(&self) -> Stats {
        Stats {
            round_trip: self.round_trip.value,
            variance: self.round_trip.variance,
            waiting: self.receiver.waiting().0,
            unacknowledged: self.sender.waiting(),
            bitrate: u64::from(self.rate.last.1).saturating_mul(8),
            ..self.stats
        }
    }

    /// How long after it was due the last payload was fetched.
    pub fn lateness(&self) -> Duration {
        self.lateness
    }

    /// Takes a datagram in that is for this connection.
    pub fn receive(&mut self, now: Duration, datagram: &Bytes) {
        let Some(packet) = Packet::parse(datagram) else { return count(&mut self.stats.malformed, 1) };
        self.heard = now;
        match packet {
            Packet::Data(data) => self.data(now, data, datagram.len()),
            Packet::Control(control) => self.control(now, &control),
        }
    }

    fn data(&mut self, now: Duration, data: Data, length: usize) {
        count(&mut self.stats.packets, 1);
        count(&mut self.stats.bytes, length as u64);
        count(&mut self.stats.retransmitted, u64::from(data.retransmitted));
        self.rate.note(now, length);
        let payload = match (data.key, &self.keys) {
            (None, _) => Some(data.payload),
            (Some(key), Some(keys)) => keys.decrypt(key, data.sequence, data.payload),
            (Some(_), None) => None,
        };
        let Some(payload) = payload else {
            // Not asked for again: it would come the same.
            count(&mut self.stats.undecryptable, 1);
            return self.give_up(now, data.sequence, data.sequence);
        };
        let due = self.clock.due(data.timestamp);
        let ask = now.saturating_add(self.patience);
        match self.receiver.take(data.sequence, due, payload, ask) {
            Taken::New { filled: true } => {
                count(&mut self.stats.recovered, 1);
                if !data.retransmitted {
                    // It was overtaken, not lost.
                    self.patience = self.patience.saturating_add(Duration::from_millis(1)).min(REORDERING);
                }
            }
            Taken::New { filled: false } => {}
            Taken::Behind { missing } => {
                count(&mut self.stats.missing, u64::from(missing));
                self.ask(now);
            }
            Taken::Late => count(&mut self.stats.redundant, 1),
            Taken::Beyond => count(&mut self.stats.beyond, 1),
        }
        self.since_ack = self.since_ack.saturating_add(1);
        if self.since_ack >= ACK_PACKETS {
            self.light_ack(now);
        }
    }

    fn control(&mut self, now: Duration, control: &Control) {
        match control.kind {
            // The answer was lost.
            Kind::Handshake => self.answer(now),
            Kind::AckAck => self.ack_ack(now, control),
            Kind::DropRequest => {
                let mut cursor = Cursor::new(&control.body);
                match (cursor.u32(), cursor.u32()) {
                    (Some(first), Some(last)) => {
                        self.give_up(now, Sequence::new(first), Sequence::new(last));
                    }
                    _ => count(&mut self.stats.malformed, 1),
                }
            }
            Kind::Shutdown => self.closed = Some(Closed::Left),
            Kind::User(KEYS_ASKED) => self.refresh_keys(now, &control.body),
            Kind::User(KEYS_ANSWERED) => self.keys_answered(&control.body),
            Kind::Ack => self.acknowledged(now, control),
            Kind::Nak => self.missed(control),
            Kind::KeepAlive | Kind::CongestionWarning | Kind::PeerError => {}
            Kind::User(_) | Kind::Other(_) => count(&mut self.stats.malformed, 1),
        }
    }

    /// These do not come any more; what is missing before them is asked for.
    fn give_up(&mut self, now: Duration, first: Sequence, last: Sequence) {
        let missing = self.receiver.give_up(first, last, now.saturating_add(self.patience));
        if missing > 0 {
            count(&mut self.stats.missing, missing as u64);
            self.ask(now);
        }
    }

    /// Keys that follow on those in use. One that cannot be unwrapped changes nothing.
    fn refresh_keys(&mut self, now: Duration, material: &Bytes) {
        let taken = self.keys.as_mut().is_some_and(|keys| keys.refresh(material).is_ok());
        if taken {
            self.say(now, Kind::User(KEYS_ANSWERED), 0, material);
        } else {
            count(&mut self.stats.malformed, 1);
        }
    }

    fn ack_ack(&mut self, now: Duration, control: &Control) {
        let Some(at) = self.open_acks.iter().position(|(number, _)| *number == control.info) else { return };
        let Some((_, sent)) = self.open_acks.drain(..=at).next_back() else { return };
        self.round_trip.sample(now.saturating_sub(sent));
        self.clock.sample(now, control.timestamp, self.round_trip.value);
    }

    /// When [`Self::tick`] is due.
    pub fn timeout(&self) -> Duration {
        let ack = (self.since_ack > 0 || self.acked != self.receiver.whole_until()).then_some(self.ack_at);
        let keep_alive = self.said.saturating_add(KEEP_ALIVE);
        let silent = self.heard.saturating_add(SILENCE);
        let sends = self.sender.due_at();
        let rest = [ack, self.receiver.ask_at(), self.receiver.due_at(), sends].into_iter().flatten();
        rest.fold(keep_alive.min(silent), Duration::min)
    }

    /// Does what is due at `now`. Deliveries are fetched by [`Self::deliver`].
    pub fn tick(&mut self, now: Duration) {
        if self.closed.is_some() {
            return;
        }
        if now.saturating_sub(self.heard) >= SILENCE {
            self.closed = Some(Closed::Silent);
            return;
        }
        self.ask(now);
        self.forget(now);
        if now >= self.ack_at && (self.since_ack > 0 || self.acked != self.receiver.whole_until()) {
            self.ack(now);
        }
        if now.saturating_sub(self.said) >= KEEP_ALIVE {
            self.say(now, Kind::KeepAlive, 0, &[]);
        }
    }

    /// The next delivery that is due at `now`.
    pub fn deliver(&mut self, now: Duration) -> Option<Delivery> {
        Some(match self.receiver.due(now)? {
            Due::Payload(payload, due) => {
                self.lateness = now.saturating_sub(due);
                Delivery::Payload(payload)
            }
            Due::Lost(packets) => {
                count(&mut self.stats.too_late, u64::from(packets));
                Delivery::Lost(packets)
            }
        })
    }

    /// Says goodbye.
    pub fn shut_down(&mut self, now: Duration) {
        if self.closed.is_none() {
            self.closed = Some(Closed::Left);
            self.say(now, Kind::Shutdown, 0, &[0; 4]);
        }
    }

    /// Asks for what is missing.
    fn ask(&mut self, now: Duration) {
        let RoundTrip { value, variance, .. } = self.round_trip;
        let pause = share(value.saturating_add(variance.saturating_mul(4)), 2).max(NAK_LEAST);
        let ranges = self.receiver.ask(now, pause);
        if ranges.is_empty() {
            return;
        }
        let mut body = BytesMut::with_capacity(ranges.len().saturating_mul(8));
        for (first, last) in ranges {
            if first == last {
                body.put_u32(first.number());
            } else {
                body.put_u32(first.number() | 0x8000_0000);
                body.put_u32(last.number());
            }
        }
        self.say(now, Kind::Nak, 0, &body);
    }

    /// A full acknowledgement (3.2.4).
    fn ack(&mut self, now: Duration) {
        let until = self.receiver.whole_until();
        self.acks = self.acks.wrapping_add(1).max(1);
        if self.open_acks.len() >= OPEN_ACKS {
            self.open_acks.pop_front();
        }
        self.open_acks.push_back((self.acks, now));
        let short = |span: Duration| u32::try_from(span.as_micros()).unwrap_or(u32::MAX);
        let (packets, bytes) = self.rate.last;
        let room = u32::try_from(self.receiver.room()).unwrap_or(u32::MAX);
        let mut body = [0; 28];
        let words = [
            until.number(),
            short(self.round_trip.value),
            short(self.round_trip.variance),
            // Two at least: fewer stop a sender.
            room.max(2),
            packets,
            packets,
            bytes,
        ];
        for (at, word) in body.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *at = word.to_be_bytes();
        }
        self.say(now, Kind::Ack, self.acks, &body);
        (self.acked, self.since_ack) = (until, 0);
        self.ack_at = now.saturating_add(ACK_PACE);
    }

    /// Between two full ones, at high rates: only how far it is whole.
    fn light_ack(&mut self, now: Duration) {
        let until = self.receiver.whole_until();
        self.since_ack = 1;
        if until != self.acked {
            self.acked = until;
            self.say(now, Kind::Ack, 0, &until.number().to_be_bytes());
        }
    }

    pub(super) fn say(&mut self, now: Duration, kind: Kind, info: u32, body: &[u8]) {
        self.said = now;
        let timestamp = micros(now.saturating_sub(self.began)) as u32;
        self.push(Control::write(kind, info, timestamp, self.peer, body));
    }

    fn push(&mut self, datagram: Bytes) {
        if self.out.len() < MOST_OUT && datagram.len() >= HEADER {
            self.out.push_back(datagram);
        }
    }
}
