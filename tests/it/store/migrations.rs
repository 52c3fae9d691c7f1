//! Several processes bringing one database to this version at once.

use rollcall_store::{Blame, DatabaseUrl, Store};
use tokio::task::JoinSet;

use super::bed::Bed;
use super::said::Said;

const STEPS: usize = 3;

async fn migrate_at_once(url: &DatabaseUrl, times: usize) -> anyhow::Result<Vec<usize>> {
    let mut migrations = JoinSet::new();
    for _ in 0..times {
        let url = url.clone();
        migrations.spawn(async move { Store::migrate(&url).await });
    }
    let mut steps = Vec::new();
    while let Some(taken) = migrations.join_next().await {
        steps.push(taken??);
    }
    Ok(steps)
}

async fn check(bed: Bed, times: usize) -> anyhow::Result<()> {
    let unready = bed.store.ready().await.expect_err("there are no tables");
    assert_eq!(unready.blame(), Blame::Outage);
    let source = std::error::Error::source(&unready).map(ToString::to_string).unwrap_or_default();
    assert!(source.contains(&format!("{STEPS} steps are missing")), "{source}");

    let steps = migrate_at_once(&bed.url, times).await?;
    // One did it all, or they shared: every step was taken, and nobody failed.
    assert!(steps.contains(&STEPS), "{steps:?}");
    assert_eq!(Store::migrate(&bed.url).await?, 0);
    bed.store.ready().await?;
    bed.apply(&[Said::created("user_1", 1)]).await?;
    assert_eq!(bed.person("user_1").await?.access, "active");
    assert_eq!(bed.number("SELECT count(*) FROM seaql_migrations").await?, STEPS as i64);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_at_once_bring_an_empty_server_to_this_version() -> anyhow::Result<()> {
    check(Bed::postgres_unmigrated().await?, 3).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_at_once_bring_an_empty_server_to_this_version() -> anyhow::Result<()> {
    check(Bed::postgres_unmigrated().await?, 8).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_at_once_bring_an_empty_file_to_this_version() -> anyhow::Result<()> {
    check(Bed::sqlite_unmigrated().await?, 3).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_at_once_bring_an_empty_file_to_this_version() -> anyhow::Result<()> {
    check(Bed::sqlite_unmigrated().await?, 8).await
}

super::on_both! {
    /// F47: during a deployment the previous version meets tables of the next.
    async fn a_step_of_a_later_version_is_no_reason_to_stop(bed: Bed) {
        bed.run("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29990101_000001_later', 0)").await?;
        bed.store.ready().await?;
        assert_eq!(Store::migrate(&bed.url).await?, 0);
        bed.apply(&[Said::created("user_1", 1)]).await?;
        Ok(())
    }
}
