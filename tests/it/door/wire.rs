//! One connection to the door, written and read byte for byte: most of these requests no client would send.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Longer than the door takes over anything.
const PATIENCE: Duration = Duration::from_secs(25);

/// What the door answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and headers as they came.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// Everything but the one header that says what time it is.
    pub(crate) fn without_date(&self) -> (String, Vec<u8>) {
        let lines = self.head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("date:"));
        (lines.collect::<Vec<_>>().join("\n"), self.body.clone())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn retry_after(&self) -> Option<u64> {
        self.header("retry-after")?.parse().ok()
    }
}

/// A connection and what was read of it beyond the last answer.
pub(crate) struct Wire<S = TcpStream> {
    stream: S,
    unread: Vec<u8>,
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        Self::connect_from(Ipv4Addr::LOCALHOST, address).await
    }

    /// As a client with this address, any of 127.0.0.0/8.
    pub(crate) async fn connect_from(client: Ipv4Addr, address: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((client, 0))).with_context(|| format!("being {client}"))?;
        let stream = socket.connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, unread: Vec::new() }
    }

    /// Writes as much as the door takes: one that refuses early closes while we still write.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await;
    }

    /// Says that nothing more will come.
    pub(crate) async fn finish(&mut self) -> anyhow::Result<()> {
        Ok(self.stream.shutdown().await?)
    }

    pub(crate) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.send(request).await;
        self.answer().await
    }

    /// The next answer, body and all.
    ///
    /// Rows S30 and S49 hold for every answer there is, so they are checked on every one.
    pub(crate) async fn answer(&mut self) -> anyhow::Result<Answer> {
        let head = self.read_head().await?;
        let status: u16 = head.get(9..12).context("a status line")?.parse()?;
        ensure!(status < 500 || status == 503, "never a 5xx but 503: {head}");
        ensure!(!(300..400).contains(&status) && status != 410, "never a redirect, never 410: {head}");
        let mut answer = Answer { status, head, body: Vec::new() };
        let length: usize = answer.header("content-length").unwrap_or("0").parse()?;
        while self.unread.len() < length {
            ensure!(self.read_on().await? > 0, "the body broke off: {answer:?}");
        }
        answer.body = self.unread.drain(..length).collect();
        Ok(answer)
    }

    /// The head of the next answer alone, for answers that promise a body and have none (HEAD).
    pub(crate) async fn read_head(&mut self) -> anyhow::Result<String> {
        loop {
            if let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.unread.drain(..end + 4).collect();
                return Ok(String::from_utf8(head)?);
            }
            if self.read_on().await? == 0 {
                bail!("closed without an answer, after {:?}", String::from_utf8_lossy(&self.unread));
            }
        }
    }

    /// Waits until the door closes; an answer before that is an error.
    pub(crate) async fn closed(&mut self, within: Duration) -> anyhow::Result<()> {
        let ended =
            timeout(within, self.read_on()).await.with_context(|| format!("open after {within:?}"))?;
        // A reset is an end, too.
        ensure!(!matches!(ended, Ok(1..)), "answered: {}", String::from_utf8_lossy(&self.unread));
        Ok(())
    }

    async fn read_on(&mut self) -> anyhow::Result<usize> {
        let mut piece = [0; 4096];
        let read = timeout(PATIENCE, self.stream.read(&mut piece)).await.context("no answer")??;
        self.unread.extend_from_slice(&piece[..read]);
        Ok(read)
    }
}
