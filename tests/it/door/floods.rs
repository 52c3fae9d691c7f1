//! Too much of it: failures, requests, connections, bytes. Rows S35 (memory), S41.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::ensure;
use tokio::task::JoinSet;

use super::bed::{Bed, QueueLock};
use super::delivery::{Delivery, PATH};
use super::wire::Wire;

fn bad(number: usize) -> Delivery {
    Delivery::ordinary(&format!("msg_{number}")).with("-signature", "v1,AAAA")
}

/// S41.
#[tokio::test]
async fn an_address_that_keeps_failing_is_told_to_wait_and_its_valid_deliveries_pass() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    let (noisy, quiet) = (Ipv4Addr::new(127, 0, 0, 9), Ipv4Addr::new(127, 0, 0, 10));
    let mut refused = 0;
    let told = loop {
        let answer = bed.post_from(noisy, &bad(refused)).await?;
        if answer.status == 429 {
            break answer;
        }
        ensure!(answer.status == 400 && refused < 2000, "{answer:?}");
        refused += 1;
    };
    ensure!(refused >= 100, "after {refused} failures already");
    ensure!(told.retry_after().is_some_and(|seconds| (1..=10).contains(&seconds)), "{told:?}");
    let before = bed.log().await?.lines().count() + 1;
    ensure!(bed.post_from(noisy, &bad(0)).await?.status == 429);
    let malformed =
        Wire::connect_from(noisy, bed.address).await?.exchange(b"POST / HTTP/1.1\r\n\r\n").await?;
    ensure!(malformed.status == 400, "{malformed:?}");
    ensure!(bed.log().await?.lines().count() == before, "a flood of failures is a flood of lines");

    ensure!(bed.post_from(noisy, &Delivery::ordinary("msg_1")).await?.status == 201, "valid, same address");
    ensure!(bed.post_from(quiet, &Delivery::ordinary("msg_2")).await?.status == 201, "valid, other address");
    ensure!(bed.post_from(quiet, &bad(1)).await?.status == 400, "invalid, other address");
    ensure!(bed.log().await?.matches("address keeps failing verification").count() == 1);
    Ok(())
}

#[tokio::test]
async fn more_than_may_wait_for_the_queue_are_told_to_come_again() -> anyhow::Result<()> {
    let bed = Bed::start_with(&[("MAX_IN_FLIGHT", "2")]).await?;
    let lock = QueueLock::take(&bed).await?;
    let (mut first, mut second) = (bed.connect().await?, bed.connect().await?);
    first.send(&Delivery::ordinary("msg_1").request()).await;
    second.send(&Delivery::ordinary("msg_2").request()).await;
    let told = bed.crowded().await?;
    ensure!(told.retry_after().is_some_and(|seconds| (5..=60).contains(&seconds)), "{told:?}");
    lock.release().await?;
    ensure!(first.answer().await?.status == 201 && second.answer().await?.status == 201);
    ensure!(bed.post(&Delivery::ordinary("msg_4")).await?.status == 201);
    ensure!(bed.published().await? == 3);
    Ok(())
}

#[tokio::test]
async fn more_connections_than_allowed_wait_their_turn() -> anyhow::Result<()> {
    let bed = Bed::start_with(&[("MAX_CONNECTIONS", "2")]).await?;
    let mut open = vec![bed.connect().await?, bed.connect().await?];
    for wire in &mut open {
        ensure!(wire.exchange(&Delivery::ordinary("msg_1").request()).await?.status == 201);
    }
    let mut waiting = bed.connect().await?;
    waiting.send(&Delivery::ordinary("msg_2").request()).await;
    let unanswered = tokio::time::timeout(Duration::from_millis(300), waiting.read_head()).await;
    ensure!(unanswered.is_err(), "{unanswered:?}");
    drop(open.pop());
    ensure!(waiting.answer().await?.status == 201);
    Ok(())
}

/// S35: a hundred at once that promise 10 MB each cost nothing; a hundred that send what they did not
/// promise cost at most the limit each, and their connections' buffers.
#[tokio::test]
async fn large_bodies_take_no_more_memory_than_the_limit() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    hundred_refused(&bed, b"Content-Length: 0\r\n\r\n", 0, 400).await?;
    let before = bed.resident_kilobytes()?;
    hundred_refused(&bed, b"Content-Length: 10485760\r\n\r\n", 0, 413).await?;
    let declared = bed.resident_kilobytes()?.saturating_sub(before);
    ensure!(declared < 4096, "grown by {declared} kB for bodies nobody read");
    hundred_refused(&bed, b"Transfer-Encoding: chunked\r\n\r\n", 18, 413).await?;
    let chunked = bed.resident_kilobytes()?.saturating_sub(before);
    ensure!(chunked < 100 * (1024 + 256), "grown by {chunked} kB for a hundred bodies of at most 1 MiB");
    Ok(())
}

/// A hundred connections at once, each sending a head that ends in `framing` and so many chunks of 64 KiB.
async fn hundred_refused(bed: &Bed, framing: &[u8], chunks: usize, status: u16) -> anyhow::Result<()> {
    let head = bad(0).head(&format!("POST {PATH} HTTP/1.1"));
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    let request: Vec<u8> = [[head.as_slice(), framing].concat(), chunk.repeat(chunks)].concat();
    let mut senders = JoinSet::new();
    for number in 0..100 {
        let (request, address) = (request.clone(), bed.address);
        senders.spawn(async move {
            let client = Ipv4Addr::new(127, 2, 0, number + 1);
            Wire::connect_from(client, address).await?.exchange(&request).await
        });
    }
    while let Some(answer) = senders.join_next().await {
        let answer = answer??;
        ensure!(answer.status == status, "{answer:?}");
    }
    Ok(())
}
