//! The `healthcheck` of both binaries: asks the running process whether it is alive, for containers without a shell.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context;

/// For each of connecting, asking and reading.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks `/livez` on an address as it stands in the settings; one that listens everywhere is asked on this host.
///
/// # Errors
///
/// Nobody answers in time, or something else than 200.
pub fn ask(address: SocketAddr) -> anyhow::Result<()> {
    let address = reachable(address);
    let mut stream =
        TcpStream::connect_timeout(&address, PATIENCE).with_context(|| format!("connecting to {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET /livez HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
        .context("asking /livez")?;
    let mut start = [0; b"HTTP/1.1 200".len()];
    stream.read_exact(&mut start).context("reading the answer of /livez")?;
    anyhow::ensure!(start == *b"HTTP/1.1 200", "/livez answered {:?}", String::from_utf8_lossy(&start[9..]));
    Ok(())
}

fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_listens_everywhere_is_asked_on_this_host() {
        for (listens, asked) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:81", "[::1]:81"), ("192.0.2.1:82", "192.0.2.1:82")]
        {
            assert_eq!(reachable(listens.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
