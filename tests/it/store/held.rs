//! What waits for a person: released in any order, rejected, or of a paused organization.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rollcall_event::clock::now;
use rollcall_store::{Decision, Effect, Held, RemovalBudget};
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::json;

use super::bed::Bed;
use super::on_both;
use super::said::{ORGANIZATION, Said};

fn decision() -> Decision<'static> {
    let at: DateTime<Utc> = "2026-09-02T12:00:00Z".parse().expect("a time");
    Decision { actor: "op", reason: "asked the customer", at }
}

async fn pause(bed: &Bed) -> anyhow::Result<()> {
    let sql = "INSERT INTO organizations (id, paused) VALUES";
    bed.run(&format!("{sql} ('{ORGANIZATION}', true) ON CONFLICT (id) DO UPDATE SET paused = true")).await?;
    Ok(())
}

/// 100 people of whom 60 leave at once, so that ten removals wait.
async fn with_ten_waiting(bed: &Bed) -> anyhow::Result<Vec<i64>> {
    let people: Vec<Said> = (0..100).map(|n| Said::created(&format!("user_{n:02}"), 1)).collect();
    bed.apply(&people).await?;
    let leavers: Vec<_> = (0..60).map(|n| Said::deleted(&format!("user_{n:02}"), 5).incoming()).collect();
    bed.store.apply(&leavers, &RemovalBudget::default(), now()).await?;
    let waiting = bed.store.held(&Held::All, 100).await?;
    assert_eq!(waiting.len(), 10);
    Ok(waiting.into_iter().map(|held| held.id).collect())
}

async fn active(bed: &Bed) -> anyhow::Result<i64> {
    bed.number("SELECT count(*) FROM access WHERE access = 'active'").await
}

async fn with_outcome(bed: &Bed, outcome: &str) -> anyhow::Result<i64> {
    bed.number(&format!("SELECT count(*) FROM events WHERE outcome = '{outcome}'")).await
}

on_both! {
    async fn released_removals_are_applied_in_any_order(bed: Bed) {
        let mut waiting = with_ten_waiting(&bed).await?;
        waiting.reverse();
        for id in &waiting[..4] {
            assert_eq!(bed.store.release(&Held::Ids(vec![*id]), &decision()).await?, 1);
            assert_eq!(bed.store.release(&Held::Ids(vec![*id]), &decision()).await?, 0);
        }
        assert_eq!(active(&bed).await?, 46);
        assert_eq!(bed.store.release(&Held::Organization(ORGANIZATION.to_owned()), &decision()).await?, 6);
        assert_eq!(active(&bed).await?, 40);
        assert_eq!(bed.store.release(&Held::All, &decision()).await?, 0);
        assert_eq!(with_outcome(&bed, "held").await?, 0);
        assert_eq!(bed.store.held(&Held::All, 100).await?, Vec::new());
        let actions = bed.texts("SELECT DISTINCT actor, action, reason FROM actions", 3).await?;
        assert_eq!(actions, [["op", "held.released", "asked the customer"].map(|it| Some(it.to_owned()))]);
        assert_eq!(bed.store.verify().await?.differences, Vec::new());
        Ok(())
    }

    async fn a_released_removal_changes_nothing_where_newer_is_known(bed: Bed) {
        with_ten_waiting(&bed).await?;
        let waiting = bed.texts("SELECT subject_id FROM held_changes ORDER BY subject_id", 1).await?;
        let back = waiting[0][0].clone().unwrap_or_default();
        bed.apply(&[Said::updated(&back, 6).with("active", json!(true))]).await?;
        assert_eq!(bed.store.release(&Held::All, &decision()).await?, 10);
        assert_eq!(bed.person(&back).await?.access, "active");
        assert_eq!((active(&bed).await?, with_outcome(&bed, "superseded").await?), (41, 1));
        assert_eq!(bed.store.verify().await?.differences, Vec::new());
        Ok(())
    }

    async fn a_rejected_removal_leaves_everybody_in_place(bed: Bed) {
        let waiting = with_ten_waiting(&bed).await?;
        assert_eq!(bed.store.reject(&Held::Ids(waiting[..9].to_vec()), &decision()).await?, 9);
        assert_eq!(bed.store.release(&Held::All, &decision()).await?, 1);
        assert_eq!((active(&bed).await?, with_outcome(&bed, "rejected").await?), (49, 9));
        // The sender's copy is a duplicate, not a second chance.
        let again: Vec<_> = (0..60).map(|n| Said::deleted(&format!("user_{n:02}"), 5)).collect();
        assert_eq!(bed.apply(&again).await?, [Effect::Duplicate; 60]);
        assert_eq!(bed.store.verify().await?.differences, Vec::new());
        Ok(())
    }

    async fn a_paused_organization_holds_everything_of_its_own(bed: Bed) {
        bed.apply(&[Said::created("ada", 1), Said::created("bob", 1)]).await?;
        pause(&bed).await?;
        let said = [
            Said::deleted("ada", 3),
            Said::updated("bob", 2).in_groups(&["group_1"]),
            Said::created("eve", 2),
            Said::group_deleted("group_1", 2),
            Said::organization("deleted", ORGANIZATION, 2),
            Said::organization("updated", ORGANIZATION, 3),
            Said::recorded(2),
        ];
        assert_eq!(bed.apply(&said).await?, [Effect::Held; 7]);
        assert_eq!(bed.apply(&said).await?, [Effect::Duplicate; 7]);
        assert_eq!(bed.apply(&[Said::created("max", 1).of("org_2")]).await?, [Effect::Applied]);
        assert_eq!(active(&bed).await?, 3);
        assert_eq!(bed.person("bob").await?.name.as_deref(), Some("bob created"));
        assert!(bed.store.person("eve").await?.is_none());
        assert!(bed.store.held(&Held::All, 9).await?.iter().all(|held| held.reason == "organization_paused"));

        bed.run("UPDATE organizations SET paused = false").await?;
        assert_eq!(bed.store.release(&Held::All, &decision()).await?, 7);
        assert_eq!(bed.person("ada").await?.status, "deleted");
        assert_eq!(bed.person("bob").await?.groups, [""; 0]);
        assert_eq!(bed.person("eve").await?.access, "active");
        // An event that changes nothing is not older than anything.
        let outcomes = bed.texts("SELECT DISTINCT outcome FROM events ORDER BY outcome", 1).await?;
        assert_eq!(outcomes, [["applied"], ["ignored"], ["superseded"]].map(|row| row.map(|it| Some(it.to_owned()))));
        assert_eq!(bed.store.verify().await?.differences, Vec::new());
        Ok(())
    }

    async fn more_than_one_portion_is_released_to_the_last(bed: Bed) {
        pause(&bed).await?;
        let people: Vec<Said> = (0..600).map(|n| Said::created(&format!("user_{n:03}"), 1)).collect();
        assert_eq!(bed.apply(&people).await?, [Effect::Held; 600]);
        assert_eq!(bed.store.release(&Held::All, &decision()).await?, 600);
        assert_eq!(bed.everybody().await?.len(), 600);
        Ok(())
    }

    /// One operator releases while another rejects: every change is decided once, and the rows agree.
    async fn two_operators_never_decide_one_change_twice(bed: Bed) {
        pause(&bed).await?;
        let people: Vec<Said> = (0..200).map(|n| Said::created(&format!("user_{n:03}"), 1)).collect();
        bed.apply(&people).await?;
        let by = decision();
        let (released, rejected) =
            tokio::join!(bed.store.release(&Held::All, &by), bed.store.reject(&Held::All, &by));
        assert_eq!(released? + rejected?, 200);
        let people = bed.everybody().await?.len() as i64;
        assert_eq!(people, with_outcome(&bed, "applied").await?);
        assert_eq!(bed.number("SELECT count(*) FROM held_changes WHERE decision = 'released'").await?, people);
        assert_eq!(bed.store.verify().await?.differences, Vec::new());
        Ok(())
    }
}

/// A batch that saw the pause but has not committed: its changes must not stay behind, held for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resume_waits_for_batches_that_saw_the_pause() -> anyhow::Result<()> {
    let bed = Bed::postgres().await?;
    pause(&bed).await?;
    let brake = bed.raw.begin().await?;
    brake.execute_unprepared("LOCK TABLE events IN SHARE MODE").await?;
    let (store, one) = (bed.store.clone(), [Said::created("ada", 1).incoming()]);
    let applying = tokio::spawn(async move { store.apply(&one, &RemovalBudget::OFF, now()).await });
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'events'::regclass";
    rollcall_tests::eventually(Duration::from_secs(5), async || {
        anyhow::ensure!(bed.number(waiting).await? == 1);
        Ok(())
    })
    .await?;
    let store = bed.store.clone();
    let resuming = tokio::spawn(async move { store.resume(ORGANIZATION, &decision()).await });
    let queued = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND wait_event_type = 'Lock' AND query LIKE '%organizations%'";
    rollcall_tests::eventually(Duration::from_secs(5), async || {
        anyhow::ensure!(bed.number(queued).await? == 1 || resuming.is_finished());
        Ok(())
    })
    .await?;
    brake.rollback().await?;
    assert_eq!(applying.await??, [Effect::Held]);
    assert_eq!(resuming.await??, 1);
    assert_eq!(bed.person("ada").await?.access, "active");
    Ok(())
}
