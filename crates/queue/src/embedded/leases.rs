//! Handing messages out: a leased row is hidden until its time is over or its holder settles it.

use std::time::Duration;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use tokio::sync::oneshot;

use super::file::{id_list, in_ms, now_ms};
use super::publishes::next_id;
use crate::name::ConsumedQueue;
use crate::wire::{self, Headers};
use crate::{Options, QueueError};
use rollcall_event::{ReasonCode, RoutingKey};

/// A consumer that waits for messages.
pub(super) struct Lease {
    pub(super) holder: i64,
    pub(super) queue: ConsumedQueue,
    pub(super) max: usize,
    /// Whether to wait until something is ready, or to be answered with nothing.
    pub(super) patient: bool,
    pub(super) answer: oneshot::Sender<Result<Vec<Leased>, QueueError>>,
}

/// A message handed out.
#[derive(Debug)]
pub(super) struct Leased {
    pub(super) id: i64,
    pub(super) deliveries: u32,
    pub(super) routing_key: String,
    pub(super) headers: Headers,
    pub(super) body: Vec<u8>,
}

/// When the next hidden row becomes due, as Unix milliseconds.
pub(super) async fn next_due(file: &mut SqliteConnection) -> Result<Option<i64>, sqlx::Error> {
    const NEXT: &str = "SELECT min(hidden_until) FROM message WHERE hidden_until IS NOT NULL";
    sqlx::query_scalar(NEXT).fetch_one(file).await
}

/// Whether a hidden row with this `hidden_until` is to be shown. Nothing is ever hidden for longer than the
/// longest step or lease: if it seems to be, the clock was set back meanwhile.
pub(super) fn is_due(hidden_until: i64, options: &Options) -> bool {
    let now = now_ms();
    hidden_until <= now || hidden_until > horizon(now, options)
}

fn horizon(now: i64, options: &Options) -> i64 {
    let longest = options.retry_steps.iter().copied().max().unwrap_or_default().max(options.lease);
    now.saturating_add(in_ms(longest + Duration::from_secs(60)))
}

/// Shows the rows whose time is over: retries at the end of their queue, leases that ran out where they
/// were and counted, and beyond the delivery limit among the dead.
pub(super) async fn surface(file: &mut SqliteConnection, options: &Options) -> Result<(), sqlx::Error> {
    const SURFACE: &str = "UPDATE message SET hidden_until = NULL, retry = NULL, lease = NULL, \
        deliveries = deliveries + (lease IS NOT NULL), \
        place = CASE WHEN lease IS NULL THEN ?1 ELSE place END \
        WHERE hidden_until IS NOT NULL AND (hidden_until <= ?2 OR hidden_until > ?3) \
        RETURNING id, deliveries, queue";
    let now = now_ms();
    let place = next_id(file).await?;
    let rows =
        sqlx::query(SURFACE).bind(place).bind(now).bind(horizon(now, options)).fetch_all(&mut *file).await?;
    bury_beyond_limit(file, &rows, options.delivery_limit).await
}

/// Moves those of the returned rows that came back too often to the dead letters.
pub(super) async fn bury_beyond_limit(
    file: &mut SqliteConnection,
    rows: &[SqliteRow],
    limit: u32,
) -> Result<(), sqlx::Error> {
    for row in rows {
        let (id, deliveries): (i64, i64) = (row.try_get("id")?, row.try_get("deliveries")?);
        let queue: String = row.try_get("queue")?;
        // A dead letter has nowhere left to go.
        if deliveries > i64::from(limit) && queue != ConsumedQueue::Dead.name() {
            bury(file, id, limit).await?;
        }
    }
    Ok(())
}

async fn bury(file: &mut SqliteConnection, id: i64, limit: u32) -> Result<(), sqlx::Error> {
    let row = sqlx::query("SELECT routing_key, headers FROM content WHERE id = ?")
        .bind(id)
        .fetch_one(&mut *file)
        .await?;
    let headers = read_headers(&row)?;
    let key: String = row.try_get("routing_key")?;
    let reason = ReasonCode::DeliveryLimit;
    let headers = wire::bury(headers, reason, &wire::limit_error(limit), &key);
    move_to_dead(file, id, RoutingKey::dead(reason).as_str(), &headers).await
}

/// Puts a message at the end of the dead letters.
pub(super) async fn move_to_dead(
    file: &mut SqliteConnection,
    id: i64,
    key: &str,
    headers: &Headers,
) -> Result<(), sqlx::Error> {
    const MOVE: &str = "UPDATE message SET queue = ?, place = ?, since = ?, hidden_until = NULL, \
        lease = NULL, retry = NULL, deliveries = 0 WHERE id = ?";
    let place = next_id(file).await?;
    sqlx::query(MOVE)
        .bind(ConsumedQueue::Dead.name())
        .bind(place)
        .bind(now_ms())
        .bind(id)
        .execute(&mut *file)
        .await?;
    rewrite(file, id, key, headers).await
}

/// Gives a message another key and other headers; its bytes stay.
pub(super) async fn rewrite(
    file: &mut SqliteConnection,
    id: i64,
    key: &str,
    headers: &Headers,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE content SET routing_key = ?, headers = ? WHERE id = ?")
        .bind(key)
        .bind(serde_json::to_string(headers).unwrap_or_default())
        .bind(id)
        .execute(file)
        .await?;
    Ok(())
}

/// Hands out what is ready, oldest first; nothing, if nothing is. A message that was handed out before
/// comes alone.
pub(super) async fn take(
    file: &mut SqliteConnection,
    lease: &Lease,
    span: Duration,
) -> Result<Vec<Leased>, sqlx::Error> {
    const READY: &str = "SELECT id, deliveries, routing_key, headers, body \
        FROM message JOIN content USING (id) \
        WHERE queue = ? AND hidden_until IS NULL ORDER BY place, id LIMIT ?";
    const HIDE: &str = "UPDATE message SET hidden_until = ?, lease = ? \
        WHERE id IN (SELECT value FROM json_each(?))";
    let rows = sqlx::query(READY)
        .bind(lease.queue.name())
        .bind(i64::try_from(lease.max).unwrap_or(i64::MAX))
        .fetch_all(&mut *file)
        .await?;
    let mut leased = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let fresh = leased.iter().take_while(|message| message.deliveries == 0).count();
    leased.truncate(fresh.max(1));
    if !leased.is_empty() {
        let ids: Vec<i64> = leased.iter().map(|message| message.id).collect();
        sqlx::query(HIDE)
            .bind(now_ms().saturating_add(in_ms(span)))
            .bind(lease.holder)
            .bind(id_list(&ids))
            .execute(file)
            .await?;
    }
    Ok(leased)
}

/// Renews what a living holder still holds.
pub(super) async fn renew(
    file: &mut SqliteConnection,
    holder: i64,
    span: Duration,
) -> Result<(), sqlx::Error> {
    const RENEW: &str = "UPDATE message SET hidden_until = ? WHERE hidden_until IS NOT NULL AND lease = ?";
    let until = now_ms().saturating_add(in_ms(span));
    sqlx::query(RENEW).bind(until).bind(holder).execute(file).await?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<Leased, sqlx::Error> {
    Ok(Leased {
        id: row.try_get("id")?,
        deliveries: row.try_get("deliveries")?,
        routing_key: row.try_get("routing_key")?,
        headers: read_headers(row)?,
        body: row.try_get("body")?,
    })
}

fn read_headers(row: &SqliteRow) -> Result<Headers, sqlx::Error> {
    // Headers that cannot be read make the message a foreign one, which the worker dead-letters.
    Ok(serde_json::from_str(row.try_get("headers")?).unwrap_or_default())
}
