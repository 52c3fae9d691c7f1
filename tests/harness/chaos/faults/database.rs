//! The database goes away, in every way it can.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::{Fault, fault};
use crate::chaos::run::{Run, SOON};
use crate::proxy::Direction;
use crate::wait::eventually;

pub(super) fn faults() -> Vec<Fault> {
    vec![
        fault!("F22", "PostgreSQL is restarted three times", restarted, breaks_servers: true),
        fault!("F23", "PostgreSQL is killed and recovers", killed, breaks_servers: true),
        fault!("F24", "a COMMIT is carried out and its answer lost", answer_lost),
        fault!("F25", "a table is locked, then the server stands still", stands_still, breaks_servers: true),
        fault!("F26", "others have taken every connection", no_connection_left, starts: false),
        fault!("F27", "the database can only be read", read_only),
        fault!("F31", "packets between workers and database vanish silently", silent),
    ]
}

const RATE: u32 = 60;

async fn restarted(run: &mut Run) -> anyhow::Result<()> {
    run.rules.first_attempts_only = true;
    run.flow(RATE)?;
    for _ in 0..3 {
        run.taken_more(30).await?;
        run.site.servers.postgres.restart_fast().await?;
        let recorded = run.recorded().await?;
        run.records_more_than(recorded, SOON).await?;
    }
    run.healed();
    Ok(())
}

async fn killed(run: &mut Run) -> anyhow::Result<()> {
    run.rules.first_attempts_only = true;
    run.flow(RATE)?;
    for _ in 0..run.scaled(3, 2) {
        run.taken_more(30).await?;
        run.site.servers.postgres.kill9_postmaster().await?;
        run.last(Duration::from_secs(1)).await;
        run.site.servers.postgres.start_again().await?;
    }
    run.healed();
    Ok(())
}

/// Nobody can know whether it took: it is tried again, and found.
async fn answer_lost(run: &mut Run) -> anyhow::Result<()> {
    run.rules.first_attempts_only = true;
    run.flow(RATE)?;
    run.taken(20).await?;
    let times = run.scaled(10, 3);
    for _ in 0..times {
        for worker in &run.site.workers {
            let link = worker.database.as_ref().context("a worker has a link to the database")?;
            let before = link.sprung();
            link.cut_on(b"COMMIT", Direction::ToServer);
            eventually(SOON, async || {
                ensure!(link.sprung() > before, "no COMMIT went by");
                Ok(())
            })
            .await?;
            link.restore();
        }
    }
    run.healed();
    run.note(format!("{} answers to COMMIT lost", times * run.site.workers.len()));
    Ok(())
}

async fn stands_still(run: &mut Run) -> anyhow::Result<()> {
    run.flow(10)?;
    let seconds = run.scaled(60, 8);
    run.taken(20).await?;
    let lock =
        format!("begin; lock table users in access exclusive mode; select pg_sleep({seconds}); commit");
    // Longer than psql's own patience is no failure of the product.
    let _ = tokio::time::timeout(Duration::from_secs(seconds + 5), run.site.sql(&lock)).await;
    let recorded = run.recorded().await?;
    run.records_more_than(recorded, SOON).await?;
    run.site.servers.postgres.freeze()?;
    run.last(Duration::from_secs(seconds)).await;
    run.site.servers.postgres.thaw()?;
    run.healed();
    let retried = run.site.number("select coalesce(max(attempt), 0) from events").await?;
    run.note(format!("the most attempts of one message so far: {retried}"));
    Ok(())
}

/// The workers come as a role of their own, whose connections can be limited.
async fn no_connection_left(run: &mut Run) -> anyhow::Result<()> {
    run.rules.first_attempts_only = true;
    let role = run.site.database.rsplit_once('/').map(|(_, name)| format!("app_{name}")).unwrap_or_default();
    run.site
        .sql(&format!(
            "create role {role} login; grant all on all tables in schema public to {role};
        grant all on all sequences in schema public to {role}"
        ))
        .await?;
    for worker in &mut run.site.workers {
        let url = worker.settings.get("DATABASE_URL").context("a worker has a database")?;
        let url = url.replace("postgres@", &format!("{role}@"));
        worker.settings.insert("DATABASE_URL".to_owned(), url);
    }
    run.site.start().await?;
    run.flow(RATE)?;
    run.taken(30).await?;
    let limit = |limit: i32| format!("alter role {role} connection limit {limit}");
    run.site.sql(&limit(0)).await?;
    run.disconnect_workers().await?;
    run.last(run.scaled(Duration::from_secs(30), Duration::from_secs(5))).await;
    run.site.sql(&limit(-1)).await?;
    run.healed();
    Ok(())
}

/// Reading goes on, so that a probe succeeds while every write fails.
async fn read_only(run: &mut Run) -> anyhow::Result<()> {
    run.rules.first_attempts_only = true;
    run.flow(RATE)?;
    run.taken(30).await?;
    let name = run
        .site
        .database
        .rsplit_once('/')
        .map(|(_, name)| name.to_owned())
        .context("a database has a name")?;
    let set = |to: &str| format!("alter database {name} set default_transaction_read_only = {to}");
    run.site.sql(&set("on")).await?;
    run.disconnect_workers().await?;
    let rollbacks = "select xact_rollback from pg_stat_database where datname = current_database()";
    let (before, started) = (run.site.number(rollbacks).await?, Instant::now());
    run.last(run.scaled(Duration::from_secs(30), Duration::from_secs(6))).await;
    let tries = run.site.number(rollbacks).await? - before;
    let a_second = tries as f64 / started.elapsed().as_secs_f64();
    run.site.sql(&format!("begin read write; {}; commit", set("off"))).await?;
    run.disconnect_workers().await?;
    run.healed();
    run.note(format!("{a_second:.1} tries a second by two workers with three lanes each"));
    ensure!(a_second < 16.0, "{a_second:.1} tries a second: the workers do not wait");
    Ok(())
}

async fn silent(run: &mut Run) -> anyhow::Result<()> {
    run.rules.first_attempts_only = true;
    run.rules.recovery = Duration::from_secs(25);
    run.flow(RATE)?;
    run.taken(30).await?;
    for one_way in [false, true] {
        for link in run.site.workers.iter().filter_map(|worker| worker.database.as_ref()) {
            if one_way { link.freeze_one_way(Direction::ToClient) } else { link.freeze() }
        }
        run.last(run.scaled(Duration::from_secs(60), Duration::from_secs(8))).await;
        run.site.workers.iter().filter_map(|worker| worker.database.as_ref()).for_each(|link| link.restore());
        let recorded = run.recorded().await?;
        run.records_more_than(recorded, SOON).await?;
    }
    run.healed();
    Ok(())
}
