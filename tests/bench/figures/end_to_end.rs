//! From the door through RabbitMQ to committed rows, beside door and worker each by itself.

use std::time::{Duration, Instant};

use rollcall_tests::TestBed;

use crate::cpu::Watch;
use crate::deliveries::{Events, signed};
use crate::figure::{Figure, Wanted};
use crate::figures::apply::PEOPLE;
use crate::load::{Answers, Pace, send};
use crate::peers;
use crate::product::{committed, drain, rate};
use crate::stage::Stage;

const NAME: &str = "end-to-end";
const CONNECTIONS: usize = 256;
const EVENTS: u64 = 60_000;

pub(crate) async fn measure(stage: &Stage) -> anyhow::Result<Vec<Figure>> {
    let (queue, database) = (stage.queue().await?, stage.database(PEOPLE).await?);
    let mut door = TestBed::on(&queue, &database)?;
    door.start_ingress().await?;
    let (mut rates, mut doors, mut applied, mut smaller) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut shares = None;
    for _ in 0..stage.rounds {
        // Each by itself first: the door fills the queue that the worker then empties.
        let events = Events::of("alone");
        let alone = deliver(&door, &events).await?.rate();
        let mut worker = [TestBed::on(&queue, &database)?];
        let drained = drain(stage, &mut worker, &database, &events, EVENTS).await?.rate;
        stage.settle().await?;

        let events = Events::of("both");
        let mut worker = [TestBed::on(&queue, &database)?];
        worker[0].start_worker().await?;
        let mut pids = stage.servers()?;
        pids.extend([("ingress", door.ingress()?.pid()), ("worker", worker[0].worker()?.pid())]);
        let watch = Watch::start(&pids)?;
        let began = Instant::now();
        deliver(&door, &events).await?;
        committed(&worker, EVENTS).await?;
        let took = began.elapsed();
        shares = Some(watch.stop()?);
        rate(stage, &database, &events, EVENTS).await?;
        worker[0].worker()?.sigterm().await?;

        rates.push(EVENTS as f64 / took.as_secs_f64());
        smaller.push(alone.min(drained));
        doors.push(alone);
        applied.push(drained);
    }
    let limit = "the smaller of door and worker, each with both cores to itself";
    let mut sustained = Figure::beside(
        NAME,
        "accepted to committed, RabbitMQ and PostgreSQL",
        "/s",
        &rates,
        (limit, &smaller),
        Wanted::RatioAtLeast(0.5),
    )
    .noting(format!("{EVENTS} events, from the first request to the last commit"))
    .noting(format!("door alone {doors:.0?}, worker alone {applied:.0?}"));
    if let Some(shares) = &shares {
        sustained = sustained.using("both", shares);
    }
    let mut figures = vec![sustained];
    if stage.peers {
        figures.push(peers::measure(stage, &rates).await?);
    }
    Ok(figures)
}

async fn deliver(door: &TestBed, events: &Events) -> anyhow::Result<Answers> {
    let requests = signed(&events.updates(PEOPLE, EVENTS), &door.key);
    send(&door.door, requests, CONNECTIONS, Pace::Closed, Duration::from_secs(60)).await?.all_accepted()
}
