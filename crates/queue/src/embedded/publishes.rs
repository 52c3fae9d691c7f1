//! Storing messages: many per statement, because a statement costs more than a row.

use std::fmt::Write;

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::Publish;
use super::file::now_ms;

/// Most rows per statement. Smaller numbers are made of halves of it, so that any batch takes few statements, each
/// a trip to SQLite's thread, and all of them stay prepared.
const CHUNK: usize = 256;

/// Stores all of them, in their order.
pub(super) async fn insert(file: &mut SqliteConnection, publishes: &[Publish]) -> Result<(), sqlx::Error> {
    let mut next = next_id(file).await?;
    let now = now_ms();
    let mut left = publishes;
    while !left.is_empty() {
        let size = CHUNK.min(1 << left.len().ilog2());
        let (chunk, rest) = left.split_at(size);
        insert_chunk(file, chunk, next, now).await?;
        next += i64::try_from(size).unwrap_or(0);
        left = rest;
    }
    Ok(())
}

/// The id that the next message gets, and the place behind everything there is.
pub(super) async fn next_id(file: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let last: Option<i64> = sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'message'")
        .fetch_optional(file)
        .await?;
    Ok(last.unwrap_or(0) + 1)
}

async fn insert_chunk(
    file: &mut SqliteConnection,
    chunk: &[Publish],
    first: i64,
    now: i64,
) -> Result<(), sqlx::Error> {
    let moving = statement("INSERT INTO message (id, queue, place, since) VALUES ", chunk.len());
    let mut query = sqlx::query(AssertSqlSafe(moving));
    for (id, publish) in (first..).zip(chunk) {
        query = query.bind(id).bind(publish.queue.name()).bind(id).bind(now);
    }
    query.execute(&mut *file).await?;
    let staying = statement("INSERT INTO content (id, routing_key, headers, body) VALUES ", chunk.len());
    let mut query = sqlx::query(AssertSqlSafe(staying));
    for (id, publish) in (first..).zip(chunk) {
        let headers = serde_json::to_string(&publish.headers).unwrap_or_default();
        query = query.bind(id).bind(publish.key.clone()).bind(headers).bind(publish.body.to_vec());
    }
    query.execute(file).await?;
    Ok(())
}

/// `head` with `rows` groups of four parameters.
fn statement(head: &str, rows: usize) -> String {
    let mut sql = String::with_capacity(head.len() + rows * 10);
    sql.push_str(head);
    for row in 0..rows {
        // Writing to a string cannot fail.
        let _ = write!(sql, "{}(?,?,?,?)", if row == 0 { "" } else { "," });
    }
    sql
}
