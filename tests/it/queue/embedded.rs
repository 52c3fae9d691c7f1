//! What only the file can show.

use std::time::{Duration, Instant};

use rollcall_queue::{Fate, Health, PublishError, Publisher, QueueUrl, Settlement};
use rollcall_tests::eventually;
use sqlx::{Connection, SqliteConnection};

use super::bed::*;

/// Somebody else's connection to the file.
async fn stranger(bed: &Bed) -> anyhow::Result<SqliteConnection> {
    let QueueUrl::Embedded(path) = &bed.url else { anyhow::bail!("not a file") };
    Ok(SqliteConnection::connect(&format!("sqlite://{}", path.display())).await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_make_the_file_at_once() -> anyhow::Result<()> {
    let bed = Bed::embedded()?;
    let starts = (0..8).map(|_| {
        let (url, options) = (bed.url.clone(), bed.options.clone());
        tokio::spawn(async move {
            let publisher = Publisher::start(&url, &options).await?;
            publisher.publish(&event_key(), &envelope("a", "")).await?;
            anyhow::Ok(())
        })
    });
    for started in starts.collect::<Vec<_>>() {
        started.await??;
    }
    assert_eq!(bed.depth(EVENTS).await?.ready, 8);
    Ok(())
}

#[test]
fn what_a_dead_process_held_comes_again_after_its_lease() -> anyhow::Result<()> {
    let whole = Bed::embedded()?;
    let bed = whole.with(|options| options.lease = Duration::from_secs(2));
    // A runtime that is torn down runs none of the code that would hand messages back.
    let dying = tokio::runtime::Runtime::new()?;
    dying.block_on(async {
        let publisher = bed.publisher().await?;
        publish(&publisher, &event_key(), &["a"]).await?;
        let mut consumer = bed.consumer_with(EVENTS, 64, publisher).await?;
        let held = receive_one(&mut consumer).await?;
        std::mem::forget((consumer, held));
        anyhow::Ok(())
    })?;
    dying.shutdown_background();
    let killed = Instant::now();
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut consumer = bed.consumer(EVENTS).await?;
        let again = receive_one(&mut consumer).await?;
        assert_eq!((id(&again), again.deliveries), ("a".to_owned(), 1));
        assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
        // A living holder renews: nobody else gets it when the lease would be over.
        let mut other = bed.consumer(EVENTS).await?;
        let taken = tokio::time::timeout(Duration::from_secs(3), other.receive(1, Duration::ZERO)).await;
        assert!(taken.is_err(), "{taken:?}");
        let settled = settle(&mut consumer, vec![again], &Settlement::Done).await?;
        assert_eq!(settled.fates, [Fate::Done]);
        bed.drained(EVENTS).await
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_file_is_locked_callers_wait_or_are_told_at_once() -> anyhow::Result<()> {
    let whole = Bed::embedded()?;
    let bed = whole.with(|options| {
        options.window = 2;
        options.confirm_timeout = Duration::from_secs(1);
    });
    let publisher = bed.publisher().await?;
    let mut stranger = stranger(&bed).await?;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut stranger).await?;
    let started = Instant::now();
    let publishes = (0..40).map(|number| {
        let publisher = publisher.clone();
        tokio::spawn(async move {
            let published = publisher.publish(&event_key(), &envelope(&number.to_string(), "")).await;
            (published, started.elapsed())
        })
    });
    let (mut busy, mut late) = (0, 0);
    for publish in publishes.collect::<Vec<_>>() {
        match publish.await? {
            (Err(PublishError::Busy), after) if after < Duration::from_millis(500) => busy += 1,
            (Err(PublishError::TimedOut | PublishError::Embedded(_)), _) => late += 1,
            other => panic!("{other:?}"),
        }
    }
    // Two in the transaction that cannot begin, eight in line, perhaps a line's turn more.
    assert!(busy >= 20 && late >= 8, "{busy} busy, {late} late");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    sqlx::query("ROLLBACK").execute(&mut stranger).await?;
    eventually(SOON, async || Ok(publisher.publish(&event_key(), &envelope("a", "")).await?)).await?;
    assert_eq!(publisher.health(), Health::Ready);
    assert_eq!(bed.depth(EVENTS).await?.ready, 1, "what was refused must not appear later");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_breaks_is_named_and_a_mended_one_works() -> anyhow::Result<()> {
    let bed = Bed::embedded()?;
    let publisher = bed.publisher().await?;
    let mut stranger = stranger(&bed).await?;
    sqlx::query("ALTER TABLE content RENAME TO gone").execute(&mut stranger).await?;
    let refused = publisher.publish(&event_key(), &envelope("a", "")).await;
    assert!(matches!(refused, Err(PublishError::Embedded(_))), "{refused:?}");
    let Health::NotReady(cause) = publisher.health() else { panic!("ready") };
    assert!(cause.contains("content"), "{cause}");
    sqlx::query("ALTER TABLE gone RENAME TO content").execute(&mut stranger).await?;
    publish(&publisher, &event_key(), &["b"]).await?;
    assert_eq!(publisher.health(), Health::Ready);
    assert_eq!(bed.depth(EVENTS).await?.ready, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_in_another_process_wakes_on_a_publish() -> anyhow::Result<()> {
    let bed = Bed::embedded()?;
    // Two owners of one file are what two processes have.
    let publisher = bed.publisher().await?;
    let mut consumer = bed.consumer(EVENTS).await?;
    for number in 0..5 {
        let waiting = tokio::spawn(async move {
            let received = consumer.receive(1, Duration::ZERO).await;
            (consumer, received, Instant::now())
        });
        // Long enough for the consumer to be asleep.
        tokio::time::sleep(Duration::from_millis(100)).await;
        publisher.publish(&event_key(), &envelope(&number.to_string(), "")).await?;
        let published = Instant::now();
        let (back, received, at) = tokio::time::timeout(SOON, waiting).await??;
        assert!(at.duration_since(published) < Duration::from_millis(500));
        consumer = back;
        settle(&mut consumer, received?, &Settlement::Done).await?;
    }
    Ok(())
}
