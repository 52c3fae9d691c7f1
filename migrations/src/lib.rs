//! The database's steps, one file each, the same on PostgreSQL and SQLite.
//!
//! Steps run while the previous version serves: expand, move, contract in steps of their own. A step
//! that has been released is never edited.

use std::collections::BTreeSet;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait,
};
pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::prelude::{MigrationTrait, SchemaManager};

mod m20261101_000001_mirror;
mod m20261101_000002_events;
mod m20261101_000003_access;

/// Every step, in order.
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261101_000001_mirror::Migration),
            Box::new(m20261101_000002_events::Migration),
            Box::new(m20261101_000003_access::Migration),
        ]
    }
}

/// `pg_advisory_lock` key: two migrations at once would both create the first table, and one would fail.
const LOCK: i64 = 0x726f_6c6c_6361_6c6c;

/// Brings the database to this version and says how many steps that took; 0 when it was there already.
///
/// Several processes may call it at once: on PostgreSQL they queue behind an advisory lock, which is
/// why `db` must be a pool of exactly one connection; on SQLite behind the lock of the one writer. A
/// database of a later version is left as it is.
pub async fn migrate(db: &DatabaseConnection) -> Result<usize, DbErr> {
    if db.get_database_backend() == DbBackend::Postgres {
        db.execute_unprepared(&format!("SELECT pg_advisory_lock({LOCK})")).await?;
        let result = migrate_postgres(db).await;
        db.execute_unprepared(&format!("SELECT pg_advisory_unlock({LOCK})")).await?;
        result
    } else {
        migrate_sqlite(db).await
    }
}

async fn migrate_postgres(db: &DatabaseConnection) -> Result<usize, DbErr> {
    let pending = pending(db).await?;
    if pending > 0 {
        Migrator::up(db, None).await?;
    }
    Ok(pending)
}

/// All steps in one transaction that takes the lock before it looks: between two looks without it, both
/// would find every table missing.
async fn migrate_sqlite(db: &DatabaseConnection) -> Result<usize, DbErr> {
    let immediate = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..Default::default()
    };
    let transaction = db.begin_with_options(immediate).await?;
    let pending = pending(&transaction).await?;
    if pending > 0 {
        Migrator::up(&transaction, None).await?;
    }
    transaction.commit().await?;
    Ok(pending)
}

/// How many steps the database lacks. Needs no right to change anything. Steps that only a later version
/// knows are none of ours: during a deployment the previous version goes on serving.
pub async fn pending(db: &impl ConnectionTrait) -> Result<usize, DbErr> {
    let recorded: BTreeSet<String> = recorded(db).await?;
    let steps = Migrator::migrations();
    Ok(steps.iter().filter(|step| !recorded.contains(step.name())).count())
}

async fn recorded(db: &impl ConnectionTrait) -> Result<BTreeSet<String>, DbErr> {
    let backend = db.get_database_backend();
    let exists = match backend {
        DbBackend::Postgres => "SELECT 1 WHERE to_regclass('seaql_migrations') IS NOT NULL",
        _ => "SELECT 1 FROM sqlite_master WHERE name = 'seaql_migrations'",
    };
    let query = |sql: &str| Statement::from_string(backend, sql);
    if db.query_one_raw(query(exists)).await?.is_none() {
        return Ok(BTreeSet::new());
    }
    let rows = db.query_all_raw(query("SELECT version FROM seaql_migrations")).await?;
    rows.iter().map(|row| row.try_get("", "version")).collect()
}

/// Runs statements written once for both databases. `KEY_TEXT` is text compared bytewise, `BYTES`, `TIME`,
/// `SERIAL` and `JSON_TEXTS(…)` (a JSON array as rows of `value`) are what each database calls them;
/// `BYTEWISE` behind a text keeps `lower` to ASCII, which is all that SQLite's knows.
async fn run_statements(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    let words: [(&str, &str); 7] = match manager.get_database_backend() {
        DbBackend::Postgres => [
            ("SERIAL", "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
            ("KEY_TEXT", r#"text COLLATE "C""#),
            ("BYTES", "bytea"),
            ("TIME", "timestamptz"),
            ("JSON_TEXTS(u.vendor_roles)", "json_array_elements_text(u.vendor_roles::json) AS given(value)"),
            // A union of columns with two collations is an error.
            ("GIVEN_VALUE", r#"given.value COLLATE "C""#),
            ("BYTEWISE", r#"COLLATE "C""#),
        ],
        _ => [
            ("SERIAL", "integer PRIMARY KEY AUTOINCREMENT"),
            ("KEY_TEXT", "text"),
            ("BYTES", "blob"),
            ("TIME", "text"),
            ("JSON_TEXTS(u.vendor_roles)", "json_each(u.vendor_roles) AS given"),
            ("GIVEN_VALUE", "given.value"),
            ("BYTEWISE", ""),
        ],
    };
    for statement in statements {
        let sql =
            words.iter().fold((*statement).to_owned(), |sql, (word, meaning)| sql.replace(word, meaning));
        manager.get_connection().execute_unprepared(&sql).await?;
    }
    Ok(())
}
