//! A migrated, empty database with a store on it, and a second way in behind the store's back.

use std::time::Duration;

use anyhow::Context;
use rollcall_event::clock::now;
use rollcall_store::{Blame, DatabaseUrl, Effect, Exported, Pool, RemovalBudget, Store, StoreError};
use rollcall_tests::{Folder, shared};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};

use super::said::Said;

/// One database of a test's own.
pub(crate) struct Bed {
    pub(crate) url: DatabaseUrl,
    pub(crate) store: Store,
    /// Another session, for what the store would never do.
    pub(crate) raw: DatabaseConnection,
    _folder: Option<Folder>,
}

/// Short waits, so that a test of a time-out takes no minute.
pub(crate) fn pool() -> Pool {
    Pool { lock: Duration::from_secs(2), ..Pool::default() }
}

impl Bed {
    pub(crate) async fn sqlite() -> anyhow::Result<Self> {
        Self::sqlite_unmigrated().await?.migrated().await
    }

    pub(crate) async fn postgres() -> anyhow::Result<Self> {
        Self::postgres_unmigrated().await?.migrated().await
    }

    pub(crate) async fn sqlite_unmigrated() -> anyhow::Result<Self> {
        let folder = Folder::new("store")?;
        let url = DatabaseUrl::Sqlite(folder.join("rollcall.db"));
        Self::at(url, Some(folder)).await
    }

    pub(crate) async fn postgres_unmigrated() -> anyhow::Result<Self> {
        let url = shared::postgres().await?.new_database().await?;
        Self::at(url.parse()?, None).await
    }

    async fn at(url: DatabaseUrl, folder: Option<Folder>) -> anyhow::Result<Self> {
        let store = Store::connect(&url, &pool()).await?;
        let mut options = ConnectOptions::new(match &url {
            DatabaseUrl::Postgres(url) => url.clone(),
            DatabaseUrl::Sqlite(path) => format!("sqlite://{}?mode=rwc", path.display()),
        });
        options.max_connections(4).sqlx_logging(false).connect_lazy(true);
        let raw = Database::connect(options).await?;
        Ok(Self { url, store, raw, _folder: folder })
    }

    async fn migrated(self) -> anyhow::Result<Self> {
        Store::migrate(&self.url).await?;
        Ok(self)
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.raw.get_database_backend() == DbBackend::Postgres
    }

    /// Applies in one batch, without a budget.
    pub(crate) async fn apply(&self, said: &[Said]) -> Result<Vec<Effect>, StoreError> {
        let batch: Vec<_> = said.iter().map(Said::incoming).collect();
        self.store.apply(&batch, &RemovalBudget::OFF, now()).await
    }

    /// Applies one by one, in the order given.
    pub(crate) async fn apply_each(&self, said: &[Said]) -> Result<Vec<Effect>, StoreError> {
        let mut effects = Vec::new();
        for one in said {
            effects.append(&mut self.apply(std::slice::from_ref(one)).await?);
        }
        Ok(effects)
    }

    /// Runs SQL behind the store's back.
    pub(crate) async fn run(&self, sql: &str) -> anyhow::Result<u64> {
        let done = self.raw.execute_unprepared(sql).await.with_context(|| sql.to_owned())?;
        Ok(done.rows_affected())
    }

    /// The one number a query gives.
    pub(crate) async fn number(&self, sql: &str) -> anyhow::Result<i64> {
        let row = self.raw.query_one_raw(self.statement(sql)).await?.context("no row")?;
        row.try_get_by_index(0).with_context(|| sql.to_owned())
    }

    /// Rows of texts; NULL as `None`.
    pub(crate) async fn texts(&self, sql: &str, columns: usize) -> anyhow::Result<Vec<Vec<Option<String>>>> {
        let rows = self.raw.query_all_raw(self.statement(sql)).await.with_context(|| sql.to_owned())?;
        rows.iter().map(|row| (0..columns).map(|at| Ok(row.try_get_by_index(at)?)).collect()).collect()
    }

    fn statement(&self, sql: &str) -> Statement {
        Statement::from_string(self.raw.get_database_backend(), sql)
    }

    /// Everybody, page by page.
    pub(crate) async fn everybody(&self) -> anyhow::Result<Vec<Exported>> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.store.people(None, &after, 1_000).await?;
            let Some(last) = page.last() else { return Ok(all) };
            after.clone_from(&last.id);
            all.extend(page);
        }
    }

    /// One person who must be there.
    pub(crate) async fn person(&self, id: &str) -> anyhow::Result<Exported> {
        self.store.person(id).await?.with_context(|| format!("{id} is not there"))
    }
}

/// The error's blame, or a failure that says what came instead.
pub(crate) fn blame<T: std::fmt::Debug>(result: Result<T, StoreError>) -> anyhow::Result<Blame> {
    match result {
        Ok(value) => anyhow::bail!("it succeeded with {value:?}"),
        Err(error) => Ok(error.blame()),
    }
}

/// Shown by `--nocapture`: what a test measured, where it also judges.
#[expect(clippy::print_stdout, reason = "a figure of a test run is for whoever runs it")]
pub(crate) fn measured(figure: std::fmt::Arguments<'_>) {
    println!("{figure}");
}
