//! Events as the vendor writes them.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use rollcall_event::clock::now;
use rollcall_event::{DeliveryId, DirectoryEvent, Envelope, Source};
use rollcall_store::Incoming;
use serde_json::{Value, json};

/// The customer of every event that names no other.
pub(crate) const ORGANIZATION: &str = "org_1";

/// One event; every test time lies in September 2026.
#[derive(Debug, Clone)]
pub(crate) struct Said(pub(crate) Value);

/// A moment as the vendor writes it, this many seconds after the start of all tests.
pub(crate) fn at(seconds: i64) -> String {
    at_nanos(seconds * 1_000_000_000)
}

pub(crate) fn at_nanos(nanos: i64) -> String {
    let start: DateTime<Utc> = "2026-09-01T08:00:00Z".parse().expect("a time");
    (start + TimeDelta::nanoseconds(nanos)).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

impl Said {
    fn new(kind: &str, subject: &str, seconds: i64, mut data: Value) -> Self {
        data["id"] = json!(subject);
        Self(json!({
            "spec_version": "1",
            "id": format!("evt_{kind}_{subject}_{seconds}"),
            "type": format!("organization.{kind}"),
            "occurred_at": at(seconds),
            "organization_id": ORGANIZATION,
            "data": data,
        }))
    }

    /// Says an e-mail and a name made of the id; neither groups nor active.
    pub(crate) fn created(user: &str, seconds: i64) -> Self {
        let data = json!({"email": format!("{user}@example.com"), "name": format!("{user} created")});
        Self::new("directory.user_created", user, seconds, data)
    }

    pub(crate) fn updated(user: &str, seconds: i64) -> Self {
        let data = json!({"email": format!("{user}@example.com"), "name": format!("{user} at {seconds}")});
        Self::new("directory.user_updated", user, seconds, data)
    }

    pub(crate) fn deactivated(user: &str, seconds: i64) -> Self {
        Self::updated(user, seconds).with("active", json!(false))
    }

    pub(crate) fn deleted(user: &str, seconds: i64) -> Self {
        Self::new("directory.user_deleted", user, seconds, json!({"email": format!("{user}@example.com")}))
    }

    pub(crate) fn group_created(group: &str, seconds: i64) -> Self {
        let data = json!({"display_name": format!("{group} created")});
        Self::new("directory.group_created", group, seconds, data)
    }

    pub(crate) fn group_updated(group: &str, seconds: i64) -> Self {
        let data = json!({"display_name": format!("{group} at {seconds}")});
        Self::new("directory.group_updated", group, seconds, data)
    }

    pub(crate) fn group_deleted(group: &str, seconds: i64) -> Self {
        Self::new("directory.group_deleted", group, seconds, json!({}))
    }

    /// `change` is `created`, `updated` or `deleted`.
    pub(crate) fn organization(change: &str, organization: &str, seconds: i64) -> Self {
        let data = json!({"display_name": format!("{organization} {change} at {seconds}")});
        Self::new(change, organization, seconds, data).of(organization)
    }

    /// Of a type that is only recorded.
    pub(crate) fn recorded(seconds: i64) -> Self {
        Self::new("sso_enabled", "conn_1", seconds, json!({}))
    }

    /// Sets or replaces a field of `data`.
    pub(crate) fn with(mut self, field: &str, value: Value) -> Self {
        self.0["data"][field] = value;
        self
    }

    pub(crate) fn in_groups(self, groups: &[&str]) -> Self {
        let listed: Vec<Value> = groups.iter().map(|id| json!({"id": id})).collect();
        self.with("groups", listed.into())
    }

    pub(crate) fn with_email(self, email: &str) -> Self {
        self.with("email", json!(email))
    }

    pub(crate) fn of(mut self, organization: &str) -> Self {
        self.0["organization_id"] = json!(organization);
        self
    }

    pub(crate) fn occurred_at(mut self, at: &str) -> Self {
        self.0["occurred_at"] = json!(at);
        self
    }

    pub(crate) fn event_id(mut self, id: &str) -> Self {
        self.0["id"] = json!(id);
        self
    }

    pub(crate) fn body(&self) -> Bytes {
        Bytes::from(self.0.to_string())
    }

    /// A delivery of it, as the worker hands it to the store.
    pub(crate) fn incoming(&self) -> Incoming {
        let body = self.body();
        let event = DirectoryEvent::parse(&body).expect("the test writes readable events");
        let delivery = DeliveryId::parse(format!("msg_{}", event.id)).expect("an id");
        Incoming { envelope: Envelope::new(Source::Scalekit, delivery, now(), body), event }
    }
}

/// Every order of `items`.
pub(crate) fn orders<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for first in 0..items.len() {
        let mut rest = items.to_vec();
        let chosen = rest.remove(first);
        for mut order in orders(&rest) {
            order.insert(0, chosen.clone());
            all.push(order);
        }
    }
    all
}
