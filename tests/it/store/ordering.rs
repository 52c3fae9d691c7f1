//! Every order and repetition of a set of events ends in the same rows, on real databases (O4, O5, F35,
//! F37): every run has people of its own, so that thousands of runs share one call of the store.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::ensure;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rollcall_store::Exported;
use serde_json::json;

use super::bed::{Bed, measured};
use super::model::{Model, rank};
use super::on_both;
use super::said::{Said, at_nanos, orders};

/// Events of all runs that go through the store in one call.
const BATCH: usize = 500;
/// Two nanoseconds apart, so that anything coarser ties where it must not.
const INSTANTS: [i64; 3] = [1_000_000_101, 1_000_000_103, 1_000_000_105];

/// 21 events of one person at three instants: what a directory can say, and one id with two bodies.
const EVENTS: usize = 21;

fn event(user: &str, number: usize) -> Said {
    let (n, kind) = (number / 7, number % 7);
    let (first, second) = (format!("group_{n}"), format!("group_{}", (n + 1) % 3));
    let said = match kind {
        0 => Said::created(user, 0).in_groups(&[&first, &second]),
        1 => Said::created(user, 0).with("active", json!(n != 1)),
        2 => Said::updated(user, 0).in_groups(&[&second]),
        // Says a name only.
        3 => Said::updated(user, 0),
        4 => Said::deactivated(user, 0).in_groups(&[]),
        5 => Said::updated(user, 0).with("active", json!(true)).in_groups(&[&first]),
        _ => Said::deleted(user, 0),
    };
    // Kinds 3 and 5 of one instant are two bodies under one event id.
    let id = if kind == 5 { 3 } else { kind };
    let said = said.occurred_at(&at_nanos(INSTANTS[n])).event_id(&format!("evt_{id}_{n}_{user}"));
    let said = if kind == 6 { said } else { said.with("name", json!(format!("{kind} at {n}"))) };
    said.with_email(&format!("{kind}.{n}@example.com"))
}

fn events(user: &str) -> Vec<Said> {
    (0..EVENTS).map(|number| event(user, number)).collect()
}

/// Every 2- and 3-event history in every order, once plain and once with each of its events repeated last.
fn histories() -> Vec<Vec<usize>> {
    let mut plain: Vec<Vec<usize>> = Vec::new();
    for a in 0..EVENTS {
        for b in (0..EVENTS).filter(|b| *b != a) {
            plain.push(vec![a, b]);
            plain.extend((0..EVENTS).filter(|c| *c != a && *c != b).map(|c| vec![a, b, c]));
        }
    }
    let mut all = plain.clone();
    for history in plain {
        for repeated in &history {
            all.push([history.as_slice(), &[*repeated]].concat());
        }
    }
    all
}

/// One history with the person it is about, and how far it got.
struct Run {
    user: String,
    history: Vec<Said>,
    done: usize,
    model: Model,
}

fn runs(histories: &[Vec<usize>]) -> Vec<Run> {
    let run = |(n, history): (usize, &Vec<usize>)| {
        let user = format!("user_{n:06}");
        let history = history.iter().map(|number| event(&user, *number)).collect();
        Run { user, history, done: 0, model: Model::default() }
    };
    histories.iter().enumerate().map(run).collect()
}

#[test]
fn the_histories_are_all_there() {
    let histories = histories();
    assert_eq!(histories.iter().filter(|history| history.len() == 2).count(), 420);
    let three = |history: &&Vec<usize>| {
        let mut distinct = (*history).clone();
        distinct.sort_unstable();
        distinct.dedup();
        distinct.len() == 3
    };
    assert_eq!(histories.iter().filter(three).count(), 31_920);
    let model = Model::of(&events("u"));
    assert_eq!(model.exported()[0].status, "deleted");
}

on_both! {
    async fn every_short_history_in_every_order_equals_its_fold(bed: Bed) {
        let mut random = StdRng::seed_from_u64(17);
        let mut runs = runs(&histories());
        let (started, mut sent, mut step) = (Instant::now(), 0_usize, 0);
        while runs.iter().any(|run| run.done < run.history.len()) {
            let mut portion = Vec::new();
            for (n, run) in runs.iter_mut().enumerate() {
                let rest = run.history.len() - run.done;
                // Half of the runs go event by event, the others in pieces that one batch must fold.
                let piece = if rest == 0 || n % 2 == 0 { rest.min(1) } else { random.random_range(1..=rest) };
                let piece = &run.history[run.done..run.done + piece];
                piece.iter().for_each(|said| run.model.add(said));
                portion.extend(piece.iter().cloned());
                run.done += piece.len();
            }
            sent += portion.len();
            for batch in portion.chunks(BATCH) {
                bed.apply(batch).await?;
            }
            // O5: after every step, not only at the end.
            compare(&bed.everybody().await?, &runs, step)?;
            step += 1;
        }
        let rate = sent as f64 / started.elapsed().as_secs_f64();
        measured(format_args!("{} runs, {sent} events, {rate:.0} events/s with comparing", runs.len()));
        let verified = bed.store.verify().await?;
        ensure!(verified.differences.is_empty(), "{:?}", &verified.differences[..1]);
        Ok(())
    }
}

fn compare(found: &[Exported], runs: &[Run], step: usize) -> anyhow::Result<()> {
    let found: BTreeMap<&str, &Exported> = found.iter().map(|person| (person.id.as_str(), person)).collect();
    ensure!(found.len() == runs.len(), "{} people of {}", found.len(), runs.len());
    for run in runs {
        let expected = &run.model.exported()[0];
        let person = found.get(run.user.as_str());
        ensure!(
            person == Some(&expected),
            "step {step}: {person:?}\nis not {expected:?}\n{:#?}",
            run.history
        );
    }
    Ok(())
}

/// The same histories against rules that look right: the property has to tell them from rule L.
#[test]
fn the_property_finds_broken_rules() {
    /// Whether an event may replace what the last one said.
    type Rule = fn(&Said, &Said) -> bool;
    let rules: [(&str, Rule, bool); 4] = [
        ("rule L", |new, old| rank(new) > rank(old), true),
        ("last arrival wins", |_, _| true, false),
        ("time alone, no tie rule", |new, old| rank(new).0 > rank(old).0, false),
        ("no body hash", |new, old| without_hash(new) > without_hash(old), false),
    ];
    let names: Vec<Said> =
        events("u").into_iter().filter(|said| said.0["data"]["name"].is_string()).collect();
    for (what, rule, right) in rules {
        let mut wrong = 0;
        for history in histories() {
            let history: Vec<&Said> = history.iter().filter_map(|at| names.get(*at)).collect();
            let Some(mut standing) = history.first().copied() else { continue };
            for said in &history {
                if rule(said, standing) {
                    standing = said;
                }
            }
            let expected = Model::of(history).exported()[0].name.clone();
            wrong += usize::from(standing.0["data"]["name"].as_str() != expected.as_deref());
        }
        assert_eq!(wrong == 0, right, "{what}: {wrong} histories end wrong");
    }
}

fn without_hash(said: &Said) -> (i64, bool, String) {
    let (at, takes, id, _) = rank(said);
    (at, takes, id)
}

on_both! {
    /// F44: directory and organization, a group, and a person who mentions the group before it exists.
    async fn groups_and_organizations_do_not_mind_the_order(bed: Bed) {
        let mut all = Vec::new();
        let mut expected = Model::default();
        let mut random = StdRng::seed_from_u64(3);
        for run in 0..500 {
            let (user, group) = (format!("user_{run}"), format!("group_{run}"));
            let organization = format!("org_{run}");
            let mut said = vec![
                Said::created(&user, 1).in_groups(&[&group, "group_shared"]),
                Said::group_created(&group, 1),
                Said::group_deleted(&group, 2),
                Said::group_updated(&group, 2),
                Said::organization("created", &organization, 1),
                Said::organization("deleted", &organization, 2),
                Said::organization("updated", &organization, 2 + run % 2),
            ];
            said.iter_mut().for_each(|said| *said = said.clone().of(&organization));
            // Any beginning of any order: a history that stops early must be right as well.
            for _ in 0..random.random_range(0..4) {
                said.remove(random.random_range(0..said.len()));
            }
            for at in (1..said.len()).rev() {
                said.swap(at, random.random_range(0..=at));
            }
            said.iter().for_each(|said| expected.add(said));
            all.push(said);
        }
        for step in 0..7 {
            let batch: Vec<Said> = all.iter().filter_map(|said| said.get(step)).cloned().collect();
            bed.apply(&batch).await?;
        }
        assert_eq!(bed.everybody().await?, expected.exported());
        Ok(())
    }

    /// F37: digits, offsets and a leap second are all one order.
    async fn a_nanosecond_decides_however_the_time_is_written(bed: Bed) {
        let times = [
            "2026-09-01T08:00:00.802Z",
            "2026-09-01T13:30:00.80286+05:30",
            "2026-09-01T08:00:00.802860101Z",
            "2026-09-01T03:00:00.802860294-05:00",
            "2026-09-01T08:00:00.8028609Z",
        ];
        let after = ["2026-12-31T23:59:59.999999999Z", "2026-12-31T23:59:60Z", "2027-01-01T00:00:00Z"];
        for (set, times) in [&times[..], &after[..]].into_iter().enumerate() {
            let numbers: Vec<usize> = (0..times.len()).collect();
            let orders = orders(&numbers);
            for step in 0..times.len() {
                let said = |(run, order): (usize, &Vec<usize>)| {
                    let n = order[step];
                    let said = Said::updated(&format!("user_{set}_{run}"), n as i64).occurred_at(times[n]);
                    said.with("name", json!(format!("number {n}")))
                };
                let batch: Vec<Said> = orders.iter().enumerate().map(said).collect();
                bed.apply(&batch).await?;
            }
            let last = format!("number {}", times.len() - 1);
            let count = format!("SELECT count(*) FROM users WHERE name = '{last}' AND id LIKE 'user_{set}_%'");
            assert_eq!(bed.number(&count).await?, orders.len() as i64);
        }
        Ok(())
    }

    /// F34: the published samples show one id on created, updated and deleted; every body is weighed.
    async fn one_event_id_with_three_bodies_is_weighed_three_times(bed: Bed) {
        for (n, order) in orders(&[0, 1, 2]).into_iter().enumerate() {
            let user = format!("user_{n}");
            let said = [
                Said::created(&user, 1).with("active", json!(true)),
                Said::updated(&user, 1),
                Said::deleted(&user, 1),
            ]
            .map(|said| said.event_id(&format!("evt_{n}")));
            let ordered: Vec<Said> = order.iter().map(|at| said[*at].clone()).collect();
            bed.apply_each(&ordered).await?;
            assert_eq!(vec![bed.person(&user).await?], Model::of(&said).exported());
            assert_eq!(bed.person(&user).await?.status, "deleted");
        }
        assert_eq!(bed.number("SELECT count(*) FROM events").await?, 18);
        Ok(())
    }
}
