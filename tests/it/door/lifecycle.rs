//! Starting, stopping, and a queue that does not confirm. Row S50.

use std::time::{Duration, Instant};

use anyhow::ensure;
use nix::sys::signal::Signal;
use rollcall_tests::http::Client;
use rollcall_tests::process::{Settings, bin, run};
use rollcall_tests::{Folder, free_port};

use super::bed::{Bed, QueueLock};
use super::delivery::Delivery;
use super::wire::Answer;

const SOON: Duration = Duration::from_secs(10);

fn asks_to_come_again(answer: &Answer) -> anyhow::Result<()> {
    ensure!(answer.status == 503, "{answer:?}");
    ensure!(answer.retry_after().is_some_and(|seconds| (5..=60).contains(&seconds)), "{answer:?}");
    Ok(())
}

/// S50, and once signed only 201 or 503: while there is no broker, a bad signature is still a 400.
#[tokio::test]
async fn without_a_broker_the_door_lives_is_not_ready_and_answers_503_at_once() -> anyhow::Result<()> {
    let url = format!("amqp://rollcall:hunter2@127.0.0.1:{}", free_port());
    let bed = Bed::start_unready(&[("QUEUE_URL", &url)]).await?;
    let began = Instant::now();
    asks_to_come_again(&bed.post(&Delivery::ordinary("msg_1")).await?)?;
    ensure!(began.elapsed() < Duration::from_secs(1), "took {:?}", began.elapsed());
    ensure!(bed.post(&Delivery::ordinary("msg_1").with("-signature", "v1,")).await?.status == 400);
    let ready = Client::new(bed.ops.to_string()).get("/readyz").await?;
    ensure!(ready.status == 503 && ready.body.len() > 10, "{ready:?}");
    ensure!(
        !ready.text().contains("hunter2") && !bed.log().await?.contains("hunter2"),
        "a password is shown"
    );
    ensure!(bed.counted("not_confirmed").await? == 2);
    Ok(())
}

#[tokio::test]
async fn a_queue_that_cannot_be_written_is_a_503_within_the_time_allowed_and_passes() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    let lock = QueueLock::take(&bed).await?;
    let began = Instant::now();
    asks_to_come_again(&bed.post(&Delivery::ordinary("msg_1")).await?)?;
    ensure!(began.elapsed() < Duration::from_secs(8), "took {:?}", began.elapsed());
    lock.release().await?;
    ensure!(bed.post(&Delivery::ordinary("msg_1")).await?.status == 201);
    Ok(())
}

#[tokio::test]
async fn a_stop_finishes_what_was_asked_and_takes_nothing_more() -> anyhow::Result<()> {
    let bed = Bed::start_with(&[("MAX_IN_FLIGHT", "1")]).await?;
    let (mut idle, mut asking) = (bed.connect().await?, bed.connect().await?);
    ensure!(idle.exchange(&Delivery::ordinary("msg_1").request()).await?.status == 201);
    let lock = QueueLock::take(&bed).await?;
    asking.send(&Delivery::ordinary("msg_2").request()).await;
    bed.crowded().await?;
    bed.service.signal(Signal::SIGTERM)?;
    bed.service.logged("stopping", SOON).await?;
    idle.closed(SOON).await?;
    ensure!(bed.connect().await.is_err(), "a new connection was accepted");
    let ready = Client::new(bed.ops.to_string()).get("/readyz").await?;
    ensure!(ready.status == 503 && ready.text().contains("stopping"), "{ready:?}");
    lock.release().await?;
    ensure!(asking.answer().await?.status == 201, "what was asked before the stop");
    ensure!(bed.service.wait(SOON).await?.success());
    ensure!(bed.published().await? == 2);
    Ok(())
}

#[tokio::test]
async fn an_idle_door_stops_at_once() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    let _idle = bed.connect().await?;
    let (status, took) = bed.service.sigterm().await?;
    ensure!(status.success() && took < Duration::from_secs(3), "{status} after {took:?}");
    Ok(())
}

#[tokio::test]
async fn the_health_check_says_whether_the_process_lives() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    let folder = Folder::new("health")?;
    let check = async |address: String| {
        let settings = Settings::from([("LISTEN".to_owned(), address)]);
        run(&bin("rollcall-ingress")?, &["healthcheck"], &settings, folder.path()).await
    };
    ensure!(check(bed.address.to_string()).await?.code == Some(0));
    ensure!(check(format!("0.0.0.0:{}", bed.address.port())).await?.code == Some(0));
    bed.service.sigstop()?;
    let began = Instant::now();
    ensure!(check(bed.address.to_string()).await?.code == Some(1) && began.elapsed() < SOON);
    bed.service.sigcont()?;
    ensure!(check(bed.address.to_string()).await?.code == Some(0));
    ensure!(check(format!("127.0.0.1:{}", free_port())).await?.code == Some(1));
    Ok(())
}
