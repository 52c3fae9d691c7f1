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
    let (mut ends, mut floods) = (Vec::new(), Vec::new());
    let (mut before, mut around, mut during) = (Lags::default(), Lags::default(), Lags::default());
    for round in 0..stage.rounds as u64 {
        before.add(&latencies(&bystanders(&bed, &database, 200).await?, None));
        let (ended, beside) = end_of_a_group(&bed, &database, round).await?;
        ends.push(ended);
        around.add(&beside);
        let ((began, ended), others) =
            tokio::try_join!(flood(&bed, round + 1), bystanders(&bed, &database, 400))?;
        floods.push((ended - began).as_secs_f64());
        during.add(&latencies(&others, Some((began, ended))));
    }
    let lag = |what: &str, lags: &Lags| {
        let limit = ("its lag before", before.p99.as_slice());
        Figure::beside(NAME, what, "ms", &lags.p99, limit, Wanted::RatioAtMost(2.0))
            .noting(format!("p50 {:.1?} ms, before {:.1?} ms", lags.p50, before.p50))
    };
    Ok(vec![
        Figure::alone(NAME, "one person in 5,000 groups, set anew", "s", &many_groups, Wanted::AtMost(5.0)),
        Figure::alone(NAME, "a group of 50,000 is deleted", "s", &ends, Wanted::AtMost(60.0)),
        lag("p99 of another customer's lag around it", &around),
        Figure::alone(
            NAME,
            "and an update of each member, at once: 50,000 events",
            "s",
            &floods,
            Wanted::AtMost(60.0),
        ),
        lag("p99 of another customer's lag during those", &during),
    ])
}

/// One customer's lags, round by round.
#[derive(Default)]
struct Lags {
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Lags {
    fn add(&mut self, latencies: &Latencies) {
        self.p50.push(latencies.quantile_ms(0.5));
        self.p99.push(latencies.quantile_ms(0.99));
    }
}

/// From sending to commit, with every membership replaced by another.
async fn in_many_groups(bed: &TestBed, database: &str, round: u64) -> anyhow::Result<f64> {
    let groups: Vec<u64> = (0..GROUPS).map(|group| PEOPLE.groups_each + (group + round * 500)).collect();
    let event = Events::of("broad").update(PEOPLE, round, 1, &groups);
    Ok(lags(bed, database, vec![event], Duration::ZERO).await?.remove(0).lag.as_secs_f64())
}

/// Somebody else's events, forty a second: how long until each is committed.
async fn bystanders(bed: &TestBed, database: &str, count: u64) -> anyhow::Result<Vec<Committed>> {
    lags(bed, database, others(count), APART).await
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

/// Of those sent within a span of time, or of all.
fn latencies(committed: &[Committed], within: Option<(Instant, Instant)>) -> Latencies {
    let mut latencies = Latencies::default();
    for event in committed {
        if within.is_none_or(|(from, to)| (from..to).contains(&event.due)) {
            latencies.note(event.lag);
        }
    }
    latencies
}

/// The deletion's own lag in seconds, and that of somebody else's events before and after it.
async fn end_of_a_group(bed: &TestBed, database: &str, group: u64) -> anyhow::Result<(f64, Latencies)> {
    let mut events = others(200);
    let deleted = Events::of("end").group_deleted(0, 0, group);
    let id = deleted.id.clone();
    events.insert(100, deleted);
    let mut committed = lags(bed, database, events, APART).await?;
    let place = committed.iter().position(|it| it.id == id).context("the deletion was not committed")?;
    let ended = committed.remove(place).lag;
    Ok((ended.as_secs_f64(), latencies(&committed, None)))
}

/// An event that was sent and committed.
struct Committed {
    id: String,
    /// When it was to be sent.
    due: Instant,
    lag: Duration,
}

async fn lags(
    bed: &TestBed,
    database: &str,
    events: Vec<Event>,
    apart: Duration,
) -> anyhow::Result<Vec<Committed>> {
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
    let committed = |(id, at): (String, Instant)| {
        let due = *sent.get(&id).context("an event was committed that was not sent")?;
        Ok(Committed { id, due, lag: at.saturating_duration_since(due) })
    };
    heard.all().await?.into_iter().map(committed).collect()
}

/// An update of each member, as fast as the door takes them; from the first until all are committed. It makes all of
/// them members of `group`.
async fn flood(bed: &TestBed, group: u64) -> anyhow::Result<(Instant, Instant)> {
    let applied = async || {
        anyhow::Ok(bed.worker_metrics().await?.sum("rollcall_events_total", &[("outcome", "applied")]))
    };
    let before = applied().await?;
    let events = Events::of("end");
    let all: Vec<Event> =
        (0..MEMBERS).map(|number| events.update(PEOPLE, number + 1, number * 2, &[group])).collect();
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
    Ok((began, Instant::now()))
}
