//! Rule L over a batch: one transaction, one statement per table.
//!
//! Every transaction takes its locks in the same order (organizations, events, groups, users) and within
//! a table by key, so that two workers wait for each other but never in a circle.

mod fold;
mod groups;
mod inbox;
mod organizations;
mod removals;
mod users;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rollcall_event::{BodyHash, Change, DirectoryEvent, Envelope, Source, Version};
use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult, Statement};

use crate::{Store, StoreError};
use fold::Fold;
pub use removals::RemovalBudget;

/// A delivery with what it means.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The bytes, and how they came.
    pub envelope: Envelope,
    /// What they say.
    pub event: DirectoryEvent,
}

/// What became of an event. Every one is a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// At least one register has its value now.
    Applied,
    /// Everything it says is older than what we have.
    Superseded,
    /// The same event with the same body is recorded already.
    Duplicate,
    /// Of a type that is only recorded.
    Ignored,
    /// Waits for a person.
    Held,
}

impl Effect {
    /// As stored and counted.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Superseded => "superseded",
            Self::Duplicate => "duplicate",
            Self::Ignored => "ignored",
            Self::Held => "held",
        }
    }
}

/// The key by which a duplicate is known.
type DedupeKey<'a> = (&'static str, &'a str, BodyHash);

impl Incoming {
    fn key(&self) -> DedupeKey<'_> {
        (self.envelope.source.as_str(), self.event.id.as_str(), self.event.body_sha256)
    }
}

impl Store {
    /// Applies a batch in one transaction and says what became of each event, in the batch's order.
    ///
    /// Any order, repetition and interleaving of the same events over any number of stores ends in the same
    /// rows. Removals beyond `budget` and everything of a paused organization are held. `now` is the time
    /// to record.
    ///
    /// # Errors
    ///
    /// After any error nothing, or rarely everything, was written; calling again with the same batch is
    /// safe and finds out.
    pub async fn apply(
        &self,
        batch: &[Incoming],
        budget: &RemovalBudget,
        now: DateTime<Utc>,
    ) -> Result<Vec<Effect>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        self.within(async {
            let transaction = self.begin().await?;
            let effects = run(&transaction, batch, budget, now).await?;
            transaction.commit().await?;
            Ok(effects)
        })
        .await
    }
}

impl Store {
    /// The recorded outcome of the events with this id, joined by `, ` where several bodies came under it;
    /// `None` while none is recorded.
    pub async fn event_outcome(&self, source: Source, event_id: &str) -> Result<Option<String>, StoreError> {
        self.within(async {
            let sql = "SELECT outcome FROM events WHERE source = $1 AND event_id = $2 ORDER BY recorded_at";
            let asked = Statement::from_sql_and_values(
                self.backend(),
                sql,
                [source.as_str().into(), event_id.into()],
            );
            let rows = self.reader().query_all_raw(asked).await?;
            let outcomes: Vec<String> =
                rows.iter().map(|row| row.try_get("", "outcome")).collect::<Result<_, _>>()?;
            Ok((!outcomes.is_empty()).then(|| outcomes.join(", ")))
        })
        .await
    }
}

async fn run(
    transaction: &DatabaseTransaction,
    batch: &[Incoming],
    budget: &RemovalBudget,
    now: DateTime<Utc>,
) -> Result<Vec<Effect>, StoreError> {
    let first_of_key = first_occurrences(batch);
    let unique: Vec<&Incoming> = first_of_key.values().map(|at| &batch[*at]).collect();

    let paused = organizations::prepare(transaction, &unique).await?;
    let plan = removals::weigh(transaction, &unique, &paused, budget, now).await?;
    let fresh = inbox::record(transaction, &unique, &plan.held, now).await?;
    let wanted: Vec<&Incoming> = unique
        .into_iter()
        .filter(|incoming| fresh.contains(&incoming.key()) && !plan.held.contains_key(&incoming.key()))
        .collect();
    let written = write(transaction, &wanted).await?;
    let superseded: Vec<&Incoming> = wanted
        .iter()
        .copied()
        .filter(|incoming| {
            incoming.event.version().is_some_and(|version| !written.contains(version.as_str()))
        })
        .collect();
    inbox::supersede(transaction, &superseded).await?;
    removals::note(transaction, &plan, &written, now).await?;

    let superseded: BTreeSet<DedupeKey<'_>> = superseded.into_iter().map(Incoming::key).collect();
    let effect = |at: usize, incoming: &Incoming| {
        let key = incoming.key();
        if first_of_key[&key] != at || !fresh.contains(&key) {
            Effect::Duplicate
        } else if plan.held.contains_key(&key) {
            Effect::Held
        } else if matches!(incoming.event.change, Change::Recorded) {
            Effect::Ignored
        } else if superseded.contains(&key) {
            Effect::Superseded
        } else {
            Effect::Applied
        }
    };
    Ok(batch.iter().enumerate().map(|(at, incoming)| effect(at, incoming)).collect())
}

/// Writes what events say to the mirror, and gives back the versions that now stand in a register.
pub(crate) async fn write(
    transaction: &DatabaseTransaction,
    wanted: &[&Incoming],
) -> Result<BTreeSet<String>, StoreError> {
    let fold = Fold::of(wanted.iter().map(|incoming| &incoming.event));
    let mut written = organizations::write(transaction, &fold.organizations).await?;
    written.append(&mut groups::write(transaction, &fold.groups).await?);
    written.append(&mut users::write(transaction, &fold.users).await?);
    fail::fail_point!("store.before_commit", |_| std::process::abort());
    Ok(written)
}

/// Where each key stands first: the rest of them are duplicates within the batch. Sorted by key, which is
/// the order in which rows are locked.
fn first_occurrences(batch: &[Incoming]) -> BTreeMap<DedupeKey<'_>, usize> {
    let mut first = BTreeMap::new();
    for (at, incoming) in batch.iter().enumerate() {
        first.entry(incoming.key()).or_insert(at);
    }
    first
}

/// The versions in the named columns of rows just written.
fn versions(rows: &[QueryResult], columns: &[&str]) -> Result<BTreeSet<String>, StoreError> {
    let cells = rows.iter().flat_map(|row| columns.iter().map(|column| Ok(row.try_get("", column)?)));
    cells.collect()
}

/// A register's column pair in words: the higher version takes all.
pub(crate) fn newer(register: &str, columns: &[&str]) -> String {
    let cases = columns.iter().chain([&register]).map(|column| {
        format!("{column} = CASE WHEN excluded.{register} > kept.{register} THEN excluded.{column} ELSE kept.{column} END")
    });
    cases.collect::<Vec<_>>().join(", ")
}

/// The text of a version, or '' where the register is not written.
pub(crate) fn version_text<'a, T>(register: &Option<(&'a Version, T)>) -> &'a str {
    register.as_ref().map_or("", |(version, _)| version.as_str())
}
