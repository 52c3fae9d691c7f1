//! Bodies nobody can apply, and clocks that are wrong.

use std::time::Instant;

use anyhow::{Context, ensure};
use rollcall_signature::HeaderFamily;
use serde::Deserialize;

use super::super::telling::{Moment, NOON, Person, noon_and};
use super::super::{Fault, fault};
use crate::chaos::ledger::Ledger;
use crate::chaos::run::Run;
use crate::http::Client;
use crate::process::root;
use crate::simulator::{Delivery, PATH, Plan};

pub(super) fn faults() -> Vec<Fault> {
    vec![
        fault!("F38", "clocks are wrong: the sender's by ten minutes, an event's by decades", wrong_clocks),
        fault!("F41", "poison of every kind among the load", poisoned),
    ]
}

#[derive(Deserialize)]
struct Expected {
    reason: Option<String>,
}

/// The corpus of the parser, through the front door: each body with its reason, at once and without retries.
async fn poisoned(run: &mut Run) -> anyhow::Result<()> {
    let folder = root().join("crates/event/fixtures/poison");
    let expected = std::fs::read(folder.join("expected.json")).context("the corpus has expectations")?;
    let expected: std::collections::BTreeMap<String, Expected> = serde_json::from_slice(&expected)?;
    let mut poison = Vec::new();
    for (name, Expected { reason }) in expected {
        let Some(reason) = reason else { continue };
        let body = std::fs::read(folder.join(&name)).with_context(|| name.clone())?;
        poison.push((Delivery::raw(format!("msg_{}", name.replace('.', "_")), body), reason));
    }
    let deep = format!(
        "{}{}",
        r#"{"id":"evt_deep","type":"x","data":"#.to_owned() + &"[".repeat(100_000),
        "]".repeat(100_000) + "}"
    );
    poison.push((Delivery::raw("msg_deep", deep), "too_deep".to_owned()));
    run.flow(60)?;
    run.taken(20).await?;
    let started = Instant::now();
    let count = poison.len();
    for (delivery, reason) in &poison {
        // The same code for every process: it lives as long as this one.
        let reason: &'static str = reason.clone().leak();
        run.doomed.insert(Ledger::key(delivery), Some(reason));
        run.send(std::slice::from_ref(delivery)).await;
    }
    let took = started.elapsed();
    run.healed();
    run.load_taken().await?;
    large_and_valid(run).await?;
    let retried = run.site.number("select count(*) from dead_letters where attempts > 1").await?;
    ensure!(retried == 0, "{retried} bodies were tried again though they can never succeed");
    run.note(format!(
        "{count} poisonous bodies taken in {:.1} s, all dead, none retried",
        took.as_secs_f64()
    ));
    Ok(())
}

/// Close to the door's limit, and nothing wrong with it.
async fn large_and_valid(run: &mut Run) -> anyhow::Result<()> {
    let filling = "x".repeat(1_000_000);
    let body = format!(
        r#"{{"id":"evt_large","type":"some.new_type","occurred_at":"2026-01-01T00:00:00Z","data":{{"filling":"{filling}"}}}}"#
    );
    let large = Delivery { event_id: "evt_large".to_owned(), ..Delivery::raw("msg_large", body) };
    run.send(&[large]).await;
    run.empties().await?;
    let outcome = run.site.sql("select outcome from events where event_id = 'evt_large'").await?;
    ensure!(outcome == "ignored", "a large body of an unknown type is {outcome:?}");
    Ok(())
}

async fn wrong_clocks(run: &mut Run) -> anyhow::Result<()> {
    let somebody =
        |email| Person { id: "diruser_60000000000000002", email, name: "Ada", groups: None, active: None };
    let ancient = Moment { written: "0001-01-01T00:00:00Z".to_owned(), at: i64::MIN };
    let far = Moment { written: "2099-01-01T00:00:00Z".to_owned(), at: NOON };
    let events = vec![
        somebody("old@one.example").updated("evt_ancient", &ancient),
        somebody("a@one.example").created("evt_now", &noon_and(0)),
    ];
    let sent = run.add(events, &Plan::orderly());
    run.send(&sent).await;
    let future = somebody("never@one.example").updated("evt_future", &far);
    let future = Delivery::of(&future, "msg_future");
    run.doomed.insert(Ledger::key(&future), Some("occurred_at_in_future"));
    run.send(&[future]).await;
    run.empties().await?;
    let after = vec![somebody("b@one.example").updated("evt_after", &noon_and(1))];
    let sent = run.add(after, &Plan::orderly());
    run.send(&sent).await;
    skewed_sender(run).await?;
    run.healed();
    Ok(())
}

/// Signed ten minutes ago, or in ten minutes: refused, and counted as what it is.
async fn skewed_sender(run: &mut Run) -> anyhow::Result<()> {
    for minutes in [-10, 10] {
        let event = &run.company.told()[0];
        let delivery = Delivery::of(event, format!("msg_skewed_{}", minutes + 10));
        let signed_at = rollcall_event::clock::now() + chrono::TimeDelta::minutes(minutes);
        let headers = delivery.headers(run.site.key(), HeaderFamily::Webhook, signed_at);
        let answer = Client::new(&run.site.door_address).post(PATH, &headers, delivery.body.clone()).await?;
        ensure!(answer.status == 400, "{} for a signature of another time", answer.status);
    }
    let page = run.site.door.metrics().await?;
    let counted: f64 =
        page.names().filter(|name| name.contains("skew")).map(|name| page.sum(name, &[])).sum();
    ensure!(counted >= 2.0, "the skew is not counted");
    Ok(())
}
