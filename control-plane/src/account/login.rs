//! Login tokens, and the brake on guessing passwords.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngCore;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::clock::Millis;

const TOKEN_PREFIX: &str = "wst_";

/// A new login token: 256 random bits.
pub fn new_token() -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    rand::rng().fill_bytes(&mut *bytes);
    Zeroizing::new(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(*bytes)))
}

/// What a token is stored and found by. The token is random, so a plain hash cannot be guessed backwards.
pub fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Failed logins of an address or of an account, within a window.
#[derive(Clone, Copy, Debug)]
struct Failures {
    since: Millis,
    count: u32,
}

/// Counts failed logins. Bounded: at most [`Brake::CAPACITY`] keys, the oldest make way.
#[derive(Debug, Default)]
pub struct Brake {
    failures: Mutex<HashMap<String, Failures>>,
}

impl Brake {
    const CAPACITY: usize = 10_000;
    const WINDOW: Millis = 5 * 60 * 1000;
    const PER_ACCOUNT: u32 = 10;
    const PER_ADDRESS: u32 = 50;

    /// Seconds to wait before the next attempt, where there were too many.
    pub fn wait(&self, login: &str, address: IpAddr, now: Millis) -> Option<u64> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        [(account_key(login), Self::PER_ACCOUNT), (address_key(address), Self::PER_ADDRESS)]
            .iter()
            .filter_map(|(key, limit)| {
                let found = failures.get(key)?;
                let left = found.since + Self::WINDOW - now;
                (found.count >= *limit && left > 0).then_some(left.div_euclid(1000).unsigned_abs() + 1)
            })
            .max()
    }

    /// Notes a failed attempt.
    pub fn failed(&self, login: &str, address: IpAddr, now: Millis) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() + 2 > Self::CAPACITY {
            failures.retain(|_, f| f.since + Self::WINDOW > now);
            if failures.len() + 2 > Self::CAPACITY {
                // Someone spreads attempts over very many accounts: forgetting all costs one window of counts.
                failures.clear();
            }
        }
        for key in [account_key(login), address_key(address)] {
            let entry = failures.entry(key).or_insert(Failures { since: now, count: 0 });
            if entry.since + Self::WINDOW <= now {
                *entry = Failures { since: now, count: 0 };
            }
            entry.count = entry.count.saturating_add(1);
        }
    }
}

fn account_key(login: &str) -> String {
    let shown: String = login.chars().take(64).collect();
    format!("a:{}", shown.to_lowercase())
}

fn address_key(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => format!("4:{v4}"),
        // A customer gets at least a /64: its addresses count as one.
        IpAddr::V6(v6) => format!("6:{:x}", v6.to_bits() >> 64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_is_braked_by_account_and_by_address_and_let_go_in_time() {
        let brake = Brake::default();
        let home: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        let elsewhere: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..10 {
            assert_eq!(brake.wait("ada", home, 0), None);
            brake.failed("ada", home, 0);
        }
        assert_eq!(brake.wait("ADA", elsewhere, 1000), Some(300));
        assert_eq!(brake.wait("bob", home, 1000), None);
        assert_eq!(brake.wait("ada", home, Brake::WINDOW), None);
        for n in 0..50 {
            brake.failed(&format!("user{n}"), home, 0);
        }
        assert!(brake.wait("carol", neighbour, 0).is_some(), "the same /64");
        assert!(brake.wait("carol", elsewhere, 0).is_none());
    }

    #[test]
    fn memory_stays_bounded() {
        let brake = Brake::default();
        for n in 0..25_000 {
            brake.failed(&n.to_string(), "192.0.2.1".parse().unwrap(), 0);
        }
        assert!(brake.failures.lock().unwrap().len() <= Brake::CAPACITY);
    }

    #[test]
    fn tokens_are_long_and_differ() {
        assert_ne!(*new_token(), *new_token());
        assert!(new_token().len() > 40);
    }
}
