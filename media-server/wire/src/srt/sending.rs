//! What a connection sends of its own: payloads, keys that follow on each other, what is asked for again.

use bytes::{BufMut, Bytes, BytesMut};
use core::time::Duration;

use super::connection::{Connection, KEYS_ASKED, count};
use super::crypto::ANNOUNCE;
use super::estimate::share;
use super::packet::{Control, HEADER, Key, Kind};
use super::sender::Outgoing;
use super::sequence::Sequence;
use crate::cursor::Cursor;

/// Single packets, in order (PP and O, 3.1).
const SINGLE: u32 = 0xc000_0000;
const ORDERED: u32 = 0x2000_0000;
const AGAIN: u32 = 0x0400_0000;
const MESSAGES: u32 = 0x03ff_ffff;
/// New keys are told again after this, until they are answered.
const TELL_AGAIN: Duration = Duration::from_millis(250);
/// Acknowledgements carry the round trip from so many bytes on (3.2.4).
const FULL_ACK: usize = 16;

/// Keys that follow, told to the other side.
#[derive(Debug)]
pub(super) struct Following {
    material: Bytes,
    told: Duration,
    answered: bool,
}

impl Connection {
    /// Sends a payload of at most [`super::PAYLOAD`] bytes; the receiver gives it out after its latency.
    pub fn send(&mut self, now: Duration, payload: Bytes) {
        if self.closed.is_some() {
            return;
        }
        let sequence = self.sender.next();
        self.renew_keys(now);
        let sealed = match &self.keys {
            None => Some((None, payload)),
            Some(keys) => keys.encrypt(sequence, payload).map(|(key, payload)| (Some(key), payload)),
        };
        if let Some((key, payload)) = sealed {
            self.sender.push(now, key, payload);
            self.encrypted = self.encrypted.saturating_add(1);
        }
        self.forget(now);
    }

    /// Gives up what is too old, and says so.
    pub(super) fn forget(&mut self, now: Duration) {
        let Some((first, last)) = self.sender.forget(now) else { return };
        let dropped = u64::from(last.since(first).unsigned_abs()).saturating_add(1);
        count(&mut self.stats.given_up, dropped);
        let body = [first.number().to_be_bytes(), last.number().to_be_bytes()].concat();
        self.say(now, Kind::DropRequest, 0, &body);
    }

    /// The other side is told of a new key some time before it is used, and it is used once that was answered.
    fn renew_keys(&mut self, now: Duration) {
        let Some(keys) = &mut self.keys else { return };
        match &mut self.following {
            None if self.encrypted >= self.refresh.saturating_sub(ANNOUNCE) => {
                let Some(material) = keys.follow() else { return };
                self.following = Some(Following { material: material.clone(), told: now, answered: false });
                self.say(now, Kind::User(KEYS_ASKED), 0, &material);
            }
            Some(following) if following.answered && self.encrypted >= self.refresh => {
                keys.switch();
                (self.following, self.encrypted) = (None, 0);
            }
            Some(following) if !following.answered && now.saturating_sub(following.told) >= TELL_AGAIN => {
                following.told = now;
                let material = following.material.clone();
                self.say(now, Kind::User(KEYS_ASKED), 0, &material);
            }
            _ => {}
        }
    }

    /// The other side has the keys that follow.
    pub(super) fn keys_answered(&mut self, material: &Bytes) {
        if let Some(following) = &mut self.following {
            following.answered |= *material == following.material;
        }
    }

    /// How far the other side has it whole (3.2.4).
    pub(super) fn acknowledged(&mut self, now: Duration, control: &Control) {
        let mut cursor = Cursor::new(&control.body);
        let Some(until) = cursor.u32() else { return count(&mut self.stats.malformed, 1) };
        self.sender.acknowledge(Sequence::new(until));
        if control.info == 0 {
            return;
        }
        if control.body.len() >= FULL_ACK
            && let (Some(round_trip), Some(variance)) = (cursor.u32(), cursor.u32())
        {
            let span = |micros: u32| Duration::from_micros(u64::from(micros));
            self.round_trip.told(span(round_trip), span(variance));
        }
        self.say(now, Kind::AckAck, control.info, &[]);
    }

    /// What the other side misses (3.2.5, appendix A).
    pub(super) fn missed(&mut self, control: &Control) {
        let mut cursor = Cursor::new(&control.body);
        while let Some(word) = cursor.u32() {
            let first = Sequence::new(word);
            let last = if word & 0x8000_0000 == 0 {
                first
            } else {
                let Some(last) = cursor.u32() else { return count(&mut self.stats.malformed, 1) };
                Sequence::new(last)
            };
            self.sender.ask(first, last);
        }
    }

    /// The next datagram for the peer.
    pub fn transmit(&mut self, now: Duration) -> Option<Bytes> {
        if let Some(datagram) = self.out.pop_front() {
            return Some(datagram);
        }
        if self.closed.is_some() {
            return None;
        }
        // What was just sent again is on its way: half a round trip of patience for an estimate that is too high.
        let recent = share(self.round_trip.value, 2);
        let outgoing = self.sender.take(now, recent)?;
        self.said = now;
        count(&mut self.stats.sent, 1);
        count(&mut self.stats.sent_again, u64::from(outgoing.again));
        Some(self.data_packet(&outgoing))
    }

    fn data_packet(&self, outgoing: &Outgoing) -> Bytes {
        let key = match outgoing.key {
            None => 0,
            Some(Key::Even) => 1 << 27,
            Some(Key::Odd) => 2 << 27,
        };
        let again = if outgoing.again { AGAIN } else { 0 };
        // One packet a message: numbered like the packets.
        let message = outgoing.sequence.number() & MESSAGES;
        let mut out = BytesMut::with_capacity(HEADER.saturating_add(outgoing.payload.len()));
        out.put_u32(outgoing.sequence.number());
        out.put_u32(SINGLE | ORDERED | key | again | message.max(1));
        out.put_u32(outgoing.at.saturating_sub(self.began).as_micros() as u32);
        out.put_u32(self.peer);
        out.put_slice(&outgoing.payload);
        out.freeze()
    }
}
