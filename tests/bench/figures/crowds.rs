//! Shapes that are large by themselves: a person in thousands of groups, and the end of a huge group.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rollcall_tests::TestBed;

use crate::deliveries::{Event, Events, Population, signed};
use crate::figure::{Figure, Wanted};
use crate::figures::leaver::Heard;
use crate::latency::Latencies;
use crate::load::{Connection, Pace, send};
use crate::stage::Stage;

const NAME: &str = "crowds";
/// Two customers: the odd people belong to the one that waits while the even ones' group ends.
const PEOPLE: Population = Population { users: 100_000, organizations: 2, groups_each: 6_000 };
const GROUPS: u64 = 5_000;
const MEMBERS: u64 = 50_000;

/// Tells of every committed event of the customer that is not concerned, and of single events.
const TELL: &str = "
    CREATE FUNCTION bench_tell() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_notify('bench_left', NEW.event_id); RETURN NULL; END $$;
    CREATE TRIGGER bench_tell AFTER INSERT ON events FOR EACH ROW
        WHEN (NEW.organization_id = 'org_00000000000000001') EXECUTE FUNCTION bench_tell()";

pub(crate) async fn measure(stage: &Stage) -> anyhow::Result<Vec<Figure>> {
    let (queue, database) = (stage.queue().await?, stage.database(PEOPLE).await?);
    stage.sql(&database, TELL).await?;
    let mut bed = TestBed::on(&queue, &database)?;
    bed.start_both().await?;
    let mut many_groups = Vec::new();
    for round in 0..stage.rounds as u64 {
        many_groups.push(in_many_groups(&bed, &database, round).await?);
    }
    let quiet = bystanders(&bed, &database, 200).await?;
    let (took, others) = tokio::try_join!(end_of_a_group(&bed), bystanders(&bed, &database, 400))?;
    let what = format!("p99 of another customer's lag meanwhile, {:.0} s", took.as_secs_f64());
    Ok(vec![
        Figure::alone(NAME, "one person in 5,000 groups, set anew", "s", &many_groups, Wanted::AtMost(5.0)),
        Figure::alone(
            NAME,
            "a group of 50,000 ends (50,001 events)",
            "s",
            &[took.as_secs_f64()],
            Wanted::AtMost(60.0),
        ),
        Figure::beside(
            NAME,
            what,
            "ms",
            &[others.quantile_ms(0.99)],
            ("its lag before", &[quiet.quantile_ms(0.99)]),
            Wanted::RatioAtMost(2.0),
        )
        .noting(format!(
            "p50 {:.1} ms, before {:.1} ms",
            others.quantile_ms(0.5),
            quiet.quantile_ms(0.5)
        )),
    ])
}

/// From sending to commit, with every membership replaced by another.
async fn in_many_groups(bed: &TestBed, database: &str, round: u64) -> anyhow::Result<f64> {
    let groups: Vec<u64> = (0..GROUPS).map(|group| PEOPLE.groups_each + (group + round * 500)).collect();
    let event = Events::of("broad").update(PEOPLE, round, 1, &groups);
    Ok(lags(bed, database, vec![event], Duration::ZERO).await?.quantile_ms(1.0) / 1000.0)
}

/// The lag of somebody else's events, twenty a second.
async fn bystanders(bed: &TestBed, database: &str, count: u64) -> anyhow::Result<Latencies> {
    let events = Events::of("other");
    let updates = (0..count).map(|number| {
        let user = 3 + 2 * number;
        events.update(PEOPLE, number, user, &PEOPLE.groups(user, number))
    });
    lags(bed, database, updates.collect(), Duration::from_millis(25)).await
}

async fn lags(
    bed: &TestBed,
    database: &str,
    events: Vec<Event>,
    apart: Duration,
) -> anyhow::Result<Latencies> {
    let heard = Heard::listen(database, events.len()).await?;
    let mut connection = Connection::open(&bed.door).await?;
    let requests = signed(&events, &bed.key);
    let began = Instant::now();
    let mut sent = std::collections::BTreeMap::new();
    for (number, (event, request)) in (0_u32..).zip(events.iter().zip(&requests)) {
        let due = began + apart * number;
        tokio::time::sleep_until(due.into()).await;
        sent.insert(event.id.clone(), due);
        let status = connection.exchange(request).await?.status;
        ensure!(status == 201, "answered {status}");
    }
    let mut latencies = Latencies::default();
    for (id, at) in heard.all().await? {
        let due = sent.get(&id).context("an event was committed that was not sent")?;
        latencies.note(at.saturating_duration_since(*due));
    }
    Ok(latencies)
}

/// The group's deletion and an update of each member, as a sender posts them; until all are committed.
async fn end_of_a_group(bed: &TestBed) -> anyhow::Result<Duration> {
    let before = bed.worker_metrics().await?.sum("rollcall_events_total", &[("outcome", "applied")]);
    let events = Events::of("end");
    let mut all = vec![events.group_deleted(0, 0, 0)];
    all.extend((0..MEMBERS).map(|number| events.update(PEOPLE, number + 1, number * 2, &[1])));
    let requests = signed(&all, &bed.key);
    let began = Instant::now();
    let seconds = Duration::from_secs(100);
    send(&bed.door, requests, 64, Pace::Closed, seconds).await?.all_accepted()?;
    rollcall_tests::eventually(Duration::from_secs(120), async || {
        // Bystanders are counted among them: a few hundred more are needed than ours alone.
        let now = bed
            .worker_metrics()
            .await?
            .sum("rollcall_events_total", &[("type", "organization.directory.group_deleted")]);
        let applied = bed.worker_metrics().await?.sum("rollcall_events_total", &[("outcome", "applied")]);
        ensure!(now >= 1.0 && applied - before >= (MEMBERS + 1) as f64, "{} applied", applied - before);
        Ok(())
    })
    .await?;
    Ok(began.elapsed())
}
