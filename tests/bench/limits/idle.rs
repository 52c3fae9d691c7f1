//! What one event costs at least where nothing else happens: a confirmed publish, and one commit.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use crate::latency::Latencies;
use crate::limits::publisher::Bare;

/// So many of each, `apart` from each other as the deliveries beside them are: a processor that never rests wakes
/// faster. Their sums, pair by pair.
pub(crate) async fn publish_and_commit(
    queue: &str,
    database: &str,
    count: u32,
    apart: Duration,
) -> anyhow::Result<Latencies> {
    let publisher = Bare::connect(queue).await?;
    let mut connection = PgConnection::connect(database).await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS bench_commit (id bigserial PRIMARY KEY, body bytea NOT NULL)")
        .execute(&mut connection)
        .await?;
    let body = vec![b'x'; 300];
    let mut sums = Latencies::default();
    let first = Instant::now();
    for number in 0..count {
        tokio::time::sleep_until((first + apart * number).into()).await;
        let began = Instant::now();
        publisher.once(&body).await?;
        sqlx::query("INSERT INTO bench_commit (body) VALUES ($1)")
            .bind(&body)
            .execute(&mut connection)
            .await?;
        sums.note(began.elapsed());
    }
    Ok(sums)
}
