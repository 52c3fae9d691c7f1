//! People: three registers in one conditional upsert, then the memberships of those whose groups won.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use rollcall_event::UserStatus;
use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult};

use super::fold::UserFold;
use super::{newer, version_text};
use crate::StoreError;
use crate::rows::{Rows, query, statement};

static WRITE: LazyLock<String> = LazyLock::new(|| {
    const COLUMNS: &str = "id, organization_id, organization_version, email, name, given_name, family_name, user_name,
        dp_id, attributes, vendor_roles, profile_version, groups_version, status, status_email, status_version";
    let profile =
        ["email", "name", "given_name", "family_name", "user_name", "dp_id", "attributes", "vendor_roles"];
    format!(
        "INSERT INTO users AS kept ({COLUMNS})
         SELECT {COLUMNS} FROM {{input}} WHERE true ORDER BY id
         ON CONFLICT (id) DO UPDATE SET {}, {}, {}, {}
         WHERE excluded.profile_version > kept.profile_version OR excluded.groups_version > kept.groups_version
            OR excluded.status_version > kept.status_version
         RETURNING id, profile_version, groups_version, status_version",
        newer("organization_version", &["organization_id"]),
        newer("profile_version", &profile),
        newer("groups_version", &[]),
        newer("status_version", &["status", "status_email"]),
    )
});

/// Writes the registers of people; gives back the versions that now stand in one.
pub(super) async fn write(
    transaction: &DatabaseTransaction,
    users: &BTreeMap<&str, UserFold<'_>>,
) -> Result<BTreeSet<String>, StoreError> {
    if users.is_empty() {
        return Ok(BTreeSet::new());
    }
    let each = || users.values();
    let profile = || each().map(|user| user.profile.map(|(_, profile)| profile));
    let roles: Vec<String> =
        profile().map(|profile| roles_text(profile.map(|it| it.vendor_roles.as_slice()))).collect();
    let input = Rows::new(transaction.get_database_backend())
        .key("id", users.keys().copied())
        .key("organization_id", each().map(|user| user.organization.map_or("", |(_, id)| id.as_str())))
        .key("organization_version", each().map(|user| version_text(&user.organization)))
        .text("email", profile().map(|it| it?.email.as_deref()))
        .text("name", profile().map(|it| it?.name.as_deref()))
        .text("given_name", profile().map(|it| it?.given_name.as_deref()))
        .text("family_name", profile().map(|it| it?.family_name.as_deref()))
        .text("user_name", profile().map(|it| it?.user_name.as_deref()))
        .text("dp_id", profile().map(|it| it?.dp_id.as_deref()))
        .key("attributes", profile().map(|it| it.map_or("{}", |it| it.attributes.as_str())))
        .key("vendor_roles", roles.iter().map(String::as_str))
        .key("profile_version", each().map(|user| version_text(&user.profile)))
        .key("groups_version", each().map(|user| version_text(&user.groups)))
        .key("status", each().map(|user| user.status.map_or("active", |(_, status)| status.as_str())))
        .text("status_email", each().map(|user| user.status.and_then(|(_, status)| parting_email(status))))
        .key("status_version", each().map(|user| version_text(&user.status)));
    let rows = query(transaction, &WRITE, input).await?;
    fail::fail_point!("store.between_user_and_memberships", |_| std::process::abort());
    set_memberships(transaction, users, &rows).await?;
    super::versions(&rows, &["profile_version", "groups_version", "status_version"])
}

fn roles_text(roles: Option<&[String]>) -> String {
    serde_json::Value::from(roles.unwrap_or_default().to_vec()).to_string()
}

fn parting_email(status: &UserStatus) -> Option<&str> {
    match status {
        UserStatus::Deleted { email } => email.as_deref(),
        UserStatus::Active | UserStatus::Deactivated => None,
    }
}

const LEAVE: &str = "DELETE FROM memberships WHERE user_id IN (SELECT input.user_id FROM {users})
     AND (user_id, group_id) NOT IN (SELECT input.user_id, input.group_id FROM {memberships})";

const JOIN: &str = "INSERT INTO memberships (user_id, group_id)
     SELECT input.user_id, input.group_id FROM {memberships} WHERE true
     ORDER BY input.user_id, input.group_id
     ON CONFLICT (user_id, group_id) DO NOTHING";

/// Replaces the memberships of every person whose groups register was just won. The person's row is locked
/// by the upsert, so nobody else is at the same memberships.
async fn set_memberships(
    transaction: &DatabaseTransaction,
    users: &BTreeMap<&str, UserFold<'_>>,
    written: &[QueryResult],
) -> Result<(), StoreError> {
    let mut won: Vec<(String, &UserFold<'_>)> = Vec::new();
    for row in written {
        let (id, version): (String, String) = (row.try_get("", "id")?, row.try_get("", "groups_version")?);
        match users.get(id.as_str()) {
            Some(user) if user.groups.is_some_and(|(ours, _)| ours.as_str() == version) => {
                won.push((id, user))
            }
            _ => {}
        }
    }
    if won.is_empty() {
        return Ok(());
    }
    let backend = transaction.get_database_backend();
    let pairs: Vec<(&str, &str)> = won
        .iter()
        .flat_map(|(id, user)| {
            user.groups
                .iter()
                .flat_map(|(_, groups)| groups.iter())
                .map(|group| (id.as_str(), group.as_str()))
        })
        .collect();
    let memberships = || {
        Rows::new(backend)
            .key("user_id", pairs.iter().map(|(user, _)| *user))
            .key("group_id", pairs.iter().map(|(_, group)| *group))
    };
    let leavers = Rows::new(backend).key("user_id", won.iter().map(|(id, _)| id.as_str()));
    let leave = vec![("{users}", leavers), ("{memberships}", memberships())];
    transaction.execute_raw(statement(backend, LEAVE, Vec::new(), leave)).await?;
    if !pairs.is_empty() {
        let join = vec![("{memberships}", memberships())];
        transaction.execute_raw(statement(backend, JOIN, Vec::new(), join)).await?;
    }
    Ok(())
}
