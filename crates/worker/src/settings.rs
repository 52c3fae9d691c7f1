//! The worker's settings: a flag and an environment variable each, and `--help` from the same lines.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use rollcall_queue::{Options, Publisher, QueueUrl};
use rollcall_settings::{Environment, SettingError, Steps, duration, resolve_text};
use rollcall_store::{DatabaseUrl, Pool, RemovalBudget, Store};
use rollcall_telemetry::{LogFormat, Metrics};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::{Parts, Rules};

const QUEUE_URL: &str = "QUEUE_URL";
const DATABASE_URL: &str = "DATABASE_URL";

/// The settings as given, each readable on its own; [`Settings::check`] judges what clap must not see or
/// cannot know.
#[derive(Debug, clap::Args)]
pub struct Settings {
    /// Where the queue is: sqlite://path, amqp://… or amqps://… [default: sqlite://data/queue.db] [file: QUEUE_URL_FILE]
    #[arg(long, env = QUEUE_URL, hide_env_values = true, global = true)]
    pub queue_url: Option<String>,
    /// Where the database is: sqlite://path or postgres://… [default: sqlite://data/rollcall.db] [file: DATABASE_URL_FILE]
    #[arg(long, env = DATABASE_URL, hide_env_values = true, global = true)]
    pub database_url: Option<String>,
    /// Address for operators: /livez, /readyz and /metrics
    #[arg(long, env = "ADMIN_LISTEN", default_value = "127.0.0.1:8081", global = true)]
    pub admin_listen: SocketAddr,
    /// The vendor's environment, env_…; events of another one become dead letters [default: not checked]
    #[arg(long, env = "SCALEKIT_ENVIRONMENT_ID", global = true)]
    pub scalekit_environment_id: Option<String>,
    /// Messages applied in one transaction, at most
    #[arg(long, env = "BATCH_SIZE", default_value = "256", value_parser = batch_size, global = true)]
    pub batch_size: u16,
    /// How long a batch waits to fill; leavers do not wait
    #[arg(long, env = "BATCH_LINGER", default_value = "10ms", value_parser = duration::parse, global = true)]
    pub batch_linger: Duration,
    /// Messages held per lane of RabbitMQ, at most; four times the batch size keeps the database busy
    #[arg(long, env = "PREFETCH", default_value = "1024", value_parser = prefetch, global = true)]
    pub prefetch: u16,
    /// Waits before the second, third … attempt; after the last one a message becomes a dead letter
    #[arg(long, env = "RETRY_STEPS", default_value = "1s,5s,30s,2m,10m,30m,1h,2h", global = true)]
    pub retry_steps: Steps,
    /// People an organization may lose in an hour before removals are held: the larger of a number and a share, or off
    #[arg(long, env = "REMOVAL_BUDGET", default_value = "50,20%", global = true)]
    pub removal_budget: RemovalBudget,
    /// development or production; production refuses values that are printed in the documentation
    #[arg(long, env = "ROLLCALL_ENV", default_value = "development", global = true)]
    pub rollcall_env: Environment,
    /// text, json, or text on a terminal and json elsewhere (auto)
    #[arg(long, env = "LOG_FORMAT", default_value = "auto", global = true)]
    pub log_format: LogFormat,
    /// What to log, such as info or rollcall_worker=debug,info [default: info]
    #[arg(long, env = "RUST_LOG", global = true)]
    pub rust_log: Option<String>,
}

/// Settings that were judged together.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Where the queue is.
    pub queue: QueueUrl,
    /// How it is used.
    pub queue_options: Options,
    /// Where the database is.
    pub database: DatabaseUrl,
}

impl Settings {
    /// Reads secrets and files and judges everything together. Unknown variables with our prefixes and
    /// development-only values in production are refused.
    ///
    /// # Errors
    ///
    /// Names the setting and what is accepted; never shows a secret.
    pub fn check(&self) -> anyhow::Result<Checked> {
        rollcall_settings::refuse_unknown(
            rollcall_settings::ALL,
            rollcall_settings::environment_variables(),
        )?;
        let queue = resolve_text(QUEUE_URL, self.queue_url.clone())?;
        let queue = queue.unwrap_or_else(|| "sqlite://data/queue.db".to_owned());
        let database = resolve_text(DATABASE_URL, self.database_url.clone())?;
        let database = database.unwrap_or_else(|| "sqlite://data/rollcall.db".to_owned());
        let guarded = [(QUEUE_URL, queue.as_str()), (DATABASE_URL, database.as_str())];
        rollcall_settings::refuse_development_values(self.rollcall_env, guarded)?;
        Ok(Checked {
            queue: queue.parse().context(QUEUE_URL)?,
            queue_options: Options {
                retry_steps: self.retry_steps.as_slice().to_vec(),
                ..Options::default()
            },
            database: database.parse().context(DATABASE_URL)?,
        })
    }

    /// Binds the admin address, connects, and works until SIGTERM or SIGINT. The embedded database is
    /// migrated first; PostgreSQL is not: workers come and go, and a migration is one decision.
    ///
    /// # Errors
    ///
    /// An address that cannot be bound, or a queue or file that can never be used. A server that is merely
    /// down is no error: nothing is taken until it is back.
    pub async fn work(&self, checked: Checked, metrics: Metrics) -> anyhow::Result<()> {
        let mut stop = pin!(stop()?);
        let parts = tokio::select! {
            parts = self.parts(checked, metrics) => parts?,
            () = &mut stop => return Ok(()),
        };
        crate::run(parts, stop).await
    }

    async fn parts(&self, checked: Checked, metrics: Metrics) -> anyhow::Result<Parts> {
        let Checked { queue, queue_options, database } = checked;
        let admin = TcpListener::bind(self.admin_listen).await;
        let admin = admin.with_context(|| format!("ADMIN_LISTEN: cannot listen on {}", self.admin_listen))?;
        if matches!(database, DatabaseUrl::Sqlite(_)) {
            Store::migrate(&database).await.context(DATABASE_URL)?;
        }
        let store = Store::connect(&database, &Pool::default()).await.context(DATABASE_URL)?;
        let publisher = Publisher::start(&queue, &queue_options).await.context(QUEUE_URL)?;
        let rules = Rules {
            batch_size: usize::from(self.batch_size),
            batch_linger: self.batch_linger,
            prefetch: self.prefetch,
            removal_budget: self.removal_budget,
            environment_id: self.scalekit_environment_id.clone().filter(|id| !id.is_empty()),
            clock: rollcall_event::clock::now,
        };
        Ok(Parts { admin, queue, queue_options, publisher, store, rules, metrics })
    }
}

/// Ready at SIGTERM or SIGINT. Asked for first of all: a stop may come while everything else still starts, and the first
/// process of a container is not ended by a signal it does not listen to.
fn stop() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    })
}

/// More rows in one statement only add latency, and PostgreSQL's locks grow with them.
fn batch_size(text: &str) -> Result<u16, SettingError> {
    within(text, 1..=1024, "a whole number from 1 to 1024")
}

fn prefetch(text: &str) -> Result<u16, SettingError> {
    within(text, 1..=10_000, "a whole number from 1 to 10000")
}

fn within(text: &str, range: std::ops::RangeInclusive<u16>, accepted: &str) -> Result<u16, SettingError> {
    let read = text.trim().parse().ok().filter(|number| range.contains(number));
    read.ok_or_else(|| SettingError::Unreadable { value: text.to_owned(), accepted: accepted.to_owned() })
}
