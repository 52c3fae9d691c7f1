//! What must come of a set of events, whatever happened to them on the way.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::event::{Fact, SimEvent, Status};

/// A person as `rollcall-worker export` prints one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exported {
    /// `diruser_…`
    pub id: String,
    /// `org_…`
    pub organization_id: String,
    /// `None` while nothing said it.
    pub email: Option<String>,
    /// Full name; `None` while nothing said it.
    pub name: Option<String>,
    /// `active`, `deactivated` or `deleted`.
    pub status: String,
    /// `active`, or the reason why not.
    pub access: String,
    /// Ids of groups that are not deleted, sorted.
    pub groups: Vec<String>,
    /// Role names, sorted.
    pub roles: Vec<String>,
}

/// Where an event stands in the one order: instant, then whether it takes access away, then its id; two
/// bodies under one id by the start of their hash.
type Rank = (i64, bool, String, String);

/// A value with the rank of the event that said it; the highest rank stays.
struct Register<T>(Option<(Rank, T)>);

impl<T> Default for Register<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Register<T> {
    fn hear(&mut self, rank: &Rank, value: T) {
        if self.0.as_ref().is_none_or(|(held, _)| held < rank) {
            self.0 = Some((rank.clone(), value));
        }
    }

    fn value(&self) -> Option<&T> {
        self.0.as_ref().map(|(_, value)| value)
    }
}

#[derive(Default)]
struct Person {
    organization: String,
    profile: Register<(Option<String>, Option<String>)>,
    groups: Register<BTreeSet<String>>,
    status: Register<(Status, Option<String>)>,
}

/// The people after these events, in any order, by id. No roles: none are mapped, and no organization
/// trusts the vendor's.
pub fn truth<'a>(events: impl IntoIterator<Item = &'a SimEvent>) -> BTreeMap<String, Exported> {
    let mut people: BTreeMap<String, Person> = BTreeMap::new();
    let mut groups: HashMap<String, Register<bool>> = HashMap::new();
    let mut organizations: HashMap<String, Register<bool>> = HashMap::new();
    for event in events {
        let rank = rank(event);
        match &event.fact {
            Fact::Person { id, organization, profile, groups, status, parting_email } => {
                let person = people.entry(id.clone()).or_default();
                person.organization.clone_from(organization);
                if let Some(profile) = profile {
                    person.profile.hear(&rank, profile.clone());
                }
                if let Some(groups) = groups {
                    person.groups.hear(&rank, groups.clone());
                }
                if let Some(status) = status {
                    person.status.hear(&rank, (*status, parting_email.clone()));
                }
            }
            Fact::Group(id, exists) => groups.entry(id.clone()).or_default().hear(&rank, *exists),
            Fact::Organization(id, exists) => {
                organizations.entry(id.clone()).or_default().hear(&rank, *exists)
            }
            Fact::Nothing | Fact::Unreadable => {}
        }
    }
    let gone = |register: Option<&Register<bool>>| register.and_then(Register::value) == Some(&false);
    people
        .into_iter()
        .map(|(id, person)| {
            let organization_gone = gone(organizations.get(&person.organization));
            let exported = export(id.clone(), &person, organization_gone, |group| gone(groups.get(group)));
            (id, exported)
        })
        .collect()
}

fn rank(event: &SimEvent) -> Rank {
    let hash = Sha256::digest(&event.body).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    (event.at, event.fact.takes_access_away(), event.id.clone(), hash)
}

fn export(id: String, person: &Person, organization_gone: bool, gone: impl Fn(&str) -> bool) -> Exported {
    let (status, parting_email) = person.status.value().cloned().unwrap_or((Status::Active, None));
    let (email, name) = person.profile.value().cloned().unwrap_or_default();
    let access = if organization_gone { "organization_deleted" } else { status.as_str() };
    let groups = person.groups.value().into_iter().flatten();
    Exported {
        id,
        organization_id: person.organization.clone(),
        email: email.or(parting_email),
        name,
        status: status.as_str().to_owned(),
        access: access.to_owned(),
        groups: groups.filter(|group| !gone(group)).cloned().collect(),
        roles: Vec::new(),
    }
}

/// Reads what `rollcall-worker export --format ndjson` printed, by id.
///
/// # Errors
///
/// A line that is not such an object, or lines not sorted by id, each id once.
pub fn parse_export(ndjson: &str) -> anyhow::Result<BTreeMap<String, Exported>> {
    let mut people = BTreeMap::new();
    for line in ndjson.lines() {
        let person: Exported = serde_json::from_str(line).with_context(|| format!("no person: {line}"))?;
        if let Some((last, _)) = people.last_key_value() {
            anyhow::ensure!(*last < person.id, "{} comes after {last}", person.id);
        }
        people.insert(person.id.clone(), person);
    }
    Ok(people)
}

/// One line for each person who is not as expected; empty when all are.
pub fn differences(expected: &BTreeMap<String, Exported>, found: &BTreeMap<String, Exported>) -> Vec<String> {
    let ids: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    ids.into_iter()
        .filter_map(|id| match (expected.get(id), found.get(id)) {
            (Some(expected), Some(found)) if expected == found => None,
            (Some(expected), Some(found)) => Some(format!("{id}: expected {expected:?}, found {found:?}")),
            (Some(expected), None) => Some(format!("{id}: missing, expected {expected:?}")),
            (None, found) => Some(format!("{id}: not expected, found {found:?}")),
        })
        .collect()
}
