//! Bodies that can never be applied: accepted, because they were signed, and kept with their reason.

use std::collections::BTreeMap;

use anyhow::ensure;
use rollcall_tests::{TestBed, eventually};
use serde_json::{Value, json};

use super::{SOON, accepted, created, event, listed, person};

/// Body and reason of each.
fn poison() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let with = |change: fn(&mut Value)| {
        let mut event = created("evt_poison", "diruser_poison");
        change(&mut event);
        event.to_string().into_bytes()
    };
    let plain = with(|_| {});
    let text = String::from_utf8(plain.clone()).expect("JSON is text");
    let nested = |depth: usize| {
        text.replace(r#""groups":[]"#, &format!(r#""x":{}{}"#, "[".repeat(depth), "]".repeat(depth)))
            .into_bytes()
    };
    let twice = text.replacen('{', r#"{"type":"role.updated","#, 1).into_bytes();
    let marked = [b"\xef\xbb\xbf".as_slice(), &plain].concat();
    let nul = text.replace("diruser_poison@", r"a\u0000@").into_bytes();
    let half = text.replace("diruser_poison@", r"a\ud800@").into_bytes();
    let long_email = text.replace("diruser_poison@", &format!("{}@", "x".repeat(10_000))).into_bytes();
    vec![
        ("empty", Vec::new(), "parse_error"),
        ("broken", b"{\"spec_version\":".to_vec(), "parse_error"),
        ("mark", marked, "parse_error"),
        ("bytes", vec![b'{', 0xff, b'}'], "parse_error"),
        ("array", b"[1,2]".to_vec(), "parse_error"),
        ("deep", nested(200), "too_deep"),
        ("deeper", nested(100_000), "too_deep"),
        ("twice", twice, "duplicate_key"),
        ("nul", nul, "unstorable_text"),
        ("half", half, "unstorable_text"),
        ("long_email", long_email, "invalid_field"),
        ("no_id", with(|event| event["id"] = Value::Null), "missing_id"),
        ("no_user", with(|event| event["data"]["id"] = Value::Null), "missing_id"),
        ("no_data", with(|event| event["data"] = Value::Null), "invalid_field"),
        ("later_format", with(|event| event["spec_version"] = json!("2")), "unsupported_spec_version"),
        (
            "two_organizations",
            with(|event| event["data"]["organization_id"] = json!("org_2")),
            "organization_mismatch",
        ),
        ("elsewhere", with(|event| event["environment_id"] = json!("env_2")), "wrong_environment"),
        (
            "later",
            with(|event| event["occurred_at"] = json!("2099-01-01T00:00:00Z")),
            "occurred_at_in_future",
        ),
    ]
}

#[tokio::test]
async fn each_poison_is_accepted_kept_with_its_reason_and_tried_once() -> anyhow::Result<()> {
    let mut bed = TestBed::embedded()?.with("SCALEKIT_ENVIRONMENT_ID", "env_1");
    bed.start_both().await?;
    let mut expected = BTreeMap::new();
    for (name, body, reason) in poison() {
        let delivery = format!("msg_{name}");
        accepted(&bed, &delivery, body).await?;
        expected.insert(delivery, reason.to_owned());
    }
    // The same poison again is the same dead letter.
    accepted(&bed, "msg_empty_again", Vec::new()).await?;

    eventually(SOON, async || {
        let letters = listed(&bed, &["dead-letters", "list"]).await?;
        ensure!(letters.len() >= expected.len(), "{} of {}", letters.len(), expected.len());
        Ok(())
    })
    .await?;
    let letters = listed(&bed, &["dead-letters", "list"]).await?;
    let found: BTreeMap<String, String> = letters
        .iter()
        .map(|letter| {
            (
                letter["delivery_id"].to_string().replace('"', ""),
                letter["reason_code"].to_string().replace('"', ""),
            )
        })
        .collect();
    assert_eq!(found, expected);
    assert!(letters.iter().all(|letter| letter["attempts"] == 1), "nothing of this kind is tried twice");
    assert_eq!(bed.worker_metrics().await?.sum("rollcall_retries_total", &[]), 0.0);
    assert!(bed.export().await?.is_empty(), "nothing of it became a row");

    // The person it spoke of can still come, and the worker goes on.
    accepted(&bed, "msg_good", created("evt_good", "diruser_poison").to_string()).await?;
    super::access_becomes(&bed, "diruser_poison", "active").await?;
    bed.worker()?.log().lines().for_each(|line| assert!(!line.contains("example.test"), "{line}"));
    Ok(())
}

#[tokio::test]
async fn odd_but_legal_bodies_are_applied_and_unknown_types_recorded() -> anyhow::Result<()> {
    let bed = TestBed::start().await?;
    let mut sql = person("diruser_sql");
    sql["name"] = json!("Robert'); DROP TABLE users;--\n\u{202e}\u{1b}[31m");
    let mut numbers = person("diruser_numbers");
    numbers["custom_attributes"] = json!({ "big": "placeholder" });
    let numbers =
        event("evt_numbers", "organization.directory.user_created", "2026-09-01T08:00:00Z", numbers);
    let numbers = numbers.to_string().replace("\"placeholder\"", "[18446744073709551616,1e400,-0]");
    let mut large = person("diruser_large");
    large["title"] = json!("t".repeat(900_000));
    let many: serde_json::Map<String, Value> = (0..100_000).map(|n| (format!("k{n}"), json!(0))).collect();
    let mut keys = person("diruser_keys");
    keys["raw_attributes"] = Value::Object(many.into_iter().take(60_000).collect());
    for (delivery, kind, data) in
        [("sql", "user_created", sql), ("large", "user_created", large), ("keys", "user_created", keys)]
    {
        let body = event(
            &format!("evt_{delivery}"),
            &format!("organization.directory.{kind}"),
            "2026-09-01T08:00:00Z",
            data,
        );
        accepted(&bed, &format!("msg_{delivery}"), body.to_string()).await?;
    }
    accepted(&bed, "msg_numbers", numbers).await?;
    let long = event("evt_long", &"x".repeat(255), "2026-09-01T08:00:00Z", json!({}));
    accepted(&bed, "msg_long", long.to_string()).await?;
    let sharp = event("evt_sharp", "a.#.*", "2026-09-01T08:00:00Z", json!({}));
    accepted(&bed, "msg_sharp", sharp.to_string()).await?;

    for user in ["diruser_sql", "diruser_large", "diruser_keys", "diruser_numbers"] {
        super::access_becomes(&bed, user, "active").await?;
    }
    assert_eq!(
        bed.export().await?["diruser_sql"].name.as_deref(),
        Some("Robert'); DROP TABLE users;--\n\u{202e}\u{1b}[31m")
    );
    eventually(SOON, async || {
        let ignored = bed.worker_metrics().await?.sum("rollcall_events_total", &[("outcome", "ignored")]);
        ensure!(ignored == 2.0, "{ignored} ignored");
        Ok(())
    })
    .await?;
    assert!(listed(&bed, &["dead-letters", "list"]).await?.is_empty());
    // A table obeys no control character of a name.
    let table = bed.command(&["users", "list"]).await?.success()?;
    assert!(!table.contains('\u{1b}') && !table.contains('\u{202e}'));
    assert!(bed.command(&["verify"]).await?.code == Some(0));
    Ok(())
}

/// The vendor's ids name one event each; where one does not, somebody must hear of it.
#[tokio::test]
async fn two_bodies_under_one_event_id_are_both_weighed_and_told_of_once() -> anyhow::Result<()> {
    const TOLD: &str = "one event id came with two bodies";
    let mut bed = TestBed::embedded()?;
    bed.start_both().await?;
    let body = created("evt_1", "diruser_1");
    accepted(&bed, "msg_1", body.to_string()).await?;
    accepted(&bed, "msg_1_again", body.to_string()).await?;
    accepted(&bed, "msg_2", created("evt_2", "diruser_2").to_string()).await?;
    super::access_becomes(&bed, "diruser_2", "active").await?;
    accepted(&bed, "msg_3", created("evt_1", "diruser_3").to_string()).await?;
    super::access_becomes(&bed, "diruser_3", "active").await?;
    bed.worker()?.logged(TOLD, SOON).await?;
    let log = bed.worker()?.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains(TOLD)).collect();
    assert!(told.len() == 1 && told[0].contains("evt_1"), "{told:?}");
    Ok(())
}
