//! `held_changes`.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "held_changes")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) id: i64,
    pub(crate) source: String,
    pub(crate) event_id: String,
    pub(crate) body_sha256: Vec<u8>,
    pub(crate) organization_id: String,
    pub(crate) subject_id: Option<String>,
    pub(crate) reason: String,
    pub(crate) held_at: DateTimeUtc,
    pub(crate) decision: Option<String>,
    pub(crate) decided_at: Option<DateTimeUtc>,
    pub(crate) decided_reason: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
