//! Rates of a queue: `cargo run --release -p rollcall-queue --example rates -- sqlite://target/rates/queue.db`
//! (or an `amqp://` address of an empty virtual host), with bodies of 1.5 KB.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rollcall_event::{DeliveryId, Envelope, Lane, RoutingKey, Source, clock};
use rollcall_queue::{ConsumedQueue, Consumer, Options, Publisher, QueueUrl, Settlement};
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use tokio::task::JoinSet;

const BODY: usize = 1500;
const BATCH: usize = 256;

#[expect(clippy::print_stdout, reason = "the figures are what it is run for")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let url: QueueUrl = std::env::args().nth(1).unwrap_or("sqlite://target/rates/queue.db".into()).parse()?;
    let options = Options::default();
    let publisher = Publisher::start(&url, &options).await?;
    for callers in [1, 16, 64, 256] {
        let count = (callers * 150).max(500);
        let took = publish(&publisher, callers, count).await?;
        println!("publish {callers:>4} callers {:>8.0} /s", rate(count, took));
        let took = drain(&url, &options, &publisher, count).await?;
        println!("receive and settle     {:>8.0} /s", rate(count, took));
    }
    let count = 20_000;
    publish(&publisher, 256, count).await?;
    let took = drain(&url, &options, &publisher, count).await?;
    println!("receive and settle of a backlog of {count} {:>8.0} /s", rate(count, took));
    if let QueueUrl::Embedded(path) = &url {
        for rows in [1, 64, 256] {
            let count = (rows * 150).max(500);
            println!(
                "by hand, {rows:>4} rows a commit {:>8.0} /s",
                rate(count, by_hand(path, rows, count).await?)
            );
        }
    }
    // Two owners of the queue, as two processes are.
    let worker = Publisher::start(&url, &options).await?;
    let draining = drain(&url, &options, &worker, count);
    let (published, drained) = tokio::join!(publish(&publisher, 64, count), draining);
    let (published, drained) = (published?, drained?);
    println!(
        "both at once, published {:>8.0} /s, settled {:>8.0} /s",
        rate(count, published),
        rate(count, drained)
    );
    Ok(())
}

fn rate(count: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / took.as_secs_f64()
}

async fn publish(
    publisher: &Publisher,
    callers: usize,
    count: usize,
) -> Result<Duration, Box<dyn std::error::Error + Send + Sync>> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let (publisher, each) = (publisher.clone(), count / callers + usize::from(caller < count % callers));
        tasks.spawn(async move {
            let body = Bytes::from(vec![b'x'; BODY]);
            for number in 0..each {
                let id =
                    DeliveryId::parse(format!("msg_{caller}_{number}")).map_err(|error| error.to_string())?;
                let envelope = Envelope::new(Source::Scalekit, id, clock::now(), body.clone());
                let published = publisher.publish(&RoutingKey::unreadable(), &envelope).await;
                published.map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(started.elapsed())
}

/// The measure for publishing: one connection, nothing but inserts, so many to a synced commit.
async fn by_hand(
    path: &std::path::Path,
    rows: usize,
    count: usize,
) -> Result<Duration, Box<dyn std::error::Error + Send + Sync>> {
    let options = SqliteConnectOptions::new()
        .filename(path.with_extension("by-hand"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    let mut file = options.connect().await?;
    let table = "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, key TEXT, headers TEXT, body BLOB)";
    sqlx::query(table).execute(&mut file).await?;
    let (started, body) = (Instant::now(), vec![b'x'; BODY]);
    for _ in 0..count / rows {
        sqlx::query("BEGIN IMMEDIATE").execute(&mut file).await?;
        for _ in 0..rows {
            let insert = sqlx::query("INSERT INTO t (key, headers, body) VALUES (?, ?, ?)");
            insert
                .bind("event.unreadable")
                .bind("x".repeat(150))
                .bind(body.clone())
                .execute(&mut file)
                .await?;
        }
        sqlx::query("COMMIT").execute(&mut file).await?;
    }
    Ok(started.elapsed())
}

async fn drain(
    url: &QueueUrl,
    options: &Options,
    publisher: &Publisher,
    count: usize,
) -> Result<Duration, Box<dyn std::error::Error + Send + Sync>> {
    let queue = ConsumedQueue::Lane(Lane::Events);
    let mut consumer = Consumer::open(url, options, queue, 512, publisher.clone()).await?;
    let started = Instant::now();
    let mut seen = 0;
    while seen < count {
        let batch = consumer.receive(BATCH, Duration::from_millis(10)).await?;
        seen += batch.len();
        consumer.settle(batch.into_iter().map(|message| (message, Settlement::Done)).collect()).await?;
    }
    let took = started.elapsed();
    consumer.close(Duration::from_secs(5)).await;
    Ok(took)
}
