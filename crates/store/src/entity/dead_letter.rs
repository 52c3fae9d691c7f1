//! `dead_letters`.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "dead_letters")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) id: i64,
    pub(crate) source: String,
    pub(crate) delivery_id: String,
    pub(crate) routing_key: String,
    pub(crate) reason_code: String,
    pub(crate) fingerprint: String,
    pub(crate) attempts: i32,
    pub(crate) first_error: Option<String>,
    pub(crate) last_error: String,
    pub(crate) event_id: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) organization_id: Option<String>,
    pub(crate) traceparent: Option<String>,
    pub(crate) received_at: DateTimeUtc,
    pub(crate) died_at: DateTimeUtc,
    pub(crate) body_sha256: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) status: String,
    pub(crate) settled_at: Option<DateTimeUtc>,
    pub(crate) settled_reason: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
