//! What may be sent where: an address that has not shown that it hears us gets no more than three times what came from it
//! (the bound of RFC 9000 8.1). Who writes another's address on its datagrams cannot have that other one flooded.

use core::net::SocketAddr;

use crate::stun::{self, Stun, Transaction};

/// Bytes that an address may be sent for each one that came from it, until it has answered.
const FACTOR: u64 = 3;
/// Addresses of one session; the one that was silent for longest gives way.
const MOST: usize = 16;
/// Checks of ours to one address that may be answered still.
const CHECKS: usize = 8;

#[derive(Clone, Debug)]
struct Place {
    address: SocketAddr,
    heard: u64,
    sent: u64,
    /// Our checks, the oldest first.
    checks: Vec<Transaction>,
    answered: bool,
}

/// The addresses of one session, the one heard last at the end.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    places: Vec<Place>,
}

impl Reach {
    /// A datagram of the session came from there. True: it shows, for the first time, that who is there hears us.
    pub fn heard(&mut self, from: SocketAddr, datagram: &[u8]) -> bool {
        let known = self.places.iter().position(|place| place.address == from);
        let mut place = match known {
            Some(at) => self.places.remove(at),
            None => Place { address: from, heard: 0, sent: 0, checks: Vec::new(), answered: false },
        };
        place.heard = place.heard.saturating_add(datagram.len() as u64);
        let before = place.answered;
        if !place.answered
            && let Some(Stun::Success(transaction)) = stun::read(datagram)
        {
            place.answered = place.checks.contains(&transaction);
        }
        let shown = place.answered && !before;
        if self.places.len() >= MOST {
            let unanswered = self.places.iter().position(|place| !place.answered);
            self.places.remove(unanswered.unwrap_or(0));
        }
        self.places.push(place);
        shown
    }

    /// Whether a datagram may go there; if so it is counted.
    pub fn may_send(&mut self, to: SocketAddr, datagram: &[u8]) -> bool {
        let Some(place) = self.places.iter_mut().find(|place| place.address == to) else { return false };
        if place.answered {
            return true;
        }
        let sent = place.sent.saturating_add(datagram.len() as u64);
        if sent > place.heard.saturating_mul(FACTOR) {
            return false;
        }
        place.sent = sent;
        if let Some(Stun::Request { transaction, .. }) = stun::read(datagram) {
            if place.checks.len() >= CHECKS {
                place.checks.remove(0);
            }
            place.checks.push(transaction);
        }
        true
    }

    /// Who is there hears us.
    pub fn has_answered(&self, address: SocketAddr) -> bool {
        self.places.iter().any(|place| place.answered && place.address == address)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn check(transaction: Transaction) -> Vec<u8> {
        let mut message = vec![0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42];
        message.extend(transaction);
        message.extend([0, 6, 0, 3, b'a', b':', b'b', 0]);
        message
    }

    fn answer(transaction: Transaction) -> Vec<u8> {
        let mut message = vec![1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        message.extend(transaction);
        message
    }

    #[test]
    fn who_answers_a_check_may_be_sent_anything() {
        let mut reach = Reach::default();
        assert!(!reach.may_send(at(1), &[0; 10]), "nothing came from there");
        assert!(!reach.heard(at(1), &[0; 100]));
        assert!(reach.may_send(at(1), &check([1; 12])));
        assert!(!reach.heard(at(1), &answer([2; 12])), "not our check");
        assert!(!reach.heard(at(2), &answer([1; 12])), "not where the check went");
        assert!(!reach.has_answered(at(1)));
        assert!(reach.heard(at(1), &answer([1; 12])));
        assert!(!reach.heard(at(1), &answer([1; 12])), "it is known");
        assert!(reach.has_answered(at(1)) && !reach.has_answered(at(2)));
        assert!((0..1000).all(|_| reach.may_send(at(1), &[0; 1200])));
    }

    #[test]
    fn an_address_that_answered_is_not_forgotten_for_those_that_did_not() {
        let mut reach = Reach::default();
        reach.heard(at(1), &[0; 100]);
        assert!(reach.may_send(at(1), &check([1; 12])));
        reach.heard(at(1), &answer([1; 12]));
        for port in 2..500 {
            reach.heard(at(port), &[0; 100]);
        }
        assert!(reach.has_answered(at(1)));
        assert!(reach.places.len() <= MOST);
    }

    proptest! {
        #[test]
        fn no_address_that_does_not_answer_gets_more_than_thrice_what_it_sent(
            steps in prop::collection::vec((any::<bool>(), 0_u16..30, 0_usize..1500), 0..400),
        ) {
            let mut reach = Reach::default();
            let (mut heard, mut sent) = ([0_u64; 30], [0_u64; 30]);
            for (comes, port, length) in steps {
                let datagram = vec![0x80; length];
                if comes {
                    reach.heard(at(port), &datagram);
                    heard[usize::from(port)] += length as u64;
                } else if reach.may_send(at(port), &datagram) {
                    sent[usize::from(port)] += length as u64;
                }
            }
            for (heard, sent) in heard.iter().zip(sent) {
                prop_assert!(sent <= heard * FACTOR);
            }
        }
    }
}
