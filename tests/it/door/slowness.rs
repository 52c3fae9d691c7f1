//! Clients that take their time. Row S37, with the time-outs as they are.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rollcall_tests::eventually;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::bed::Bed;
use super::delivery::{Delivery, PATH};
use super::wire::Wire;

/// Of each kind, at once.
const CROWD: usize = 1000;

/// What a busy machine may add to a time-out.
const SLACK: Duration = Duration::from_secs(5);

const HEAD: Duration = Duration::from_secs(10);
const BODY: Duration = Duration::from_secs(15);

/// What somebody who dawdles sends, and how they are shown out.
#[derive(Clone, Copy)]
enum Dawdler {
    SlowHead,
    SlowBody,
    Idle,
}

impl Dawdler {
    fn start(self) -> Vec<u8> {
        match self {
            Self::SlowHead => b"POST /webhooks/sca".to_vec(),
            Self::SlowBody => {
                let head = Delivery::ordinary("msg_1").head(&format!("POST {PATH} HTTP/1.1"));
                [head.as_slice(), b"Content-Length: 5\r\n\r\n{"].concat()
            }
            Self::Idle => Vec::new(),
        }
    }

    async fn is_shown_out(self, wire: &mut Wire) -> anyhow::Result<()> {
        match self {
            Self::SlowHead => wire.closed(HEAD + SLACK).await.context("a slow head"),
            Self::Idle => wire.closed(HEAD + SLACK).await.context("idle from the start"),
            Self::SlowBody => {
                let answer = timeout(BODY + SLACK, wire.answer()).await.context("a slow body")??;
                ensure!(answer.status == 408 && answer.header("connection") == Some("close"), "{answer:?}");
                wire.closed(SLACK).await
            }
        }
    }
}

/// Comes, says that it is there, and stays until shown out.
async fn dawdle(
    address: SocketAddr,
    client: Ipv4Addr,
    dawdler: Dawdler,
    entrance: Arc<Semaphore>,
    arrived: Arc<AtomicUsize>,
) -> anyhow::Result<()> {
    let turn = entrance.acquire_owned().await?;
    let mut wire = Wire::connect_from(client, address)
        .await
        .context("this test opens 3,000 connections: allow 8,000 open files (ulimit -n)")?;
    wire.send(&dawdler.start()).await;
    drop(turn);
    arrived.fetch_add(1, Ordering::Relaxed);
    dawdler.is_shown_out(&mut wire).await
}

#[tokio::test]
async fn three_thousand_dawdlers_are_shown_out_in_time_and_keep_nobody_waiting() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    // More at once than the kernel queues would be refused by the kernel, and come back seconds later.
    let entrance = Arc::new(Semaphore::new(100));
    let arrived = Arc::new(AtomicUsize::new(0));
    let mut crowd = JoinSet::new();
    for (net, dawdler) in [(1, Dawdler::SlowHead), (2, Dawdler::SlowBody), (3, Dawdler::Idle)] {
        for number in 0..CROWD {
            let client = Ipv4Addr::new(127, 3, net, (number % 250) as u8 + 1);
            crowd.spawn(dawdle(bed.address, client, dawdler, Arc::clone(&entrance), Arc::clone(&arrived)));
        }
    }
    eventually(HEAD, async || {
        let arrived = arrived.load(Ordering::Relaxed);
        ensure!(arrived == 3 * CROWD, "only {arrived} are there");
        Ok(())
    })
    .await?;
    let (mut wire, asked) = (bed.connect().await?, Instant::now());
    ensure!(wire.exchange(&Delivery::ordinary("msg_2").request()).await?.status == 201);
    ensure!(asked.elapsed() < Duration::from_millis(500), "a normal request took {:?}", asked.elapsed());

    while let Some(shown_out) = crowd.join_next().await {
        shown_out??;
    }
    ensure!(bed.counted("slow_body").await? == CROWD as u64);
    ensure!(bed.published().await? == 1);
    Ok(())
}

/// A byte now and then is not progress: the time for a head runs from its first byte.
#[tokio::test]
async fn a_head_that_trickles_in_has_no_more_time_than_one_that_stalls() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    let mut wire = bed.connect().await?;
    ensure!(wire.exchange(&Delivery::ordinary("msg_1").request()).await?.status == 201);
    let began = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    for byte in b"POST /webhooks/scalekit HTTP/1.1\r\nHost: a\r\n".iter().cycle() {
        ticks.tick().await;
        wire.send(&[*byte]).await;
        if wire.closed(Duration::from_millis(1)).await.is_ok() {
            break;
        }
        ensure!(began.elapsed() < HEAD + SLACK, "open after {:?}", began.elapsed());
    }
    ensure!(began.elapsed() > HEAD - SLACK, "closed after {:?}", began.elapsed());
    Ok(())
}
