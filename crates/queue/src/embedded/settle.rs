//! Settling what was handed out. Only its holder can: whoever lost the lease changes nothing.

use sqlx::SqliteConnection;
use tokio::sync::oneshot;

use super::file::{id_list, in_ms, now_ms};
use super::leases::{bury_beyond_limit, move_to_dead, rewrite};
use crate::ladder::Move;
use crate::{QueueError, name};

/// A batch to settle.
pub(super) struct Settle {
    pub(super) holder: i64,
    /// Row, own routing key, and what is to be done.
    pub(super) moves: Vec<(i64, String, Move)>,
    /// One answer for each: whether the holder still held it.
    pub(super) answer: oneshot::Sender<Result<Vec<bool>, QueueError>>,
}

/// A consumer that ends, with all it still holds.
pub(super) struct Release {
    pub(super) holder: i64,
    /// Whether it ended without saying so, which counts as handed out without an answer.
    pub(super) counted: bool,
    pub(super) answer: Option<oneshot::Sender<()>>,
}

/// Does what is asked with each row that `holder` still holds, and says which these were.
pub(super) async fn settle(file: &mut SqliteConnection, settle: &Settle) -> Result<Vec<bool>, sqlx::Error> {
    const HELD: &str = "SELECT id FROM message WHERE lease = ? AND id IN (SELECT value FROM json_each(?))";
    let ids: Vec<i64> = settle.moves.iter().map(|(id, ..)| *id).collect();
    let held: std::collections::HashSet<i64> = sqlx::query_scalar(HELD)
        .bind(settle.holder)
        .bind(id_list(&ids))
        .fetch_all(&mut *file)
        .await?
        .into_iter()
        .collect();
    let mut done = Vec::new();
    for (id, key, step) in settle.moves.iter().filter(|(id, ..)| held.contains(id)) {
        match step {
            Move::Drop => done.push(*id),
            Move::Return(_) => hand_back(file, *id).await?,
            Move::Retry { step: delay, headers } => {
                hide(file, *id, &name::retry(*delay), in_ms(*delay)).await?;
                rewrite(file, *id, key, headers).await?;
            }
            Move::Dead { headers, .. } => move_to_dead(file, *id, &step.key(key), headers).await?,
        }
    }
    forget(file, &done).await?;
    Ok(ids.iter().map(|id| held.contains(id)).collect())
}

/// Shows everything `holder` holds to others.
pub(super) async fn release(
    file: &mut SqliteConnection,
    release: &Release,
    limit: u32,
) -> Result<(), sqlx::Error> {
    const SHOW: &str = "UPDATE message SET hidden_until = NULL, lease = NULL, deliveries = deliveries + ? \
        WHERE hidden_until IS NOT NULL AND lease = ? RETURNING id, deliveries, queue";
    let rows =
        sqlx::query(SHOW).bind(i64::from(release.counted)).bind(release.holder).fetch_all(&mut *file).await?;
    bury_beyond_limit(file, &rows, limit).await
}

async fn hand_back(file: &mut SqliteConnection, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE message SET hidden_until = NULL, lease = NULL WHERE id = ?")
        .bind(id)
        .execute(file)
        .await?;
    Ok(())
}

async fn hide(file: &mut SqliteConnection, id: i64, retry: &str, ms: i64) -> Result<(), sqlx::Error> {
    const HIDE: &str = "UPDATE message SET hidden_until = ?, retry = ?, since = ?, lease = NULL, \
        deliveries = 0 WHERE id = ?";
    let now = now_ms();
    sqlx::query(HIDE).bind(now.saturating_add(ms)).bind(retry).bind(now).bind(id).execute(file).await?;
    Ok(())
}

async fn forget(file: &mut SqliteConnection, ids: &[i64]) -> Result<(), sqlx::Error> {
    if ids.is_empty() {
        return Ok(());
    }
    let list = id_list(ids);
    for statement in [
        "DELETE FROM message WHERE id IN (SELECT value FROM json_each(?))",
        "DELETE FROM content WHERE id IN (SELECT value FROM json_each(?))",
    ] {
        sqlx::query(statement).bind(list.clone()).execute(&mut *file).await?;
    }
    Ok(())
}
