//! Every body under `fixtures/` against the table beside it.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be loaded is a failed test")]

mod corpus;
mod expected;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use corpus::{Fixture, TABLE, canonical, fixtures, folders, root};
use expected::Expected;
use rollcall_event::{Change, DirectoryEvent, ReasonCode};
use serde_json::value::RawValue;

/// One folder each, with [`CHANGES`] in it and the provider's own oddities beside them.
const PROVIDERS: [&str; 9] = [
    "ad_through_entra",
    "entra",
    "generic_scim",
    "google",
    "jumpcloud",
    "ldap_gateway",
    "okta",
    "onelogin",
    "pingone",
];

/// What every provider can cause.
const CHANGES: [&str; 9] = [
    "user_created",
    "user_updated",
    "user_deactivated",
    "user_reactivated",
    "user_changed_groups",
    "user_deleted",
    "group_created",
    "group_updated",
    "group_deleted",
];

/// The fields of a user that the registers read. Everything else is an attribute.
const READ: [&str; 12] = [
    "id",
    "organization_id",
    "active",
    "email",
    "name",
    "given_name",
    "family_name",
    "preferred_username",
    "dp_id",
    "external_id",
    "roles",
    "groups",
];

fn table(folder: &str) -> BTreeMap<String, Expected> {
    let text = std::fs::read_to_string(root().join(folder).join(TABLE)).unwrap();
    let entries: BTreeMap<String, Expected> = serde_json::from_str(&text).unwrap();
    entries.into_iter().map(|(file, expected)| (format!("{folder}/{file}"), expected)).collect()
}

fn whole_corpus() -> Vec<Fixture> {
    folders().iter().flat_map(|folder| fixtures(folder)).collect()
}

/// The error with its causes, as a log line would show it.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn fields(json: &str) -> BTreeMap<String, &RawValue> {
    serde_json::from_str(json).unwrap()
}

#[test]
fn every_body_has_an_expectation_and_every_expectation_a_body() {
    for folder in folders() {
        let bodies: BTreeSet<_> = fixtures(&folder).into_iter().map(|fixture| fixture.name).collect();
        let expectations: BTreeSet<_> = table(&folder).into_keys().collect();
        assert_eq!(bodies, expectations, "{folder}");
        assert!(!bodies.is_empty(), "{folder}");
    }
}

#[test]
fn every_body_means_what_its_table_says() {
    let mut wrong = Vec::new();
    for folder in folders() {
        let mut table = table(&folder);
        for Fixture { name, body } in fixtures(&folder) {
            let expected = table.remove(&name).unwrap_or_default();
            let Expected { message, attributes, .. } = &expected;
            // These two are parts of what is observed, not all of it: tests of their own look at them.
            let (message, attributes) = (message.clone(), attributes.clone());
            let observed = Expected { message, attributes, ..Expected::observed(&body) };
            if observed != expected {
                wrong.push(format!("{name}\n expected {expected:?}\n observed {observed:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} bodies:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn attributes_are_everything_no_register_reads_as_it_was_written() {
    let mut seen = 0;
    for Fixture { name, body } in whole_corpus() {
        let Ok(DirectoryEvent { change: Change::User(_, user), .. }) = DirectoryEvent::parse(&body) else {
            continue;
        };
        let Some(profile) = user.profile else { continue };
        let envelope = fields(std::str::from_utf8(&body).unwrap());
        let mut left = fields(envelope["data"].get());
        // The second of two names for one thing is read only where the first is not said.
        let both = left.contains_key("dp_id") && profile.attributes.contains("\"external_id\"");
        left.retain(|key, _| !READ.contains(&key.as_str()) || (both && key == "external_id"));
        let left = serde_json::to_string(&left).unwrap();
        assert_eq!(canonical(&profile.attributes), canonical(&left), "{name}");
        seen += 1;
    }
    assert!(seen > 100, "{seen} profiles are too few");
}

#[test]
fn attributes_keep_numbers_and_texts_as_the_sender_wrote_them() {
    let mut seen = 0;
    for folder in folders() {
        let table = table(&folder);
        for Fixture { name, body } in fixtures(&folder) {
            let Some(expected) = table.get(&name).and_then(|expected| expected.attributes.as_ref()) else {
                continue;
            };
            let change = DirectoryEvent::parse(&body).unwrap().change;
            let Change::User(_, user) = change else { panic!("{name} is about no user") };
            let attributes = user.profile.unwrap().attributes;
            let attributes = fields(&attributes);
            for (key, text) in expected {
                assert_eq!(attributes[key.as_str()].get(), text, "{name}: {key}");
                seen += 1;
            }
        }
    }
    assert!(seen > 5, "{seen} attributes are too few");
}

#[test]
fn an_error_names_the_field_and_never_what_stood_in_it() {
    for folder in folders() {
        let table = table(&folder);
        for Fixture { name, body } in fixtures(&folder) {
            let Err(error) = DirectoryEvent::parse(&body) else { continue };
            let text = chain(&error);
            if let Some(message) = table.get(&name).and_then(|expected| expected.message.as_deref()) {
                assert!(text.contains(message), "{name}: {text}");
            }
            // It travels in a message header and stands in log lines.
            assert!(text.len() < 512, "{name}: {} bytes of error", text.len());
            assert!(!text.contains(['@', '\u{202e}']), "{name}: {text}");
            assert!(!text.contains(char::is_control), "{name}: {text:?}");
        }
    }
}

#[test]
fn every_reason_that_a_body_alone_can_have_is_shown() {
    let shown: BTreeSet<_> = table("poison").into_values().filter_map(|expected| expected.reason).collect();
    let possible = [
        ReasonCode::ParseError,
        ReasonCode::TooDeep,
        ReasonCode::DuplicateKey,
        ReasonCode::UnstorableText,
        ReasonCode::InvalidField,
        ReasonCode::MissingId,
        ReasonCode::UnsupportedSpecVersion,
        ReasonCode::OrganizationMismatch,
    ];
    assert_eq!(shown, possible.iter().map(ToString::to_string).collect());
}

#[test]
fn every_provider_shows_every_change() {
    for provider in PROVIDERS {
        let table = table(provider);
        for change in CHANGES {
            assert!(table.contains_key(&format!("{provider}/{change}.json")), "{provider}: {change}");
        }
    }
}

#[test]
fn the_catalogue_has_one_body_of_each_type_under_its_name() {
    let table = table("catalogue");
    for (name, expected) in &table {
        assert_eq!(*name, format!("catalogue/{}.json", expected.kind.as_deref().unwrap()));
    }
    let labelled = table.values().filter(|expected| expected.label.is_none()).count();
    assert_eq!(labelled, 51, "as many as there are metric labels");
}
