//! The removal budget: how many people one organization may lose in an hour before somebody looks.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_event::{Change, UserStatus};
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::{DedupeKey, Incoming};
use crate::StoreError;
use crate::rows::{Rows, execute, query, statement, time_value};

/// `REMOVAL_BUDGET`: per organization and hour the larger of a number of people and a share of the living
/// ones, over every door. Written `50,20%`; `off` holds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemovalBudget {
    people: u64,
    percent: u64,
}

impl Default for RemovalBudget {
    fn default() -> Self {
        Self { people: 50, percent: 20 }
    }
}

impl RemovalBudget {
    /// Holds nothing.
    pub const OFF: Self = Self { people: u64::MAX, percent: 100 };

    /// How many of `base` people may go within an hour.
    fn allows(self, base: u64) -> u64 {
        self.people.max(base.saturating_mul(self.percent) / 100)
    }
}

impl FromStr for RemovalBudget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(Self::OFF);
        }
        let parts = text.split_once(',').and_then(|(people, share)| {
            let percent: u64 = share.trim().strip_suffix('%')?.trim().parse().ok()?;
            Some(Self { people: people.trim().parse().ok()?, percent: (percent <= 100).then_some(percent)? })
        });
        parts.ok_or_else(|| format!("`{text}` is neither `off` nor `<people>,<share>%` such as `50,20%`"))
    }
}

/// What a batch may do: what is held and why, and which versions would take somebody's access away.
#[derive(Default)]
pub(super) struct Plan<'a> {
    pub(super) held: BTreeMap<DedupeKey<'a>, &'static str>,
    /// Version of the removal -> (organization, person).
    removing: BTreeMap<&'a str, (&'a str, &'a str)>,
}

/// Decides, before anything is written, which events wait for a person.
pub(super) async fn weigh<'a>(
    transaction: &DatabaseTransaction,
    batch: &[&'a Incoming],
    paused: &BTreeSet<String>,
    budget: &RemovalBudget,
    now: DateTime<Utc>,
) -> Result<Plan<'a>, StoreError> {
    let mut plan = Plan::default();
    let mut candidates: Vec<&'a Incoming> = Vec::new();
    for incoming in batch {
        if incoming.event.organization_id.as_ref().is_some_and(|id| paused.contains(id.as_str())) {
            plan.held.insert(incoming.key(), "organization_paused");
        } else if removal(incoming).is_some() {
            candidates.push(incoming);
        }
    }
    let losses = losses(transaction, &candidates).await?;
    candidates.retain(|it| it.event.version().is_some_and(|version| losses.contains(version.as_str())));
    let mut by_organization: BTreeMap<&str, Vec<&'a Incoming>> = BTreeMap::new();
    for incoming in candidates {
        if let Some((organization, _)) = removal(incoming) {
            by_organization.entry(organization).or_default().push(incoming);
        }
    }
    for (organization, removals) in by_organization {
        let left = left(transaction, organization, removals.len(), budget, now).await?;
        let mut people = BTreeSet::new();
        for incoming in removals {
            let Some((_, person)) = removal(incoming) else { continue };
            people.insert(person);
            if people.len() as u64 > left {
                plan.held.insert(incoming.key(), "removal_budget");
            } else if let Some(version) = incoming.event.version() {
                plan.removing.insert(version.as_str(), (organization, person));
            }
        }
    }
    Ok(plan)
}

/// Whom an event would take access from, and in which organization.
fn removal(incoming: &Incoming) -> Option<(&str, &str)> {
    match &incoming.event.change {
        Change::User(_, user) if !matches!(user.status, None | Some(UserStatus::Active)) => {
            Some((user.organization_id.as_str(), user.id.as_str()))
        }
        _ => None,
    }
}

const LOSSES: &str = "SELECT input.version FROM users u JOIN {input} ON input.id = u.id
     WHERE u.status = 'active' AND u.status_version < input.version AND NOT EXISTS (
        SELECT 1 FROM events e WHERE e.source = input.source AND e.event_id = input.event_id
            AND e.body_sha256 = input.body_sha256)";

/// Versions of those removals that would take something: from people active now by an older version, and
/// not recorded yet, or a held one that comes again would take another's place.
async fn losses(
    transaction: &DatabaseTransaction,
    removals: &[&Incoming],
) -> Result<BTreeSet<String>, StoreError> {
    if removals.is_empty() {
        return Ok(BTreeSet::new());
    }
    let each = || removals.iter().copied();
    let input = super::inbox::keys(transaction, removals)
        .key("id", each().filter_map(removal).map(|(_, person)| person))
        .key("version", each().filter_map(|it| it.event.version()).map(|version| version.as_str()));
    let rows = query(transaction, LOSSES, input).await?;
    super::versions(&rows, &["version"])
}

const SPENT: &str = "SELECT count(*) AS people FROM removals WHERE organization_id = $1 AND removed_at > $2";
const ALIVE: &str = "SELECT count(*) AS people FROM users WHERE organization_id = $1 AND status = 'active'";

/// How many more people the organization may lose now. The living are counted only where the fixed number
/// does not settle it: that count grows with the organization.
async fn left(
    transaction: &DatabaseTransaction,
    organization: &str,
    wanted: usize,
    budget: &RemovalBudget,
    now: DateTime<Utc>,
) -> Result<u64, StoreError> {
    if *budget == RemovalBudget::OFF {
        return Ok(u64::MAX);
    }
    let backend = transaction.get_database_backend();
    let hour_ago = time_value(backend, now - TimeDelta::hours(1));
    let spent = count(transaction, SPENT, vec![organization.into(), hour_ago]).await?;
    if spent + wanted as u64 <= budget.people {
        return Ok(wanted as u64);
    }
    let alive = count(transaction, ALIVE, vec![organization.into()]).await?;
    Ok(budget.allows(alive + spent).saturating_sub(spent))
}

async fn count(
    transaction: &DatabaseTransaction,
    text: &str,
    plain: Vec<sea_orm::Value>,
) -> Result<u64, StoreError> {
    let query = statement(transaction.get_database_backend(), text, plain, Vec::new());
    let row = transaction.query_one_raw(query).await?;
    let people: i64 = row.map_or(Ok(0), |row| row.try_get("", "people"))?;
    Ok(people.unsigned_abs())
}

const NOTE: &str = "INSERT INTO removals (organization_id, user_id, removed_at)
     SELECT organization_id, user_id, removed_at FROM {input} WHERE true ORDER BY organization_id, user_id
     ON CONFLICT (organization_id, user_id) DO UPDATE SET removed_at = excluded.removed_at";

/// Counts the removals that were really written against their organizations' budgets.
pub(super) async fn note(
    transaction: &DatabaseTransaction,
    plan: &Plan<'_>,
    written: &BTreeSet<String>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let taken = plan.removing.iter().filter(|(version, _)| written.contains(**version));
    let done: BTreeSet<(&str, &str)> = taken.map(|(_, removal)| *removal).collect();
    if done.is_empty() {
        return Ok(());
    }
    let input = Rows::new(transaction.get_database_backend())
        .key("organization_id", done.iter().map(|(organization, _)| *organization))
        .key("user_id", done.iter().map(|(_, person)| *person))
        .time("removed_at", done.iter().map(|_| now));
    execute(transaction, NOTE, input).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_the_larger_of_two() {
        let budget: RemovalBudget = "50,20%".parse().unwrap();
        assert_eq!(budget, RemovalBudget::default());
        assert_eq!(budget.allows(100), 50);
        assert_eq!(budget.allows(1000), 200);
        assert_eq!("off".parse(), Ok(RemovalBudget::OFF));
    }

    #[test]
    fn a_budget_that_is_none_is_refused_with_an_example() {
        for bad in ["", "50", "50,20", "-1,20%", "50,101%", "x,y%"] {
            assert!(bad.parse::<RemovalBudget>().unwrap_err().contains("50,20%"), "{bad}");
        }
    }
}
