//! The database's steps, one file each, the same on PostgreSQL and SQLite.
//!
//! Steps run while the previous version serves: expand, move, contract in steps of their own. A step
//! that has been released is never edited.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr};
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
/// why `db` must be a pool of exactly one connection; SQLite locks by itself.
pub async fn migrate(db: &DatabaseConnection) -> Result<usize, DbErr> {
    let postgres = db.get_database_backend() == DbBackend::Postgres;
    if postgres {
        db.execute_unprepared(&format!("SELECT pg_advisory_lock({LOCK})")).await?;
    }
    let result = run(db).await;
    if postgres {
        db.execute_unprepared(&format!("SELECT pg_advisory_unlock({LOCK})")).await?;
    }
    result
}

async fn run(db: &DatabaseConnection) -> Result<usize, DbErr> {
    let pending = Migrator::get_pending_migrations(db).await?.len();
    Migrator::up(db, None).await?;
    Ok(pending)
}

/// How many steps the database lacks. Needs no right to change anything.
pub async fn pending(db: &DatabaseConnection) -> Result<usize, DbErr> {
    Ok(Migrator::get_pending_migrations_read_only(db).await?.len())
}

/// Runs statements written once for both databases. `KEY_TEXT` is text compared bytewise, `BYTES`, `TIME`,
/// `SERIAL` and `JSON_TEXTS(…)` (a JSON array as rows of `value`) are what each database calls them.
async fn run_statements(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    let words: [(&str, &str); 6] = match manager.get_database_backend() {
        DbBackend::Postgres => [
            ("SERIAL", "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
            ("KEY_TEXT", r#"text COLLATE "C""#),
            ("BYTES", "bytea"),
            ("TIME", "timestamptz"),
            ("JSON_TEXTS(u.vendor_roles)", "json_array_elements_text(u.vendor_roles::json) AS given(value)"),
            // A union of columns with two collations is an error.
            ("GIVEN_VALUE", r#"given.value COLLATE "C""#),
        ],
        _ => [
            ("SERIAL", "integer PRIMARY KEY AUTOINCREMENT"),
            ("KEY_TEXT", "text"),
            ("BYTES", "blob"),
            ("TIME", "text"),
            ("JSON_TEXTS(u.vendor_roles)", "json_each(u.vendor_roles) AS given"),
            ("GIVEN_VALUE", "given.value"),
        ],
    };
    for statement in statements {
        let sql =
            words.iter().fold((*statement).to_owned(), |sql, (word, meaning)| sql.replace(word, meaning));
        manager.get_connection().execute_unprepared(&sql).await?;
    }
    Ok(())
}
