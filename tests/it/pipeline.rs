//! The whole way, from a signed request to what an operator sees, through the real programs on embedded
//! storage; `telemetry` and `faults` have the same on servers.

mod operators;
mod poison;
mod stopping;

use std::time::Duration;

use anyhow::ensure;
use rollcall_tests::simulator::Delivery;
use rollcall_tests::{TestBed, eventually};
use serde_json::{Value, json};

/// For anything to come to its end; both programs share the machine with other tests.
const SOON: Duration = Duration::from_secs(60);

/// An event of the sender, ready to be changed.
fn event(id: &str, kind: &str, at: &str, data: Value) -> Value {
    json!({
        "spec_version": "1",
        "id": id,
        "type": kind,
        "occurred_at": at,
        "environment_id": "env_1",
        "organization_id": "org_1",
        "object": "DirectoryUser",
        "data": data,
    })
}

/// A person as the sender describes one.
fn person(id: &str) -> Value {
    json!({ "id": id, "organization_id": "org_1", "active": true, "email": format!("{id}@example.test"), "groups": [] })
}

fn created(event_id: &str, user: &str) -> Value {
    event(event_id, "organization.directory.user_created", "2026-09-01T08:00:00Z", person(user))
}

fn deleted(event_id: &str, user: &str) -> Value {
    let data = json!({ "id": user, "organization_id": "org_1" });
    event(event_id, "organization.directory.user_deleted", "2026-09-01T09:00:00Z", data)
}

/// Posts a body and insists on 201.
async fn accepted(bed: &TestBed, delivery: &str, body: impl Into<bytes::Bytes>) -> anyhow::Result<()> {
    let answer = bed.deliver(&Delivery::raw(delivery, body)).await?;
    ensure!(answer.status == 201, "{delivery}: {}", answer.status);
    Ok(())
}

/// What a command prints as JSON.
async fn listed(bed: &TestBed, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
    let arguments = [arguments, &["--format", "json"]].concat();
    Ok(serde_json::from_str(&bed.command(&arguments).await?.success()?)?)
}

/// Waits until a person has this access.
async fn access_becomes(bed: &TestBed, user: &str, access: &str) -> anyhow::Result<()> {
    eventually(SOON, async || {
        let export = bed.export().await?;
        let found = export.get(user).map(|person| person.access.clone());
        ensure!(found.as_deref() == Some(access), "{user}: {found:?}");
        Ok(())
    })
    .await
}
