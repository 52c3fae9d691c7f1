//! Ports for servers that must be told theirs.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::{Mutex, PoisonError};

use rand::Rng;

/// Below the range from which Linux takes the ports of outgoing connections, so that none of those can
/// take a port between our look and the server's bind.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// A server has long bound its port when so many others were given away.
const REMEMBERED: usize = 256;

/// Who is given a TCP port also has its UDP twin, which nobody here uses: so two, be they processes, are never
/// given the same one before the first has bound it.
static GIVEN: Mutex<VecDeque<UdpSocket>> = Mutex::new(VecDeque::new());

/// A TCP port of 127.0.0.1 that nobody listened on a moment ago, and that this gave nobody else lately.
///
/// # Panics
///
/// When none of a thousand tries was free.
pub fn free_port() -> u16 {
    let mut random = rand::rng();
    let (port, twin) =
        (0..1000).find_map(|_| reserve(random.random_range(RANGE))).expect("one of a thousand ports is free");
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    if given.len() == REMEMBERED {
        given.pop_front();
    }
    given.push_back(twin);
    port
}

fn reserve(port: u16) -> Option<(u16, UdpSocket)> {
    let twin = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    Some((port, twin))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let given: BTreeSet<u16> = (0..REMEMBERED).map(|_| free_port()).collect();
        assert_eq!(given.len(), REMEMBERED);
        let one = *given.first().unwrap();
        assert!(reserve(one).is_none(), "{one} is given");
    }
}
