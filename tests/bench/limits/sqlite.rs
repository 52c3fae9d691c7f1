//! SQLite alone: the embedded queue's two tables, written by a loop with nothing around it.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, SqliteConnection};

const TABLES: &str = "
CREATE TABLE message (id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, place INTEGER NOT NULL,
    since INTEGER NOT NULL, hidden_until INTEGER, lease INTEGER, retry TEXT, deliveries INTEGER NOT NULL DEFAULT 0);
CREATE INDEX message_ready ON message (queue, place) WHERE hidden_until IS NULL;
CREATE INDEX message_hidden ON message (hidden_until) WHERE hidden_until IS NOT NULL;
CREATE TABLE content (id INTEGER PRIMARY KEY, routing_key TEXT NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL)";

/// Rows per statement: more of them gain nothing.
pub(crate) const CHUNK: usize = 32;

/// Rows a second for a while, so many per transaction, each transaction synced in full.
pub(crate) async fn rate(file: &Path, body: &[u8], batch: usize, time: Duration) -> anyhow::Result<f64> {
    let mut connection = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging()
        .connect()
        .await?;
    sqlx::raw_sql(TABLES).execute(&mut connection).await?;
    let (message, content) = (
        statement("INSERT INTO message (id, queue, place, since) VALUES "),
        statement("INSERT INTO content (id, routing_key, headers, body) VALUES "),
    );
    let began = Instant::now();
    let mut id = 0_i64;
    while began.elapsed() < time {
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await?;
        for _ in 0..batch / CHUNK {
            insert(&mut connection, [&message, &content], id, body).await?;
            id += i64::try_from(CHUNK)?;
        }
        sqlx::query("COMMIT").execute(&mut connection).await?;
    }
    Ok(id as f64 / began.elapsed().as_secs_f64())
}

/// How many rows a queue file got per commit: those of one commit have one time, and none takes less than a
/// millisecond.
pub(crate) async fn per_commit(file: &str) -> anyhow::Result<usize> {
    let mut connection = file.parse::<SqliteConnectOptions>()?.read_only(true).connect().await?;
    let (rows, commits): (i64, i64) = sqlx::query_as("SELECT count(*), count(DISTINCT since) FROM message")
        .fetch_one(&mut connection)
        .await?;
    Ok(usize::try_from(rows / commits.max(1))?)
}

async fn insert(
    connection: &mut SqliteConnection,
    [message, content]: [&str; 2],
    first: i64,
    body: &[u8],
) -> anyhow::Result<()> {
    const HEADERS: &str = r#"{"rollcall-attempt":"1","rollcall-delivery-id":"msg_bench00000000000001","rollcall-received-at":"2026-09-01T08:00:00.123456789Z","rollcall-source":"scalekit"}"#;
    let ids = first + 1..=first + i64::try_from(CHUNK)?;
    let mut moving = sqlx::query(AssertSqlSafe(message.to_owned()));
    let mut staying = sqlx::query(AssertSqlSafe(content.to_owned()));
    for id in ids {
        moving = moving.bind(id).bind("rollcall.events").bind(id).bind(0_i64);
        staying = staying.bind(id).bind("event.organization.directory.user_updated").bind(HEADERS).bind(body);
    }
    moving.execute(&mut *connection).await?;
    staying.execute(connection).await?;
    Ok(())
}

fn statement(head: &str) -> String {
    format!("{head}{}", ["(?,?,?,?)"; CHUNK].join(","))
}
