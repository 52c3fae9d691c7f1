//! The mirror: what directories say of organizations, groups and people.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// A version of '' means that nothing has written that register. Rows are never removed: a deletion is
/// a status, so that no late event finds an empty place to revive. No foreign keys: a person may be seen
/// before the group, the group before the organization.
const STATEMENTS: [&str; 6] = [
    "CREATE TABLE organizations (
        id KEY_TEXT PRIMARY KEY,
        display_name text,
        external_id text,
        name_version KEY_TEXT NOT NULL DEFAULT '',
        status text NOT NULL DEFAULT 'active',
        status_version KEY_TEXT NOT NULL DEFAULT '',
        directory text,
        directory_version KEY_TEXT NOT NULL DEFAULT '',
        paused boolean NOT NULL DEFAULT false,
        trusts_vendor_roles boolean NOT NULL DEFAULT false
    )",
    "CREATE TABLE groups (
        id KEY_TEXT PRIMARY KEY,
        organization_id KEY_TEXT NOT NULL,
        organization_version KEY_TEXT NOT NULL DEFAULT '',
        name text,
        dp_id text,
        name_version KEY_TEXT NOT NULL DEFAULT '',
        status text NOT NULL DEFAULT 'active',
        status_version KEY_TEXT NOT NULL DEFAULT ''
    )",
    "CREATE TABLE users (
        id KEY_TEXT PRIMARY KEY,
        organization_id KEY_TEXT NOT NULL,
        organization_version KEY_TEXT NOT NULL DEFAULT '',
        email text,
        name text,
        given_name text,
        family_name text,
        user_name text,
        dp_id text,
        attributes text NOT NULL DEFAULT '{}',
        vendor_roles text NOT NULL DEFAULT '[]',
        profile_version KEY_TEXT NOT NULL DEFAULT '',
        groups_version KEY_TEXT NOT NULL DEFAULT '',
        status text NOT NULL DEFAULT 'active',
        status_email text,
        status_version KEY_TEXT NOT NULL DEFAULT ''
    )",
    "CREATE INDEX users_by_organization ON users (organization_id, status)",
    "CREATE TABLE memberships (
        user_id KEY_TEXT NOT NULL,
        group_id KEY_TEXT NOT NULL,
        PRIMARY KEY (user_id, group_id)
    )",
    "CREATE INDEX memberships_by_group ON memberships (group_id)",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run_statements(manager, &STATEMENTS).await
    }
}
