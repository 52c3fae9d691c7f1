//! Storing messages: many per statement, because a statement costs more than a row.

use std::fmt::Write;
use std::mem::take;

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::Publish;
use super::file::now_ms;

/// Most rows per statement. Fewer are filled up with empty ones to a power of two: any batch takes few statements,
/// each a trip to SQLite's thread, and all of them stay prepared.
const CHUNK: usize = 256;

/// Where each message goes; the list is JSON, and messages are numbered from `?1` on.
const MOVING: &str = "
INSERT INTO message (id, queue, place, since) SELECT ?1 + key, value, ?1 + key, ?2 FROM json_each(?3)";

/// Stores all of them, in their order. What they hold is taken out of them.
pub(super) async fn insert(
    file: &mut SqliteConnection,
    publishes: &mut [Publish],
) -> Result<(), sqlx::Error> {
    let first = next_id(file).await?;
    let queues: Vec<&str> = publishes.iter().map(|publish| publish.queue.name()).collect();
    let queues = serde_json::to_string(&queues).unwrap_or_default();
    sqlx::query(MOVING).bind(first).bind(now_ms()).bind(queues).execute(&mut *file).await?;
    let mut ids = first..;
    for chunk in publishes.chunks_mut(CHUNK) {
        let rows = chunk.len().next_power_of_two();
        let mut query = sqlx::query(AssertSqlSafe(staying(rows)));
        for (Publish { key, headers, body, .. }, id) in chunk.iter_mut().zip(ids.by_ref()) {
            query = query.bind(id).bind(take(key)).bind(take(headers)).bind(take(body));
        }
        for _ in 4 * chunk.len()..4 * rows {
            query = query.bind(None::<i64>);
        }
        query.execute(&mut *file).await?;
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

/// Stores what stays of so many messages, without the empty rows.
fn staying(rows: usize) -> String {
    let mut sql = "INSERT INTO content (id, routing_key, headers, body) SELECT * FROM (VALUES ".to_owned();
    for row in 0..rows {
        // Writing to a string cannot fail.
        let _ = write!(sql, "{}(?,?,?,?)", if row == 0 { "" } else { "," });
    }
    sql + ") WHERE column1 IS NOT NULL"
}
