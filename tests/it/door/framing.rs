//! Where one request ends and the next begins. Rows S36, S38, S39.

use std::time::Duration;

use anyhow::ensure;

use super::bed::Bed;
use super::delivery::{Delivery, PATH};

const SOON: Duration = Duration::from_secs(5);

/// A rightly signed request with these framing lines in place of its own.
fn framed(lines: &str, body: &[u8]) -> Vec<u8> {
    let head = Delivery::signed("msg_1", "{}").head(&format!("POST {PATH} HTTP/1.1"));
    [head.as_slice(), lines.as_bytes(), b"\r\n", body].concat()
}

fn replaced(request: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(request.to_vec()).expect("a head is ASCII");
    assert!(text.contains(from), "{from:?}");
    text.replacen(from, to, 1).into_bytes()
}

fn ambiguous() -> Vec<(&'static str, Vec<u8>)> {
    let good = framed("Content-Length: 2\r\n", b"{}");
    vec![
        (
            "length and encoding",
            framed("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
        ),
        (
            "encoding and length",
            framed("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
        ),
        ("two lengths", framed("Content-Length: 2\r\nContent-Length: 2\r\n", b"{}")),
        ("two different lengths", framed("Content-Length: 2\r\nContent-Length: 1\r\n", b"{}")),
        ("a list of lengths", framed("Content-Length: 2, 2\r\n", b"{}")),
        ("a signed length", framed("Content-Length: +2\r\n", b"{}")),
        ("bare line feeds", String::from_utf8_lossy(&good).replace("\r\n", "\n").into_bytes()),
        ("one bare line feed", replaced(&good, "json\r\n", "json\n")),
        ("a bare carriage return", replaced(&good, "json\r\n", "json\rx: y\r\n")),
        ("no host", replaced(&good, "Host: door.example\r\n", "")),
        ("two hosts", replaced(&good, "Host: door.example\r\n", "Host: a\r\nHost: a\r\n")),
        ("a folded header", replaced(&good, "json\r\n", "json\r\n folded\r\n")),
        ("a NUL in a value", replaced(&good, "json\r\n", "json\0\r\n")),
        ("a NUL in the path", replaced(&good, "scalekit", "scalekit\0")),
        ("a space before the colon", replaced(&good, "Content-Length:", "Content-Length :")),
        ("a line without a colon", replaced(&good, "Content-Length: 2", "Content-Length")),
        ("an empty first line", [b"\r\n".as_slice(), &good].concat()),
        ("another encoding", framed("Transfer-Encoding: gzip\r\n", b"{}")),
        ("encodings", framed("Transfer-Encoding: gzip, chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n")),
        ("chunked not last", framed("Transfer-Encoding: chunked, identity\r\n", b"2\r\n{}\r\n0\r\n\r\n")),
        ("an odd encoding", framed("Transfer-Encoding: xchunked\r\n", b"2\r\n{}\r\n0\r\n\r\n")),
        (
            "two encodings",
            framed("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
        ),
        (
            "an encoding in HTTP/1.0",
            replaced(&framed("Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"), "1.1", "1.0"),
        ),
        ("another version", replaced(&good, "HTTP/1.1", "HTTP/1.9")),
        ("no version", replaced(&good, " HTTP/1.1", "")),
        ("S39 the HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec()),
    ]
}

/// S36, S39: refused and closed, alone and behind a good request on the same connection; nothing of what
/// follows is taken for a request of its own.
#[tokio::test]
async fn what_two_readers_may_read_differently_is_refused_and_the_connection_closed() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    let good = framed("Content-Length: 2\r\n", b"{}");
    let mut accepted = 0;
    for (name, bad) in ambiguous() {
        for before in [0, 1] {
            let mut wire = bed.connect().await?;
            for _ in 0..before {
                wire.send(&good).await;
            }
            wire.send(&[bad.as_slice(), &good].concat()).await;
            for _ in 0..before {
                ensure!(wire.answer().await?.status == 201, "{name}");
                accepted += 1;
            }
            let answer = wire.answer().await?;
            ensure!(
                answer.status == 400 && answer.header("connection") == Some("close"),
                "{name}: {answer:?}"
            );
            ensure!(answer.body.is_empty(), "{name}: {answer:?}");
            wire.closed(SOON).await?;
        }
    }
    ensure!(bed.published().await? == accepted, "a hidden request was published");
    ensure!(bed.counted("malformed").await? == 2 * accepted);
    Ok(())
}

/// S38.
#[tokio::test]
async fn a_head_that_is_too_large_is_refused() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    let own = framed("Content-Length: 2\r\n", b"{}").windows(2).filter(|pair| *pair == b"\r\n").count() - 2;
    let lines = |count: usize| (0..count).map(|number| format!("x-{number}: y\r\n")).collect::<String>();
    let long = |bytes: usize| format!("x-long: {}\r\n", "y".repeat(bytes));
    for (name, extra, status) in [
        ("100 headers", lines(100 - own), 201),
        ("101 headers", lines(101 - own), 431),
        ("30 kB", long(30 * 1024), 201),
        ("33 kB", long(33 * 1024), 431),
        ("64 kB", long(64 * 1024), 431),
    ] {
        let mut wire = bed.connect().await?;
        let answer = wire.exchange(&framed(&format!("{extra}Content-Length: 2\r\n"), b"{}")).await?;
        ensure!(answer.status == status, "{name}: {answer:?}");
        if status == 431 {
            wire.closed(SOON).await?;
        }
    }
    // Without an end, too: what is buffered has a bound.
    let mut wire = bed.connect().await?;
    wire.send(&[b"POST / HTTP/1.1\r\nHost: a\r\nx: ".as_slice(), &vec![b'y'; 1 << 20]].concat()).await;
    ensure!(wire.answer().await?.status == 431);
    Ok(())
}

#[tokio::test]
async fn a_connection_serves_many_requests_however_their_bytes_are_cut() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    let mut all = Vec::new();
    for number in 0..20 {
        let delivery = Delivery::signed(&format!("msg_{number}"), vec![b' '; number * 700]);
        all.extend(delivery.request());
    }
    for piece in [1, 7, 1000, all.len()] {
        let mut wire = bed.connect().await?;
        // Single bytes would take a system call each for 140 kB: the first requests are enough.
        let (bytes, requests) =
            if piece == 1 { (Delivery::signed("msg_0", "{}").request(), 1) } else { (all.clone(), 20) };
        for part in bytes.chunks(piece) {
            wire.send(part).await;
        }
        for number in 0..requests {
            let answer = wire.answer().await?;
            ensure!(
                answer.status == 201 && answer.text().contains(&format!("msg_{number}\"")),
                "{piece}: {answer:?}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn chunks_are_taken_and_end_the_connection() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    let mut wire = bed.connect().await?;
    let chunked = framed("Transfer-Encoding: chunked\r\n", b"1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n");
    let answer =
        wire.exchange(&[chunked.as_slice(), &framed("Content-Length: 2\r\n", b"{}")].concat()).await?;
    ensure!(answer.status == 201 && answer.header("connection") == Some("close"), "{answer:?}");
    wire.closed(SOON).await?;
    ensure!(bed.published().await? == 1, "what came after the chunks was not read");

    let broken = framed("Transfer-Encoding: chunked\r\n", b"zz\r\n{}\r\n0\r\n\r\n");
    let answer = bed.connect().await?.exchange(&broken).await?;
    ensure!(answer.status == 400 && answer.header("connection") == Some("close"), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn a_client_that_closes_its_half_still_gets_its_answer() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    let mut wire = bed.connect().await?;
    wire.send(&framed("Content-Length: 2\r\n", b"{}")).await;
    wire.finish().await?;
    ensure!(wire.answer().await?.status == 201);
    wire.closed(SOON).await
}
