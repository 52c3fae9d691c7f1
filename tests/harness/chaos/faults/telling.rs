//! Single events by hand, where the company would not tell them so.

use bytes::Bytes;
use serde_json::json;

use crate::simulator::{Fact, SimEvent, Status};

/// 2026-03-01T12:00:00Z, in nanoseconds.
pub(super) const NOON: i64 = 1_772_366_400_000_000_000;
/// Whoever these events are about belongs here.
pub(super) const ORGANIZATION: &str = "org_60000000000000001";

/// An instant as written and as compared.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    pub(super) written: String,
    pub(super) at: i64,
}

/// So many nanoseconds after noon.
pub(super) fn noon_and(nanoseconds: i64) -> Moment {
    let at = NOON + nanoseconds;
    let written =
        chrono::DateTime::from_timestamp_nanos(at).to_rfc3339_opts(chrono::SecondsFormat::Nanos, true);
    Moment { written, at }
}

/// What is told of one person.
#[derive(Debug, Clone)]
pub(super) struct Person<'a> {
    pub(super) id: &'a str,
    pub(super) email: &'a str,
    pub(super) name: &'a str,
    /// Ids; `None` leaves the key out.
    pub(super) groups: Option<&'a [&'a str]>,
    /// `None` leaves it out.
    pub(super) active: Option<bool>,
}

impl Person<'_> {
    /// `user_created`.
    pub(super) fn created(&self, event: &str, moment: &Moment) -> SimEvent {
        self.told("user_created", event, moment, Some(self.active.unwrap_or(true)))
    }

    /// `user_updated`.
    pub(super) fn updated(&self, event: &str, moment: &Moment) -> SimEvent {
        self.told("user_updated", event, moment, self.active)
    }

    /// `user_deleted`.
    pub(super) fn deleted(&self, event: &str, moment: &Moment) -> SimEvent {
        let data = json!({"id": self.id, "organization_id": ORGANIZATION, "email": self.email});
        let fact = Fact::Person {
            id: self.id.to_owned(),
            organization: ORGANIZATION.to_owned(),
            profile: None,
            groups: None,
            status: Some(Status::Deleted),
            parting_email: Some(self.email.to_owned()),
        };
        event_of("user_deleted", event, moment, &data, fact)
    }

    fn told(&self, kind: &str, event: &str, moment: &Moment, active: Option<bool>) -> SimEvent {
        let mut data = json!({
            "id": self.id, "organization_id": ORGANIZATION, "email": self.email, "name": self.name,
        });
        if let Some(groups) = self.groups {
            data["groups"] = groups.iter().map(|id| json!({"id": id, "name": "G"})).collect();
        }
        if let Some(active) = self.active {
            data["active"] = active.into();
        }
        let fact = Fact::Person {
            id: self.id.to_owned(),
            organization: ORGANIZATION.to_owned(),
            profile: Some((Some(self.email.to_owned()), Some(self.name.to_owned()))),
            groups: self.groups.map(|groups| groups.iter().map(|id| (*id).to_owned()).collect()),
            status: active.map(|active| if active { Status::Active } else { Status::Deactivated }),
            parting_email: None,
        };
        event_of(kind, event, moment, &data, fact)
    }
}

/// `group_created` or `group_deleted`.
pub(super) fn group(id: &str, exists: bool, event: &str, moment: &Moment) -> SimEvent {
    let data = json!({"id": id, "organization_id": ORGANIZATION, "display_name": "G"});
    let kind = if exists { "group_created" } else { "group_deleted" };
    event_of(kind, event, moment, &data, Fact::Group(id.to_owned(), exists))
}

fn event_of(kind: &str, id: &str, moment: &Moment, data: &serde_json::Value, fact: Fact) -> SimEvent {
    let kind = format!("organization.directory.{kind}");
    let body = json!({
        "spec_version": "1", "id": id, "type": kind, "occurred_at": moment.written,
        "environment_id": "env_60000000000000001", "organization_id": ORGANIZATION,
        "object": "Any", "data": data,
    });
    let about = format!("{kind} at {}", moment.written);
    SimEvent { id: id.to_owned(), kind, at: moment.at, body: Bytes::from(body.to_string()), fact, about }
}
