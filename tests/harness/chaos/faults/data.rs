//! What is said, and in which order it arrives.

mod order;
mod poison;

use std::time::Duration;

use anyhow::ensure;
use rand::seq::SliceRandom;

use super::telling::{Person, noon_and};
use super::{Fault, fault};
use crate::chaos::run::Run;
use crate::chaos::site::Shape;
use crate::simulator::{Delivery, Plan, Provider, deliveries, history};

pub(super) fn faults() -> Vec<Fault> {
    let mut faults = vec![
        fault!("F28", "eight workers write the same ten people and their groups", crossing,
            shape: Shape { workers: 8, settings: &[("BATCH_SIZE", "20"), ("PREFETCH", "40")] }),
        fault!(
            "F29",
            "one new person two hundred times at once, an address handed over and one swapped",
            at_once
        ),
        fault!(
            "F34",
            "the same request five times, the same body renumbered, one id with two bodies",
            repeated
        ),
        fault!("F35", "a whole history shuffled, each event up to four times, over four workers", shuffled,
            shape: Shape { workers: 4, settings: &[("BATCH_SIZE", "16"), ("PREFETCH", "32")] }),
        fault!("F42", "somebody in five thousand groups, and a group of thousands that is dissolved", large),
    ];
    faults.extend(order::faults());
    faults.extend(poison::faults());
    faults
}

async fn crossing(run: &mut Run) -> anyhow::Result<()> {
    let events = history(run.seed, 10, run.scaled(6_000, 1_200));
    let plan = Plan { seed: run.seed, duplicates: 0.3, renumbered: 0.1, late: 0.3, window: 60 };
    let sent = run.add(events, &plan);
    run.send_fast(sent).await?;
    run.healed();
    run.empties().await?;
    let recorded = run.recorded().await?;
    let often = run.site.number("select count(*) from events where attempt >= 3").await?;
    run.note(format!("{often} of {recorded} events needed three attempts"));
    ensure!(often * 100 <= recorded, "{often} of {recorded} events needed three attempts");
    Ok(())
}

async fn at_once(run: &mut Run) -> anyhow::Result<()> {
    let organization = run.company.found(Provider::Entra);
    let first = run.news();
    run.send_fast(first).await?;
    let one = run.company.hire(organization);
    let told = run.tell(0);
    let copies = (0..200).map(|number| Delivery::of(&told[0], format!("msg_copy_{number}"))).collect();
    run.send_fast(copies).await?;
    let other = run.company.hire(organization);
    // Handed over: the new owner first; and swapped, which no order of unique addresses allows.
    for _ in 0..run.scaled(50, 10) {
        run.company.swap_addresses(one, other);
    }
    let told = run.tell(0);
    let mut sent =
        deliveries(&told, &Plan { seed: run.seed, duplicates: 0.5, renumbered: 0.2, late: 1.0, window: 0 });
    sent.reverse();
    run.send_fast(sent).await?;
    run.healed();
    let copied = run.site.number("select count(*) from events where delivery_id like 'msg_copy_%'").await?;
    ensure!(copied <= 1, "{copied} of the copies are recorded");
    Ok(())
}

async fn repeated(run: &mut Run) -> anyhow::Result<()> {
    let told = run.tell(run.scaled(1_000, 100));
    let once = deliveries(&told, &Plan { seed: run.seed, ..Plan::orderly() });
    let mut sent: Vec<Delivery> = once.iter().flat_map(|delivery| vec![delivery.clone(); 5]).collect();
    let renumbered = told.iter().map(|event| Delivery::of(event, format!("msg_again_{}", event.id)));
    sent.extend(renumbered);
    // One id and one instant on a creation, an update and a deletion, as the vendor's own samples have it.
    let somebody =
        |email| Person { id: "diruser_60000000000000001", email, name: "Ada", groups: None, active: None };
    let said = [
        somebody("ada@one.example").created("evt_same", &noon_and(0)),
        somebody("ada@two.example").updated("evt_same", &noon_and(0)),
        somebody("ada@one.example").deleted("evt_same", &noon_and(0)),
    ];
    sent.extend(run.add(said.to_vec(), &Plan { duplicates: 1.0, ..Plan::orderly() }));
    sent.shuffle(&mut run.random);
    run.send_fast(sent).await?;
    run.healed();
    run.empties().await?;
    let bodies = run.site.number("select count(*) from events where event_id = 'evt_same'").await?;
    ensure!(bodies == 3, "{bodies} of 3 bodies under one id are recorded");
    let warned = run.site.logs().iter().any(|(_, log)| log.contains("one event id came with two bodies"));
    ensure!(warned, "nobody warned of one id with two bodies");
    Ok(())
}

async fn shuffled(run: &mut Run) -> anyhow::Result<()> {
    for part in 0..run.scaled(10, 3) {
        let events = history(run.seed * 1_000 + part, 12, run.scaled(600, 300));
        let count = events.len();
        let mut plan =
            Plan { seed: run.seed + part, duplicates: 0.5, renumbered: 0.5, late: 1.0, window: count };
        let mut sent = run.add(events.clone(), &plan);
        plan.seed += 1;
        sent.extend(deliveries(&events, &plan));
        sent.shuffle(&mut run.random);
        run.send_fast(sent).await?;
    }
    run.healed();
    Ok(())
}

async fn large(run: &mut Run) -> anyhow::Result<()> {
    let count = run.scaled(5_000, 500);
    let organization = run.company.found(Provider::Entra);
    let groups: Vec<_> = (0..count).map(|_| run.company.form_group(organization)).collect();
    let crowd = run.company.form_group(organization);
    let news = run.news();
    run.send_fast(news).await?;
    let member = run.company.hire(organization);
    run.company.place(member, &groups);
    let news = run.news();
    let started = std::time::Instant::now();
    run.send(&news).await;
    run.empties().await?;
    let placed = started.elapsed();
    let people: Vec<_> = (0..count).map(|_| run.company.hire(organization)).collect();
    for person in people {
        run.company.place(person, &[crowd]);
    }
    let news = run.news();
    run.send_fast(news).await?;
    run.empties().await?;
    run.company.dissolve_group(crowd);
    let news = run.news();
    let started = std::time::Instant::now();
    run.send_fast(news).await?;
    run.empties().await?;
    run.healed();
    run.note(format!(
        "placed in {count} groups in {:.1} s; a group of {count} dissolved in {:.1} s, each member told of",
        placed.as_secs_f64(),
        started.elapsed().as_secs_f64()
    ));
    ensure!(placed < Duration::from_secs(10), "placing took {placed:?}");
    Ok(())
}
