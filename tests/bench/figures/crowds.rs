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

/// Tells of every committed event of the customer that is not concerned, and of groups that end.
const TELL: &str = "
    CREATE FUNCTION bench_tell() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_notify('bench_left', NEW.event_id); RETURN NULL; END $$;
    CREATE TRIGGER bench_tell AFTER INSERT ON events FOR EACH ROW
        WHEN (NEW.organization_id = 'org_00000000000000001' OR NEW.kind = 'organization.directory.group_deleted')
        EXECUTE FUNCTION bench_tell()";

pub(crate) async fn measure(stage: &Stage) -> anyhow::Result<Vec<Figure>> {
    let (queue, database) = (stage.queue().await?, stage.database(PEOPLE).await?);
    stage.sql(&database, TELL).await?;
    let mut bed = TestBed::on(&queue, &database)?;
    bed.start_both().await?;
    let mut many_groups = Vec::new();
    for round in 0..stage.rounds as u64 {
        many_groups.push(in_many_groups(&bed, &database, round).await?);
    }
    let quiet = bystanders(&bed, &database, 400).await?;
    let (ended, beside) = end_of_a_group(&bed, &database).await?;
    let (took, flooded) = tokio::try_join!(flood(&bed), bystanders(&bed, &database, 400))?;
    let note = |lags: &Latencies| {
        format!("p50 {:.1} ms, before {:.1} ms", lags.quantile_ms(0.5), quiet.quantile_ms(0.5))
    };
    let (before, beside_note, flooded_note) = (quiet.quantile_ms(0.99), note(&beside), note(&flooded));
    let lag = |what: String, p99: f64| {
        Figure::beside(NAME, what, "ms", &[p99], ("its lag before", &[before]), Wanted::RatioAtMost(2.0))
    };
    let seconds = took.as_secs_f64();
    let flood_lag = format!("p99 of another customer's lag during those {seconds:.0} s");
    Ok(vec![
        Figure::alone(NAME, "one person in 5,000 groups, set anew", "s", &many_groups, Wanted::AtMost(5.0)),
        Figure::alone(NAME, "a group of 50,000 is deleted", "s", &[ended], Wanted::AtMost(60.0)),
        lag("p99 of another customer's lag around it".to_owned(), beside.quantile_ms(0.99))
            .noting(beside_note),
        Figure::alone(
            NAME,
            "and an update of each member, at once: 50,000 events",
            "s",
            &[seconds],
            Wanted::AtMost(60.0),
        ),
        lag(flood_lag, flooded.quantile_ms(0.99)).noting(flooded_note),
    ])
}

/// From sending to commit, with every membership replaced by another.
async fn in_many_groups(bed: &TestBed, database: &str, round: u64) -> anyhow::Result<f64> {
    let groups: Vec<u64> = (0..GROUPS).map(|group| PEOPLE.groups_each + (group + round * 500)).collect();
    let event = Events::of("broad").update(PEOPLE, round, 1, &groups);
    let lag = lags(bed, database, vec![event], Duration::ZERO).await?.remove(0).1;
    Ok(lag.as_secs_f64())
}

/// The lag of somebody else's events, forty a second.
async fn bystanders(bed: &TestBed, database: &str, count: u64) -> anyhow::Result<Latencies> {
    Ok(latencies(lags(bed, database, others(count), APART).await?))
}

const APART: Duration = Duration::from_millis(25);

fn others(count: u64) -> Vec<Event> {
    let events = Events::of("other");
    let update = |number| {
        let user = 3 + 2 * number;
        events.update(PEOPLE, number, user, &PEOPLE.groups(user, number))
    };
    (0..count).map(update).collect()
}

fn latencies(lags: Vec<(String, Duration)>) -> Latencies {
    let mut latencies = Latencies::default();
    lags.into_iter().for_each(|(_, lag)| latencies.note(lag));
    latencies
}

/// The deletion's own lag in seconds, and that of somebody else's events before and after it.
async fn end_of_a_group(bed: &TestBed, database: &str) -> anyhow::Result<(f64, Latencies)> {
    let mut events = others(400);
    let deleted = Events::of("end").group_deleted(0, 0, 0);
    let id = deleted.id.clone();
    events.insert(200, deleted);
    let mut lags = lags(bed, database, events, APART).await?;
    let place = lags.iter().position(|(told, _)| *told == id).context("the deletion was not committed")?;
    let (_, ended) = lags.remove(place);
    Ok((ended.as_secs_f64(), latencies(lags)))
}

async fn lags(
    bed: &TestBed,
    database: &str,
    events: Vec<Event>,
    apart: Duration,
) -> anyhow::Result<Vec<(String, Duration)>> {
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
    let lag = |(id, at): (String, Instant)| {
        let due = sent.get(&id).context("an event was committed that was not sent")?;
        Ok((id, at.saturating_duration_since(*due)))
    };
    heard.all().await?.into_iter().map(lag).collect()
}

/// An update of each member, as fast as the door takes them; until all are committed.
async fn flood(bed: &TestBed) -> anyhow::Result<Duration> {
    let applied = async || {
        anyhow::Ok(bed.worker_metrics().await?.sum("rollcall_events_total", &[("outcome", "applied")]))
    };
    let before = applied().await?;
    let events = Events::of("end");
    let all: Vec<Event> =
        (0..MEMBERS).map(|number| events.update(PEOPLE, number + 1, number * 2, &[1])).collect();
    let requests = signed(&all, &bed.key);
    let began = Instant::now();
    send(&bed.door, requests, 64, Pace::Closed, Duration::from_secs(100)).await?.all_accepted()?;
    rollcall_tests::eventually(Duration::from_secs(120), async || {
        // Bystanders are counted among them: a few hundred more are needed than ours alone.
        let more = applied().await? - before;
        ensure!(more >= MEMBERS as f64, "{more} applied");
        Ok(())
    })
    .await?;
    Ok(began.elapsed())
}
