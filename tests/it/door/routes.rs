//! Paths, methods, encodings and sizes. Rows S31, S32, S34, S35, S42.

use std::time::{Duration, Instant};

use anyhow::ensure;
use rollcall_tests::http::Client;

use super::bed::Bed;
use super::delivery::{Delivery, PATH};
use super::wire::Answer;

/// A request that is right but for its first line.
fn request(first_line: &str) -> Vec<u8> {
    let delivery = Delivery::ordinary("msg_1");
    let mut request = delivery.head(first_line);
    request.extend_from_slice(format!("Content-Length: {}\r\n\r\n", delivery.body.len()).as_bytes());
    request.extend_from_slice(&delivery.body);
    request
}

async fn ask(bed: &Bed, first_line: &str) -> anyhow::Result<Answer> {
    bed.connect().await?.exchange(&request(first_line)).await
}

/// S31.
#[tokio::test]
async fn other_methods_are_told_which_one_is_right() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    for method in ["GET", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "PROPFIND", "post"] {
        let answer = ask(&bed, &format!("{method} {PATH} HTTP/1.1")).await?;
        ensure!(answer.status == 405 && answer.header("allow") == Some("POST"), "{method}: {answer:?}");
        ensure!(!answer.head.to_ascii_lowercase().contains("access-control"), "{method}: {answer:?}");
    }
    let mut wire = bed.connect().await?;
    wire.send(format!("HEAD {PATH} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
    let head = wire.read_head().await?;
    ensure!(head.starts_with("HTTP/1.1 405") && head.contains("allow: POST"), "{head}");
    ensure!(bed.published().await? == 0);
    Ok(())
}

/// S24 and S32: there is one source, and its path has one spelling.
#[tokio::test]
async fn any_other_path_is_not_there() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    let mut answers = Vec::new();
    for path in [
        "/",
        "/webhooks",
        "/webhooks/",
        "/webhooks/other",
        "/webhooks/scalekit/",
        "//webhooks/scalekit",
        "/webhooks//scalekit",
        "/webhooks/Scalekit",
        "/webhooks/%73calekit",
        "/webhooks/scalekit%2f",
        "/webhooks/x/%2e%2e/scalekit",
        "/webhooks/x/../scalekit",
        "/webhooks/%252e%252e/scalekit",
        "/webhooks/scalekit%0d%0aSet-Cookie:x",
        "/readyz",
        "/metrics",
        "/api/v1/users",
        "http://door.example/other",
    ] {
        for method in ["POST", "GET"] {
            let answer = ask(&bed, &format!("{method} {path} HTTP/1.1")).await?;
            ensure!(answer.status == 404, "{method} {path}: {answer:?}");
            answers.push(answer.without_date());
        }
    }
    ensure!(answers.iter().all(|answer| *answer == answers[0]), "the answers differ");
    ensure!(bed.published().await? == 0);
    Ok(())
}

/// S42.
#[tokio::test]
async fn host_query_and_absolute_form_change_nothing() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    for target in [PATH, &format!("http://elsewhere.example{PATH}"), &format!("{PATH}?x=/../..#y")] {
        let answer = ask(&bed, &format!("POST {target} HTTP/1.1")).await?;
        ensure!(answer.status == 201, "{target}: {answer:?}");
        ensure!(!answer.head.contains("elsewhere"), "{answer:?}");
    }
    Ok(())
}

/// S34: any content encoding, whatever the body is.
#[tokio::test]
async fn nothing_is_ever_unpacked() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    bed.post(&Delivery::ordinary("msg_0")).await?;
    let before = bed.resident_kilobytes()?;
    for encoding in ["gzip", "br", "deflate", "zstd", "identity, gzip", "identity", "", "x-unknown"] {
        let answer = bed
            .post(&Delivery::signed("msg_1", vec![0x1f; 10_000]).plus("Content-Encoding", encoding))
            .await?;
        ensure!(answer.status == 415, "{encoding}: {answer:?}");
    }
    let grown = bed.resident_kilobytes()?.saturating_sub(before);
    ensure!(grown < 2048, "grown by {grown} kB");
    ensure!(bed.published().await? == 1);
    Ok(())
}

/// S35: a declared length is believed, a missing one is measured.
#[tokio::test]
async fn a_body_over_the_limit_is_refused_without_being_kept() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    let head = Delivery::ordinary("msg_1").head(&format!("POST {PATH} HTTP/1.1"));
    let declared = [head.as_slice(), b"Content-Length: 10485760\r\n\r\n"].concat();
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let (mut wire, began) = (bed.connect().await?, Instant::now());
        let answer = wire.exchange(&declared).await?;
        quickest = quickest.min(began.elapsed());
        ensure!(answer.status == 413 && answer.header("connection") == Some("close"), "{answer:?}");
        wire.closed(Duration::from_secs(5)).await?;
    }
    ensure!(quickest < Duration::from_millis(100), "took {quickest:?}");

    let mut wire = bed.connect().await?;
    wire.send(&[head.as_slice(), b"Transfer-Encoding: chunked\r\n\r\n"].concat()).await;
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    for _ in 0..17 {
        wire.send(&chunk).await;
    }
    let answer = wire.answer().await?;
    ensure!(answer.status == 413 && answer.header("connection") == Some("close"), "{answer:?}");
    wire.closed(Duration::from_secs(5)).await?;

    let limit = 1024 * 1024;
    for (length, status) in [(limit, 201), (limit + 1, 413)] {
        let answer = bed.post(&Delivery::signed("msg_1", vec![b' '; length])).await?;
        ensure!(answer.status == status, "{length}: {answer:?}");
    }
    let small = Bed::start_with(&[("MAX_BODY", "1KiB")]).await?;
    ensure!(small.post(&Delivery::signed("msg_1", vec![b' '; 1024])).await?.status == 201);
    ensure!(small.post(&Delivery::signed("msg_1", vec![b' '; 1025])).await?.status == 413);
    Ok(())
}

#[tokio::test]
async fn each_address_shows_what_it_is_for_and_no_more() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    let (mut public, mut ops) = (Client::new(bed.address.to_string()), Client::new(bed.ops.to_string()));
    for (path, on_public, on_ops) in [
        ("/livez", 200, 200),
        ("/readyz", 404, 200),
        ("/metrics", 404, 200),
        (PATH, 405, 404),
        ("/", 404, 404),
    ] {
        ensure!(public.get(path).await?.status == on_public, "{path} on the public address");
        ensure!(ops.get(path).await?.status == on_ops, "{path} on the operator's address");
    }
    Ok(())
}
