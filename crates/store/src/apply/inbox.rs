//! `events`: inbox and audit in one. Its primary key is what makes an event count once.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rollcall_event::{BodyHash, Change};
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::{DedupeKey, Effect, Incoming};
use crate::StoreError;
use crate::rows::{Rows, execute, query};

const RECORD: &str = "INSERT INTO events
        (source, event_id, body_sha256, kind, organization_id, subject_id, version, delivery_id, attempt,
         received_at, recorded_at, traceparent, outcome, body)
     SELECT source, event_id, body_sha256, kind, organization_id, subject_id, version, delivery_id, attempt,
         received_at, recorded_at, traceparent, outcome, body
     FROM {input} WHERE true ORDER BY source, event_id, body_sha256
     ON CONFLICT (source, event_id, body_sha256) DO NOTHING
     RETURNING source, event_id, body_sha256,
        (SELECT count(*) FROM events other WHERE other.source = events.source
            AND other.event_id = events.event_id AND other.body_sha256 <> events.body_sha256) AS other_bodies";

/// Records events nobody has recorded yet, as applied until the tables say otherwise, and gives back the
/// keys of those. Another transaction recording the same event makes this one wait, then find it there.
pub(super) async fn record<'a>(
    transaction: &DatabaseTransaction,
    batch: &[&'a Incoming],
    held: &BTreeMap<DedupeKey<'_>, &'static str>,
    now: DateTime<Utc>,
) -> Result<BTreeSet<DedupeKey<'a>>, StoreError> {
    let each = || batch.iter().copied();
    let input = keys(transaction, batch)
        .key("kind", each().map(|it| it.event.kind.as_str()))
        .text("organization_id", each().map(|it| it.event.organization_id.as_ref().map(|id| id.as_str())))
        .text("subject_id", each().map(|it| it.event.subject()))
        .text("version", each().map(|it| it.event.version().map(|version| version.as_str())))
        .key("delivery_id", each().map(|it| it.envelope.delivery_id.as_str()))
        .integer("attempt", each().map(|it| i64::from(it.envelope.attempt)))
        .time("received_at", each().map(|it| it.envelope.received_at))
        .time("recorded_at", each().map(|_| now))
        .text("traceparent", each().map(|it| it.envelope.traceparent.as_deref()))
        .key("outcome", each().map(|it| expected(it, held).as_str()))
        .bytes("body", each().map(|it| &it.envelope.body[..]));
    let rows = query(transaction, RECORD, input).await?;
    let mut recorded = BTreeSet::new();
    for row in &rows {
        let (event_id, hash): (String, Vec<u8>) =
            (row.try_get("", "event_id")?, row.try_get("", "body_sha256")?);
        if row.try_get::<i64>("", "other_bodies")? > 0 {
            tracing::warn!(event.id = %event_id, "one event id came with two bodies; both are weighed by their versions");
        }
        recorded.insert((event_id, hash));
    }
    let is_recorded =
        |hash: &BodyHash, id: &str| recorded.contains(&(id.to_owned(), hash.as_bytes().to_vec()));
    let fresh = each().filter(|it| is_recorded(&it.event.body_sha256, it.event.id.as_str()));
    let fresh: BTreeSet<DedupeKey<'a>> = fresh.map(Incoming::key).collect();
    hold(transaction, batch, &fresh, held, now).await?;
    Ok(fresh)
}

fn expected(incoming: &Incoming, held: &BTreeMap<DedupeKey<'_>, &'static str>) -> Effect {
    if held.contains_key(&incoming.key()) {
        Effect::Held
    } else if matches!(incoming.event.change, Change::Recorded) {
        Effect::Ignored
    } else {
        Effect::Applied
    }
}

const HOLD: &str = "INSERT INTO held_changes
        (source, event_id, body_sha256, organization_id, subject_id, reason, held_at)
     SELECT source, event_id, body_sha256, organization_id, subject_id, reason, held_at
     FROM {input} WHERE true ORDER BY source, event_id, body_sha256
     ON CONFLICT (source, event_id, body_sha256) DO NOTHING";

async fn hold(
    transaction: &DatabaseTransaction,
    batch: &[&Incoming],
    fresh: &BTreeSet<DedupeKey<'_>>,
    held: &BTreeMap<DedupeKey<'_>, &'static str>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let waiting: Vec<&Incoming> = batch
        .iter()
        .copied()
        .filter(|it| held.contains_key(&it.key()) && fresh.contains(&it.key()))
        .collect();
    if waiting.is_empty() {
        return Ok(());
    }
    let each = || waiting.iter().copied();
    let input = keys(transaction, &waiting)
        .key(
            "organization_id",
            each().map(|it| it.event.organization_id.as_ref().map_or("", |id| id.as_str())),
        )
        .text("subject_id", each().map(|it| it.event.subject()))
        .key("reason", each().map(|it| held[&it.key()]))
        .time("held_at", each().map(|_| now));
    execute(transaction, HOLD, input).await?;
    Ok(())
}

const SUPERSEDE: &str = "UPDATE events SET outcome = 'superseded'
     WHERE (source, event_id, body_sha256) IN (SELECT input.source, input.event_id, input.body_sha256 FROM {input})";

/// Corrects the outcome of events that found everything newer.
pub(super) async fn supersede(
    transaction: &DatabaseTransaction,
    events: &[&Incoming],
) -> Result<(), StoreError> {
    if !events.is_empty() {
        execute(transaction, SUPERSEDE, keys(transaction, events)).await?;
    }
    Ok(())
}

pub(super) fn keys(transaction: &DatabaseTransaction, events: &[&Incoming]) -> Rows {
    Rows::new(transaction.get_database_backend())
        .key("source", events.iter().map(|it| it.envelope.source.as_str()))
        .key("event_id", events.iter().map(|it| it.event.id.as_str()))
        .bytes("body_sha256", events.iter().map(|it| &it.event.body_sha256.as_bytes()[..]))
}
