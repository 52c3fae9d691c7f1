//! The door under stress, and both binaries asked to stop.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::{Fault, fault};
use crate::chaos::run::{Run, SOON, Who};
use crate::proxy::Direction;
use crate::simulator::Delivery;
use crate::wait::eventually;

pub(super) fn faults() -> Vec<Fault> {
    vec![
        fault!("F13", "ten times as many deliveries over two thousand connections", burst),
        fault!("F14", "both binaries are stopped and started, one after the other, again and again", rolling),
        fault!("F15", "publishes fail after their requests were noted", unpublished),
        fault!("E3", "each binary is asked to stop under load", stopped),
    ]
}

const RATE: u32 = 60;
/// Within this both must have ended after SIGTERM.
const ENDS: Duration = Duration::from_secs(20);

async fn burst(run: &mut Run) -> anyhow::Result<()> {
    run.rules.also = vec![429];
    run.rules.files = 2_500;
    run.flow_over(run.scaled(500, 300), run.scaled(2_000, 400))?;
    run.last(run.scaled(Duration::from_secs(60), Duration::from_secs(8))).await;
    run.healed();
    let mut waits: Vec<_> =
        run.ledger.answers().iter().filter(|answer| answer.status == 201).map(|answer| answer.took).collect();
    waits.sort();
    let of_hundred = |share: usize| waits.get(waits.len() * share / 100).copied().unwrap_or_default();
    let (middle, slow) = (of_hundred(50), of_hundred(99));
    run.note(format!("{} taken, p50 {middle:.0?}, p99 {slow:.0?}", waits.len()));
    // Two seconds for an optimised build; this may be none.
    ensure!(slow < Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 2 }), "p99 of 201 is {slow:?}");
    Ok(())
}

async fn rolling(run: &mut Run) -> anyhow::Result<()> {
    run.rules.door_may_vanish = true;
    run.rules.first_attempts_only = true;
    run.flow(RATE)?;
    let mut longest = Duration::ZERO;
    for _ in 0..run.scaled(10, 3) {
        for who in [Who::Door, Who::Worker(0), Who::Worker(1)] {
            run.taken_more(5).await?;
            let took = run.member(who).terminate().await?;
            longest = longest.max(took);
            run.member(who).start().await?;
        }
    }
    run.healed();
    ensure!(longest < ENDS, "stopping took {longest:?}");
    run.note(format!("the longest stop took {:.1} s", longest.as_secs_f64()));
    Ok(())
}

/// Everything at once, then each alone, with as much in flight as the load makes.
async fn stopped(run: &mut Run) -> anyhow::Result<()> {
    run.rules.door_may_vanish = true;
    run.rules.first_attempts_only = true;
    run.flow(150)?;
    run.taken(100).await?;
    let mut times = Vec::new();
    for who in [Who::Worker(0), Who::Worker(1), Who::Door] {
        times.push(run.member(who).terminate().await?);
    }
    for who in [Who::Door, Who::Worker(0), Who::Worker(1)] {
        run.member(who).start().await?;
    }
    run.healed();
    let longest = times.iter().max().copied().unwrap_or_default();
    ensure!(longest < ENDS, "stopping took {longest:?}");
    run.note(format!("stopping took {times:.1?}"));
    Ok(())
}

/// Once stored with the answer lost, once not stored: either way the sender's next try is taken and
/// applied once, and never mistaken for a duplicate of what was not stored.
async fn unpublished(run: &mut Run) -> anyhow::Result<()> {
    run.load(run.scaled(1500, 150), RATE)?;
    run.taken(20).await?;
    run.load_taken().await?;
    let times = run.scaled(20, 4);
    for time in 0..times {
        for event in run.tell(1) {
            let delivery = Delivery::of(&event, format!("msg_{}_{time}", event.id));
            let link = &run.site.door.broker;
            let (before, mark) = (link.sprung(), event.id.as_bytes());
            if time % 2 == 0 {
                link.cut_on(mark, Direction::ToServer);
            } else {
                link.cut_before(mark, Direction::ToServer);
            }
            ensure!(!run.try_once(&delivery).await, "taken without a confirm");
            ensure!(link.sprung() > before, "the publish did not go by");
            link.restore();
            run.send(&[delivery]).await;
        }
    }
    run.healed();
    run.note(format!("{times} publishes failed, half of them stored"));
    Ok(())
}

/// Waits until the door took something after `since`; gives how long that was.
pub(super) async fn taken_since(run: &Run, since: Instant) -> anyhow::Result<Duration> {
    eventually(SOON, async || {
        let answers = run.ledger.answers();
        let first = answers.iter().find(|answer| answer.status == 201 && answer.at > since);
        Ok(first.context("nothing was taken yet")?.at - since)
    })
    .await
}
