//! Where a request really comes from, when proxies stand in between.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use rollcall_settings::Cidrs;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The other end of the socket a request came through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Whether we ended TLS ourselves.
    pub(crate) encrypted: bool,
}

/// The client as far as it can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// For limits and logs: the socket's address, or what trusted proxies say about it.
    pub(crate) address: IpAddr,
    /// Whether the client spoke HTTPS.
    pub(crate) https: bool,
}

/// Judges who sent a request. Forwarding headers count only if the socket's other end is in `trusted`;
/// `Forwarded` and `X-Real-IP` never do.
///
/// `X-Forwarded-For` is read from its right end, where the nearest proxy writes, up to the first address
/// that is not trusted itself: everything left of it is the client's own claim. An entry that is no
/// address ends the walk at the proxy that wrote it. `X-Forwarded-Proto` is the last value.
pub(crate) fn of(peer: Peer, headers: &HeaderMap, trusted: &Cidrs) -> Origin {
    let socket = peer.address.ip().to_canonical();
    if !trusted.contains(socket) {
        return Origin { address: socket, https: peer.encrypted };
    }
    let mut address = socket;
    for hop in from_the_right(headers, FORWARDED_FOR) {
        let Ok(claimed) = hop.parse::<IpAddr>() else { break };
        address = claimed.to_canonical();
        if !trusted.contains(address) {
            break;
        }
    }
    let said_https = from_the_right(headers, FORWARDED_PROTO)
        .next()
        .is_some_and(|said| said.eq_ignore_ascii_case("https"));
    Origin { address, https: peer.encrypted || said_https }
}

/// The entries of a list header, last one first, over all its lines. An entry that is no text reads as
/// "", and spoils no other: those further right were written by a proxy, this one by the client.
fn from_the_right(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
    let entries = lines.into_iter().rev().flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
    entries.map(|entry| std::str::from_utf8(entry).unwrap_or("").trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(socket: &str, lines: &[(&'static str, &str)]) -> Origin {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let peer = Peer { address: SocketAddr::new(socket.parse().unwrap(), 1), encrypted: false };
        of(peer, &headers, &"10.0.0.0/8 192.0.2.1".parse().unwrap())
    }

    fn address(socket: &str, forwarded: &str) -> String {
        origin(socket, &[("x-forwarded-for", forwarded)]).address.to_string()
    }

    #[test]
    fn a_stranger_cannot_say_who_it_is() {
        for name in ["x-forwarded-for", "forwarded", "x-real-ip"] {
            assert_eq!(origin("203.0.113.9", &[(name, "1.2.3.4")]).address.to_string(), "203.0.113.9");
        }
        assert!(!origin("203.0.113.9", &[("x-forwarded-proto", "https")]).https);
    }

    #[test]
    fn a_trusted_proxy_names_its_client_and_nobody_before_it() {
        assert_eq!(address("10.0.0.1", "203.0.113.9"), "203.0.113.9");
        assert_eq!(address("::ffff:10.0.0.1", "1.2.3.4, 203.0.113.9"), "203.0.113.9");
        assert_eq!(address("10.0.0.1", "1.2.3.4,203.0.113.9 , 192.0.2.1"), "203.0.113.9");
        assert_eq!(address("10.0.0.1", "10.0.0.7, 10.0.0.8"), "10.0.0.7");
        assert_eq!(address("10.0.0.1", ""), "10.0.0.1");
        assert_eq!(address("10.0.0.1", "203.0.113.9, unknown"), "10.0.0.1");
        assert_eq!(address("10.0.0.1", "203.0.113.9, caf\u{e9}, 10.0.0.2"), "10.0.0.2");
        let two_lines = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "203.0.113.9")];
        assert_eq!(origin("10.0.0.1", &two_lines).address.to_string(), "203.0.113.9");
    }

    #[test]
    fn https_is_what_the_nearest_trusted_proxy_saw() {
        assert!(origin("10.0.0.1", &[("x-forwarded-proto", "HTTPS")]).https);
        assert!(!origin("10.0.0.1", &[("x-forwarded-proto", "https, http")]).https);
        assert!(!origin("10.0.0.1", &[]).https);
    }
}
