//! Groups: their registers, and stubs for those only mentioned by their members.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::fold::GroupFold;
use super::{newer, version_text};
use crate::StoreError;
use crate::rows::{Rows, query};

/// A stub (its versions are all '') is left out where the row exists: the upsert would write nothing, but
/// lock the row, and everybody in a popular group would queue for it.
static WRITE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO groups AS kept
            (id, organization_id, organization_version, name, dp_id, name_version, status, status_version)
         SELECT id, organization_id, organization_version, name, dp_id, name_version, status, status_version
         FROM {{input}}
         WHERE status_version <> '' OR NOT EXISTS (SELECT 1 FROM groups there WHERE there.id = input.id)
         ORDER BY id
         ON CONFLICT (id) DO UPDATE SET {}, {}, {}
         WHERE excluded.name_version > kept.name_version OR excluded.status_version > kept.status_version
         RETURNING name_version, status_version",
        newer("organization_version", &["organization_id"]),
        newer("name_version", &["name", "dp_id"]),
        newer("status_version", &["status"]),
    )
});

/// Writes the registers of groups; gives back the versions that now stand in one.
pub(super) async fn write(
    transaction: &DatabaseTransaction,
    groups: &BTreeMap<&str, GroupFold<'_>>,
) -> Result<BTreeSet<String>, StoreError> {
    if groups.is_empty() {
        return Ok(BTreeSet::new());
    }
    let each = || groups.values();
    let organization = |row: &GroupFold<'_>| {
        row.organization.map(|(_, id)| id).or(row.mentioned_by).map(|id| id.to_string())
    };
    let organizations: Vec<String> = each().map(|row| organization(row).unwrap_or_default()).collect();
    let input = Rows::new(transaction.get_database_backend())
        .key("id", groups.keys().copied())
        .key("organization_id", organizations.iter().map(String::as_str))
        .key("organization_version", each().map(|row| version_text(&row.organization)))
        .text("name", each().map(|row| row.name.and_then(|(_, (name, _))| name.as_deref())))
        .text("dp_id", each().map(|row| row.name.and_then(|(_, (_, dp_id))| dp_id.as_deref())))
        .key("name_version", each().map(|row| version_text(&row.name)))
        .key("status", each().map(|row| row.status.map_or("active", |(_, status)| status.as_str())))
        .key("status_version", each().map(|row| version_text(&row.status)));
    let rows = query(transaction, &WRITE, input).await?;
    super::versions(&rows, &["name_version", "status_version"])
}
