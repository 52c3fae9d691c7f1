//! Inbox and audit in one, and what waits for a human: dead letters, held changes, what operators did.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const STATEMENTS: [&str; 9] = [
    "CREATE TABLE events (
        source KEY_TEXT NOT NULL,
        event_id KEY_TEXT NOT NULL,
        body_sha256 BYTES NOT NULL,
        kind text NOT NULL,
        organization_id KEY_TEXT,
        subject_id KEY_TEXT,
        version KEY_TEXT,
        delivery_id text NOT NULL,
        attempt integer NOT NULL,
        received_at TIME NOT NULL,
        recorded_at TIME NOT NULL,
        traceparent text,
        outcome text NOT NULL,
        body BYTES NOT NULL,
        PRIMARY KEY (source, event_id, body_sha256)
    )",
    "CREATE INDEX events_by_subject ON events (subject_id) WHERE subject_id IS NOT NULL",
    "CREATE TABLE dead_letters (
        id SERIAL,
        source text NOT NULL,
        delivery_id text NOT NULL,
        routing_key text NOT NULL,
        reason_code text NOT NULL,
        fingerprint text NOT NULL,
        attempts integer NOT NULL,
        first_error text,
        last_error text NOT NULL,
        event_id text,
        kind text,
        organization_id KEY_TEXT,
        traceparent text,
        received_at TIME NOT NULL,
        died_at TIME NOT NULL,
        body_sha256 BYTES NOT NULL,
        body BYTES NOT NULL,
        status text NOT NULL DEFAULT 'open',
        settled_at TIME,
        settled_reason text
    )",
    // The same body dead twice is one question for on-call, whatever its delivery ids.
    "CREATE UNIQUE INDEX dead_letters_open ON dead_letters (source, body_sha256) WHERE status = 'open'",
    "CREATE INDEX dead_letters_by_status ON dead_letters (status, id)",
    "CREATE TABLE held_changes (
        id SERIAL,
        source KEY_TEXT NOT NULL,
        event_id KEY_TEXT NOT NULL,
        body_sha256 BYTES NOT NULL,
        organization_id KEY_TEXT NOT NULL,
        subject_id KEY_TEXT,
        reason text NOT NULL,
        held_at TIME NOT NULL,
        decision text,
        decided_at TIME,
        decided_reason text,
        UNIQUE (source, event_id, body_sha256)
    )",
    "CREATE INDEX held_changes_open ON held_changes (organization_id) WHERE decision IS NULL",
    "CREATE TABLE removals (
        organization_id KEY_TEXT NOT NULL,
        user_id KEY_TEXT NOT NULL,
        removed_at TIME NOT NULL,
        PRIMARY KEY (organization_id, user_id)
    )",
    "CREATE TABLE actions (
        id SERIAL,
        acted_at TIME NOT NULL,
        actor text NOT NULL,
        action text NOT NULL,
        target text NOT NULL,
        reason text NOT NULL
    )",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run_statements(manager, &STATEMENTS).await
    }
}
