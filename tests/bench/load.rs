//! The load generator: keep-alive HTTP/1.1 over plain sockets, requests serialised in advance, one thread.
//!
//! How much it can do at most is measured in every run against a server that answers 201 and does nothing
//! else, and printed: where a figure comes near that, it is the generator's.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::latency::Latencies;

/// No answer of the door takes longer than its confirm time-out of 5 s.
const ANSWER: Duration = Duration::from_secs(30);

/// When requests are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// Each connection sends as soon as its last answer is there.
    Closed,
    /// So many a second whatever the answers do. A latency counts from when the request was to be sent, so
    /// that a stall shows in every request it delays.
    Open(f64),
}

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// Requests answered 201.
    pub(crate) accepted: u64,
    /// All others, by status.
    pub(crate) refused: BTreeMap<u16, u64>,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
    /// Of the accepted ones.
    pub(crate) latencies: Latencies,
}

impl Answers {
    /// Accepted per second.
    pub(crate) fn rate(&self) -> f64 {
        self.accepted as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// Fails where anything was refused: a figure of refusals is none.
    pub(crate) fn all_accepted(self) -> anyhow::Result<Self> {
        ensure!(self.refused.is_empty(), "refused, by status: {:?}", self.refused);
        Ok(self)
    }
}

/// Sends the requests over so many connections, until all are answered or no more may be begun.
pub(crate) async fn send(
    address: &str,
    requests: Vec<Bytes>,
    connections: usize,
    pace: Pace,
    at_most: Duration,
) -> anyhow::Result<Answers> {
    let address = address.to_owned();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, all(address, requests.into(), connections, pace, at_most))
    };
    tokio::task::spawn_blocking(run).await?
}

/// What the connections share.
struct Plan {
    requests: Arc<[Bytes]>,
    next: Cell<usize>,
    pace: Pace,
    began: Instant,
    at_most: Duration,
}

async fn all(
    address: String,
    requests: Arc<[Bytes]>,
    connections: usize,
    pace: Pace,
    at_most: Duration,
) -> anyhow::Result<Answers> {
    let mut streams = Vec::new();
    for _ in 0..connections {
        streams.push(Connection::open(&address).await?);
    }
    let plan = Rc::new(Plan { requests, next: Cell::new(0), pace, began: Instant::now(), at_most });
    let tasks: Vec<_> = streams
        .into_iter()
        .map(|connection| tokio::task::spawn_local(work(plan.clone(), connection, address.clone())))
        .collect();
    let mut answers = Answers::default();
    for task in tasks {
        let part = task.await??;
        answers.accepted += part.accepted;
        answers.latencies.merge(part.latencies);
        answers.took = answers.took.max(part.took);
        part.refused
            .into_iter()
            .for_each(|(status, count)| *answers.refused.entry(status).or_default() += count);
    }
    Ok(answers)
}

impl Plan {
    /// The next request and when it is to be sent; `None` when no more may be begun.
    fn take(&self) -> Option<(Bytes, Instant)> {
        let number = self.next.get();
        let due = match self.pace {
            Pace::Closed => Instant::now(),
            Pace::Open(rate) => self.began + Duration::from_secs_f64(number as f64 / rate),
        };
        if due > self.began + self.at_most {
            return None;
        }
        let request = self.requests.get(number)?.clone();
        self.next.set(number + 1);
        Some((request, due))
    }
}

async fn work(plan: Rc<Plan>, mut connection: Connection, address: String) -> anyhow::Result<Answers> {
    let mut answers = Answers::default();
    while let Some((request, due)) = plan.take() {
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
        }
        let answer =
            tokio::time::timeout(ANSWER, connection.exchange(&request)).await.context("no answer")??;
        if answer.status == 201 {
            answers.accepted += 1;
            answers.latencies.note(due.elapsed());
        } else {
            *answers.refused.entry(answer.status).or_default() += 1;
        }
        if answer.closes {
            connection = Connection::open(&address).await?;
        }
    }
    answers.took = plan.began.elapsed();
    Ok(answers)
}

/// One kept-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// The little of an answer that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    closes: bool,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(address: &str) -> anyhow::Result<Self> {
        let connecting = tokio::time::timeout(ANSWER, TcpStream::connect(address)).await;
        let stream =
            connecting.context("no connection")?.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(1024) })
    }

    /// Sends one request and reads its answer to the end.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(read > 0, "the server closed the connection instead of answering");
            if let Some((answer, whole)) = head(&self.buffer)?
                && self.buffer.len() >= whole
            {
                return Ok(answer);
            }
        }
    }
}

/// Reads the head of an answer; gives it with the length of the whole answer, or `None` where the head has
/// not ended yet.
fn head(bytes: &[u8]) -> anyhow::Result<Option<(Answer, usize)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..end]).context("a head that is no text")?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.with_context(|| format!("no status line: {text}"))?;
    let (mut length, mut closes) = (0, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse()?;
        } else if name.eq_ignore_ascii_case("connection") {
            closes = value.trim().eq_ignore_ascii_case("close");
        }
    }
    Ok(Some((Answer { status, closes }, end + 4 + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let text = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(head(text).unwrap(), Some((Answer { status: 201, closes: false }, text.len())));
        assert_eq!(head(&text[..20]).unwrap(), None);
        let closing = b"HTTP/1.1 503 x\r\nconnection: close\r\n\r\n";
        assert_eq!(head(closing).unwrap(), Some((Answer { status: 503, closes: true }, closing.len())));
    }

    #[tokio::test]
    async fn a_stall_shows_in_every_request_it_delays() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 64];
            let mut first = true;
            while stream.read(&mut buffer).await.unwrap_or(0) > 0 {
                if std::mem::take(&mut first) {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                stream.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
        });
        let requests = vec![Bytes::from_static(b"x"); 10];
        let answers = send(&address, requests, 1, Pace::Open(100.0), Duration::from_secs(5)).await.unwrap();
        server.abort();
        assert_eq!(answers.accepted, 10);
        assert!(answers.latencies.quantile_ms(0.5) > 100.0, "{}", answers.latencies.quantile_ms(0.5));
    }
}
