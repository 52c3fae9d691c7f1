//! Who may come in, and as what: derived in one view per question, so that it cannot drift.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The part of an e-mail behind the last `@` is what is left after trimming everything that is no `@`
/// from the end; `LIKE '%_@%'` keeps an address without one from being read as a domain.
const STATEMENTS: [&str; 5] = [
    "CREATE TABLE organization_domains (
        organization_id KEY_TEXT NOT NULL,
        domain text NOT NULL,
        PRIMARY KEY (organization_id, domain)
    )",
    "CREATE TABLE default_roles (
        organization_id KEY_TEXT NOT NULL,
        role KEY_TEXT NOT NULL,
        PRIMARY KEY (organization_id, role)
    )",
    "CREATE TABLE role_mappings (
        organization_id KEY_TEXT NOT NULL,
        matched_by text NOT NULL CHECK (matched_by IN ('id', 'name')),
        matched KEY_TEXT NOT NULL,
        role KEY_TEXT NOT NULL,
        PRIMARY KEY (organization_id, matched_by, matched, role)
    )",
    "CREATE VIEW access AS
        SELECT u.id AS user_id, u.organization_id,
            CASE
                WHEN o.status = 'deleted' THEN 'organization_deleted'
                WHEN u.status = 'deleted' THEN 'deleted'
                WHEN u.status = 'deactivated' THEN 'deactivated'
                WHEN EXISTS (SELECT 1 FROM organization_domains d WHERE d.organization_id = u.organization_id)
                    AND NOT EXISTS (
                        SELECT 1 FROM organization_domains d
                        WHERE d.organization_id = u.organization_id
                            AND u.email LIKE '%_@%'
                            AND d.domain = lower(substr(u.email, length(rtrim(u.email, replace(u.email, '@', ''))) + 1) BYTEWISE)
                    ) THEN 'domain_not_allowed'
                ELSE 'active'
            END AS access
        FROM users u
        LEFT JOIN organizations o ON o.id = u.organization_id",
    "CREATE VIEW roles AS
        SELECT a.user_id, r.role, 'default' AS via, NULL AS group_id
        FROM access a
        JOIN default_roles r ON r.organization_id = a.organization_id
        WHERE a.access = 'active'
        UNION
        SELECT a.user_id, m.role, 'group_' || m.matched_by, g.id
        FROM access a
        JOIN memberships s ON s.user_id = a.user_id
        JOIN groups g ON g.id = s.group_id AND g.status <> 'deleted'
        JOIN role_mappings m ON m.organization_id = a.organization_id
            AND ((m.matched_by = 'id' AND m.matched = g.id) OR (m.matched_by = 'name' AND m.matched = g.name))
        WHERE a.access = 'active'
        UNION
        SELECT a.user_id, GIVEN_VALUE, 'vendor', NULL
        FROM access a
        JOIN organizations o ON o.id = a.organization_id AND o.trusts_vendor_roles
        JOIN users u ON u.id = a.user_id
        CROSS JOIN JSON_TEXTS(u.vendor_roles)
        WHERE a.access = 'active'",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run_statements(manager, &STATEMENTS).await
    }
}
