//! O1 to O5, O7 and O10: what the tables say.

use std::collections::{BTreeMap, BTreeSet};

use super::Broken;
use crate::chaos::history;
use crate::chaos::ledger::body_key;
use crate::chaos::run::Run;
use crate::simulator::{differences, parse_export, truth};

const EVENTS: &str =
    "select encode(body_sha256, 'hex'), event_id, attempt, outcome, encode(sha256(body), 'hex') from events";
const HELD: &str = "select encode(body_sha256, 'hex') from held_changes";
const DEAD: &str =
    "select encode(body_sha256, 'hex'), reason_code, attempts, coalesce(first_error, last_error) <> '',
    last_error <> '', encode(sha256(body), 'hex'), routing_key from dead_letters where status = 'open'";

struct Tables {
    /// Event id, attempt and outcome by body.
    events: BTreeMap<String, (String, u32, String)>,
    /// Rows of `events`, of which there may be one per body.
    event_rows: usize,
    held: BTreeSet<String>,
    dead: Vec<DeadLetter>,
    /// Bodies whose bytes are not those they are kept under.
    altered: Vec<String>,
}

struct DeadLetter {
    body: String,
    reason: String,
    explained: bool,
}

/// Everything the database shows.
pub(super) async fn check(run: &mut Run, broken: &mut Vec<Broken>) -> anyhow::Result<()> {
    let tables = read(run).await?;
    let (accepted, tried) = (run.ledger.accepted(), run.ledger.tried());
    let dead: BTreeSet<&String> = tables.dead.iter().map(|letter| &letter.body).collect();
    let lost: Vec<String> = accepted
        .keys()
        .filter(|body| {
            !tables.events.contains_key(*body) && !dead.contains(body) && !tables.held.contains(*body)
        })
        .map(|body| format!("{} {body}", accepted[body]))
        .collect();
    let twice: Vec<String> =
        dead.iter().filter(|body| tables.events.contains_key(**body)).map(|body| (*body).clone()).collect();
    let known = tables.events.keys().chain(dead.iter().copied()).chain(&tables.held);
    let phantoms = known.filter(|body| !tried.contains(*body)).cloned().collect();
    let renamed = accepted.iter().filter(|(body, id)| {
        !id.is_empty() && tables.events.get(*body).is_some_and(|(found, ..)| found != *id)
    });
    let renamed = renamed.map(|(body, id)| format!("{id} {body}")).collect();
    let repeated: Vec<String> = vec!["rows of one body".to_owned(); tables.event_rows - tables.events.len()];
    run.report.lost = lost.len();
    run.report.duplicated = repeated.len() + twice.len();
    broken.push(Broken::new("O1", "accepted and nowhere to be found", lost));
    broken.push(Broken::new("O1", "both recorded and dead", twice));
    broken.push(Broken::new("O2", "recorded and never sent", phantoms));
    broken.push(Broken::new("O3", "recorded twice", repeated));
    broken.push(Broken::new("O3", "recorded under another id", renamed));
    if run.rules.first_attempts_only {
        let counted = tables.events.iter().filter(|(_, (_, attempt, _))| *attempt > 1);
        let counted = counted.map(|(_, (id, attempt, _))| format!("{id}: attempt {attempt}")).collect();
        broken.push(Broken::new("O3", "an outage was counted against a message", counted));
    }
    dead_letters(run, &tables, broken);
    state(run, broken).await
}

async fn read(run: &Run) -> anyhow::Result<Tables> {
    let (events, held, dead) =
        (run.site.rows(EVENTS).await?, run.site.rows(HELD).await?, run.site.rows(DEAD).await?);
    let bytes_differ = |row: &&Vec<String>, bytes: usize| row[0] != row[bytes];
    let altered = events
        .iter()
        .filter(|row| bytes_differ(row, 4))
        .chain(dead.iter().filter(|row| bytes_differ(row, 5)));
    let altered = altered.map(|row| row[0].clone()).collect();
    let event =
        |row: &Vec<String>| (row[0].clone(), (row[1].clone(), row[2].parse().unwrap_or(0), row[3].clone()));
    let letter = |row: &Vec<String>| DeadLetter {
        body: row[0].clone(),
        reason: row[1].clone(),
        explained: !row[1].is_empty()
            && row[2] != "0"
            && row[3] == "t"
            && row[4] == "t"
            && !row[6].is_empty(),
    };
    Ok(Tables {
        event_rows: events.len(),
        events: events.iter().map(event).collect(),
        held: held.into_iter().map(|row| row[0].clone()).collect(),
        dead: dead.iter().map(letter).collect(),
        altered,
    })
}

/// O7's second half and O10: exactly those that must be dead are, each with its reason and bytes.
fn dead_letters(run: &mut Run, tables: &Tables, broken: &mut Vec<Broken>) {
    let accepted = run.ledger.accepted();
    let mut found: BTreeMap<&String, usize> = BTreeMap::new();
    tables.dead.iter().for_each(|letter| *found.entry(&letter.body).or_default() += 1);
    let wrongly: Vec<String> = tables
        .dead
        .iter()
        .filter(|letter| !run.doomed.contains_key(&letter.body))
        .map(|letter| {
            format!(
                "{} {}: {}",
                accepted.get(&letter.body).map_or("?", String::as_str),
                letter.body,
                letter.reason
            )
        })
        .collect();
    let missing =
        run.doomed.keys().filter(|body| accepted.contains_key(*body) && !found.contains_key(body)).cloned();
    let twice = found.iter().filter(|(_, count)| **count > 1).map(|(body, _)| (*body).clone());
    let otherwise = tables.dead.iter().filter_map(|letter| {
        let reason = (*run.doomed.get(&letter.body)?)?;
        (reason != letter.reason).then(|| format!("{}: {} instead of {reason}", letter.body, letter.reason))
    });
    let unexplained = tables.dead.iter().filter(|letter| !letter.explained).map(|letter| letter.body.clone());
    run.report.dead = tables.dead.len();
    run.report.dead_wrongly = wrongly.len();
    broken.push(Broken::new("O7", "a dead letter that should be none", wrongly.clone()));
    broken.push(Broken::new("O7", "not dead though it must be", missing.collect()));
    broken.push(Broken::new("O3", "two open dead letters for one body", twice.collect()));
    broken.push(Broken::new("O10", "a dead letter with another reason", otherwise.collect()));
    broken.push(Broken::new(
        "O10",
        "a dead letter without reason, attempts or errors",
        unexplained.collect(),
    ));
    broken.push(Broken::new("O10", "other bytes than were sent", tables.altered.clone()));
}

/// O4 and O5.
async fn state(run: &mut Run, broken: &mut Vec<Broken>) -> anyhow::Result<()> {
    let exported = run.site.command(&["export", "--format", "ndjson"]).await?.success()?;
    if !run.rules.own_truth {
        // What was told and never sent, when a load was stopped, cannot be known.
        let tried = run.ledger.tried();
        let told = run.company.told().iter().chain(&run.extra);
        let expected = truth(told.filter(|event| tried.contains(&body_key(&event.body))));
        let wrong = differences(&expected, &parse_export(&exported)?);
        broken.push(Broken::new("O4", "another state than the sender told", wrong));
    }
    let verified = run.site.command(&["verify"]).await?;
    let wrong = (verified.code != Some(0)).then(|| format!("{} {}", verified.stdout, verified.stderr));
    broken.push(Broken::new("O4", "verify finds differences", wrong.into_iter().collect()));
    let lines = |printed: String| printed.lines().map(str::to_owned).collect::<Vec<_>>();
    let fallen = lines(run.site.sql(history::FALLEN).await?);
    let back = lines(run.site.sql(history::RESURRECTED).await?);
    run.report.resurrected = back.len();
    broken.push(Broken::new("O5", "a version fell", fallen));
    broken.push(Broken::new("O5", "back without a newer event", back));
    // Without a single write noted, the two above would hold for nothing.
    let unseen = run.site.number(history::WRITES).await? == 0;
    broken.push(Broken::new(
        "O5",
        "no write was noted",
        unseen.then(|| "none".to_owned()).into_iter().collect(),
    ));
    Ok(())
}
