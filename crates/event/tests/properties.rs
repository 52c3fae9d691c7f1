//! What holds for every body, tried over the whole corpus with seeded chance.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be loaded is a failed test")]

mod corpus;

use std::collections::BTreeMap;
use std::error::Error;

use bytes::Bytes;
use corpus::{Fixture, TABLE, canonical, fixtures, folders, root};
use rollcall_event::{
    BodyHash, Change, DirectoryEvent, Lane, ReasonCode, RoutingKey, Unreadable, UserStatus, Version,
};
use serde_json::value::RawValue;

/// A linear congruential generator (Knuth's MMIX constants): the same dice on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The low bits of such a generator have short periods.
        (self.0 >> 33) as usize % bound
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

fn whole_corpus() -> Vec<Fixture> {
    assert!(root().join("poison").join(TABLE).exists());
    folders().iter().flat_map(|folder| fixtures(folder)).collect()
}

fn readable() -> Vec<(Fixture, DirectoryEvent)> {
    let parsed = whole_corpus().into_iter().filter_map(|fixture| {
        let event = DirectoryEvent::parse(&fixture.body).ok()?;
        Some((fixture, event))
    });
    let readable: Vec<_> = parsed.collect();
    assert!(readable.len() > 200, "{} readable bodies are too few", readable.len());
    readable
}

/// The event without what names the bytes it was read from.
fn meaning(mut event: DirectoryEvent) -> DirectoryEvent {
    let nobody = BodyHash::of(b"");
    event.body_sha256 = nobody;
    let (id, occurred_at) = (event.id.clone(), event.occurred_at);
    match &mut event.change {
        Change::User(version, _) | Change::Group(version, _) | Change::Organization(version, _) => {
            let takes_access_away = version.as_str().split(' ').nth(1) == Some("1");
            *version = Version::new(occurred_at.unwrap(), takes_access_away, &id, &nobody);
        }
        Change::Recorded => {}
    }
    if let Change::User(_, user) = &mut event.change
        && let Some(profile) = &mut user.profile
    {
        profile.attributes = canonical(&profile.attributes);
    }
    event
}

/// The same JSON with its keys in another order, white space anywhere, and letters escaped here and there.
fn rewritten(json: &str, dice: &mut Dice) -> String {
    let bare = match json.trim_start().as_bytes()[0] {
        b'{' => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(json).unwrap();
            let mut fields: Vec<_> = fields.into_iter().collect();
            dice.shuffle(&mut fields);
            let fields: Vec<_> = fields
                .into_iter()
                .map(|(key, value)| format!("{}:{}", quoted(&key, dice), rewritten(value.get(), dice)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(json).unwrap();
            let items: Vec<_> = items.into_iter().map(|item| rewritten(item.get(), dice)).collect();
            // An empty list may hold white space too.
            format!("[{}{}]", items.join(","), space(dice))
        }
        b'"' => quoted(&serde_json::from_str::<String>(json).unwrap(), dice),
        _ => json.trim().to_owned(),
    };
    format!("{}{bare}{}", space(dice), space(dice))
}

fn space(dice: &mut Dice) -> &'static str {
    ["", "", "", " ", "\n", "\r\n\t  "][dice.below(6)]
}

fn quoted(text: &str, dice: &mut Dice) -> String {
    let mut out = space(dice).to_owned() + "\"";
    for letter in text.chars() {
        if dice.below(16) == 0 || matches!(letter, '"' | '\\') || letter.is_control() {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(letter);
        }
    }
    out + "\"" + space(dice)
}

#[test]
fn key_order_white_space_and_escapes_never_change_the_meaning() {
    let mut dice = Dice(1);
    for (Fixture { name, body }, event) in readable() {
        let (lane, meant) = (RoutingKey::for_body(&body), meaning(event));
        for _ in 0..8 {
            let other = rewritten(std::str::from_utf8(&body).unwrap(), &mut dice);
            let read = DirectoryEvent::parse(&Bytes::from(other.clone()))
                .unwrap_or_else(|error| panic!("{name}: {error}\n{other}"));
            assert_eq!(meaning(read), meant, "{name}\n{other}");
            assert_eq!(RoutingKey::for_body(other.as_bytes()), lane, "{name}\n{other}");
        }
    }
}

#[test]
fn a_body_cut_short_at_any_byte_is_refused_and_goes_where_the_unreadable_go() {
    for (Fixture { name, body }, _) in readable() {
        let whole = Bytes::copy_from_slice(body.trim_ascii_end());
        // White space at the end of a cut changes nothing, and tables are full of it.
        for end in (0..whole.len()).filter(|end| *end == 0 || !whole[end - 1].is_ascii_whitespace()) {
            let cut = whole.slice(..end);
            let error = DirectoryEvent::parse(&cut).unwrap_err();
            // Half a character is no UTF-8, half a pair of surrogates no text: both before the JSON.
            let reasons = [ReasonCode::ParseError, ReasonCode::UnstorableText];
            assert!(reasons.contains(&error.reason()), "{name} cut at {end}: {error}");
            assert_eq!(RoutingKey::for_body(&cut), RoutingKey::unreadable(), "{name} cut at {end}");
        }
    }
}

/// What must be so of whatever bytes arrive.
fn check_any(body: Bytes, name: &str) {
    let key = RoutingKey::for_body(&body);
    assert!(key.as_str().len() <= 255 && key.lane().is_some(), "{name}: {key}");
    assert_eq!(RoutingKey::parse(key.as_str()).as_ref(), Some(&key), "{name}");
    match DirectoryEvent::parse(&body) {
        Ok(event) => {
            assert!(event.kind.len() <= 255, "{name}");
            assert_eq!(event.version().is_none(), event.change == Change::Recorded, "{name}");
            if let Change::User(_, user) = &event.change
                && let Some(profile) = &user.profile
            {
                serde_json::from_str::<&RawValue>(&profile.attributes).unwrap();
            }
            check_lane(&event, &key, &body, name);
        }
        Err(error) => check_error(&error, name),
    }
}

fn check_error(error: &Unreadable, name: &str) {
    assert_eq!(ReasonCode::parse(error.reason().as_str()), Some(error.reason()), "{name}");
    let mut next: Option<&dyn Error> = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        assert!(text.len() < 256 && !text.contains(char::is_control), "{name}: {text:?}");
        next = error.source();
    }
}

/// The lane and the event agree, except where only `raw_attributes` says that somebody leaves: the door
/// does not look that deep.
fn check_lane(event: &DirectoryEvent, key: &RoutingKey, body: &[u8], name: &str) {
    let Change::User(version, user) = &event.change else { return };
    let leaves = matches!(user.status, Some(UserStatus::Deactivated | UserStatus::Deleted { .. }));
    assert_eq!(version.as_str().split(' ').nth(1), Some(if leaves { "1" } else { "0" }), "{name}");
    match key.lane().unwrap() {
        Lane::Revocations => assert!(leaves, "{name}: the fast lane for one who stays"),
        Lane::Events if leaves => {
            assert!(!event.kind.ends_with(".user_deleted"), "{name}: a deletion in the slow lane");
            let envelope: BTreeMap<String, &RawValue> = serde_json::from_slice(body).unwrap();
            let data: BTreeMap<String, &RawValue> = serde_json::from_str(envelope["data"].get()).unwrap();
            let active = data.get("active").map_or("null", |active| active.get());
            assert!(
                ["null", "\"\"", "\"null\""].contains(&active),
                "{name}: active {active} in the slow lane"
            );
        }
        Lane::Events => {}
        Lane::Bulk => panic!("{name}: bulk is no matter of a single body"),
    }
}

#[test]
fn flipped_bytes_never_panic_nor_part_the_lane_from_the_event() {
    let mut dice = Dice(2);
    for Fixture { name, body } in whole_corpus().into_iter().filter(|fixture| !fixture.body.is_empty()) {
        for _ in 0..64 {
            let mut flipped = body.to_vec();
            for _ in 0..=dice.below(4) {
                let position = dice.below(flipped.len());
                flipped[position] ^= 1 << dice.below(8);
            }
            check_any(flipped.into(), &name);
        }
    }
}

#[test]
fn spliced_bodies_never_panic_nor_part_the_lane_from_the_event() {
    let mut dice = Dice(3);
    let corpus = whole_corpus();
    for Fixture { name, body } in &corpus {
        for _ in 0..16 {
            let other = &corpus[dice.below(corpus.len())].body;
            let (start, end) = (dice.below(other.len() + 1), dice.below(other.len() + 1));
            let piece = &other[start.min(end)..start.max(end).min(start.min(end) + 64)];
            let position = dice.below(body.len() + 1);
            check_any([&body[..position], piece, &body[position..]].concat().into(), name);
        }
    }
}

#[test]
fn the_lane_agrees_with_the_event_however_a_leaver_is_said() {
    let spellings = ["", "null", "true", "false", r#""""#, r#""True""#, r#""fALSE""#, r#""F\u0061lse""#];
    for kind in ["user_created", "user_updated", "user_deleted"] {
        for active in spellings {
            for raw in spellings {
                let field = |value: &str| match value {
                    "" => String::new(),
                    value => format!(r#","active":{value}"#),
                };
                let body = Bytes::from(format!(
                    r#"{{"id":"evt_1","type":"organization.directory.{kind}","occurred_at":"2026-09-01T08:00:00Z","organization_id":"org_1","data":{{"id":"diruser_1"{},"raw_attributes":{{"x":1{}}}}}}}"#,
                    field(active),
                    field(raw)
                ));
                let event = DirectoryEvent::parse(&body).unwrap();
                let name = format!("{kind}, active {active}, in raw attributes {raw}");
                check_lane(&event, &RoutingKey::for_body(&body), &body, &name);
            }
        }
    }
}

fn with_raw_attributes(raw: &str) -> Bytes {
    Bytes::from(format!(
        r#"{{"id":"evt_1","type":"organization.directory.user_updated","occurred_at":"2026-09-01T08:00:00Z","organization_id":"org_1","data":{{"id":"diruser_1","raw_attributes":{raw}}}}}"#
    ))
}

#[test]
fn no_depth_of_nesting_exhausts_a_small_stack() {
    // A quarter of what a thread of the runtime has.
    let thread = std::thread::Builder::new().stack_size(512 * 1024).spawn(|| {
        for depth in [200, 100_000, 500_000] {
            let lists = "[".repeat(depth) + &"]".repeat(depth);
            let objects = "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth);
            for raw in [&lists, &objects] {
                for body in [
                    with_raw_attributes(raw),
                    Bytes::from(raw.clone()),
                    raw[..raw.len() / 2].to_owned().into(),
                ] {
                    let reason = DirectoryEvent::parse(&body).unwrap_err().reason();
                    assert_eq!(reason, ReasonCode::TooDeep, "{depth}");
                    assert_eq!(RoutingKey::for_body(&body).lane(), Some(Lane::Events));
                }
            }
        }
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn a_body_of_the_largest_size_accepted_is_read_whole() {
    let long = "x".repeat(1_000_000);
    let keys = (0..100_000).map(|key| format!("\"k{key}\":{key}")).collect::<Vec<_>>().join(",");
    for raw in [format!("\"{long}\""), format!("{{{keys}}}")] {
        let event = DirectoryEvent::parse(&with_raw_attributes(&raw)).unwrap();
        let Change::User(_, user) = event.change else { panic!("about no user") };
        assert_eq!(user.profile.unwrap().attributes, format!("{{\"raw_attributes\":{raw}}}"));
    }
}

#[test]
fn the_error_of_a_large_body_is_small() {
    let long = "x".repeat(500_000);
    for body in [
        format!("\"{long}\""),
        format!("{{\"{long}\":1,\"{long}\":2}}"),
        format!("{{\"type\":\"{long}\",\"id\":\"{long}\"}}"),
        "9".repeat(500_000),
        long.clone(),
    ] {
        check_error(&DirectoryEvent::parse(&Bytes::from(body)).unwrap_err(), "large");
    }
}
