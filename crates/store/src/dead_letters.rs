//! Dead letters: messages given up on, kept with their reason until a person settles them.

use std::str::FromStr;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use rollcall_event::{BodyHash, DirectoryEvent, Envelope, ReasonCode, RoutingKey};
use sea_orm::sea_query::{Expr, Func, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, FromQueryResult, Order, QueryFilter, QueryOrder, QuerySelect,
};
use serde::Serialize;

use crate::entity::dead_letter::{ActiveModel, Column, Entity, Model};
use crate::{Store, StoreError};

/// A message as it is given up.
#[derive(Debug, Clone)]
pub struct NewDeadLetter {
    /// The delivery; `attempt` counts the tries it had.
    pub envelope: Envelope,
    /// Where it came from, and where a replay sends it.
    pub routing_key: RoutingKey,
    /// Why.
    pub reason: ReasonCode,
    /// What the last try said.
    pub error: String,
}

/// A dead letter as on-call sees it. The body is personal data and only given out by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// Number of the dead letter.
    pub id: i64,
    /// `open`, `replayed` or `discarded`.
    pub status: String,
    /// Short name of the cause.
    pub reason_code: String,
    /// The same for dead letters that died alike.
    pub fingerprint: String,
    /// How often the worker tried.
    pub attempts: i32,
    /// What the first try said, where there was more than one.
    pub first_error: Option<String>,
    /// What the last try said.
    pub last_error: String,
    /// The sender's id of the delivery.
    pub delivery_id: String,
    /// The id in the body, where it can be read.
    pub event_id: Option<String>,
    /// The type in the body, where it can be read.
    pub kind: Option<String>,
    /// The customer, where it can be read.
    pub organization_id: Option<String>,
    /// Where a replay sends it.
    pub routing_key: String,
    /// When the door received it.
    pub received_at: DateTime<Utc>,
    /// When it was given up.
    pub died_at: DateTime<Utc>,
    /// SHA-256 of the body, hexadecimal.
    pub body_sha256: String,
    /// Bytes in the body.
    pub body_bytes: usize,
    /// When a person settled it.
    pub settled_at: Option<DateTime<Utc>>,
    /// Why, in that person's words.
    pub settled_reason: Option<String>,
}

/// Which dead letters are meant; every condition that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// These numbers.
    pub ids: Vec<i64>,
    /// Only those in this status; `None` means open ones.
    pub status: Option<String>,
    /// The event's type.
    pub kind: Option<String>,
    /// The customer.
    pub organization_id: Option<String>,
    /// The cause.
    pub reason_code: Option<String>,
    /// Those that died alike.
    pub fingerprint: Option<String>,
    /// Died at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Died before this time.
    pub until: Option<DateTime<Utc>>,
    /// Only those with a higher number.
    pub after: i64,
}

/// Open dead letters that died alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromQueryResult)]
pub struct Group {
    /// What they share.
    pub fingerprint: String,
    /// The cause.
    pub reason_code: String,
    /// How many there are.
    pub count: i64,
    /// The first to die.
    pub first_died_at: DateTime<Utc>,
    /// The latest to die.
    pub last_died_at: DateTime<Utc>,
    /// What one of them said.
    pub example_error: String,
}

/// How a person settles a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It was sent round again.
    Replayed,
    /// It is not wanted.
    Discarded,
}

impl Settled {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        }
    }
}

impl FromStr for Settled {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "replayed" => Ok(Self::Replayed),
            "discarded" => Ok(Self::Discarded),
            _ => Err(format!("`{text}` is neither `replayed` nor `discarded`")),
        }
    }
}

impl Store {
    /// Keeps messages that were given up, in one transaction. A body that is dead already stays one open
    /// dead letter, however often it comes.
    pub async fn bury(&self, letters: &[NewDeadLetter], now: DateTime<Utc>) -> Result<(), StoreError> {
        if letters.is_empty() {
            return Ok(());
        }
        let rows = letters.iter().map(|letter| row(letter, now));
        let once = OnConflict::columns([Column::Source, Column::BodySha256])
            // In words: neither database finds a partial index by a parameter.
            .target_and_where(Expr::cust("status = 'open'"))
            .do_nothing()
            .to_owned();
        self.within(async {
            let transaction = self.begin().await?;
            // One by one: the same body may stand twice in the batch.
            for row in rows {
                Entity::insert(row).on_conflict(once.clone()).exec_without_returning(&transaction).await?;
            }
            Ok(transaction.commit().await?)
        })
        .await
    }

    /// The dead letters meant, by number, at most `limit`.
    pub async fn dead_letters(&self, filter: &Filter, limit: u64) -> Result<Vec<DeadLetter>, StoreError> {
        let models = self.within(async { Ok(meant(filter).limit(limit).all(self.reader()).await?) }).await?;
        Ok(models.into_iter().map(DeadLetter::from).collect())
    }

    /// A dead letter's body and all a replay needs, by number; `None` where there is none.
    pub async fn dead_envelope(&self, id: i64) -> Result<Option<(Envelope, RoutingKey)>, StoreError> {
        let found = self.within(async { Ok(Entity::find_by_id(id).one(self.reader()).await?) }).await?;
        found.map(revived).transpose()
    }

    /// Open dead letters by what they share, most first.
    pub async fn dead_letter_groups(&self) -> Result<Vec<Group>, StoreError> {
        let query = Entity::find()
            .select_only()
            .column(Column::Fingerprint)
            .column(Column::ReasonCode)
            .column_as(Column::Id.count(), "count")
            .column_as(Column::DiedAt.min(), "first_died_at")
            .column_as(Column::DiedAt.max(), "last_died_at")
            .column_as(Column::LastError.max(), "example_error")
            .filter(Column::Status.eq("open"))
            .group_by(Column::Fingerprint)
            .group_by(Column::ReasonCode)
            .order_by(Expr::expr(Func::count(Expr::col(Column::Id))), Order::Desc)
            .into_model::<Group>();
        self.within(async { Ok(query.all(self.reader()).await?) }).await
    }

    /// How many open dead letters each cause has.
    pub async fn dead_letter_counts(&self) -> Result<Vec<(String, u64)>, StoreError> {
        #[derive(FromQueryResult)]
        struct Count {
            reason_code: String,
            count: i64,
        }
        let query = Entity::find()
            .select_only()
            .column(Column::ReasonCode)
            .column_as(Column::Id.count(), "count")
            .filter(Column::Status.eq("open"))
            .group_by(Column::ReasonCode)
            .into_model::<Count>();
        let counts = self.within(async { Ok(query.all(self.reader()).await?) }).await?;
        Ok(counts.into_iter().map(|count| (count.reason_code, count.count.unsigned_abs())).collect())
    }

    /// Settles an open dead letter, and writes down who did and why; false where it was not open.
    pub async fn settle_dead_letter(
        &self,
        id: i64,
        settled: Settled,
        by: &crate::held::Decision<'_>,
    ) -> Result<bool, StoreError> {
        self.within(async {
            let transaction = self.begin().await?;
            let changed = Entity::update_many()
                .col_expr(Column::Status, Expr::value(settled.as_str()))
                .col_expr(Column::SettledAt, Expr::value(by.at))
                .col_expr(Column::SettledReason, Expr::value(by.reason))
                .filter(Column::Id.eq(id))
                .filter(Column::Status.eq("open"))
                .exec(&transaction)
                .await?;
            if changed.rows_affected == 1 {
                by.write_down(&transaction, &format!("dead_letter.{}", settled.as_str()), &id.to_string())
                    .await?;
            }
            transaction.commit().await?;
            Ok(changed.rows_affected == 1)
        })
        .await
    }
}

fn meant(filter: &Filter) -> sea_orm::Select<Entity> {
    let status = filter.status.as_deref().unwrap_or("open");
    let mut query = Entity::find().filter(Column::Id.gt(filter.after)).order_by_asc(Column::Id);
    if status != "any" {
        query = query.filter(Column::Status.eq(status));
    }
    if !filter.ids.is_empty() {
        query = query.filter(Column::Id.is_in(filter.ids.iter().copied()));
    }
    let texts = [
        (Column::Kind, &filter.kind),
        (Column::OrganizationId, &filter.organization_id),
        (Column::ReasonCode, &filter.reason_code),
        (Column::Fingerprint, &filter.fingerprint),
    ];
    for (column, wanted) in texts {
        if let Some(wanted) = wanted {
            query = query.filter(column.eq(wanted.as_str()));
        }
    }
    if let Some(since) = filter.since {
        query = query.filter(Column::DiedAt.gte(since));
    }
    if let Some(until) = filter.until {
        query = query.filter(Column::DiedAt.lt(until));
    }
    query
}

fn row(letter: &NewDeadLetter, now: DateTime<Utc>) -> ActiveModel {
    let envelope = &letter.envelope;
    let event = DirectoryEvent::parse(&envelope.body).ok();
    ActiveModel {
        source: Set(envelope.source.as_str().to_owned()),
        delivery_id: Set(envelope.delivery_id.to_string()),
        routing_key: Set(letter.routing_key.to_string()),
        reason_code: Set(letter.reason.to_string()),
        fingerprint: Set(fingerprint(letter.reason, &letter.error)),
        attempts: Set(i32::try_from(envelope.attempt).unwrap_or(i32::MAX)),
        first_error: Set(envelope.first_error.clone()),
        last_error: Set(letter.error.clone()),
        event_id: Set(event.as_ref().map(|event| event.id.to_string())),
        organization_id: Set(event
            .as_ref()
            .and_then(|event| event.organization_id.as_ref())
            .map(ToString::to_string)),
        kind: Set(event.map(|event| event.kind)),
        traceparent: Set(envelope.traceparent.clone()),
        received_at: Set(envelope.received_at),
        died_at: Set(now),
        body_sha256: Set(BodyHash::of(&envelope.body).as_bytes().to_vec()),
        body: Set(envelope.body.to_vec()),
        status: Set("open".to_owned()),
        ..Default::default()
    }
}

/// The same for errors that differ in numbers only, such as ids and times.
fn fingerprint(reason: ReasonCode, error: &str) -> String {
    let words: String = error.chars().filter(|character| !character.is_ascii_digit()).collect();
    BodyHash::of(format!("{reason} {words}").as_bytes()).to_string()[..12].to_owned()
}

fn revived(model: Model) -> Result<(Envelope, RoutingKey), StoreError> {
    let unreadable = |what: &str| StoreError::Corrupt(format!("dead letter {}: unreadable {what}", model.id));
    let source = rollcall_event::Source::parse(&model.source).ok_or_else(|| unreadable("source"))?;
    let delivery = rollcall_event::DeliveryId::parse(model.delivery_id.clone());
    let delivery = delivery.map_err(|_| unreadable("delivery id"))?;
    let key = RoutingKey::parse(&model.routing_key).ok_or_else(|| unreadable("routing key"))?;
    let mut envelope = Envelope::new(source, delivery, model.received_at, Bytes::from(model.body));
    envelope.traceparent = model.traceparent;
    Ok((envelope, key))
}

impl From<Model> for DeadLetter {
    fn from(model: Model) -> Self {
        Self {
            id: model.id,
            status: model.status,
            reason_code: model.reason_code,
            fingerprint: model.fingerprint,
            attempts: model.attempts,
            first_error: model.first_error,
            last_error: model.last_error,
            delivery_id: model.delivery_id,
            event_id: model.event_id,
            kind: model.kind,
            organization_id: model.organization_id,
            routing_key: model.routing_key,
            received_at: model.received_at,
            died_at: model.died_at,
            body_sha256: model.body_sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
            body_bytes: model.body.len(),
            settled_at: model.settled_at,
            settled_reason: model.settled_reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_differ_in_numbers_share_a_fingerprint() {
        let of = |error| fingerprint(ReasonCode::RetriesExhausted, error);
        assert_eq!(of("evt_17 failed after 3 s"), of("evt_4 failed after 20 s"));
        assert_ne!(of("evt_17 failed"), of("evt_17 refused"));
        assert_ne!(of("x"), fingerprint(ReasonCode::ParseError, "x"));
        assert_eq!(of("x").len(), 12);
    }
}
