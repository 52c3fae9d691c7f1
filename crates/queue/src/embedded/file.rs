//! The file itself: opening, its tables, and counting what is in it.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};

use crate::name::{self, ConsumedQueue};
use crate::{Depth, Options, QueueError};

/// How long opening waits for another process that is making the same file.
const OPENING: Duration = Duration::from_secs(5);

/// The format written here, as SQLite's `user_version`.
const FORMAT: i64 = 1;

/// A message is two rows: what moves (small, rewritten at every step) and what stays (the bytes, written
/// once). `place` orders a queue; `hidden_until` (Unix ms) hides a row that is leased (`lease` names the
/// holder) or waits for a retry (`retry` names its queue).
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    place INTEGER NOT NULL,
    since INTEGER NOT NULL,
    hidden_until INTEGER,
    lease INTEGER,
    retry TEXT,
    deliveries INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS message_ready ON message (queue, place) WHERE hidden_until IS NULL;
CREATE INDEX IF NOT EXISTS message_hidden ON message (hidden_until) WHERE hidden_until IS NOT NULL;
CREATE TABLE IF NOT EXISTS content (
    id INTEGER PRIMARY KEY,
    routing_key TEXT NOT NULL,
    headers TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS canary (id INTEGER PRIMARY KEY, at INTEGER NOT NULL);
";

/// Opens the file for writing with its tables in place; makes it and its folder if they are absent.
pub(super) async fn open(path: &Path) -> Result<SqliteConnection, QueueError> {
    make(path).map_err(|error| QueueError::Folder(Arc::new(error)))?;
    let deadline = Instant::now() + OPENING;
    loop {
        match prepare(path).await {
            // Switching a new file to WAL answers "busy" at once, whatever the busy time-out.
            Err(QueueError::File(error)) if error.is_busy() && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            done => return done,
        }
    }
}

/// Makes the folder, and the file readable for its owner only: bodies are personal data.
fn make(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

async fn prepare(path: &Path) -> Result<SqliteConnection, QueueError> {
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(1))
        .disable_statement_logging()
        .connect()
        .await?;
    let format: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut connection).await?;
    if format > FORMAT {
        return Err(QueueError::TooNew(format));
    }
    if format < FORMAT {
        // "IF NOT EXISTS" under the write lock: whoever comes second finds everything there.
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await?;
        sqlx::raw_sql(TABLES).execute(&mut connection).await?;
        sqlx::raw_sql("PRAGMA user_version = 1; COMMIT").execute(&mut connection).await?;
    }
    // SQLite sleeps up to 100 ms between its own tries, which is unfair to whoever waits; short waits here
    // and our own loop around BEGIN come round sooner.
    sqlx::raw_sql("PRAGMA busy_timeout = 5").execute(&mut connection).await?;
    Ok(connection)
}

/// Makes the file and its tables.
pub(crate) async fn declare(path: &Path) -> Result<(), QueueError> {
    Ok(open(path).await?.close().await?)
}

/// Counts every queue, retry queues included; all exact.
pub(crate) async fn depths(path: &Path, options: &Options) -> Result<Vec<Depth>, QueueError> {
    const COUNT: &str = "SELECT coalesce(retry, queue) AS name, sum(lease IS NULL) AS ready, \
        sum(lease IS NOT NULL) AS unacked, min(since) AS oldest FROM message GROUP BY 1";
    let mut connection = open(path).await?;
    let rows = sqlx::query(COUNT).fetch_all(&mut connection).await?;
    connection.close().await?;
    let now = now_ms();
    let mut counted: Vec<Depth> = rows.iter().map(|row| counted(row, now)).collect::<Result<_, _>>()?;
    let retries = name::retries(&options.retry_steps).into_values();
    let known = ConsumedQueue::ALL.map(|queue| queue.name().to_owned()).into_iter().chain(retries);
    let mut depths: Vec<Depth> = Vec::new();
    for queue in known {
        let at = counted.iter().position(|depth| depth.queue == queue);
        depths.push(at.map_or_else(|| Depth::empty(queue), |at| counted.swap_remove(at)));
    }
    // Delays that are no longer listed but still hold messages.
    depths.append(&mut counted);
    Ok(depths)
}

fn counted(row: &SqliteRow, now: i64) -> Result<Depth, sqlx::Error> {
    let age = now.saturating_sub(row.try_get("oldest")?);
    Ok(Depth {
        queue: row.try_get("name")?,
        ready: u64::try_from(row.try_get::<i64, _>("ready")?).unwrap_or(0),
        unacked: u64::try_from(row.try_get::<i64, _>("unacked")?).ok(),
        oldest_age: Some(Duration::from_millis(u64::try_from(age).unwrap_or(0))),
        consumers: None,
    })
}

/// The time as Unix milliseconds, for leases and delays.
pub(super) fn now_ms() -> i64 {
    rollcall_event::clock::now().timestamp_millis()
}

/// A span in milliseconds.
pub(super) fn in_ms(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 4)
}

/// Ids as a JSON list, for `IN (SELECT value FROM json_each(?))`: one statement for any number of them.
pub(super) fn id_list(ids: &[i64]) -> String {
    serde_json::to_string(ids).unwrap_or_else(|_| "[]".to_owned())
}
