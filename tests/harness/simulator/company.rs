//! Customers with their people and groups, and what can happen to them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::delivery::{Delivery, Plan, deliveries};
use super::event::{Fact, SimEvent, Status};
use super::names::{CUSTOMERS, GROUPS};
use super::payload::{self, Said};
use super::provider::Provider;
use super::truth::{Exported, truth};

/// 2026-01-05T09:00:00Z, in nanoseconds: every event must lie before its receipt.
const BEGINNING: i64 = 1_767_603_600_000_000_000;

/// A customer of a [`Company`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrganizationRef(pub(super) usize);
/// A group of a [`Company`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupRef(pub(super) usize);
/// A person of a [`Company`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PersonRef(pub(super) usize);

pub(super) struct Organization {
    pub(super) number: usize,
    pub(super) id: String,
    pub(super) directory_id: String,
    pub(super) name: String,
    pub(super) domain: String,
    pub(super) provider: Provider,
    pub(super) exists: bool,
}

pub(super) struct Group {
    pub(super) id: String,
    pub(super) organization: OrganizationRef,
    pub(super) name: String,
    pub(super) exists: bool,
}

pub(super) struct Person {
    pub(super) id: String,
    pub(super) organization: OrganizationRef,
    pub(super) dp_id: String,
    pub(super) given: String,
    pub(super) family: String,
    pub(super) email: String,
    pub(super) title: String,
    pub(super) badge: u32,
    pub(super) groups: BTreeSet<GroupRef>,
    pub(super) status: Status,
}

impl Person {
    pub(super) fn full_name(&self) -> String {
        format!("{} {}", self.given, self.family)
    }
}

/// The vendor's customers, with a clock that only goes forward. The same seed and calls give the same bytes.
pub struct Company {
    pub(super) random: StdRng,
    pub(super) organizations: Vec<Organization>,
    pub(super) groups: Vec<Group>,
    pub(super) people: Vec<Person>,
    addresses: HashSet<String>,
    clock: i64,
    pub(super) events: u64,
    pub(super) told: Vec<SimEvent>,
    pub(super) heard: usize,
}

impl Company {
    /// Customers (one, and one more for every thirty people, seven at most) with groups, and `people` hired
    /// into them, all told; each customer has another identity provider.
    pub fn new(seed: u64, people: usize) -> Self {
        let mut company = Self::empty(seed, DateTime::from_timestamp_nanos(BEGINNING));
        let customers = (1 + people / 30).min(CUSTOMERS.len());
        let organizations: Vec<_> = (0..customers).map(|n| company.found(Provider::ALL[n])).collect();
        for organization in &organizations {
            for _ in 0..(3 + people / customers / 20).min(GROUPS.len()) {
                company.form_group(*organization);
            }
        }
        for n in 0..people {
            company.hire(organizations[n % customers]);
        }
        company
    }

    /// Nobody yet; the first event happens at `beginning`, which must lie in the past by as long as the
    /// story takes.
    pub fn empty(seed: u64, beginning: DateTime<Utc>) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            organizations: Vec::new(),
            groups: Vec::new(),
            people: Vec::new(),
            addresses: HashSet::new(),
            clock: beginning.timestamp_nanos_opt().unwrap_or(BEGINNING),
            events: 0,
            told: Vec::new(),
            heard: 0,
        }
    }

    /// Everything told so far, in the order it happened.
    pub fn told(&self) -> &[SimEvent] {
        &self.told
    }

    /// What must come of everything told so far.
    pub fn truth(&self) -> BTreeMap<String, Exported> {
        truth(&self.told)
    }

    /// The people as they are, looked at and not folded: the check on [`Company::truth`].
    pub fn look(&self) -> BTreeMap<String, Exported> {
        self.people.iter().map(|person| (person.id.clone(), self.look_at(person))).collect()
    }

    fn look_at(&self, person: &Person) -> Exported {
        let customer = &self.organizations[person.organization.0];
        let groups = person.groups.iter().map(|group| &self.groups[group.0]);
        let mut groups: Vec<_> = groups.filter(|group| group.exists).map(|group| group.id.clone()).collect();
        groups.sort();
        Exported {
            id: person.id.clone(),
            organization_id: customer.id.clone(),
            email: Some(person.email.clone()),
            name: Some(person.full_name()),
            status: person.status.as_str().to_owned(),
            access: if customer.exists { person.status.as_str() } else { "organization_deleted" }.to_owned(),
            groups,
            roles: Vec::new(),
        }
    }

    /// Everything told so far, as it travels under `plan`.
    pub fn deliveries(&self, plan: &Plan) -> Vec<Delivery> {
        deliveries(&self.told, plan)
    }

    /// Names of groups by id, the deleted ones too.
    pub fn group_names(&self) -> BTreeMap<String, String> {
        self.groups.iter().map(|group| (group.id.clone(), group.name.clone())).collect()
    }

    /// The id of a person, `diruser_…`.
    pub fn id_of(&self, person: PersonRef) -> &str {
        &self.people[person.0].id
    }

    pub(super) fn tell_created(&mut self, person: PersonRef, about: &str) {
        self.tell_person(person, "organization.directory.user_created", true, Some(true), about);
    }

    /// `groups`: they changed. `active`: what changed of it.
    pub(super) fn tell_updated(
        &mut self,
        person: PersonRef,
        groups: bool,
        active: Option<bool>,
        about: &str,
    ) {
        let told = &self.people[person.0];
        let everything = self.organizations[told.organization.0].provider.says_everything();
        let active = active.or_else(|| everything.then_some(told.status == Status::Active));
        self.tell_person(person, "organization.directory.user_updated", groups || everything, active, about);
    }

    fn tell_person(
        &mut self,
        person: PersonRef,
        kind: &str,
        groups: bool,
        active: Option<bool>,
        about: &str,
    ) {
        let told = &self.people[person.0];
        let organization = told.organization;
        let listed = groups.then(|| {
            let named =
                |group: &GroupRef| (self.groups[group.0].id.clone(), self.groups[group.0].name.clone());
            told.groups.iter().map(named).collect::<Vec<_>>()
        });
        let fact = Fact::Person {
            id: told.id.clone(),
            organization: self.organizations[organization.0].id.clone(),
            profile: Some((Some(told.email.clone()), Some(told.full_name()))),
            groups: listed.as_ref().map(|groups| groups.iter().map(|(id, _)| id.clone()).collect()),
            status: active.map(|active| if active { Status::Active } else { Status::Deactivated }),
            parting_email: None,
        };
        let data = payload::user(&self.organizations[organization.0], told, &Said { groups: listed, active });
        let about = format!("{} {about}", told.full_name());
        self.tell(organization, kind, &data, fact, about);
    }

    pub(super) fn tell_group(&mut self, group: GroupRef, kind: &str, about: &str) {
        let told = &self.groups[group.0];
        let organization = told.organization;
        let data = payload::group(&self.organizations[organization.0], told);
        let fact = Fact::Group(told.id.clone(), told.exists);
        let about = format!("{} {about}", told.name);
        self.tell(organization, kind, &data, fact, about);
    }

    pub(super) fn tell_organization(&mut self, organization: OrganizationRef, kind: &str, about: &str) {
        let told = &self.organizations[organization.0];
        let data = payload::organization(told);
        let fact = Fact::Organization(told.id.clone(), told.exists);
        let about = format!("{} {about}", told.name);
        self.tell(organization, kind, &data, fact, about);
    }

    pub(super) fn tell(
        &mut self,
        organization: OrganizationRef,
        kind: &str,
        data: &Value,
        fact: Fact,
        about: String,
    ) {
        let told = &self.organizations[organization.0];
        // Later than the last one by a nanosecond or by minutes, also as this provider writes it.
        let step = if self.random.random_bool(0.2) { 1 } else { self.random.random_range(1..20_000_000_000) };
        let tick = told.provider.tick();
        self.clock = (self.clock + step + tick - 1) / tick * tick;
        self.events += 1;
        let id = format!("evt_7{:016}", self.events);
        let body: Bytes = payload::envelope(told, &id, kind, self.clock, data);
        self.told.push(SimEvent { id, kind: kind.to_owned(), at: self.clock, body, fact, about });
    }

    pub(super) fn pick(&mut self, words: &[&str]) -> String {
        (*words.choose(&mut self.random).expect("every list of words has some")).to_owned()
    }

    pub(super) fn some_groups(&mut self, organization: OrganizationRef) -> BTreeSet<GroupRef> {
        let groups = self.live_groups(organization);
        let count = self.random.random_range(0..=2);
        groups.choose_multiple(&mut self.random, count).copied().collect()
    }

    pub(super) fn live_groups(&self, organization: OrganizationRef) -> Vec<GroupRef> {
        let groups = self.groups.iter().enumerate();
        groups
            .filter(|(_, group)| group.exists && group.organization == organization)
            .map(|(n, _)| GroupRef(n))
            .collect()
    }

    pub(super) fn new_address(&mut self, organization: OrganizationRef, given: &str, family: &str) -> String {
        let plain = |text: &str| text.to_lowercase().replace([' ', '\''], "");
        let domain = &self.organizations[organization.0].domain;
        let numbered = |n: usize| match n {
            1 => format!("{}.{}@{domain}", plain(given), plain(family)),
            n => format!("{}.{}{n}@{domain}", plain(given), plain(family)),
        };
        let address = (1..).map(numbered).find(|address| !self.addresses.contains(address));
        let address = address.expect("there is always a next number");
        self.addresses.insert(address.clone());
        address
    }
}
