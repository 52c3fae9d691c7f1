//! The product under load: the real binaries, and what they came to.

use std::time::Duration;

use anyhow::{Context, ensure};
use rollcall_tests::{TestBed, eventually};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinHandle;

use crate::cpu::{Shares, Watch};
use crate::deliveries::Events;
use crate::stage::Stage;

/// Longest a backlog may take.
const DRAIN: Duration = Duration::from_secs(180);

/// A run of the worker over a full queue.
pub(crate) struct Drained {
    /// Committed events a second, from the first batch to the last.
    pub(crate) rate: f64,
    pub(crate) shares: Shares,
    /// Connections to the database that were busy at once, in the middle.
    pub(crate) connections: usize,
    /// Messages the workers sent to a retry queue.
    pub(crate) retries: f64,
}

/// Starts the workers and waits until they have committed so many events of the run; stops them.
pub(crate) async fn drain(
    stage: &Stage,
    workers: &mut [TestBed],
    database: &str,
    events: &Events,
    count: u64,
) -> anyhow::Result<Drained> {
    stage.settle().await?;
    for worker in workers.iter_mut() {
        worker.launch_worker()?;
    }
    let mut pids = stage.servers()?;
    for worker in workers.iter() {
        pids.push(("worker", worker.worker()?.pid()));
    }
    let watch = Watch::start(&pids)?;
    let sampling = Sampling::start(database).await?;
    committed(workers, count).await?;
    let shares = watch.stop()?;
    let connections = sampling.stop().await?;
    let mut retries = 0.0;
    for worker in workers.iter() {
        retries += worker.worker_metrics().await?.sum("rollcall_retries_total", &[]);
        worker.worker()?.sigterm().await?;
    }
    Ok(Drained { rate: rate(stage, database, events, count).await?, shares, connections, retries })
}

/// Waits until the workers' own counters say that so many events are settled.
pub(crate) async fn committed(workers: &[TestBed], count: u64) -> anyhow::Result<()> {
    eventually(DRAIN, async || {
        let mut seen = 0.0;
        for worker in workers {
            seen += worker.worker_metrics().await?.sum("rollcall_events_total", &[]);
        }
        ensure!(seen >= count as f64, "{seen} of {count} events are settled");
        Ok(())
    })
    .await
}

/// Events committed a second by what the database says, and that all of them are there.
///
/// `recorded_at` is when a batch began, so the time from the first to the last is that of all but one.
pub(crate) async fn rate(stage: &Stage, database: &str, events: &Events, count: u64) -> anyhow::Result<f64> {
    let (found, rate) = span(stage, database, events).await?;
    ensure!(found == count, "{found} of {count} events are in the database");
    Ok(rate)
}

async fn span(stage: &Stage, database: &str, events: &Events) -> anyhow::Result<(u64, f64)> {
    let sql = format!(
        "WITH batch AS (
            SELECT recorded_at AS at, count(*) AS events FROM events
            WHERE source = 'scalekit' AND event_id LIKE '{}%' GROUP BY 1)
         SELECT sum(events) || ' ' || (sum(events) - (SELECT events FROM batch ORDER BY at DESC LIMIT 1))
             / greatest(extract(epoch FROM max(at) - min(at)), 0.001) FROM batch",
        events.prefix()
    );
    let line = stage.sql(database, &sql).await?;
    let (found, rate) = line.split_once(' ').with_context(|| format!("no counts but `{line}`"))?;
    Ok((found.parse()?, rate.parse()?))
}

/// Counts the busy connections of a database every so often.
pub(crate) struct Sampling {
    stop: tokio::sync::oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<Vec<i64>>>,
}

const BUSY: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()";

impl Sampling {
    pub(crate) async fn start(database: &str) -> anyhow::Result<Self> {
        let mut connection = PgConnection::connect(database).await?;
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let mut seen = Vec::new();
            while stopped.try_recv().is_err_and(|why| why == tokio::sync::oneshot::error::TryRecvError::Empty)
            {
                let busy: i64 = sqlx::query_scalar(BUSY).fetch_one(&mut connection).await?;
                if busy > 0 {
                    seen.push(busy);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(seen)
        });
        Ok(Self { stop, task })
    }

    /// The number that nine of ten looks did not exceed; at least one.
    pub(crate) async fn stop(self) -> anyhow::Result<usize> {
        // It may have ended with an error, which comes out below.
        let _ = self.stop.send(());
        let mut seen = self.task.await??;
        seen.sort_unstable();
        let busy = seen.get(seen.len() * 9 / 10).copied().unwrap_or(1);
        Ok(usize::try_from(busy)?.max(1))
    }
}
