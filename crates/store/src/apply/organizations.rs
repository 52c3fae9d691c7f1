//! Customers: rows for all that are named, locks for those a batch decides about, their registers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use rollcall_event::{Change, UserStatus};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, QueryResult};

use super::fold::OrganizationFold;
use super::{Incoming, newer, version_text};
use crate::StoreError;
use crate::rows::{Rows, execute, query};

const MENTION: &str =
    "INSERT INTO organizations (id) SELECT input.id FROM {input} WHERE true ORDER BY input.id
     ON CONFLICT (id) DO NOTHING";

/// SQLite writes one transaction at a time and knows no row locks.
const LOCK: &str = "SELECT o.id, o.paused FROM organizations o JOIN {input} ON input.id = o.id
     WHERE o.paused OR input.decided = 1 ORDER BY o.id";

/// Makes a row for every organization the batch names and says which are paused. Those that are, whose people
/// are removed, or whose own registers are written, stay locked until the commit: a resume must find what
/// was held, two workers must not both spend the last of one budget, and locks are taken here or not at all.
pub(super) async fn prepare(
    transaction: &DatabaseTransaction,
    batch: &[&Incoming],
) -> Result<BTreeSet<String>, StoreError> {
    let backend = transaction.get_database_backend();
    let ids = |wanted: &BTreeSet<&str>| Rows::new(backend).key("id", wanted.iter().copied());
    let mentioned: BTreeSet<&str> = named(batch, |_| true);
    if mentioned.is_empty() {
        return Ok(BTreeSet::new());
    }
    let decided = named(batch, decides);
    let input = || ids(&mentioned).integer("decided", mentioned.iter().map(|id| decided.contains(id).into()));
    // A leaver by itself: the row is there but for the first time. Of several organizations some could be
    // locked before others are made, and two transactions meet in a circle.
    if mentioned.len() == 1 && decided.len() == 1 {
        let rows = lock(transaction, input()).await?;
        if !rows.is_empty() {
            return paused(&rows);
        }
    }
    execute(transaction, MENTION, ids(&mentioned)).await?;
    paused(&lock(transaction, input()).await?)
}

async fn lock(transaction: &DatabaseTransaction, input: Rows) -> Result<Vec<QueryResult>, StoreError> {
    Ok(match transaction.get_database_backend() {
        DbBackend::Postgres => query(transaction, &format!("{LOCK} FOR UPDATE OF o"), input).await?,
        _ => query(transaction, LOCK, input).await?,
    })
}

fn paused(rows: &[QueryResult]) -> Result<BTreeSet<String>, StoreError> {
    let mut paused = BTreeSet::new();
    for row in rows {
        if row.try_get("", "paused")? {
            paused.insert(row.try_get("", "id")?);
        }
    }
    Ok(paused)
}

fn named<'a>(batch: &[&'a Incoming], wanted: impl Fn(&Change) -> bool) -> BTreeSet<&'a str> {
    batch
        .iter()
        .filter(|incoming| wanted(&incoming.event.change))
        .filter_map(|incoming| incoming.event.organization_id.as_ref())
        .map(|id| id.as_str())
        .collect()
}

fn decides(change: &Change) -> bool {
    match change {
        Change::User(_, user) => !matches!(user.status, None | Some(UserStatus::Active)),
        Change::Organization(..) => true,
        Change::Group(..) | Change::Recorded => false,
    }
}

static WRITE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO organizations AS kept
            (id, display_name, external_id, name_version, status, status_version, directory, directory_version)
         SELECT id, display_name, external_id, name_version, status, status_version, directory, directory_version
         FROM {{input}} WHERE true ORDER BY id
         ON CONFLICT (id) DO UPDATE SET {}, {}, {}
         WHERE excluded.name_version > kept.name_version OR excluded.status_version > kept.status_version
            OR excluded.directory_version > kept.directory_version
         RETURNING name_version, status_version, directory_version",
        newer("name_version", &["display_name", "external_id"]),
        newer("status_version", &["status"]),
        newer("directory_version", &["directory"]),
    )
});

/// Writes the registers of customers; gives back the versions that now stand in one.
pub(super) async fn write(
    transaction: &DatabaseTransaction,
    organizations: &BTreeMap<&str, OrganizationFold<'_>>,
) -> Result<BTreeSet<String>, StoreError> {
    if organizations.is_empty() {
        return Ok(BTreeSet::new());
    }
    let each = || organizations.values();
    let input = Rows::new(transaction.get_database_backend())
        .key("id", organizations.keys().copied())
        .text("display_name", each().map(|row| row.name.and_then(|(_, (name, _))| name.as_deref())))
        .text("external_id", each().map(|row| row.name.and_then(|(_, (_, id))| id.as_deref())))
        .key("name_version", each().map(|row| version_text(&row.name)))
        .key("status", each().map(|row| row.status.map_or("active", |(_, status)| status.as_str())))
        .key("status_version", each().map(|row| version_text(&row.status)))
        .text("directory", each().map(|row| row.directory.map(|(_, state)| state.as_str())))
        .key("directory_version", each().map(|row| version_text(&row.directory)));
    let rows = query(transaction, &WRITE, input).await?;
    super::versions(&rows, &["name_version", "status_version", "directory_version"])
}
