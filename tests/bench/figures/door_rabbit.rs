//! The door on RabbitMQ, beside lapin alone on the same broker.

use std::time::Duration;

use rollcall_tests::TestBed;

use crate::cpu::Watch;
use crate::deliveries::{BODY, Events, Population, signed};
use crate::figure::{Figure, Wanted};
use crate::latency::Latencies;
use crate::limits::bare;
use crate::limits::publisher::Bare;
use crate::load::{Pace, send};
use crate::stage::Stage;

const NAME: &str = "door-rabbit";
const CONNECTIONS: usize = 256;
const TIME: Duration = Duration::from_secs(5);
/// More than any round can send.
const REQUESTS: u64 = 120_000;

pub(crate) async fn measure(stage: &Stage) -> anyhow::Result<Vec<Figure>> {
    let queue = stage.queue().await?;
    let mut bed = TestBed::on(&queue, "sqlite://unused.db")?;
    bed.start_ingress().await?;
    let limit = Bare::connect(&queue).await?;
    let (mut rates, mut limits, mut ceilings) = (Vec::new(), Vec::new(), Vec::new());
    let (mut half, mut tails, mut limit_tails) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ours, mut theirs) = (Latencies::default(), Latencies::default());
    let mut shares = None;
    for round in 0..=stage.rounds {
        let requests = signed(&Events::of("door").updates(Population::of(10_000), REQUESTS), &bed.key);
        let mut pids = stage.servers()?;
        pids.push(("ingress", bed.ingress()?.pid()));
        // The first round only warms up: connections, caches, the broker's files.
        let time = if round == 0 { Duration::from_secs(1) } else { TIME };
        let watch = Watch::start(&pids)?;
        let answers = send(&bed.door, requests, CONNECTIONS, Pace::Closed, time).await?.all_accepted()?;
        let used = watch.stop()?;
        limit.purge().await?;
        let watch = Watch::start(&stage.servers()?)?;
        let (rate, latencies) = limit.rate(&[b'x'; BODY], CONNECTIONS, time).await?;
        let limit_used = watch.stop()?;
        limit.purge().await?;
        if round == 0 {
            continue;
        }
        rates.push(answers.rate());
        limits.push(rate);
        tails.push(answers.latencies.quantile_ms(0.99));
        limit_tails.push(latencies.quantile_ms(0.99));
        half.push(answers.rate() / 2.0);
        ours.merge(answers.latencies);
        theirs.merge(latencies);
        ceilings.push(bare::ceiling(stage, CONNECTIONS).await?);
        shares = Some((used, limit_used));
    }
    let lapin = "one lapin channel, same window, body and broker";
    let mut rate = Figure::beside(
        NAME,
        "accepted, 256 connections",
        "/s",
        &rates,
        (lapin, &limits),
        Wanted::RatioAtLeast(0.6),
    );
    if let Some((used, limit_used)) = &shares {
        rate = rate
            .using("door", used)
            .using("limit", limit_used)
            .per_core((&rates, used), (&limits, limit_used));
    }
    let tail = Figure::beside(
        NAME,
        "p99, 256 connections",
        "ms",
        &tails,
        (lapin, &limit_tails),
        Wanted::RatioAtMost(2.0),
    )
    .noting(format!(
        "all rounds: p50 {:.1} ms, p99 {:.1} ms; limit p50 {:.1} ms, p99 {:.1} ms",
        ours.quantile_ms(0.5),
        ours.quantile_ms(0.99),
        theirs.quantile_ms(0.5),
        theirs.quantile_ms(0.99)
    ));
    let paced = paced(stage, &bed, &limit, &half).await?;
    let ceiling =
        Figure::alone(NAME, "generator's ceiling (axum, 201 and nothing)", "/s", &ceilings, Wanted::Nothing);
    Ok(vec![rate, tail, paced, ceiling])
}

/// What a sender sees that does not wait for its answers, at half the rate of the closed loop.
async fn paced(stage: &Stage, bed: &TestBed, limit: &Bare, rates: &[f64]) -> anyhow::Result<Figure> {
    let (mut tails, mut halves) = (Vec::new(), Vec::new());
    for rate in rates.iter().take(stage.rounds) {
        let count = (rate * TIME.as_secs_f64()) as u64;
        let requests = signed(&Events::of("pace").updates(Population::of(10_000), count), &bed.key);
        let answers =
            send(&bed.door, requests, CONNECTIONS, Pace::Open(*rate), TIME).await?.all_accepted()?;
        limit.purge().await?;
        tails.push(answers.latencies.quantile_ms(0.99));
        halves.push(answers.latencies.quantile_ms(0.5));
    }
    let middle = crate::figure::Spread::of(&halves).median;
    let rate = crate::figure::Spread::of(rates).median;
    Ok(Figure::alone(NAME, "p99 at half that rate, open loop", "ms", &tails, Wanted::Nothing)
        .noting(format!("{rate:.0}/s, counted from the intended time; p50 {middle:.1} ms")))
}
