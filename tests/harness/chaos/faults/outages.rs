//! Whole outages, and what waits behind them.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::door::taken_since;
use super::{Fault, fault};
use crate::chaos::run::{Run, SOON, Who};
use crate::simulator::{Plan, Provider, deliveries};
use crate::wait::eventually;

pub(super) fn faults() -> Vec<Fault> {
    vec![
        fault!("E1", "the database is away for half a minute under load", database_away),
        fault!("E2", "the broker is away under load", broker_away),
        fault!("E4", "a leaver comes behind twenty thousand creations", leaver_behind_creations),
        fault!("E5", "twenty thousand events, many twice and late", twenty_thousand),
        fault!("F43", "ten thousand people leave among ten thousand updates, with the brake on",
            mass_departure, shape: crate::chaos::site::Shape {
                settings: &[("REMOVAL_BUDGET", "500,1%")], ..crate::chaos::site::Shape::default() }),
    ]
}

/// Cut and refused, as a machine that is off. Nothing is given up, nothing is counted.
async fn database_away(run: &mut Run) -> anyhow::Result<()> {
    run.rules.first_attempts_only = true;
    run.flow(60)?;
    run.taken(60).await?;
    run.site.workers.iter().filter_map(|worker| worker.database.as_ref()).for_each(|link| link.cut());
    run.last(Duration::from_secs(30)).await;
    let waiting = run.site.waiting().await?;
    run.site.workers.iter().filter_map(|worker| worker.database.as_ref()).for_each(|link| link.restore());
    run.healed();
    ensure!(waiting > 500, "only {waiting} messages waited: there was no outage");
    let dead =
        run.site.number("select count(*) from dead_letters where reason_code = 'retries_exhausted'").await?;
    ensure!(dead == 0, "{dead} messages were given up on");
    run.note(format!("{waiting} messages waited in the queues"));
    Ok(())
}

async fn broker_away(run: &mut Run) -> anyhow::Result<()> {
    run.flow(60)?;
    run.taken(60).await?;
    let cut = Instant::now();
    for member in run.site.members() {
        member.broker.cut();
    }
    run.door_is_ready(false, SOON).await?;
    let since = Instant::now();
    run.last(run.scaled(Duration::from_secs(30), Duration::from_secs(6))).await;
    run.was_silent(since);
    for member in run.site.members() {
        member.broker.restore();
    }
    let restored = Instant::now();
    run.healed();
    let recovered = taken_since(run, restored).await?;
    let answers = run.ledger.answers();
    let refused = answers.iter().filter(|answer| answer.status == 503 && answer.at > cut).count();
    ensure!(refused > 0, "nothing was refused: there was no outage");
    run.note(format!(
        "{refused} refusals; the next 201 came {:.1} s after the broker",
        recovered.as_secs_f64()
    ));
    Ok(())
}

/// The queue fills while no worker runs. The leaver's event has its own lane.
async fn leaver_behind_creations(run: &mut Run) -> anyhow::Result<()> {
    let creations = 20_000;
    let organization = run.company.found(Provider::Entra);
    let leaver = run.company.hire_named(organization, ("Lea", "Ver"), &[]);
    let known = run.news();
    run.send(&known).await;
    run.empties().await?;
    for worker in &mut run.site.workers {
        worker.terminate().await?;
    }
    for _ in 0..creations {
        run.company.hire(organization);
    }
    let hired = run.news();
    run.send_fast(hired).await?;
    run.company.leave(leaver);
    let left = run.news();
    let id = left[0].event_id.clone();
    run.send(&left).await;
    let waiting = run.site.waiting().await?;
    ensure!(waiting > u64::try_from(creations)?, "only {waiting} messages wait");
    let started = Instant::now();
    for worker in &mut run.site.workers {
        worker.start().await?;
    }
    eventually(SOON, async || {
        ensure!(
            run.site.number(&format!("select count(*) from events where event_id = '{id}'")).await? == 1,
            "not yet"
        );
        Ok(())
    })
    .await?;
    run.healed();
    run.rules.recovery = Duration::from_secs(120);
    let before = format!(
        "select count(*) from events where recorded_at < (select recorded_at from events where event_id = '{id}')"
    );
    let before = run.site.number(&before).await?.saturating_sub(u64::try_from(known.len())?);
    run.note(format!(
        "the leaver was committed {:.1} s after the workers' start, before all but {before} of {creations} creations",
        started.elapsed().as_secs_f64()
    ));
    ensure!(before < 1_000, "{before} creations were committed before the leaver");
    Ok(())
}

async fn twenty_thousand(run: &mut Run) -> anyhow::Result<()> {
    let plan = Plan { seed: run.seed, duplicates: 0.2, renumbered: 0.0, late: 0.2, window: 40 };
    let told = run.tell(20_000);
    let sent = deliveries(&told, &plan);
    let (count, started) = (sent.len(), Instant::now());
    run.send_in_background(sent, 100_000)?;
    run.load_taken().await?;
    run.healed();
    run.rules.recovery = Duration::from_secs(120);
    run.note(format!("{count} deliveries taken in {:.1} s", started.elapsed().as_secs_f64()));
    Ok(())
}

/// What goes beyond the brake is held, visible, and applied when released.
async fn mass_departure(run: &mut Run) -> anyhow::Result<()> {
    let people = run.scaled(10_000, 1_500);
    run.rules.recovery = Duration::from_secs(120);
    let organization = run.company.found(Provider::Entra);
    let hired: Vec<_> = (0..people).map(|_| run.company.hire(organization)).collect();
    let news = run.news();
    run.send_fast(news).await?;
    run.empties().await?;
    for person in hired {
        run.company.promote(person);
        run.company.leave(person);
    }
    let news = run.news();
    run.send_fast(news).await?;
    run.healed();
    run.empties().await?;
    let held = "select count(*) from held_changes where decision is null";
    let (held, allowed) = (run.site.number(held).await?, 500);
    ensure!(
        held + allowed == u64::try_from(people)?,
        "{held} of {people} departures are held, {allowed} are allowed"
    );
    run.note(format!("{held} of {people} departures were held"));
    run.site.command(&["held", "release", "--all", "--reason", "they did leave"]).await?.success()?;
    run.member(Who::Worker(0)).ready().await
}
