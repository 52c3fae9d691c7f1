//! Several workers on one PostgreSQL: more of them must not be slower, and must not meet in a circle.

use rollcall_tests::TestBed;

use crate::deliveries::Events;
use crate::figure::{Figure, Wanted};
use crate::figures::apply::PEOPLE;
use crate::product::drain;
use crate::stage::{Stage, fill};

const NAME: &str = "workers";
const EVENTS: u64 = 80_000;
const COUNTS: [usize; 3] = [1, 2, 4];

pub(crate) async fn measure(stage: &Stage) -> anyhow::Result<Vec<Figure>> {
    let (queue, database) = (stage.queue().await?, stage.database(PEOPLE).await?);
    let mut rates: [Vec<f64>; 3] = Default::default();
    let mut retries = Vec::new();
    for _ in 0..stage.rounds {
        for (count, rates) in COUNTS.iter().zip(&mut rates) {
            let events = Events::of("many");
            fill(&queue, events.updates(PEOPLE, EVENTS)).await?;
            let mut workers = Vec::new();
            for _ in 0..*count {
                workers.push(TestBed::on(&queue, &database)?);
            }
            let drained = drain(stage, &mut workers, &database, &events, EVENTS).await?;
            rates.push(drained.rate);
            retries.push(drained.retries);
        }
    }
    let [one, two, four] = &rates;
    let limit = "one worker";
    let wanted = Wanted::RatioAtLeast(1.0);
    let deadlocks = stage
        .sql(&database, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        .await?;
    Ok(vec![
        Figure::beside(NAME, "two workers on one database", "/s", two, (limit, one), wanted),
        Figure::beside(NAME, "four workers on one database", "/s", four, (limit, one), wanted),
        Figure::alone(NAME, "messages sent to a retry queue", "", &retries, Wanted::AtMost(0.0))
            .noting(format!("deadlocks PostgreSQL broke up: {deadlocks}")),
    ])
}
