//! Connections that have not shown yet what they are for, counted by address: one address cannot take every place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts them. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Pending(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection that has not published yet. Dropped when it does, or ends.
#[derive(Debug)]
pub struct Waiting {
    pending: Pending,
    address: IpAddr,
}

/// Whose the address is: an IPv6 customer has a /64, so its addresses count as one.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Pending {
    /// Counts one more of `address`; none where there are `most` of it.
    pub fn enter(&self, address: IpAddr, most: usize) -> Option<Waiting> {
        let address = subscriber(address);
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Waiting { pending: self.clone(), address })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut counts = self.pending.counts();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let pending = Pending::default();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = pending.enter(ip("192.0.2.1"), 2).unwrap();
        let _second = pending.enter(ip("::ffff:192.0.2.1"), 2).unwrap();
        assert!(pending.enter(ip("192.0.2.1"), 2).is_none());
        assert!(pending.enter(ip("192.0.2.2"), 2).is_some());
        drop(first);
        assert!(pending.enter(ip("192.0.2.1"), 2).is_some());
    }

    #[test]
    fn an_ipv6_subscriber_counts_once_and_nothing_is_kept() {
        let pending = Pending::default();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let one = pending.enter(ip("2001:db8:1:2::1"), 1).unwrap();
        assert!(pending.enter(ip("2001:db8:1:2:ffff::9"), 1).is_none());
        assert!(pending.enter(ip("2001:db8:1:3::1"), 1).is_some());
        drop(one);
        assert!(pending.counts().is_empty());
    }
}
