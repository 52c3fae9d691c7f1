//! Held changes: over the removal budget, or of a paused organization; a person decides.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use rollcall_event::{DeliveryId, DirectoryEvent, Envelope, Source};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
    QuerySelect, Statement,
};
use serde::Serialize;

use crate::apply::{self, Incoming};
use crate::entity::held_change::{Column, Entity, Model};
use crate::rows::time_value;
use crate::{Store, StoreError};

/// Who decided something, when, and why in their words.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    /// The operator.
    pub actor: &'a str,
    /// Why.
    pub reason: &'a str,
    /// When.
    pub at: DateTime<Utc>,
}

impl Decision<'_> {
    /// Keeps the decision for those who ask later.
    pub(crate) async fn write_down(
        &self,
        transaction: &DatabaseTransaction,
        action: &str,
        target: &str,
    ) -> Result<(), StoreError> {
        let backend = transaction.get_database_backend();
        let sql = "INSERT INTO actions (acted_at, actor, action, target, reason) VALUES ($1, $2, $3, $4, $5)";
        let values = [
            time_value(backend, self.at),
            self.actor.into(),
            action.into(),
            target.into(),
            self.reason.into(),
        ];
        transaction.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
        Ok(())
    }
}

/// A change that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldChange {
    /// Number of the change.
    pub id: i64,
    /// The customer.
    pub organization_id: String,
    /// The person or group it is about.
    pub subject_id: Option<String>,
    /// The event.
    pub event_id: String,
    /// `removal_budget` or `organization_paused`.
    pub reason: String,
    /// Since when.
    pub held_at: DateTime<Utc>,
}

/// Which held changes are meant: those with these numbers, or all of an organization.
#[derive(Debug, Clone)]
pub enum Held {
    /// These numbers.
    Ids(Vec<i64>),
    /// All of one customer.
    Organization(String),
    /// What was held because the customer is paused.
    Paused(String),
    /// All there are.
    All,
}

/// Changes decided in one transaction.
const PORTION: u64 = 256;

impl Store {
    /// What waits, by number, at most `limit`.
    pub async fn held(&self, meant: &Held, limit: u64) -> Result<Vec<HeldChange>, StoreError> {
        let models = self.within(async { Ok(open(meant).limit(limit).all(self.reader()).await?) }).await?;
        Ok(models.into_iter().map(HeldChange::from).collect())
    }

    /// How many changes wait for each organization.
    pub async fn held_counts(&self) -> Result<Vec<(String, u64)>, StoreError> {
        #[derive(FromQueryResult)]
        struct Count {
            organization_id: String,
            count: i64,
        }
        let query = Entity::find()
            .select_only()
            .column(Column::OrganizationId)
            .column_as(Column::Id.count(), "count")
            .filter(Column::Decision.is_null())
            .group_by(Column::OrganizationId)
            .into_model::<Count>();
        let counts = self.within(async { Ok(query.all(self.reader()).await?) }).await?;
        Ok(counts.into_iter().map(|count| (count.organization_id, count.count.unsigned_abs())).collect())
    }

    /// Applies what waits, by rule L like everything else: the order does not matter. Says how many.
    pub async fn release(&self, meant: &Held, by: &Decision<'_>) -> Result<u64, StoreError> {
        self.decide(meant, by, "released").await
    }

    /// Lets what waits go without applying it. Says how many.
    pub async fn reject(&self, meant: &Held, by: &Decision<'_>) -> Result<u64, StoreError> {
        self.decide(meant, by, "rejected").await
    }

    /// Holds everything of an organization from now on; false where it was paused already. An organization
    /// nothing has been heard of yet can be paused too.
    pub async fn pause(&self, organization: &str, by: &Decision<'_>) -> Result<bool, StoreError> {
        self.set_paused(organization, true, by).await
    }

    /// Applies what was held because of the pause and goes on. Says how many changes that released.
    pub async fn resume(&self, organization: &str, by: &Decision<'_>) -> Result<u64, StoreError> {
        // Batches that saw the pause have its row locked: this waits until what they hold is there.
        self.set_paused(organization, false, by).await?;
        self.decide(&Held::Paused(organization.to_owned()), by, "released").await
    }

    async fn set_paused(
        &self,
        organization: &str,
        paused: bool,
        by: &Decision<'_>,
    ) -> Result<bool, StoreError> {
        let sql = "INSERT INTO organizations AS kept (id, paused) VALUES ($1, $2)
            ON CONFLICT (id) DO UPDATE SET paused = excluded.paused WHERE kept.paused <> excluded.paused";
        self.within(async {
            let transaction = self.begin().await?;
            let values = [organization.into(), paused.into()];
            let statement = Statement::from_sql_and_values(self.backend(), sql, values);
            let changed = transaction.execute_raw(statement).await?.rows_affected() == 1;
            if changed {
                let action = if paused { "organization.paused" } else { "organization.resumed" };
                by.write_down(&transaction, action, organization).await?;
            }
            transaction.commit().await?;
            Ok(changed)
        })
        .await
    }

    async fn decide(&self, meant: &Held, by: &Decision<'_>, decision: &str) -> Result<u64, StoreError> {
        let mut decided = 0;
        loop {
            let portion = self.within(self.decide_portion(meant, by, decision)).await?;
            decided += portion;
            if portion < PORTION {
                return Ok(decided);
            }
        }
    }

    async fn decide_portion(
        &self,
        meant: &Held,
        by: &Decision<'_>,
        decision: &str,
    ) -> Result<u64, StoreError> {
        let transaction = self.begin().await?;
        // Locked, so that what one operator releases another cannot reject meanwhile.
        let changes = open(meant).limit(PORTION).lock_exclusive().all(&transaction).await?;
        let mut incoming = Vec::new();
        for change in &changes {
            incoming.push(load(&transaction, change).await?);
        }
        let written = match decision {
            "released" => apply::write(&transaction, &incoming.iter().collect::<Vec<_>>()).await?,
            _ => Default::default(),
        };
        for (change, incoming) in changes.iter().zip(&incoming) {
            let outcome = match (decision, incoming.event.version()) {
                ("released", Some(version)) if written.contains(version.as_str()) => "applied",
                ("released", Some(_)) => "superseded",
                ("released", None) => "ignored",
                (other, _) => other,
            };
            set_outcome(&transaction, change, outcome).await?;
        }
        let ids: Vec<i64> = changes.iter().map(|change| change.id).collect();
        if !ids.is_empty() {
            Entity::update_many()
                .col_expr(Column::Decision, Expr::value(decision))
                .col_expr(Column::DecidedAt, Expr::value(by.at))
                .col_expr(Column::DecidedReason, Expr::value(by.reason))
                .filter(Column::Id.is_in(ids.iter().copied()))
                .exec(&transaction)
                .await?;
            by.write_down(&transaction, &format!("held.{decision}"), &format!("{ids:?}")).await?;
        }
        transaction.commit().await?;
        Ok(ids.len() as u64)
    }
}

fn open(meant: &Held) -> sea_orm::Select<Entity> {
    let query = Entity::find().filter(Column::Decision.is_null()).order_by_asc(Column::Id);
    match meant {
        Held::Ids(ids) => query.filter(Column::Id.is_in(ids.iter().copied())),
        Held::Organization(id) => query.filter(Column::OrganizationId.eq(id.as_str())),
        Held::Paused(id) => query
            .filter(Column::OrganizationId.eq(id.as_str()))
            .filter(Column::Reason.eq("organization_paused")),
        Held::All => query,
    }
}

async fn load(transaction: &DatabaseTransaction, change: &Model) -> Result<Incoming, StoreError> {
    let sql = "SELECT delivery_id, received_at, body FROM events
        WHERE source = $1 AND event_id = $2 AND body_sha256 = $3";
    let key =
        [change.source.as_str().into(), change.event_id.as_str().into(), change.body_sha256.clone().into()];
    let query = Statement::from_sql_and_values(transaction.get_database_backend(), sql, key);
    let corrupt = |what: &str| StoreError::Corrupt(format!("held change {}: {what}", change.id));
    let row = transaction.query_one_raw(query).await?.ok_or_else(|| corrupt("its event is gone"))?;
    let delivery = DeliveryId::parse(row.try_get::<String>("", "delivery_id")?);
    let source = Source::parse(&change.source).ok_or_else(|| corrupt("unreadable source"))?;
    let body = Bytes::from(row.try_get::<Vec<u8>>("", "body")?);
    let event = DirectoryEvent::parse(&body).map_err(|error| corrupt(&error.to_string()))?;
    let delivery = delivery.map_err(|_| corrupt("unreadable delivery id"))?;
    Ok(Incoming { envelope: Envelope::new(source, delivery, row.try_get("", "received_at")?, body), event })
}

async fn set_outcome(
    transaction: &DatabaseTransaction,
    change: &Model,
    outcome: &str,
) -> Result<(), StoreError> {
    let sql = "UPDATE events SET outcome = $4 WHERE source = $1 AND event_id = $2 AND body_sha256 = $3";
    let values = [
        change.source.as_str().into(),
        change.event_id.as_str().into(),
        change.body_sha256.clone().into(),
        outcome.into(),
    ];
    transaction
        .execute_raw(Statement::from_sql_and_values(transaction.get_database_backend(), sql, values))
        .await?;
    Ok(())
}

impl From<Model> for HeldChange {
    fn from(model: Model) -> Self {
        Self {
            id: model.id,
            organization_id: model.organization_id,
            subject_id: model.subject_id,
            event_id: model.event_id,
            reason: model.reason,
            held_at: model.held_at,
        }
    }
}
