//! The fold, written again from the vendor's JSON: what the rows must be, whatever the order.

use std::collections::BTreeMap;

use chrono::DateTime;
use rollcall_store::Exported;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::said::Said;

/// (occurred_at in nanoseconds, takes access away, event id, body hash).
pub(crate) type Rank = (i64, bool, String, [u8; 32]);

/// Everything that events of any order, number and repetition come to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    users: BTreeMap<String, User>,
    groups: BTreeMap<String, Register<bool>>,
    organizations: BTreeMap<String, Register<bool>>,
}

type Register<T> = Option<(Rank, T)>;

#[derive(Debug, Clone, Default)]
struct User {
    organization: Register<String>,
    email_and_name: Register<(Option<String>, Option<String>)>,
    groups: Register<Vec<String>>,
    status: Register<(&'static str, Option<String>)>,
}

fn raise<T>(register: &mut Register<T>, rank: &Rank, value: T) {
    match register {
        Some((highest, _)) if *highest >= *rank => {}
        _ => *register = Some((rank.clone(), value)),
    }
}

fn text(data: &Value, field: &str) -> Option<String> {
    data[field].as_str().map(str::to_owned)
}

/// The place of an event in the one order.
pub(crate) fn rank(said: &Said) -> Rank {
    let time = said.0["occurred_at"].as_str().expect("a time");
    let nanos = DateTime::parse_from_rfc3339(time).expect("RFC 3339").timestamp_nanos_opt().expect("near");
    let kind = said.0["type"].as_str().expect("a type");
    let takes = kind.ends_with("deleted") || said.0["data"]["active"] == Value::Bool(false);
    let id = said.0["id"].as_str().expect("an id").to_owned();
    (nanos, takes, id, Sha256::digest(said.0.to_string().as_bytes()).into())
}

impl Model {
    pub(crate) fn of<'a>(said: impl IntoIterator<Item = &'a Said>) -> Self {
        let mut model = Self::default();
        said.into_iter().for_each(|said| model.add(said));
        model
    }

    pub(crate) fn add(&mut self, said: &Said) {
        let (rank, data) = (rank(said), &said.0["data"]);
        let id = text(data, "id").expect("an id");
        let kind = said.0["type"].as_str().expect("a type");
        let gone = kind.ends_with("deleted");
        match kind.rsplit_once('.').expect("a type").1 {
            "user_created" | "user_updated" | "user_deleted" => self.user(said, &rank, kind),
            "group_created" | "group_updated" | "group_deleted" => {
                raise(self.groups.entry(id).or_default(), &rank, gone);
            }
            "created" | "updated" | "deleted" => {
                raise(self.organizations.entry(id).or_default(), &rank, gone);
            }
            _ => {}
        }
    }

    fn user(&mut self, said: &Said, rank: &Rank, kind: &str) {
        let data = &said.0["data"];
        let user = self.users.entry(text(data, "id").expect("an id")).or_default();
        raise(&mut user.organization, rank, text(&said.0, "organization_id").expect("an organization"));
        if kind.ends_with("user_deleted") {
            raise(&mut user.status, rank, ("deleted", text(data, "email")));
            return;
        }
        raise(&mut user.email_and_name, rank, (text(data, "email"), text(data, "name")));
        match data["active"].as_bool() {
            Some(false) => raise(&mut user.status, rank, ("deactivated", None)),
            Some(true) => raise(&mut user.status, rank, ("active", None)),
            None if kind.ends_with("user_created") => raise(&mut user.status, rank, ("active", None)),
            None => {}
        }
        if let Some(listed) = data.get("groups") {
            let ids = listed.as_array().into_iter().flatten().filter_map(|group| text(group, "id"));
            let mut ids: Vec<String> = ids.collect();
            ids.sort();
            ids.dedup();
            raise(&mut user.groups, rank, ids);
        }
    }

    /// As `Store::people` has to give them where nobody mapped a role or allowed a domain.
    pub(crate) fn exported(&self) -> Vec<Exported> {
        self.users.iter().map(|(id, user)| self.person(id, user)).collect()
    }

    fn person(&self, id: &str, user: &User) -> Exported {
        let (email, name) = user.email_and_name.clone().map_or((None, None), |(_, profile)| profile);
        let (status, parting) = user.status.clone().map_or(("active", None), |(_, status)| status);
        let organization = user.organization.clone().expect("every event names one").1;
        let gone = |register: Option<&Register<bool>>| matches!(register, Some(Some((_, true))));
        let access =
            if gone(self.organizations.get(&organization)) { "organization_deleted" } else { status };
        let groups = user.groups.clone().map(|(_, groups)| groups).unwrap_or_default();
        Exported {
            id: id.to_owned(),
            organization_id: organization,
            email: email.or(parting),
            name,
            status: status.to_owned(),
            access: access.to_owned(),
            groups: groups.into_iter().filter(|group| !gone(self.groups.get(group))).collect(),
            roles: Vec::new(),
        }
    }
}
