//! The door on the embedded queue, beside SQLite alone.

use std::time::Duration;

use rollcall_tests::TestBed;

use crate::cpu::Watch;
use crate::deliveries::{BODY, Events, Population, signed};
use crate::figure::{Figure, Spread, Wanted};
use crate::limits::sqlite;
use crate::load::{Pace, send};
use crate::stage::Stage;

const NAME: &str = "door-embedded";
const CONNECTIONS: usize = 256;
const TIME: Duration = Duration::from_secs(5);
const REQUESTS: u64 = 120_000;
/// What the door could gather into one commit at most: everything its connections wait for.
const MOST: usize = CONNECTIONS;

pub(crate) async fn measure(stage: &Stage) -> anyhow::Result<Vec<Figure>> {
    let (mut rates, mut limits, mut tails, mut halves) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut batches, mut fullest) = (Vec::new(), Vec::new());
    let mut shares = None;
    for round in 0..stage.rounds {
        // A file of its own for each round: both sides begin empty.
        let mut bed = TestBed::embedded()?;
        bed.start_ingress().await?;
        let requests = signed(&Events::of("file").updates(Population::of(10_000), REQUESTS), &bed.key);
        let watch = Watch::start(&[("ingress", bed.ingress()?.pid())])?;
        let answers = send(&bed.door, requests, CONNECTIONS, Pace::Closed, TIME).await?.all_accepted()?;
        let used = watch.stop()?;
        let batch = sqlite::per_commit(&bed.settings["QUEUE_URL"]).await?;
        drop(bed);
        rates.push(answers.rate());
        tails.push(answers.latencies.quantile_ms(0.99));
        halves.push(answers.latencies.quantile_ms(0.5));
        batches.push(batch as f64);
        let [file, full] = ["same", "full"].map(|name| stage.file(&format!("limit-{name}-{round}.db")));
        let watch = Watch::start(&[])?;
        let same = batch.next_multiple_of(sqlite::CHUNK);
        limits.push(sqlite::rate(&file, &[b'x'; BODY], same, TIME).await?);
        shares = Some((used, watch.stop()?));
        fullest.push(sqlite::rate(&full, &[b'x'; BODY], MOST, TIME / 2).await?);
        std::fs::remove_file(&file)?;
        std::fs::remove_file(&full)?;
    }
    let limit = "a loop of inserts into the same tables, as many rows per synced commit as the door's";
    let mut rate = Figure::beside(
        NAME,
        "accepted, full sync, 256 connections",
        "/s",
        &rates,
        (limit, &limits),
        Wanted::RatioAtLeast(0.6),
    );
    if let Some((used, limit_used)) = &shares {
        rate = rate
            .using("door", used)
            .using("limit", limit_used)
            .per_core((&rates, used), (&limits, limit_used));
    }
    let (batch, full) = (Spread::of(&batches).median, Spread::of(&fullest).median);
    let rate = rate
        .noting(format!("{batch:.0} rows per commit; the loop with {MOST}, all that can wait: {full:.0}/s"));
    let tail = Figure::alone(NAME, "p99, 256 connections", "ms", &tails, Wanted::Nothing)
        .noting(format!("p50 {:.1} ms", Spread::of(&halves).median));
    Ok(vec![rate, tail])
}
