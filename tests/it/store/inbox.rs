//! An event counts once, however often and wherever it comes (O3, F29, F34).

use std::collections::BTreeMap;
use std::time::Duration;

use rollcall_event::clock::now;
use rollcall_store::{Effect, RemovalBudget, Store};
use tokio::task::JoinSet;

use super::bed::{Bed, pool};
use super::on_both;
use super::said::Said;

const RECORDED: &str = "SELECT count(*) FROM events";

async fn outcomes(bed: &Bed) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for row in bed.texts("SELECT outcome FROM events", 1).await? {
        *counts.entry(row[0].clone().unwrap_or_default()).or_default() += 1;
    }
    Ok(counts)
}

on_both! {
    async fn an_event_twice_in_one_batch_counts_once(bed: Bed) {
        let (ada, bob) = (Said::created("ada", 1), Said::created("bob", 1));
        let effects = bed.apply(&[ada.clone(), bob.clone(), ada.clone(), ada]).await?;
        assert_eq!(effects, [Effect::Applied, Effect::Applied, Effect::Duplicate, Effect::Duplicate]);
        assert_eq!(bed.number(RECORDED).await?, 2);
        Ok(())
    }

    async fn an_event_in_two_batches_counts_once(bed: Bed) {
        let said = [Said::created("ada", 1), Said::deleted("ada", 2), Said::recorded(1)];
        let first = bed.apply(&said).await?;
        assert_eq!(first, [Effect::Applied, Effect::Applied, Effect::Ignored]);
        assert_eq!(bed.apply(&said).await?, [Effect::Duplicate; 3]);
        assert_eq!(bed.apply_each(&said).await?, [Effect::Duplicate; 3]);
        assert_eq!(bed.number(RECORDED).await?, 3);
        Ok(())
    }

    async fn every_event_is_kept_with_its_outcome_and_its_bytes(bed: Bed) {
        let said = [
            Said::created("ada", 1).in_groups(&["group_1"]),
            Said::updated("ada", 3).in_groups(&["group_2"]),
            Said::updated("ada", 2).in_groups(&["group_3"]),
            Said::recorded(5),
        ];
        // The first of three still has the status register, the late one nothing.
        assert_eq!(
            bed.apply_each(&said).await?,
            [Effect::Applied, Effect::Applied, Effect::Superseded, Effect::Ignored]
        );
        let counted = outcomes(&bed).await?;
        assert_eq!(counted, BTreeMap::from([("applied".into(), 2), ("ignored".into(), 1), ("superseded".into(), 1)]));
        let sql = if bed.is_postgres() { "convert_from(body, 'UTF8')" } else { "CAST(body AS text)" };
        let bodies = bed.texts(&format!("SELECT {sql} FROM events ORDER BY version NULLS LAST"), 1).await?;
        let expected = [&said[0], &said[2], &said[1], &said[3]].map(|said| vec![Some(said.0.to_string())]);
        assert_eq!(bodies, expected);
        Ok(())
    }

    async fn one_id_with_another_body_is_weighed_and_not_dropped(bed: Bed) {
        let first = Said::created("ada", 1).event_id("evt_1");
        let second = Said::updated("ada", 2).event_id("evt_1");
        let late = Said::updated("ada", 0).event_id("evt_1");
        assert_eq!(bed.apply(&[first]).await?, [Effect::Applied]);
        assert_eq!(bed.apply(&[second, late]).await?, [Effect::Applied, Effect::Superseded]);
        assert_eq!(bed.person("ada").await?.name.as_deref(), Some("ada at 2"));
        assert_eq!(bed.number(RECORDED).await?, 3);
        Ok(())
    }

    /// F29: the first half of 200 copies meets no row at all.
    async fn two_hundred_copies_of_one_new_person_at_once_count_once(bed: Bed) {
        let incoming = Said::created("ada", 1).in_groups(&["group_1"]).incoming();
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let (store, incoming) = (bed.store.clone(), incoming.clone());
            tasks.spawn(async move {
                let mut effects = Vec::new();
                for _ in 0..25 {
                    let one = std::slice::from_ref(&incoming);
                    effects.append(&mut store.apply(one, &RemovalBudget::OFF, now()).await?);
                }
                anyhow::Ok(effects)
            });
        }
        let mut effects = Vec::new();
        while let Some(done) = tasks.join_next().await {
            effects.append(&mut done??);
        }
        assert_eq!(effects.len(), 200);
        assert_eq!(effects.iter().filter(|effect| **effect == Effect::Applied).count(), 1);
        assert_eq!(effects.iter().filter(|effect| **effect == Effect::Duplicate).count(), 199);
        assert_eq!(bed.number(RECORDED).await?, 1);
        assert_eq!(bed.person("ada").await?.groups, ["group_1"]);
        Ok(())
    }

    /// S44: the store's statements take values, never text.
    async fn text_that_looks_like_sql_is_kept_as_it_is(bed: Bed) {
        let odd = r#"'; DROP TABLE users; -- "{input}" $1 %_\ é 🦀 ' OR 1=1"#;
        let said = Said::created(odd, 1).with_email(odd).in_groups(&[odd, "{memberships}"]);
        bed.apply(&[said.with("name", odd.into())]).await?;
        let person = bed.person(odd).await?;
        assert_eq!((person.email.as_deref(), person.name.as_deref()), (Some(odd), Some(odd)));
        assert_eq!(person.groups, [odd, "{memberships}"]);
        Ok(())
    }
}

/// Reading the whole inbox for every late batch would pass every other test, and stop a year later.
#[tokio::test]
async fn an_outcome_is_found_by_its_key_and_not_by_reading_everything() -> anyhow::Result<()> {
    const STATISTICS: &str = "FROM pg_stat_user_tables WHERE relname = 'events'";
    let bed = Bed::postgres().await?;
    bed.apply(&[Said::created("ada", 100)]).await?;
    // A session that ends says what it did.
    bed.store.clone().close().await;
    bed.run(
        "INSERT INTO events SELECT source, 'filler_' || n, body_sha256, kind, organization_id, subject_id, version,
            delivery_id, attempt, received_at, recorded_at, traceparent, outcome, body
         FROM events, generate_series(1, 50000) AS n",
    )
    .await?;
    bed.run("ANALYZE events").await?;
    let counted = async |column: &str, least: i64| {
        let sql = format!("SELECT {column} {STATISTICS}");
        let look = async || {
            let count = bed.number(&sql).await?;
            anyhow::ensure!(count >= least, "{column} is {count}");
            Ok(count)
        };
        rollcall_tests::eventually(Duration::from_secs(20), look).await
    };
    counted("n_tup_ins", 50_001).await?;
    let before = counted("seq_scan", 0).await?;

    let store = Store::connect(&bed.url, &pool()).await?;
    let late = (0..64).map(|n| if n % 2 == 0 { Said::updated("ada", n) } else { Said::deleted("ada", n) });
    let late: Vec<_> = late.map(|said| said.incoming()).collect();
    let effects = store.apply(&late, &RemovalBudget::default(), now()).await?;
    assert_eq!(effects, [Effect::Superseded; 64]);
    store.close().await;
    counted("n_tup_upd", 64).await?;
    assert_eq!(counted("seq_scan", 0).await?, before);
    Ok(())
}
