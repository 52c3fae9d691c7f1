//! Memory at its highest: the door with a thousand connections, the worker at full rate.

use std::time::Duration;

use rollcall_tests::TestBed;

use crate::cpu::memory_mib;
use crate::deliveries::{Events, signed};
use crate::figure::{Figure, Wanted};
use crate::figures::apply::PEOPLE;
use crate::load::{Connection, Pace, send};
use crate::product::committed;
use crate::stage::Stage;

const NAME: &str = "memory";
const CONNECTIONS: usize = 1000;
const EVENTS: u64 = 40_000;

pub(crate) async fn measure(stage: &Stage) -> anyhow::Result<Vec<Figure>> {
    let (queue, database) = (stage.queue().await?, stage.database(PEOPLE).await?);
    let (mut idle, mut doors, mut workers) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..stage.rounds {
        // Processes of their own for each measurement: a high-water mark never falls.
        let mut quiet = TestBed::on(&queue, &database)?;
        quiet.start_ingress().await?;
        let mut waiting = Vec::new();
        for _ in 0..CONNECTIONS {
            waiting.push(Connection::open(&quiet.door).await?);
        }
        idle.push(memory_mib(quiet.ingress()?.pid(), "VmHWM")?);
        drop((waiting, quiet));

        let mut bed = TestBed::on(&queue, &database)?;
        bed.start_ingress().await?;
        let requests = signed(&Events::of("memory").updates(PEOPLE, EVENTS), &bed.key);
        send(&bed.door, requests, CONNECTIONS, Pace::Closed, Duration::from_secs(60))
            .await?
            .all_accepted()?;
        doors.push(memory_mib(bed.ingress()?.pid(), "VmHWM")?);
        bed.start_worker().await?;
        let bed = [bed];
        committed(&bed, EVENTS).await?;
        workers.push(memory_mib(bed[0].worker()?.pid(), "VmHWM")?);
        bed[0].worker()?.sigterm().await?;
    }
    Ok(vec![
        Figure::alone(NAME, "door, 1,000 open connections", "MiB", &idle, Wanted::AtMost(40.0)),
        Figure::alone(NAME, "door, 1,000 busy connections, highest", "MiB", &doors, Wanted::AtMost(40.0)),
        Figure::alone(NAME, "worker at full rate, highest", "MiB", &workers, Wanted::AtMost(80.0)),
    ])
}
