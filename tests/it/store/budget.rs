//! The removal budget: how many one organization may lose in an hour (F43).

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_store::{Effect, Held, Incoming, RemovalBudget};
use serde_json::json;
use tokio::task::JoinSet;

use super::bed::Bed;
use super::on_both;
use super::said::{ORGANIZATION, Said};

fn noon() -> DateTime<Utc> {
    "2026-09-02T12:00:00Z".parse().expect("a time")
}

fn user(n: usize) -> String {
    format!("user_{n:04}")
}

/// That many people with access.
async fn hire(bed: &Bed, people: usize) -> anyhow::Result<()> {
    let hires: Vec<Said> = (0..people).map(|n| Said::created(&user(n), 1)).collect();
    for batch in hires.chunks(500) {
        bed.apply(batch).await?;
    }
    Ok(())
}

/// Applies with the default budget of 50 people or 20 %.
async fn apply_at(bed: &Bed, said: &[Said], now: DateTime<Utc>) -> anyhow::Result<Vec<Effect>> {
    let batch: Vec<Incoming> = said.iter().map(Said::incoming).collect();
    Ok(bed.store.apply(&batch, &RemovalBudget::default(), now).await?)
}

fn held(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| **effect == Effect::Held).count()
}

fn leavers(numbers: std::ops::Range<usize>) -> Vec<Said> {
    numbers.map(|n| Said::deleted(&user(n), 2)).collect()
}

on_both! {
    async fn fifty_may_leave_a_small_company_and_the_rest_waits(bed: Bed) {
        hire(&bed, 100).await?;
        let effects = apply_at(&bed, &leavers(0..60), noon()).await?;
        assert_eq!(held(&effects), 10);
        assert_eq!(effects.iter().filter(|effect| **effect == Effect::Applied).count(), 50);
        let waiting = bed.store.held(&Held::All, 100).await?;
        assert_eq!(waiting.len(), 10);
        assert!(waiting.iter().all(|held| held.reason == "removal_budget" && held.organization_id == ORGANIZATION));
        assert_eq!(bed.store.held_counts().await?, [(ORGANIZATION.to_owned(), 10)]);
        assert_eq!(bed.number("SELECT count(*) FROM access WHERE access = 'active'").await?, 50);
        // What waits takes nobody's access, and nothing else waits.
        let others = [Said::created("new", 3), Said::updated(&user(99), 3), Said::group_created("group_1", 3)];
        assert_eq!(apply_at(&bed, &others, noon()).await?, [Effect::Applied; 3]);
        Ok(())
    }

    async fn a_fifth_may_leave_a_large_company(bed: Bed) {
        hire(&bed, 1_000).await?;
        let mut waiting = 0;
        for portion in leavers(0..250).chunks(40) {
            waiting += held(&apply_at(&bed, portion, noon()).await?);
        }
        assert_eq!(waiting, 50);
        Ok(())
    }

    async fn an_hour_later_as_many_may_go_again(bed: Bed) {
        hire(&bed, 200).await?;
        assert_eq!(held(&apply_at(&bed, &leavers(0..50), noon()).await?), 0);
        let later = noon() + TimeDelta::minutes(59);
        assert_eq!(held(&apply_at(&bed, &leavers(50..60), later).await?), 10);
        let later = noon() + TimeDelta::minutes(61);
        assert_eq!(held(&apply_at(&bed, &leavers(60..110), later).await?), 0);
        assert_eq!(held(&apply_at(&bed, &leavers(110..111), later).await?), 1);
        Ok(())
    }

    async fn only_a_loss_is_counted_and_only_once(bed: Bed) {
        hire(&bed, 100).await?;
        let first = leavers(0..40);
        apply_at(&bed, &first, noon()).await?;
        // The same again, and again under another id: nobody more is lost.
        assert_eq!(apply_at(&bed, &first, noon()).await?, [Effect::Duplicate; 40]);
        let again: Vec<Said> = (0..40).map(|n| Said::deleted(&user(n), 3)).collect();
        assert_eq!(apply_at(&bed, &again, noon()).await?, [Effect::Applied; 40]);
        // Two removals of one person are one; of somebody unknown or gone, none; an old one, none.
        let mut said: Vec<Said> = Vec::new();
        for n in 40..50 {
            said.extend([Said::deactivated(&user(n), 4), Said::deleted(&user(n), 5)]);
        }
        said.extend((0..20).map(|n| Said::deleted(&format!("unknown_{n}"), 2)));
        said.extend((50..70).map(|n| Said::deleted(&user(n), 0)));
        assert_eq!(held(&apply_at(&bed, &said, noon()).await?), 0);
        // Fifty are gone now.
        assert_eq!(held(&apply_at(&bed, &leavers(70..71), noon()).await?), 1);
        Ok(())
    }

    /// A change that waits already must not take the place of one that does not.
    async fn a_held_removal_that_comes_again_spends_nothing(bed: Bed) {
        hire(&bed, 200).await?;
        let first = leavers(0..100);
        assert_eq!(held(&apply_at(&bed, &first, noon()).await?), 50);
        let later = noon() + TimeDelta::hours(2);
        let mut said = first;
        said.extend(leavers(100..150));
        let effects = apply_at(&bed, &said, later).await?;
        assert_eq!(effects[..100], [Effect::Duplicate; 100]);
        assert_eq!(effects[100..], [Effect::Applied; 50]);
        assert_eq!(bed.store.held(&Held::All, 100).await?.len(), 50);
        Ok(())
    }

    async fn every_organization_has_a_budget_of_its_own(bed: Bed) {
        let hires = |org: &str| (0..60).map(|n| Said::created(&format!("{org}_{n}"), 1).of(org)).collect::<Vec<_>>();
        let leave = |org: &str| (0..60).map(|n| Said::deleted(&format!("{org}_{n}"), 2).of(org)).collect::<Vec<_>>();
        for org in ["org_a", "org_b"] {
            bed.apply(&hires(org)).await?;
        }
        let both = [leave("org_a"), leave("org_b")].concat();
        assert_eq!(held(&apply_at(&bed, &both, noon()).await?), 20);
        let mut counts = bed.store.held_counts().await?;
        counts.sort();
        assert_eq!(counts, [("org_a".to_owned(), 10), ("org_b".to_owned(), 10)]);
        Ok(())
    }

    async fn who_comes_and_goes_within_one_batch_spends_nothing(bed: Bed) {
        let mut said = Vec::new();
        for n in 0..100 {
            said.extend([Said::created(&user(n), 1), Said::deactivated(&user(n), 2)]);
        }
        assert_eq!(held(&apply_at(&bed, &said, noon()).await?), 0);
        let back: Vec<Said> = (0..100).map(|n| Said::updated(&user(n), 3).with("active", json!(true))).collect();
        assert_eq!(held(&apply_at(&bed, &back, noon()).await?), 0);
        assert_eq!(bed.number("SELECT count(*) FROM access WHERE access = 'active'").await?, 100);
        Ok(())
    }

    /// Eight doors at once, one budget.
    async fn appliers_at_once_never_overspend(bed: Bed) {
        hire(&bed, 240).await?;
        let mut tasks = JoinSet::new();
        for portion in leavers(0..240).chunks(30) {
            let store = bed.store.clone();
            let batch: Vec<Incoming> = portion.iter().map(Said::incoming).collect();
            tasks.spawn(async move {
                let mut effects = Vec::new();
                for part in batch.chunks(7) {
                    effects.extend(store.apply(part, &RemovalBudget::default(), noon()).await?);
                }
                anyhow::Ok(effects)
            });
        }
        let mut waiting = 0;
        while let Some(effects) = tasks.join_next().await {
            waiting += held(&effects??);
        }
        assert_eq!(waiting, 190);
        assert_eq!(bed.number("SELECT count(*) FROM users WHERE status = 'deleted'").await?, 50);
        assert_eq!(bed.number("SELECT count(*) FROM removals").await?, 50);
        Ok(())
    }
}
