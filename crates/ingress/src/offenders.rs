//! Who keeps failing verification.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures one address has for free in each window. A sender with a wrong key makes a handful.
const FREE_FAILURES: u32 = 100;

/// Length of a window.
const WINDOW: Duration = Duration::from_secs(10);

/// Most addresses remembered; further ones are not counted until some are forgotten.
const MOST_ADDRESSES: usize = 4096;

/// Failed verifications per address, an IPv6 network of 64 bits counting as one.
///
/// Only failures are counted, and they are looked at only after another failure: whoever signs rightly is
/// never refused here, from whatever address.
#[derive(Debug, Default)]
pub(crate) struct Offenders {
    windows: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    by_address: HashMap<IpAddr, Window>,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    failures: u32,
}

/// What one more failure of an address means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Few enough to be a mistake.
    Tolerated,
    /// The first one too many in this window; it ends in so many whole seconds, at least 1.
    Exceeded(u64),
    /// Another one after that.
    StillExceeded(u64),
}

impl Offenders {
    /// Counts a failure at `now`.
    pub(crate) fn count(&self, address: IpAddr, now: Instant) -> Standing {
        // The table is whole after every statement, so a panic elsewhere cannot have spoilt it.
        let mut table = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        table.count(network(address), now)
    }
}

impl Table {
    fn count(&mut self, address: IpAddr, now: Instant) -> Standing {
        if !self.by_address.contains_key(&address) && !self.has_room(now) {
            return Standing::Tolerated;
        }
        let window = self.by_address.entry(address).or_insert(Window { began: now, failures: 0 });
        if now.duration_since(window.began) >= WINDOW {
            *window = Window { began: now, failures: 0 };
        }
        window.failures = window.failures.saturating_add(1);
        let left = WINDOW.saturating_sub(now.duration_since(window.began)).as_secs().max(1);
        match window.failures {
            ..=FREE_FAILURES => Standing::Tolerated,
            failures if failures == FREE_FAILURES + 1 => Standing::Exceeded(left),
            _ => Standing::StillExceeded(left),
        }
    }

    /// Makes room by forgetting windows that are over, at most once a second: a full table must not cost
    /// a walk through it for every forged request.
    fn has_room(&mut self, now: Instant) -> bool {
        let rested = self.swept.is_none_or(|swept| now.duration_since(swept) >= Duration::from_secs(1));
        if self.by_address.len() >= MOST_ADDRESSES && rested {
            self.swept = Some(now);
            self.by_address.retain(|_, window| now.duration_since(window.began) < WINDOW);
        }
        self.by_address.len() < MOST_ADDRESSES
    }
}

/// One customer of an IPv6 provider has 2^64 addresses to choose from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_failure_too_many_is_told_once_until_the_window_is_over() {
        let (offenders, start) = (Offenders::default(), Instant::now());
        for _ in 0..FREE_FAILURES {
            assert_eq!(offenders.count(ip("192.0.2.1"), start), Standing::Tolerated);
        }
        let later = start + Duration::from_secs(4);
        assert_eq!(offenders.count(ip("192.0.2.1"), later), Standing::Exceeded(6));
        assert_eq!(offenders.count(ip("192.0.2.1"), later), Standing::StillExceeded(6));
        assert_eq!(offenders.count(ip("192.0.2.2"), later), Standing::Tolerated);
        let end = start + WINDOW - Duration::from_millis(1);
        assert_eq!(offenders.count(ip("192.0.2.1"), end), Standing::StillExceeded(1));
        assert_eq!(offenders.count(ip("192.0.2.1"), start + WINDOW), Standing::Tolerated);
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_and_ipv4_in_ipv6_as_ipv4() {
        let (offenders, now) = (Offenders::default(), Instant::now());
        for number in 0..FREE_FAILURES {
            offenders.count(ip(&format!("2001:db8::{number:x}")), now);
            offenders.count(ip("::ffff:192.0.2.1"), now);
        }
        assert!(matches!(offenders.count(ip("2001:db8::ffff:1"), now), Standing::Exceeded(_)));
        assert!(matches!(offenders.count(ip("192.0.2.1"), now), Standing::Exceeded(_)));
        assert_eq!(offenders.count(ip("2001:db8:0:1::1"), now), Standing::Tolerated);
    }

    #[test]
    fn the_table_has_an_end_and_empties_itself() {
        let (offenders, start) = (Offenders::default(), Instant::now());
        let many = || (0..2 * MOST_ADDRESSES as u32).map(|number| IpAddr::V4(number.into()));
        for address in many() {
            offenders.count(address, start);
        }
        assert_eq!(offenders.windows.lock().unwrap().by_address.len(), MOST_ADDRESSES);
        offenders.count(ip("203.0.113.1"), start + WINDOW);
        assert_eq!(offenders.windows.lock().unwrap().by_address.len(), 1);
    }
}
