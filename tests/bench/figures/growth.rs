//! What a large mirror costs: the same load over ten thousand people and over a million, with one or ten kept events
//! for each.

use std::time::Instant;

use rollcall_tests::TestBed;

use crate::deliveries::{Events, Population};
use crate::figure::{Figure, Wanted};
use crate::product::drain;
use crate::stage::{Stage, fill};

const NAME: &str = "growth";
const SMALL: Population = Population::of(10_000);
const LARGE: u64 = 1_000_000;
const EVENTS: u64 = 30_000;

pub(crate) async fn measure(stage: &Stage) -> anyhow::Result<Vec<Figure>> {
    let queue = stage.queue().await?;
    let large = Population::of(LARGE);
    let began = Instant::now();
    let mirrors =
        [(SMALL, stage.database(SMALL).await?), (large, stage.database_with(large, stage.kept).await?)];
    let seeded = began.elapsed();
    let mut rates: [Vec<f64>; 2] = Default::default();
    for _ in 0..stage.rounds {
        for ((people, database), rates) in mirrors.iter().zip(&mut rates) {
            let events = Events::of("grow");
            fill(&queue, events.updates(*people, EVENTS)).await?;
            let mut worker = [TestBed::on(&queue, database)?];
            rates.push(drain(stage, &mut worker, database, &events, EVENTS).await?.rate);
        }
    }
    let [few, many] = &rates;
    let size =
        stage.sql(&mirrors[1].1, "SELECT pg_size_pretty(pg_database_size(current_database()))").await?;
    Ok(vec![
        Figure::beside(
            NAME,
            format!("apply over a million people and {} million kept events", stage.kept),
            "/s",
            many,
            ("the same over 10,000", few),
            Wanted::RatioAtLeast(0.7),
        )
        .noting(format!("the large database is {size}; seeding both took {:.0} s", seeded.as_secs_f64())),
    ])
}
