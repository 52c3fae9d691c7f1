//! Many appliers at once on PostgreSQL, watched by a trigger at every instant (O3, O4, O5, F28, F35).

use std::time::Instant;

use anyhow::ensure;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rollcall_event::clock::now;
use rollcall_store::{Blame, Effect, Incoming, Pool, RemovalBudget, Store};
use serde_json::json;

use super::bed::{Bed, measured};
use super::model::Model;
use super::said::Said;

const APPLIERS: usize = 8;

/// Writes down every version a person's row ever had, in the order of the row's lock.
const WATCH: &str = "
    CREATE TABLE history (
        n bigserial, id text, status text,
        was_profile text COLLATE \"C\", was_groups text COLLATE \"C\", was_status text COLLATE \"C\",
        profile text COLLATE \"C\", groups text COLLATE \"C\", stands text COLLATE \"C\");
    CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO history (id, status, was_profile, was_groups, was_status, profile, groups, stands)
        VALUES (NEW.id, NEW.status, OLD.profile_version, OLD.groups_version, OLD.status_version,
            NEW.profile_version, NEW.groups_version, NEW.status_version);
        RETURN NEW; END $$;
    CREATE TRIGGER watch AFTER INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION watch();";

const WENT_BACK: &str = "SELECT count(*) FROM history
    WHERE profile < was_profile OR groups < was_groups OR stands < was_status";

/// Active again by a version lower than one that had taken access away before.
const RESURRECTED: &str = "SELECT count(*) FROM history later JOIN history earlier
    ON earlier.id = later.id AND earlier.n < later.n AND earlier.status <> 'active'
    WHERE later.status = 'active' AND later.stands < earlier.stands";

/// 3,000 different events on 40 people, 15 groups and their organization.
fn events(random: &mut StdRng) -> Vec<Said> {
    let one = |n: usize, random: &mut StdRng| {
        let (user, group) = (random.random_range(0..40), random.random_range(0..15));
        // Few instants: many ties.
        let (user, group, at) =
            (format!("user_{user}"), format!("group_{group}"), random.random_range(0..200));
        let mut said = match random.random_range(0..20) {
            0..4 => Said::created(&user, at),
            4..10 => Said::updated(&user, at),
            10..13 => Said::deactivated(&user, at),
            13..15 => Said::deleted(&user, at),
            15..17 => Said::updated(&user, at).with("active", json!(true)),
            17 => Said::group_created(&group, at),
            18 => Said::group_updated(&group, at),
            _ => Said::group_deleted(&group, at),
        };
        let of_user = said.0["type"].as_str().is_some_and(|kind| kind.contains(".user_"));
        if of_user && random.random_bool(0.6) {
            let groups: Vec<String> = (0..15).map(|n| format!("group_{n}")).collect();
            let some = random.random_range(0..5);
            let chosen: Vec<&str> = groups.choose_multiple(random, some).map(String::as_str).collect();
            said = said.in_groups(&chosen);
        }
        said.event_id(&format!("evt_{n}")).with("note", json!(n))
    };
    (0..3_000).map(|n| one(n, random)).collect()
}

/// What one applier saw.
#[derive(Default)]
struct Seen {
    calls: u32,
    contended: u32,
    effects: Vec<(usize, Effect)>,
}

async fn apply_share(store: Store, share: Vec<(usize, Incoming)>, seed: u64) -> anyhow::Result<Seen> {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut seen, mut rest) = (Seen::default(), &share[..]);
    while !rest.is_empty() {
        let size = random.random_range(1..=64).min(rest.len());
        let (portion, after) = rest.split_at(size);
        let batch: Vec<Incoming> = portion.iter().map(|(_, incoming)| incoming.clone()).collect();
        seen.calls += 1;
        match store.apply(&batch, &RemovalBudget::OFF, now()).await {
            Ok(effects) => {
                seen.effects.extend(portion.iter().map(|(n, _)| *n).zip(effects));
                rest = after;
            }
            Err(error) if error.blame() == Blame::Contention => seen.contended += 1,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(seen)
}

async fn race(seed: u64) -> anyhow::Result<()> {
    let bed = Bed::postgres().await?;
    bed.run(WATCH).await?;
    let mut random = StdRng::seed_from_u64(seed);
    let events = events(&mut random);
    let mut deliveries: Vec<usize> = (0..events.len()).collect();
    deliveries.extend((0..1_000).map(|_| random.random_range(0..events.len())));
    deliveries.shuffle(&mut random);

    let started = Instant::now();
    let mut appliers = tokio::task::JoinSet::new();
    for applier in 0..APPLIERS {
        let share = deliveries.iter().skip(applier).step_by(APPLIERS);
        let share: Vec<_> = share.map(|n| (*n, events[*n].incoming())).collect();
        // A pool of its own: another worker.
        let store = Store::connect(&bed.url, &Pool { connections: 1, ..Pool::default() }).await?;
        appliers.spawn(apply_share(store, share, seed * 100 + applier as u64));
    }
    let mut all = Seen::default();
    while let Some(seen) = appliers.join_next().await {
        let seen = seen??;
        all.calls += seen.calls;
        all.contended += seen.contended;
        all.effects.extend(seen.effects);
    }
    let rate = deliveries.len() as f64 / started.elapsed().as_secs_f64();
    measured(format_args!(
        "seed {seed}: {rate:.0} events/s, {} of {} calls contended",
        all.contended, all.calls
    ));

    ensure!(all.contended * 100 <= all.calls, "{} of {} calls contended", all.contended, all.calls);
    check_effects(&all.effects, events.len())?;
    assert_eq!(bed.number(WENT_BACK).await?, 0, "a version went back; seed {seed}");
    assert_eq!(bed.number(RESURRECTED).await?, 0, "a leaver came back; seed {seed}");
    assert!(bed.number("SELECT count(*) FROM history").await? > 40);
    assert_eq!(bed.everybody().await?, Model::of(&events).exported(), "seed {seed}");
    assert_eq!(bed.store.verify().await?.differences, Vec::new(), "seed {seed}");
    assert_eq!(bed.number("SELECT count(*) FROM events").await?, 3_000);
    Ok(())
}

/// O3: whatever was delivered twice was no duplicate exactly once.
fn check_effects(effects: &[(usize, Effect)], events: usize) -> anyhow::Result<()> {
    let mut counted = vec![0; events];
    for (n, effect) in effects {
        counted[*n] += usize::from(*effect != Effect::Duplicate);
    }
    ensure!(counted.iter().all(|count| *count == 1), "an event counted more or less than once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_appliers_never_let_a_version_go_back() -> anyhow::Result<()> {
    for seed in [1, 2, 3] {
        race(seed).await?;
    }
    Ok(())
}

/// The watch has to bite: an older row written by hand is a version that went back.
#[tokio::test]
async fn the_watch_sees_a_version_go_back() -> anyhow::Result<()> {
    let bed = Bed::postgres().await?;
    bed.run(WATCH).await?;
    bed.apply_each(&[Said::created("user_1", 1), Said::deleted("user_1", 2)]).await?;
    assert_eq!((bed.number(WENT_BACK).await?, bed.number(RESURRECTED).await?), (0, 0));
    bed.run("UPDATE users SET status = 'active', status_version = '2026-01-01'").await?;
    assert_eq!((bed.number(WENT_BACK).await?, bed.number(RESURRECTED).await?), (1, 1));
    Ok(())
}

/// Everybody is in the one group; a batch that only mentions it must not queue for its row.
#[tokio::test]
async fn mentioning_a_group_waits_for_nobody() -> anyhow::Result<()> {
    use sea_orm::{ConnectionTrait, TransactionTrait};

    let bed = Bed::postgres().await?;
    bed.apply(&[Said::group_created("group_all", 1)]).await?;
    let other = bed.raw.begin().await?;
    other.execute_unprepared("UPDATE groups SET name = 'being renamed'").await?;
    let effects = bed.apply(&[Said::created("user_1", 1).in_groups(&["group_all"])]).await?;
    assert_eq!(effects, [Effect::Applied]);
    other.rollback().await?;
    assert_eq!(bed.person("user_1").await?.groups, ["group_all"]);
    Ok(())
}
