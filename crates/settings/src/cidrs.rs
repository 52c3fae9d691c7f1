//! A list of networks.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use crate::SettingError;

const ACCEPTED: &str =
    "addresses or networks separated by commas or spaces, such as 10.0.0.0/8, 192.0.2.7, 2001:db8::/32";

/// Networks separated by commas or white space; a bare address is a network of one.
///
/// Addresses of IPv4 written inside IPv6 (`::ffff:192.0.2.7`) are the same as the IPv4 address, in the list
/// and in the question, because a socket that listens on both shows IPv4 peers in that form.
/// A network whose address has bits beyond its prefix (`10.0.0.5/8`) is refused: it is either one host or
/// a whole network, and a guess would open or close a door.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cidrs(Vec<IpNet>);

impl Cidrs {
    /// Whether the address is in one of the networks.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether the list names nothing, which the settings read as "off".
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Cidrs {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        text.split(|c: char| c == ',' || c.is_whitespace())
            .filter(|entry| !entry.is_empty())
            .map(|entry| network(entry).ok_or_else(|| SettingError::unreadable(entry, ACCEPTED)))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for Cidrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, network) in self.0.iter().enumerate() {
            write!(f, "{}{network}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

fn network(entry: &str) -> Option<IpNet> {
    if let Ok(address) = entry.parse::<IpAddr>() {
        return Some(IpNet::from(address.to_canonical()));
    }
    let network: IpNet = entry.parse().ok()?;
    if network.trunc() != network {
        return None;
    }
    let (IpAddr::V4(mapped), Some(prefix)) = (network.addr().to_canonical(), mapped_prefix(&network)) else {
        return Some(network);
    };
    Ipv4Net::new(mapped, prefix).ok().map(IpNet::V4)
}

/// The length of the IPv4 prefix inside `::ffff:0:0/96`; none for a network that is not inside it.
fn mapped_prefix(network: &IpNet) -> Option<u8> {
    match network {
        IpNet::V4(network) => Some(network.prefix_len()),
        IpNet::V6(network) => network.prefix_len().checked_sub(96),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(list: &str, address: &str) -> bool {
        list.parse::<Cidrs>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn an_address_is_in_the_list_when_a_network_holds_it() {
        assert!(has("10.0.0.0/8 192.0.2.7", "10.255.0.1"));
        assert!(has("10.0.0.0/8,192.0.2.7", "192.0.2.7"));
        assert!(has("2001:db8::/32", "2001:db8::1"));
        assert!(!has("10.0.0.0/8, 192.0.2.7", "192.0.2.8"));
        assert!(!has("10.0.0.0/8", "2001:db8::1"));
        assert!(!has("", "10.0.0.1"));
    }

    #[test]
    fn ipv4_inside_ipv6_is_ipv4_on_both_sides() {
        assert!(has("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(has("::ffff:10.0.0.0/104", "10.1.2.3"));
        assert!(has("::ffff:192.0.2.7", "192.0.2.7"));
        assert!(!has("::ffff:10.0.0.0/104", "11.1.2.3"));
        assert!(has("::/0", "2001:db8::1"));
    }

    #[test]
    fn what_is_not_a_network_is_named_alone() {
        for (list, culprit) in [
            ("10.0.0.0/8,nonsense", "nonsense"),
            ("10.0.0.5/8", "10.0.0.5/8"),
            ("10.0.0.0/33", "10.0.0.0/33"),
            ("1.2.3", "1.2.3"),
            ("localhost", "localhost"),
        ] {
            let message = list.parse::<Cidrs>().unwrap_err().to_string();
            assert!(message.starts_with(&format!("read as {culprit:?};")), "{message}");
        }
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        let list: Cidrs = " 10.0.0.0/8 , 192.0.2.7 ".parse().unwrap();
        assert_eq!(list.to_string(), "10.0.0.0/8,192.0.2.7/32");
        assert_eq!(list.to_string().parse::<Cidrs>().unwrap(), list);
        assert!("".parse::<Cidrs>().unwrap().is_empty());
    }
}
