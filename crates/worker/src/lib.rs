//! The worker: takes messages, applies what they say, and answers operators.
//!
//! The way of one message: `lane` takes a batch from the queue, `judge` reads it and has the store apply it
//! in one transaction, and what came of each message is decided once, counted once and settled once. `dead`
//! moves dead letters from the queue to their table. The worker never verifies a signature: only verified
//! bytes are ever published.

mod admin;
pub mod cli;
mod commands;
mod condition;
mod courtesy;
mod dead;
mod gauges;
mod judge;
mod lane;
mod output;
pub mod settings;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rollcall_event::Lane;
use rollcall_event::clock::Clock;
use rollcall_queue::{Options, Publisher, QueueUrl};
use rollcall_store::{RemovalBudget, Store};
use rollcall_telemetry::Metrics;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::condition::Condition;
use crate::courtesy::Courtesy;

/// Everything [`run`] needs, already built.
pub struct Parts {
    /// Where operators ask.
    pub admin: TcpListener,
    /// Where messages come from.
    pub queue: QueueUrl,
    /// How the queue is used.
    pub queue_options: Options,
    /// What carries retries and dead letters.
    pub publisher: Publisher,
    /// Where rows go.
    pub store: Store,
    /// How messages are judged.
    pub rules: Rules,
    /// Where everything is counted.
    pub metrics: Metrics,
}

/// How messages are taken and judged.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Messages in one transaction, at most.
    pub batch_size: usize,
    /// How long a batch waits to fill.
    pub batch_linger: Duration,
    /// Messages held per lane of RabbitMQ, at most.
    pub prefetch: u16,
    /// People an organization may lose in an hour.
    pub removal_budget: RemovalBudget,
    /// The only environment whose events are applied; `None` checks nothing.
    pub environment_id: Option<String>,
    /// What time it is.
    pub clock: Clock,
}

/// For the batch in hand after the stop signal, and for giving back what is held.
const GRACE: Duration = Duration::from_secs(15);

/// What every task of the worker needs.
struct Shared {
    queue: QueueUrl,
    queue_options: Options,
    publisher: Publisher,
    store: Store,
    rules: Rules,
    metrics: Metrics,
    condition: Condition,
    courtesy: Courtesy,
    stop: CancellationToken,
}

/// Consumes and serves operators until `stop` is ready, then finishes what is in hand, gives back the rest,
/// and ends within 20 s.
///
/// # Errors
///
/// A listener without an address, or a queue that can never be used; nothing that happens while running.
pub async fn run(parts: Parts, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let Parts { admin, queue, queue_options, publisher, store, rules, metrics } = parts;
    tracing::info!(address = %admin.local_addr().context("the admin address")?, "listening");
    let shared = Arc::new(Shared {
        queue,
        queue_options,
        publisher,
        store,
        rules,
        metrics,
        condition: Condition::default(),
        courtesy: Courtesy::default(),
        stop: CancellationToken::new(),
    });
    let mut tasks = JoinSet::new();
    for lane in Lane::ALL {
        tasks.spawn(lane::run(shared.clone(), lane));
    }
    tasks.spawn(dead::run(shared.clone()));
    let mut aside = JoinSet::new();
    aside.spawn(gauges::run(shared.clone()));
    aside.spawn(admin::serve(admin, shared.clone()));

    let ended = tokio::select! {
        () = stop => None,
        ended = tasks.join_next() => ended,
    };
    tracing::info!("stopping");
    shared.stop.cancel();
    let drained = tokio::time::timeout(GRACE, async {
        while let Some(ended) = tasks.join_next().await {
            report(ended);
        }
    });
    if drained.await.is_err() {
        tracing::warn!("some work did not end in time; what it held will come again");
    }
    aside.abort_all();
    shared.publisher.close(Duration::from_secs(3)).await;
    // Closing waits for connections in use; one that hangs must not keep the process.
    let _ = tokio::time::timeout(Duration::from_secs(1), shared.store.clone().close()).await;
    match ended {
        Some(Ok(Err(error))) => Err(error),
        Some(Err(panic)) => Err(anyhow::Error::new(panic).context("a task of the worker failed")),
        Some(Ok(Ok(()))) | None => Ok(()),
    }
}

fn report(ended: Result<anyhow::Result<()>, tokio::task::JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(error = format!("{error:#}"), "a task of the worker ended"),
        Err(panic) => tracing::error!(%panic, "a task of the worker failed"),
    }
}
