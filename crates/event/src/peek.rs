//! The little the door looks at: enough to choose a lane, never enough to refuse.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::fields::{flag, text};
use crate::{OrganizationId, ReasonCode};

/// One of the ways through the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Leavers: never behind a bulk import.
    Revocations,
    /// Everything else.
    Events,
    /// What one organization sends beyond its share of the events lane: an import, the end of a large group.
    Bulk,
}

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 3] = [Self::Revocations, Self::Events, Self::Bulk];

    /// As a label of metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Revocations => "revocations",
            Self::Events => "events",
            Self::Bulk => "bulk",
        }
    }
}

/// Where a message goes: `revoke.<type>`, `event.<type>`, `bulk.<type>` or `dead.<reason>`; always under 255 bytes of
/// `[A-Za-z0-9_.]`, whatever the sender wrote.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoutingKey(String);

/// Longest type that becomes part of a routing key; AMQP's short strings end at 255 bytes.
const LONGEST_TYPE: usize = 200;

impl RoutingKey {
    /// The key that [`Peek::at`] finds.
    pub fn for_body(body: &[u8]) -> Self {
        Peek::at(body).key
    }

    /// The same message in the lane of bulk; leavers and dead letters stay where they are.
    #[must_use]
    pub fn in_bulk(self) -> Self {
        match self.0.strip_prefix("event.") {
            Some(kind) => Self(format!("bulk.{kind}")),
            None => self,
        }
    }

    /// Where bodies go that do not say what they are.
    pub fn unreadable() -> Self {
        Self("event.unreadable".to_owned())
    }

    /// Where a message goes that was given up on.
    pub fn dead(reason: ReasonCode) -> Self {
        Self(format!("dead.{reason}"))
    }

    /// Takes back a key that a message carried; `None` for one rollcall would not have written.
    pub fn parse(text: &str) -> Option<Self> {
        let (first, rest) = text.split_once('.')?;
        let ours = matches!(first, "revoke" | "event" | "bulk" | "dead") && is_plain(rest);
        ours.then(|| Self(text.to_owned()))
    }

    /// The lane whose queue is bound to this key; `None` for dead letters.
    pub fn lane(&self) -> Option<Lane> {
        match self.0.split_once('.')?.0 {
            "revoke" => Some(Lane::Revocations),
            "event" => Some(Lane::Events),
            "bulk" => Some(Lane::Bulk),
            _ => None,
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoutingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_plain(kind: &str) -> bool {
    !kind.is_empty()
        && kind.len() <= LONGEST_TYPE
        && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
}

/// What the door sees of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peek {
    /// Where it goes.
    pub key: RoutingKey,
    /// Whose it says it is; for sharing the lanes fairly, and for nothing else.
    pub organization_id: Option<OrganizationId>,
}

impl Peek {
    /// Looks at `type`, `organization_id` and `data.active` of a body and chooses the lane. What cannot be
    /// looked at goes to `event.unreadable`, where the worker says why.
    pub fn at(body: &[u8]) -> Self {
        let unreadable = || Self { key: RoutingKey::unreadable(), organization_id: None };
        // serde would take the fields from a list, too, in their order.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return unreadable();
        }
        let Ok(peeked) = serde_json::from_slice::<Peeked<'_>>(body) else { return unreadable() };
        let Some(kind) = peeked.kind.filter(|kind| is_plain(kind)) else { return unreadable() };
        let leaves = peeked.data.is_some_and(is_inactive) || kind.ends_with(".user_deleted");
        let key = RoutingKey(if leaves { format!("revoke.{kind}") } else { format!("event.{kind}") });
        let organization_id = text(peeked.organization_id, "organization_id").ok().flatten();
        Self { key, organization_id: organization_id.and_then(|id| OrganizationId::parse(id).ok()) }
    }
}

#[derive(Deserialize)]
struct Peeked<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    /// Raw: whatever stands there must not make the type unreadable.
    #[serde(borrow)]
    organization_id: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct PeekedData<'a> {
    #[serde(borrow)]
    active: Option<&'a RawValue>,
}

/// Whether `data.active` says no, as a boolean or as the text some directories send. `data` that is no
/// object says nothing; the worker will refuse it with a reason.
fn is_inactive(data: &RawValue) -> bool {
    if !data.get().starts_with('{') {
        return false;
    }
    let active = serde_json::from_str::<PeekedData<'_>>(data.get()).ok().and_then(|data| data.active);
    matches!(flag(active, "active"), Ok(Some(false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(body: &str) -> String {
        RoutingKey::for_body(body.as_bytes()).as_str().to_owned()
    }

    #[test]
    fn leavers_take_the_fast_lane() {
        for body in [
            r#"{"type":"organization.directory.user_deleted","data":{"id":"u"}}"#,
            r#"{"type":"organization.directory.user_updated","data":{"active":false}}"#,
            r#"{"type":"organization.directory.user_created","data":{"active":"False"}}"#,
            r#"{"type":"organization.directory.user_updated","data":{"active":"F\u0061lse"}}"#,
        ] {
            assert!(key(body).starts_with("revoke.organization.directory.user_"), "{body}");
        }
        assert_eq!(
            key(r#"{"data":{"active":true,"x":[{}]},"type":"organization.directory.user_updated"}"#),
            "event.organization.directory.user_updated"
        );
    }

    #[test]
    fn what_cannot_be_looked_at_still_has_a_place() {
        for body in ["", "{", "[]", "null", "\u{feff}{}", "{}", r#"{"type":7}"#, r#"{"type":null,"data":{}}"#]
        {
            assert_eq!(key(body), "event.unreadable", "{body}");
        }
        // The values of the fields in their order, without the object that names them.
        assert_eq!(key(r#"["a.user_deleted",{"active":false}]"#), "event.unreadable");
        assert_eq!(key(r#"{"type":"role.updated","data":[false]}"#), "event.role.updated");
        assert_eq!(key(r#"{"type":"role.updated","data":null}"#), "event.role.updated");
        assert_eq!(key(r#"{"type":"role.updated","data":[1]}"#), "event.role.updated");
        assert_eq!(key(r#"{"type":"role.updated","data":{"active":7}}"#), "event.role.updated");
    }

    #[test]
    fn the_organization_is_seen_where_it_is_said() {
        let whose = |body: &str| Peek::at(body.as_bytes()).organization_id.map(OrganizationId::into_string);
        assert_eq!(whose(r#"{"organization_id":"org_1","type":"a"}"#).as_deref(), Some("org_1"));
        assert_eq!(whose(r#"{"organization_id":"org_\u0031","type":"a"}"#).as_deref(), Some("org_1"));
        let long = format!(r#"{{"type":"a","organization_id":"{}"}}"#, "x".repeat(256));
        for body in [
            r#"{"type":"a"}"#,
            r#"{"type":"a","organization_id":7}"#,
            r#"{"organization_id":"org_1"}"#,
            &long,
        ] {
            assert_eq!(whose(body), None, "{body}");
        }
        assert_eq!(key(r#"{"type":"a","organization_id":{"x":[]}}"#), "event.a");
    }

    #[test]
    fn only_events_go_with_the_bulk() {
        for (key, bulk) in [("event.a.b", "bulk.a.b"), ("revoke.a", "revoke.a"), ("dead.x", "dead.x")] {
            assert_eq!(RoutingKey::parse(key).unwrap().in_bulk().as_str(), bulk);
        }
        assert_eq!(RoutingKey::parse("bulk.a").unwrap().lane(), Some(Lane::Bulk));
    }

    #[test]
    fn a_type_never_becomes_a_raw_routing_key() {
        for kind in ["a".repeat(201), "a#".into(), "*".into(), "a b".into(), "a\\u0000".into(), "ä".into()] {
            assert_eq!(key(&format!(r#"{{"type":"{kind}"}}"#)), "event.unreadable", "{kind}");
        }
        assert_eq!(key(&format!(r#"{{"type":"{}"}}"#, "a".repeat(200))).len(), 206);
    }

    #[test]
    fn a_key_is_read_back_or_refused() {
        for ours in ["event.a.b", "revoke.a", "bulk.a", "dead.parse_error"] {
            assert_eq!(RoutingKey::parse(ours).unwrap().as_str(), ours);
        }
        for foreign in ["", "event", "event.", "other.a", "event.#"] {
            assert!(RoutingKey::parse(foreign).is_none(), "{foreign}");
        }
        assert_eq!(RoutingKey::parse("dead.parse_error").unwrap().lane(), None);
        assert_eq!(RoutingKey::unreadable().lane(), Some(Lane::Events));
    }
}
