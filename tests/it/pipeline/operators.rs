//! What operators type, against running programs.

use anyhow::ensure;
use rollcall_tests::{TestBed, eventually};
use serde_json::json;

use super::{SOON, accepted, access_becomes, created, deleted, event, listed, person};

#[tokio::test]
async fn a_test_event_goes_the_whole_way_and_says_so() -> anyhow::Result<()> {
    let bed = TestBed::start().await?;
    let url = format!("http://{}/webhooks/scalekit", bed.door);
    let sent = bed.command(&["send-test-event", "--url", &url]).await?.success()?;
    assert!(sent.contains("201") && sent.contains("ignored, committed after"), "{sent}");
    let kind = "organization.directory.user_created";
    let sent = bed.command(&["send-test-event", "--url", &url, "--type", kind]).await?.success()?;
    assert!(sent.contains("applied, committed after"), "{sent}");
    assert_eq!(bed.export().await?["diruser_rollcall_test"].access, "active");

    let another = rollcall_signature::Key::generate([7; 32]).reveal();
    let refused =
        bed.command(&["send-test-event", "--url", &url, "--scalekit-webhook-secret", &another]).await?;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stdout.contains("400"), "{}", refused.stdout);
    let nobody = bed.command(&["send-test-event", "--url", "http://127.0.0.1:9/webhooks/scalekit"]).await?;
    assert_eq!(nobody.code, Some(1));
    Ok(())
}

#[tokio::test]
async fn a_dead_letter_is_looked_at_replayed_and_applied_or_discarded() -> anyhow::Result<()> {
    let mut bed = TestBed::embedded()?.with("SCALEKIT_ENVIRONMENT_ID", "env_2");
    bed.start_both().await?;
    let body = created("evt_1", "diruser_1").to_string();
    accepted(&bed, "msg_1", body.clone()).await?;
    accepted(&bed, "msg_2", "{").await?;
    eventually(SOON, async || {
        let letters = listed(&bed, &["dead-letters", "list"]).await?;
        ensure!(letters.len() == 2, "{letters:?}");
        Ok(())
    })
    .await?;
    let groups = listed(&bed, &["dead-letters", "groups"]).await?;
    assert_eq!(groups.len(), 2);
    let letters =
        listed(&bed, &["dead-letters", "list", "--reason-code", "wrong_environment", "--since", "1h"])
            .await?;
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!(letter["event_id"], json!("evt_1"));
    let id = letter["id"].to_string();
    let shown = bed.command(&["dead-letters", "show", &id, "--body"]).await?.success()?;
    assert_eq!(shown, body);

    // Which ones, and why, must be said.
    assert_eq!(bed.command(&["dead-letters", "replay", "--reason", "why"]).await?.code, Some(1));
    assert_eq!(bed.command(&["dead-letters", "replay", "--all"]).await?.code, Some(2));
    let dry =
        bed.command(&["dead-letters", "replay", &id, "--dry-run", "--reason", "a look"]).await?.success()?;
    assert!(dry.contains("1 would be replayed, 0 failed"), "{dry}");
    assert_eq!(listed(&bed, &["dead-letters", "list"]).await?.len(), 2);

    // The setting was wrong: with the right one the replay is applied.
    bed.worker()?.sigterm().await?;
    bed.settings.insert("SCALEKIT_ENVIRONMENT_ID".to_owned(), "env_1".to_owned());
    bed.start_worker().await?;
    let replayed = bed
        .command(&["dead-letters", "replay", &id, "--reason", "right environment now"])
        .await?
        .success()?;
    assert!(replayed.contains("1 replayed, 0 failed"), "{replayed}");
    access_becomes(&bed, "diruser_1", "active").await?;
    // Again: it is not open any more.
    let again = bed.command(&["dead-letters", "replay", &id, "--reason", "again"]).await?.success()?;
    assert!(again.contains("0 dead letters"), "{again}");

    bed.command(&["dead-letters", "discard", "--all", "--reason", "cut off by a test"]).await?.success()?;
    assert!(listed(&bed, &["dead-letters", "list"]).await?.is_empty());
    assert_eq!(listed(&bed, &["dead-letters", "list", "--status", "discarded"]).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn removals_over_the_budget_wait_and_are_released_or_rejected() -> anyhow::Result<()> {
    let mut bed = TestBed::embedded()?.with("REMOVAL_BUDGET", "2,0%");
    bed.start_both().await?;
    for n in 0..6 {
        accepted(
            &bed,
            &format!("msg_c{n}"),
            created(&format!("evt_c{n}"), &format!("diruser_{n}")).to_string(),
        )
        .await?;
    }
    access_becomes(&bed, "diruser_5", "active").await?;
    for n in 0..5 {
        accepted(
            &bed,
            &format!("msg_d{n}"),
            deleted(&format!("evt_d{n}"), &format!("diruser_{n}")).to_string(),
        )
        .await?;
    }
    // Nothing else waits.
    accepted(&bed, "msg_new", created("evt_new", "diruser_new").to_string()).await?;
    access_becomes(&bed, "diruser_new", "active").await?;
    eventually(SOON, async || {
        let held = listed(&bed, &["held", "list"]).await?;
        ensure!(held.len() == 3, "{held:?}");
        Ok(())
    })
    .await?;
    let gone = |export: &std::collections::BTreeMap<_, rollcall_tests::simulator::Exported>| {
        export.values().filter(|person| person.access == "deleted").count()
    };
    assert_eq!(gone(&bed.export().await?), 2);

    let held = listed(&bed, &["held", "list", "--org", "org_1"]).await?;
    let (released, rejected) = (held[0].clone(), held[1].clone());
    let number = |change: &serde_json::Value| change["id"].to_string();
    let said =
        bed.command(&["held", "release", &number(&released), "--reason", "really gone"]).await?.success()?;
    assert!(said.contains("1 released"), "{said}");
    let said = bed
        .command(&["held", "reject", &number(&rejected), "--reason", "a mistake upstream"])
        .await?
        .success()?;
    assert!(said.contains("1 rejected"), "{said}");
    let export = bed.export().await?;
    let access = |change: &serde_json::Value| {
        export[change["subject_id"].as_str().expect("a subject")].access.as_str()
    };
    assert_eq!((access(&released), access(&rejected)), ("deleted", "active"));
    assert_eq!(bed.command(&["held", "release", "--reason", "which?"]).await?.code, Some(2));
    assert_eq!(bed.command(&["verify"]).await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_paused_organization_neither_gains_nor_loses_anybody_until_it_is_resumed() -> anyhow::Result<()> {
    let bed = TestBed::start().await?;
    accepted(&bed, "msg_1", created("evt_1", "diruser_1").to_string()).await?;
    access_becomes(&bed, "diruser_1", "active").await?;
    bed.command(&["org", "pause", "org_1", "--reason", "their directory was wiped"]).await?.success()?;
    accepted(&bed, "msg_2", deleted("evt_2", "diruser_1").to_string()).await?;
    accepted(&bed, "msg_3", created("evt_3", "diruser_3").to_string()).await?;
    let mut other =
        event("evt_4", "organization.directory.user_created", "2026-09-01T08:00:00Z", person("diruser_4"));
    other["organization_id"] = json!("org_2");
    other["data"]["organization_id"] = json!("org_2");
    accepted(&bed, "msg_4", other.to_string()).await?;
    access_becomes(&bed, "diruser_4", "active").await?;
    eventually(SOON, async || {
        let held = listed(&bed, &["held", "list"]).await?;
        ensure!(held.len() == 2, "{held:?}");
        Ok(())
    })
    .await?;
    let export = bed.export().await?;
    assert!(export["diruser_1"].access == "active" && !export.contains_key("diruser_3"));

    let said = bed.command(&["org", "resume", "org_1", "--reason", "it was right"]).await?.success()?;
    assert!(said.contains("2 held changes released"), "{said}");
    let export = bed.export().await?;
    assert_eq!(
        (export["diruser_1"].access.as_str(), export["diruser_3"].access.as_str()),
        ("deleted", "active")
    );
    assert_eq!(bed.command(&["verify"]).await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn wrong_settings_are_named_and_never_shown() -> anyhow::Result<()> {
    let bed = TestBed::embedded()?;
    let refused = async |name: &str, value: &str, expected: &[&str]| -> anyhow::Result<()> {
        let mut settings = bed.settings.clone();
        settings.insert(name.to_owned(), value.to_owned());
        let program = rollcall_tests::bin("rollcall-worker")?;
        let ended = rollcall_tests::process::run(&program, &["queues"], &settings, &bed.folder()).await?;
        assert_ne!(ended.code, Some(0), "{name}={value}");
        for part in expected {
            assert!(ended.stderr.contains(part), "{name}: {}", ended.stderr);
        }
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
        Ok(())
    };
    refused("DATABASE_URL", "mysql://root:hunter2@db/x", &["DATABASE_URL", "postgres://"]).await?;
    refused("QUEUE_URL", "redis://:hunter2@q", &["QUEUE_URL", "amqp"]).await?;
    refused("BATCH_SIZE", "0", &["batch-size", "1 to 1024"]).await?;
    refused("REMOVAL_BUDGET", "many", &["removal-budget", "50,20%"]).await?;
    refused("SCALEKIT_ENVIRONMENT_IDS", "env_1", &["SCALEKIT_ENVIRONMENT_IDS", "SCALEKIT_ENVIRONMENT_ID"])
        .await?;
    assert_eq!(bed.command(&["no-such-command"]).await?.code, Some(2));
    Ok(())
}
