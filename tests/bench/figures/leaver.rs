//! How long after a leaver's delivery was sent the rows say so: idle, and behind a backlog.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rollcall_tests::TestBed;
use sqlx::postgres::PgListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::deliveries::{Event, Events, Population, signed};
use crate::figure::{Figure, Spread, Wanted};
use crate::latency::Latencies;
use crate::limits::idle;
use crate::load::Connection;
use crate::stage::{Stage, fill};

const NAME: &str = "leaver";
const PEOPLE: Population = Population::of(100_000);
/// Leavers of a round; a hundredth of them must still be somebody.
const LEAVERS: u64 = 200;
const BACKLOG: u64 = 100_000;
/// Long beside the latency, so that leavers do not wait for each other.
const APART: Duration = Duration::from_millis(30);

/// Tells of every committed leaver the moment it is committed; other events pass by it.
const TELL: &str = "
    CREATE FUNCTION bench_tell() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_notify('bench_left', NEW.event_id); RETURN NULL; END $$;
    CREATE TRIGGER bench_tell AFTER INSERT ON events FOR EACH ROW
        WHEN (NEW.kind = 'organization.directory.user_deleted') EXECUTE FUNCTION bench_tell()";

pub(crate) async fn measure(stage: &Stage) -> anyhow::Result<Vec<Figure>> {
    let (queue, database) = (stage.queue().await?, stage.database(PEOPLE).await?);
    stage.sql(&database, TELL).await?;
    let mut bed = TestBed::on(&queue, &database)?;
    bed.start_both().await?;
    let mut next = 0;
    let (mut middles, mut tails, mut limit_middles, mut limit_tails) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..stage.rounds {
        let latencies = leave(&bed, &database, &mut next).await?;
        middles.push(latencies.quantile_ms(0.5));
        tails.push(latencies.quantile_ms(0.99));
        let limit = idle::publish_and_commit(&queue, &database, 200, APART).await?;
        limit_middles.push(limit.quantile_ms(0.5));
        limit_tails.push(limit.quantile_ms(0.99));
    }
    let limit = "one confirmed publish, then one commit, at the same pace";
    let wanted = Wanted::RatioAtMost(3.0);
    let idle_p50 =
        Figure::beside(NAME, "sent to committed, idle, p50", "ms", &middles, (limit, &limit_middles), wanted);
    let idle_p99 =
        Figure::beside(NAME, "sent to committed, idle, p99", "ms", &tails, (limit, &limit_tails), wanted);

    let (mut tails, mut middles, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..stage.rounds.min(2) {
        bed.worker()?.sigterm().await?;
        fill(&queue, Events::of("crowd").updates(PEOPLE, BACKLOG)).await?;
        bed.start_worker().await?;
        let latencies = leave(&bed, &database, &mut next).await?;
        left.push(waiting(&bed, BACKLOG).await?);
        tails.push(latencies.quantile_ms(0.99));
        middles.push(latencies.quantile_ms(0.5));
        drained(&bed, BACKLOG).await?;
    }
    let middle = Spread::of(&middles).median;
    let behind = Figure::alone(NAME, "behind a backlog of 100,000, p99", "ms", &tails, Wanted::AtMost(250.0))
        .noting(format!("p50 {middle:.1} ms; still waiting when the last leaver was through: {left:?}"));
    Ok(vec![idle_p50, idle_p99, behind])
}

/// Sends leavers one by one and gives how long each took from sending to commit.
async fn leave(bed: &TestBed, database: &str, next: &mut u64) -> anyhow::Result<Latencies> {
    let events = Events::of("leave");
    let leavers: Vec<Event> =
        (*next..*next + LEAVERS).map(|user| events.leaver(PEOPLE, user, user)).collect();
    *next += LEAVERS;
    let heard = Heard::listen(database, leavers.len()).await?;
    let mut connection = Connection::open(&bed.door).await?;
    let mut sent: BTreeMap<&str, Instant> = BTreeMap::new();
    let began = Instant::now();
    for (number, (event, request)) in (0_u32..).zip(leavers.iter().zip(signed(&leavers, &bed.key))) {
        tokio::time::sleep_until((began + APART * number).into()).await;
        sent.insert(&event.id, Instant::now());
        let status = connection.exchange(&request).await?.status;
        ensure!(status == 201, "a leaver was answered {status}");
    }
    let mut latencies = Latencies::default();
    for (id, at) in heard.all().await? {
        let sent = sent.get(id.as_str()).context("somebody left who was not sent")?;
        latencies.note(at.saturating_duration_since(*sent));
    }
    Ok(latencies)
}

/// When each commit was heard of.
pub(crate) struct Heard(JoinHandle<anyhow::Result<Vec<(String, Instant)>>>);

impl Heard {
    /// Listens for so many commits; returns once it does.
    pub(crate) async fn listen(database: &str, count: usize) -> anyhow::Result<Self> {
        let mut listener = PgListener::connect(database).await?;
        listener.listen("bench_left").await?;
        let (ready, listening) = oneshot::channel();
        let task = tokio::spawn(async move {
            // The other end waits for it.
            let _ = ready.send(());
            let mut heard = Vec::with_capacity(count);
            while heard.len() < count {
                let told = tokio::time::timeout(Duration::from_secs(60), listener.recv()).await;
                let told = told.context("a leaver was not committed within a minute")??;
                heard.push((told.payload().to_owned(), Instant::now()));
            }
            Ok(heard)
        });
        listening.await?;
        Ok(Self(task))
    }

    pub(crate) async fn all(self) -> anyhow::Result<Vec<(String, Instant)>> {
        self.0.await?
    }
}

/// Events of the backlog that are not settled yet.
async fn waiting(bed: &TestBed, backlog: u64) -> anyhow::Result<u64> {
    let settled = bed.worker_metrics().await?.sum("rollcall_events_total", &[]);
    Ok((backlog + LEAVERS).saturating_sub(settled as u64))
}

async fn drained(bed: &TestBed, backlog: u64) -> anyhow::Result<()> {
    rollcall_tests::eventually(Duration::from_secs(120), async || {
        let left = waiting(bed, backlog).await?;
        ensure!(left == 0, "{left} events wait");
        Ok(())
    })
    .await
}
