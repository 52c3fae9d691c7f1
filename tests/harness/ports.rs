//! Ports for servers that must be told theirs.

use std::net::{Ipv4Addr, TcpListener};

use rand::Rng;

/// Below the range from which Linux takes the ports of outgoing connections, so that none of those can
/// take a port between our look and the server's bind.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// A TCP port of 127.0.0.1 that nobody listened on a moment ago.
///
/// # Panics
///
/// When none of a thousand tries was free.
pub fn free_port() -> u16 {
    let mut random = rand::rng();
    (0..1000)
        .map(|_| random.random_range(RANGE))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("one of a thousand ports is free")
}
