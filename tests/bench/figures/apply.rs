//! From a full queue to committed rows, beside hand-written batches.

use std::time::Duration;

use rollcall_tests::TestBed;

use crate::cpu::Watch;
use crate::deliveries::{Events, Population};
use crate::figure::{Figure, Wanted};
use crate::limits::pgbench;
use crate::product::drain;
use crate::stage::{Stage, fill};

const NAME: &str = "apply";
pub(crate) const PEOPLE: Population = Population::of(10_000);
pub(crate) const EVENTS: u64 = 40_000;
const LIMIT: Duration = Duration::from_secs(6);

pub(crate) async fn measure(stage: &Stage) -> anyhow::Result<Vec<Figure>> {
    let queue = stage.queue().await?;
    let (database, beside) = (stage.database(PEOPLE).await?, stage.database(PEOPLE).await?);
    pgbench::prepare(stage, &beside).await?;
    let (mut rates, mut limits, mut clients) = (Vec::new(), Vec::new(), Vec::new());
    let mut shares = None;
    for _ in 0..stage.rounds {
        let events = Events::of("apply");
        fill(&queue, events.updates(PEOPLE, EVENTS)).await?;
        let mut worker = [TestBed::on(&queue, &database)?];
        let drained = drain(stage, &mut worker, &database, &events, EVENTS).await?;
        rates.push(drained.rate);
        clients.push(drained.connections);
        stage.settle().await?;
        let watch = Watch::start(&stage.servers()?)?;
        limits.push(pgbench::rate(stage, &beside, PEOPLE, drained.connections, LIMIT).await?);
        shares = Some((drained.shares, watch.stop()?));
    }
    let limit = "pgbench, the same rows by hand-written batches of 256";
    let mut ratio = Figure::beside(
        NAME,
        "full queue to committed rows, 1.5 KB bodies",
        "/s",
        &rates,
        (limit, &limits),
        Wanted::RatioAtLeast(0.6),
    )
    .noting(format!("connections busy at once, and clients of pgbench, by round: {clients:?}"));
    if let Some((used, limit_used)) = &shares {
        ratio = ratio
            .using("worker", used)
            .using("limit", limit_used)
            .per_core((&rates, used), (&limits, limit_used));
    }
    let rate = Figure::alone(NAME, "the same, by itself", "/s", &rates, Wanted::AtLeast(5000.0));
    Ok(vec![ratio, rate])
}
