//! What a rightly signed delivery may hold: anything at all. Rows S19, S20, S43 to S48.

use anyhow::ensure;
use tokio::task::JoinSet;

use super::bed::Bed;
use super::delivery::{Delivery, event};

/// Bodies by what is odd about them, and the start of the routing key they must travel under.
fn odd_bodies() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let unreadable = "event.unreadable";
    let kind = |kind: &str| event("1", kind).into_bytes();
    let with = |data: &str| format!(r#"{{"type":"role.updated","data":{data}}}"#).into_bytes();
    let many_keys: Vec<String> = (0..100_000).map(|number| format!(r#""{number:x}":1"#)).collect();
    vec![
        ("S19 byte order mark", b"\xef\xbb\xbf{}".to_vec(), unreadable),
        ("S19 not UTF-8", b"{\"type\":\"\xff\"}".to_vec(), unreadable),
        ("S19 broken", b"{\"type\":".to_vec(), unreadable),
        ("S19 empty", Vec::new(), unreadable),
        ("S19 a number", b"7".to_vec(), unreadable),
        ("S20 huge value", with(&format!(r#"{{"x":"{}"}}"#, "a".repeat(900_000))), "event.role.updated"),
        ("S43 escapes", kind("a\\nb\\u001b[31m\\u202e"), unreadable),
        ("S43 raw direction", kind("a\u{202e}b"), unreadable),
        (
            "S44 SQL",
            with(r#"{"id":"x'); DROP TABLE users; --","email":"' OR 1=1 --"}"#),
            "event.role.updated",
        ),
        ("S45 deep", with(&format!("{}{}", "[".repeat(200), "]".repeat(200))), "event."),
        ("S45 very deep", with(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))), "event."),
        ("S45 many keys", with(&format!("{{{}}}", many_keys.join(","))), "event.role.updated"),
        ("S45 type twice", br#"{"type":"role.updated","type":"role.deleted"}"#.to_vec(), "event."),
        ("S46 numbers", with(r#"{"a":18446744073709551616,"b":1e400,"c":-0}"#), "event.role.updated"),
        ("S48 long", kind(&"a".repeat(300)), unreadable),
        ("S48 wildcards", kind("a.#"), unreadable),
        ("S48 star", kind("*"), unreadable),
        ("S48 NUL", kind("a\\u0000"), unreadable),
        ("leaver", kind("organization.directory.user_deleted"), "revoke.organization.directory.user_deleted"),
    ]
}

#[tokio::test]
async fn once_signed_anything_is_accepted_and_travels_byte_for_byte() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    let bodies = odd_bodies();
    for (number, (name, body, _)) in bodies.iter().enumerate() {
        let answer = bed.post(&Delivery::signed(&format!("msg_{number}"), body.clone())).await?;
        ensure!(answer.status == 201, "{name}: {answer:?}");
    }
    let taken = bed.take(bodies.len()).await?;
    for (number, (name, body, key)) in bodies.iter().enumerate() {
        let id = format!("msg_{number}");
        let Some((found, envelope)) = taken.iter().find(|(_, envelope)| envelope.delivery_id.as_str() == id)
        else {
            anyhow::bail!("{name} did not arrive");
        };
        ensure!(envelope.body == *body, "{name}: another body arrived");
        ensure!(found.starts_with(key) && found.len() < 256, "{name}: travelled under {found}");
    }
    let log = bed.log().await?;
    ensure!(!log.contains('\u{1b}') && !log.contains('\u{202e}'), "S43: attack text in the log");
    ensure!(
        log.lines().filter(|line| line.contains("delivery accepted")).count() == bodies.len(),
        "S43: one line each"
    );
    Ok(())
}

/// F42, F52: whoever sends more than a share leaves the lane of events to the others; leavers keep theirs.
#[tokio::test]
async fn one_organizations_import_goes_with_the_bulk() -> anyhow::Result<()> {
    const SENDERS: usize = 16;
    const EACH: usize = 25;
    const IMPORT: usize = SENDERS * EACH;
    let bed = Bed::start().await?;
    let told = |id: String, kind: &str, organization: &str| {
        let kind = format!("organization.directory.{kind}");
        Delivery::signed(
            &id,
            format!(r#"{{"type":"{kind}","organization_id":"{organization}","data":{{}}}}"#),
        )
    };
    // The share comes back at fifty a second, so the import has to be faster than that by far.
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let mut wire = bed.connect().await?;
        senders.spawn(async move {
            for number in 0..EACH {
                let delivery = told(format!("msg_{sender}_{number}"), "user_created", "org_large");
                let status = wire.exchange(&delivery.request()).await?.status;
                ensure!(status == 201, "{status}");
            }
            Ok(())
        });
    }
    while let Some(sent) = senders.join_next().await {
        sent??;
    }
    let others = [("msg_other", "user_created", "org_small"), ("msg_leaver", "user_deleted", "org_large")];
    for (id, kind, organization) in others {
        ensure!(bed.post(&told(id.to_owned(), kind, organization)).await?.status == 201);
    }
    let taken = bed.take(IMPORT + 2).await?;
    let under = |key: &str| taken.iter().filter(|(found, _)| found.starts_with(key)).count();
    let of = |id: &str| taken.iter().find(|(_, envelope)| envelope.delivery_id.as_str() == id);
    ensure!(
        under("event.") > 256 && under("bulk.") > 0,
        "{} events, {} bulk",
        under("event."),
        under("bulk.")
    );
    ensure!(of("msg_other").is_some_and(|(key, _)| key == "event.organization.directory.user_created"));
    ensure!(of("msg_leaver").is_some_and(|(key, _)| key == "revoke.organization.directory.user_deleted"));
    Ok(())
}

/// S43: what was not signed is not in the log at all, and S17 has said what the sender sees.
#[tokio::test]
async fn a_log_line_stays_one_line_whatever_a_stranger_writes() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    let before = bed.log().await?.lines().count() + 1;
    let ids = ["a\u{1b}[31mred", "msg_\u{202e}1", "{\"level\":\"ERROR\"}", "%0a%0dforged"];
    for id in ids {
        ensure!(bed.post(&Delivery::ordinary("msg_1").with("-id", id)).await?.status == 400, "{id:?}");
    }
    let log = bed.log().await?;
    ensure!(log.lines().count() == before + ids.len(), "one line each:\n{log}");
    for text in ["\u{1b}", "\u{202e}", "red", "forged", "ERROR"] {
        ensure!(!log.contains(text), "{text:?} in the log");
    }
    Ok(())
}

/// S47.
#[tokio::test]
async fn a_thousand_deliveries_leave_no_person_and_no_secret_in_the_log() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    let mut wire = bed.connect().await?;
    for number in 0..1000 {
        let delivery = Delivery::ordinary(&format!("msg_{number}"));
        ensure!(wire.exchange(&delivery.request()).await?.status == 201);
    }
    ensure!(bed.published().await? == 1000);
    let log = bed.log().await?;
    for text in ["ada", "northwind", "@", "diruser_", "spec_version", "whsec_", "v1,"] {
        ensure!(!log.contains(text), "{text:?} in the log");
    }
    Ok(())
}
