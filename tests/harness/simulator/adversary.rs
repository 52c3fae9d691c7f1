//! Histories no directory would write: many changes in one instant or a nanosecond apart, half said.

use std::collections::BTreeSet;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

use super::event::{Fact, SimEvent, Status};
use super::payload::ENVIRONMENT;
use super::provider::Provider;

/// 2026-03-01T12:00:00Z, in nanoseconds.
const INSTANT: i64 = 1_772_366_400_000_000_000;
const ORGANIZATIONS: u64 = 2;
const GROUPS: u64 = 4;

/// `events` events about `people` people, a few groups and two customers, within five nanoseconds.
///
/// Ids come in no order, and some stand in two events with different bodies: the order is then decided by
/// the bodies. Any order of arrival must end in the same state.
pub fn history(seed: u64, people: u64, events: usize) -> Vec<SimEvent> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..events)
        .map(|_| match random.random_range(0..12) {
            0 => group(&mut random),
            1 => organization(&mut random),
            _ => person(&mut random, people),
        })
        .collect()
}

fn organization_id(number: u64) -> String {
    format!("org_8{number:016}")
}

fn group_id(number: u64) -> String {
    format!("dirgroup_8{number:016}")
}

fn person(random: &mut StdRng, people: u64) -> SimEvent {
    let number = random.random_range(0..people);
    let organization = organization_id(number % ORGANIZATIONS);
    let id = format!("diruser_8{number:016}");
    let mut data = Map::new();
    data.insert("id".to_owned(), json!(id));
    data.insert("organization_id".to_owned(), json!(organization));
    let kinds = ["user_created", "user_updated", "user_updated", "user_deleted"];
    let kind = *kinds.choose(random).expect("there are kinds");
    // Few addresses: several people share one.
    let email = format!("p{}@one.example", random.random_range(0..3));
    data.insert("email".to_owned(), json!(email));
    if kind == "user_deleted" {
        let fact = Fact::Person {
            id,
            organization: organization.clone(),
            profile: None,
            groups: None,
            status: Some(Status::Deleted),
            parting_email: Some(email),
        };
        return event(random, &organization, kind, data, fact);
    }
    let name = format!("Name {}", random.random_range(0..1000));
    data.insert("name".to_owned(), json!(name));
    let status = say_status(random, kind, &mut data);
    let groups = say_groups(random, &mut data);
    let profile = Some((Some(email), Some(name)));
    let fact =
        Fact::Person { id, organization: organization.clone(), profile, groups, status, parting_email: None };
    event(random, &organization, kind, data, fact)
}

/// `active` in one of the two places, contradicted in the other, or nowhere.
fn say_status(random: &mut StdRng, kind: &str, data: &mut Map<String, Value>) -> Option<Status> {
    let active: bool = random.random();
    let stated = match random.random_range(0..4) {
        0 => {
            data.insert("active".to_owned(), json!(active));
            Some(active)
        }
        1 => {
            data.insert("active".to_owned(), json!(active));
            data.insert("raw_attributes".to_owned(), json!({"active": !active}));
            Some(active)
        }
        2 => {
            data.insert(
                "raw_attributes".to_owned(),
                json!({"active": if active { "true" } else { "False" }}),
            );
            Some(active)
        }
        _ => (kind == "user_created").then_some(true),
    };
    stated.map(|active| if active { Status::Active } else { Status::Deactivated })
}

fn say_groups(random: &mut StdRng, data: &mut Map<String, Value>) -> Option<BTreeSet<String>> {
    let said = match random.random_range(0..4) {
        0 => return None,
        1 => Value::Null,
        _ => {
            let count = random.random_range(0..=GROUPS);
            let listed = (0..count).map(|_| group_id(random.random_range(0..GROUPS)));
            listed.map(|id| json!({"id": id, "name": "G"})).collect::<Vec<_>>().into()
        }
    };
    let listed = said.as_array().into_iter().flatten();
    let ids = listed.filter_map(|group| Some(group.get("id")?.as_str()?.to_owned())).collect();
    data.insert("groups".to_owned(), said);
    Some(ids)
}

fn group(random: &mut StdRng) -> SimEvent {
    let number = random.random_range(0..GROUPS);
    let (id, organization) = (group_id(number), organization_id(number % ORGANIZATIONS));
    let kind = *["group_created", "group_updated", "group_deleted"].choose(random).expect("there are kinds");
    let name = format!("G{}", random.random_range(0..1000));
    let data = json!({"id": id, "organization_id": organization, "display_name": name});
    let fact = Fact::Group(id, kind != "group_deleted");
    event(random, &organization, kind, data.as_object().cloned().unwrap_or_default(), fact)
}

fn organization(random: &mut StdRng) -> SimEvent {
    let id = organization_id(random.random_range(0..ORGANIZATIONS));
    let kind = *["created", "updated", "deleted"].choose(random).expect("there are kinds");
    let data = json!({"id": id, "display_name": "Customer"});
    let fact = Fact::Organization(id.clone(), kind != "deleted");
    event(random, &id, kind, data.as_object().cloned().unwrap_or_default(), fact)
}

fn event(
    random: &mut StdRng,
    organization: &str,
    kind: &str,
    data: Map<String, Value>,
    fact: Fact,
) -> SimEvent {
    let kind = match fact {
        Fact::Organization(..) => format!("organization.{kind}"),
        _ => format!("organization.directory.{kind}"),
    };
    let at = INSTANT + random.random_range(0..5);
    let id = format!("evt_{}", random.random_range(0..200));
    let body = json!({
        "spec_version": "1",
        "id": id,
        "type": kind,
        "occurred_at": Provider::Generic.write_time(at),
        "environment_id": ENVIRONMENT,
        "organization_id": organization,
        "object": "Any",
        "data": data,
    });
    let about = format!("{kind} at +{} ns", at - INSTANT);
    SimEvent { id, kind, at, body: Bytes::from(body.to_string()), fact, about }
}
