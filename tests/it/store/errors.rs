//! Whose fault an error is, with the real errors of real databases: an outage is never blamed on a message.

use std::time::{Duration, Instant};

use rollcall_event::clock::now;
use rollcall_store::{Blame, DatabaseUrl, Filter, NewDeadLetter, Pool, RemovalBudget, Store, StoreError};
use rollcall_tests::postgres::Postgres;
use rollcall_tests::{Folder, eventually, free_port};
use sea_orm::{ConnectionTrait, TransactionTrait};

use super::bed::{Bed, blame};
use super::said::Said;

const SIX_SECONDS: Duration = Duration::from_secs(6);

async fn apply_one(store: &Store) -> Result<Vec<rollcall_store::Effect>, StoreError> {
    store.apply(&[Said::created("ada", 1).incoming()], &RemovalBudget::OFF, now()).await
}

/// Everything the worker and on-call ask says that it is an outage, in bounded time.
async fn everything_is_an_outage(store: &Store) -> anyhow::Result<()> {
    let started = Instant::now();
    let (applied, ready, people) = tokio::join!(apply_one(store), store.ready(), store.people(None, "", 1));
    assert_eq!(blame(applied)?, Blame::Outage);
    assert_eq!(blame(ready)?, Blame::Outage);
    assert_eq!(blame(people)?, Blame::Outage);
    let body = bytes::Bytes::from_static(b"{");
    let incoming = Said::created("ada", 1).incoming();
    let letter = NewDeadLetter {
        routing_key: rollcall_event::RoutingKey::for_body(&body),
        reason: rollcall_event::ReasonCode::ParseError,
        error: "x".to_owned(),
        envelope: rollcall_event::Envelope { body, ..incoming.envelope },
    };
    let (letters, filter) = ([letter], Filter::default());
    let (buried, listed) = tokio::join!(store.bury(&letters, now()), store.dead_letters(&filter, 1));
    assert_eq!(blame(buried)?, Blame::Outage);
    assert_eq!(blame(listed)?, Blame::Outage);
    assert!(started.elapsed() < 2 * SIX_SECONDS, "{:?}", started.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_server_that_refuses_connections_is_an_outage() -> anyhow::Result<()> {
    let url = format!("postgres://nobody@127.0.0.1:{}/nothing", free_port()).parse()?;
    let store = Store::connect(&url, &Pool::default()).await?;
    let started = Instant::now();
    assert_eq!(blame(apply_one(&store).await)?, Blame::Outage);
    assert!(started.elapsed() < SIX_SECONDS, "{:?}", started.elapsed());
    everything_is_an_outage(&store).await
}

/// F22, F23: under an open pool, by a fast shutdown and by a kill; and back without a new store.
#[tokio::test]
async fn a_server_that_stops_is_an_outage_until_it_is_back() -> anyhow::Result<()> {
    let postgres = Postgres::start().await?;
    let url: DatabaseUrl = postgres.new_database().await?.parse()?;
    Store::migrate(&url).await?;
    let store = Store::connect(&url, &Pool::default()).await?;
    apply_one(&store).await?;
    for kill in [false, true] {
        if kill {
            postgres.kill9_postmaster().await?
        } else {
            postgres.stop_fast().await?
        }
        let started = Instant::now();
        assert_eq!(blame(apply_one(&store).await)?, Blame::Outage);
        assert!(started.elapsed() < SIX_SECONDS, "{:?}", started.elapsed());
        everything_is_an_outage(&store).await?;
        postgres.start_again().await?;
        eventually(SIX_SECONDS, async || Ok(apply_one(&store).await?)).await?;
        store.ready().await?;
    }
    Ok(())
}

/// F25: a server that fell silent cannot enforce a time-out of its own.
#[tokio::test]
async fn a_server_that_falls_silent_is_an_outage() -> anyhow::Result<()> {
    let postgres = Postgres::start().await?;
    let url: DatabaseUrl = postgres.new_database().await?.parse()?;
    Store::migrate(&url).await?;
    let pool = Pool { call: Duration::from_secs(2), ..Pool::default() };
    let store = Store::connect(&url, &pool).await?;
    apply_one(&store).await?;
    postgres.freeze()?;
    let started = Instant::now();
    assert_eq!(blame(apply_one(&store).await)?, Blame::Outage);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    postgres.thaw()?;
    eventually(SIX_SECONDS, async || Ok(apply_one(&store).await?)).await?;
    Ok(())
}

#[tokio::test]
async fn a_lock_of_another_session_is_contention() -> anyhow::Result<()> {
    let bed = Bed::postgres().await?;
    apply_one(&bed.store).await?;
    let other = bed.raw.begin().await?;
    other.execute_unprepared("UPDATE users SET name = 'x'").await?;
    let started = Instant::now();
    let result = bed.apply(&[Said::updated("ada", 2)]).await;
    assert_eq!(blame(result)?, Blame::Contention);
    // The bed's lock time-out is two seconds.
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    other.rollback().await?;
    bed.apply(&[Said::updated("ada", 2)]).await?;
    Ok(())
}

/// The guilty message stands in a batch; alone, it is known.
#[tokio::test]
async fn a_value_the_database_refuses_is_the_message_s_fault() -> anyhow::Result<()> {
    let bed = Bed::postgres().await?;
    bed.run(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'not this one' USING ERRCODE = 'P0001'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON users
            FOR EACH ROW WHEN (NEW.id = 'eve') EXECUTE FUNCTION refuse()",
    )
    .await?;
    let (ada, eve) = (Said::created("ada", 1), Said::created("eve", 1));
    let error = bed.apply(&[ada.clone(), eve.clone()]).await.expect_err("the trigger raises");
    assert_eq!(error.blame(), Blame::Message);
    assert!(!error.is_transient());
    // All or nothing: not even the inbox kept a row.
    assert_eq!(bed.number("SELECT count(*) FROM events").await?, 0);
    assert_eq!(bed.number("SELECT count(*) FROM users").await?, 0);
    bed.apply(&[ada]).await?;
    assert_eq!(blame(bed.apply(&[eve]).await)?, Blame::Message);
    Ok(())
}

/// F27: 25006.
#[tokio::test]
async fn a_read_only_server_is_an_outage_and_can_still_be_read() -> anyhow::Result<()> {
    let bed = Bed::postgres().await?;
    apply_one(&bed.store).await?;
    let name = bed.texts("SELECT current_database()::text", 1).await?[0][0].clone().unwrap_or_default();
    bed.run(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await?;
    let store = Store::connect(&bed.url, &Pool::default()).await?;
    assert_eq!(
        blame(store.apply(&[Said::created("b", 1).incoming()], &RemovalBudget::OFF, now()).await)?,
        Blame::Outage
    );
    assert_eq!(store.people(None, "", 9).await?.len(), 1);
    assert_eq!(store.verify().await?.differences, Vec::new());
    store.ready().await?;
    Ok(())
}

/// F26: 53300. Superusers are exempt, so somebody smaller asks.
#[tokio::test]
async fn a_server_without_a_free_connection_is_an_outage() -> anyhow::Result<()> {
    let bed = Bed::postgres().await?;
    let DatabaseUrl::Postgres(url) = &bed.url else { anyhow::bail!("a server") };
    let (_, database) = url.rsplit_once('/').expect("a database");
    let role = format!("small_{database}");
    bed.run(&format!("CREATE ROLE {role} LOGIN CONNECTION LIMIT 0")).await?;
    let store =
        Store::connect(&url.replace("postgres@", &format!("{role}@")).parse()?, &Pool::default()).await?;
    let started = Instant::now();
    assert_eq!(blame(apply_one(&store).await)?, Blame::Outage);
    assert!(started.elapsed() < SIX_SECONDS, "{:?}", started.elapsed());
    // And a role without rights, or tables of another version, are the operator's business.
    bed.run(&format!("ALTER ROLE {role} CONNECTION LIMIT 5")).await?;
    assert_eq!(blame(apply_one(&store).await)?, Blame::Outage);
    store.close().await;
    bed.run(&format!("DROP ROLE {role}")).await?;
    bed.run("DROP VIEW roles; DROP VIEW access; ALTER TABLE users DROP COLUMN dp_id").await?;
    assert_eq!(blame(apply_one(&bed.store).await)?, Blame::Outage);
    Ok(())
}

/// The format number in a file's header that a writer does not know makes it read-only, for root as well.
#[tokio::test]
async fn a_read_only_file_is_an_outage() -> anyhow::Result<()> {
    let bed = Bed::sqlite().await?;
    let DatabaseUrl::Sqlite(path) = bed.url.clone() else { anyhow::bail!("a file") };
    bed.run("PRAGMA wal_checkpoint(TRUNCATE)").await?;
    let mut file = std::fs::read(&path)?;
    file[18] = 3;
    let copy = path.with_file_name("copy.db");
    std::fs::write(&copy, file)?;
    let store = Store::connect(&DatabaseUrl::Sqlite(copy), &Pool::default()).await?;
    let error = apply_one(&store).await.expect_err("it is read-only");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert_eq!(error.blame(), Blame::Outage);
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_no_database_or_cannot_be_opened_is_an_outage() -> anyhow::Result<()> {
    let folder = Folder::new("no-database")?;
    std::fs::write(
        folder.join("text.db"),
        "this is no database, and long enough to be read as one\n".repeat(99),
    )?;
    std::fs::create_dir(folder.join("folder.db"))?;
    for name in ["text.db", "folder.db"] {
        let url = DatabaseUrl::Sqlite(folder.join(name));
        assert_eq!(blame(Store::migrate(&url).await)?, Blame::Outage, "{name}");
        // Where the file is opened at once, that is where it shows.
        match Store::connect(&url, &Pool::default()).await {
            Err(error) => assert_eq!(error.blame(), Blame::Outage, "{name}"),
            Ok(store) => assert_eq!(blame(apply_one(&store).await)?, Blame::Outage, "{name}"),
        }
    }
    Ok(())
}

/// SQLite says `full` of a table out of numbers as it does of a disk out of blocks.
#[tokio::test]
async fn a_full_file_is_an_outage() -> anyhow::Result<()> {
    let bed = Bed::sqlite().await?;
    bed.run(&format!("INSERT INTO sqlite_sequence (name, seq) VALUES ('held_changes', {})", i64::MAX))
        .await?;
    bed.run("INSERT INTO organizations (id, paused) VALUES ('org_1', true)").await?;
    let error = apply_one(&bed.store).await.expect_err("there is no number left");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert_eq!(error.blame(), Blame::Outage);
    assert_eq!(bed.number("SELECT count(*) FROM events").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_busy_file_is_contention() -> anyhow::Result<()> {
    let bed = Bed::sqlite().await?;
    let other = bed.raw.begin().await?;
    other.execute_unprepared("UPDATE organizations SET paused = false").await?;
    let started = Instant::now();
    assert_eq!(blame(apply_one(&bed.store).await)?, Blame::Contention);
    let waited = started.elapsed();
    assert!(waited > Duration::from_secs(1) && waited < Duration::from_secs(4), "{waited:?}");
    // Readers are not in the way.
    assert_eq!(bed.store.people(None, "", 9).await?.len(), 0);
    other.rollback().await?;
    apply_one(&bed.store).await?;
    Ok(())
}
