//! Where the database is, and how it is spoken to.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    AccessMode, ConnectOptions, Database, DatabaseConnection, DatabaseTransaction, DbBackend, IsolationLevel,
    SqliteTransactionMode, TransactionOptions, TransactionTrait,
};

use crate::StoreError;

/// `DATABASE_URL`: a SQLite file or a PostgreSQL server. Shown without its credentials.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite://path`: one machine.
    Sqlite(PathBuf),
    /// `postgres://…`: as many workers as wanted.
    Postgres(String),
}

/// A text that is no database URL. The text is not repeated: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is neither sqlite://<path> nor postgres://<user>:<password>@<host>:<port>/<database>")]
pub struct InvalidDatabaseUrl;

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        match text.split_once("://") {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(PathBuf::from(path))),
            Some(("postgres" | "postgresql", rest)) if !rest.is_empty() => {
                Ok(Self::Postgres(text.to_owned()))
            }
            _ => Err(InvalidDatabaseUrl),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(url) => {
                let host =
                    url.rsplit_once('@').map_or("…", |(_, host)| host.split('?').next().unwrap_or("…"));
                write!(f, "postgres://{host}")
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How many connections, and how long anything may take.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Connections to PostgreSQL.
    pub connections: u32,
    /// Waiting for a connection, new or free.
    pub acquire: Duration,
    /// One statement, enforced by PostgreSQL.
    pub statement: Duration,
    /// Waiting for a lock, enforced by PostgreSQL and SQLite.
    pub lock: Duration,
    /// One whole call of the store, enforced here: a server that fell silent cannot enforce anything.
    pub call: Duration,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            connections: 8,
            acquire: Duration::from_secs(5),
            statement: Duration::from_secs(10),
            lock: Duration::from_secs(5),
            call: Duration::from_secs(15),
        }
    }
}

/// A connected database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    /// Where writes go. SQLite has one writer: more are slower, and unfair.
    writer: DatabaseConnection,
    reader: DatabaseConnection,
    /// The longest a call may take.
    pub(crate) call: Duration,
}

impl Store {
    /// Prepares connections without making one: a database that is away shows at the first call, and a
    /// worker may start before it.
    ///
    /// # Errors
    ///
    /// The URL cannot be used, or the folder of the SQLite file cannot be made.
    pub async fn connect(url: &DatabaseUrl, pool: &Pool) -> Result<Self, StoreError> {
        let (writer, reader) = match url {
            DatabaseUrl::Postgres(url) => {
                let connected = Database::connect(postgres(url, pool)).await?;
                (connected.clone(), connected)
            }
            DatabaseUrl::Sqlite(path) => {
                if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                    std::fs::create_dir_all(folder).map_err(|error| {
                        StoreError::Corrupt(format!("cannot make the folder {}: {error}", folder.display()))
                    })?;
                }
                let writer = Database::connect(sqlite(path, pool, 1)).await?;
                (writer, Database::connect(sqlite(path, pool, 4)).await?)
            }
        };
        Ok(Self { writer, reader, call: pool.call })
    }

    /// Brings the tables to this version; see [`rollcall_migrations::migrate`]. Says how many steps it took.
    pub async fn migrate(url: &DatabaseUrl) -> Result<usize, StoreError> {
        // A migration may take longer than any call should, and must hold its lock on one connection.
        let patient = Pool {
            connections: 1,
            statement: Duration::from_secs(3600),
            lock: Duration::from_secs(600),
            acquire: Duration::from_secs(10),
            call: Duration::from_secs(3600),
        };
        let store = Self::connect(url, &patient).await?;
        let steps = rollcall_migrations::migrate(&store.writer).await;
        store.close().await;
        Ok(steps?)
    }

    /// Whether the database answers and has every step of this version.
    pub async fn ready(&self) -> Result<(), StoreError> {
        self.within(async {
            match rollcall_migrations::pending(&self.reader).await? {
                0 => Ok(()),
                missing => Err(StoreError::Unready(sea_orm::DbErr::Migration(format!(
                    "{missing} steps are missing: run `rollcall-worker migrate`"
                )))),
            }
        })
        .await
    }

    /// Closes every connection.
    pub async fn close(self) {
        for pool in [self.writer, self.reader] {
            // Closing what is closed already is no failure.
            let _ = pool.close().await;
        }
    }

    /// Ends any call in bounded time.
    pub(crate) async fn within<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::time::timeout(self.call, call).await.unwrap_or(Err(StoreError::TimedOut(self.call)))
    }

    /// A transaction that writes. SQLite's must take the lock at once: one that reads first and writes
    /// later fails with `database is locked`, whatever the time-out.
    pub(crate) async fn begin(&self) -> Result<DatabaseTransaction, StoreError> {
        let immediate =
            matches!(self.backend(), DbBackend::Sqlite).then_some(SqliteTransactionMode::Immediate);
        let options = TransactionOptions { sqlite_transaction_mode: immediate, ..Default::default() };
        Ok(self.writer.begin_with_options(options).await?)
    }

    /// A transaction that sees one moment of the database.
    pub(crate) async fn snapshot(&self) -> Result<DatabaseTransaction, StoreError> {
        let postgres = matches!(self.backend(), DbBackend::Postgres);
        let options = TransactionOptions {
            isolation_level: postgres.then_some(IsolationLevel::RepeatableRead),
            access_mode: postgres.then_some(AccessMode::ReadOnly),
            ..Default::default()
        };
        Ok(self.reader.begin_with_options(options).await?)
    }

    pub(crate) fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }

    pub(crate) fn backend(&self) -> DbBackend {
        self.writer.get_database_backend()
    }
}

fn postgres(url: &str, pool: &Pool) -> ConnectOptions {
    let limits = [
        ("statement_timeout", pool.statement.as_millis().to_string()),
        ("lock_timeout", pool.lock.as_millis().to_string()),
        ("idle_in_transaction_session_timeout", pool.call.as_millis().to_string()),
        // A peer that vanished is noticed although nothing is sent to it.
        ("tcp_keepalives_idle", "10".to_owned()),
        ("tcp_keepalives_interval", "5".to_owned()),
        ("tcp_keepalives_count", "3".to_owned()),
        ("tcp_user_timeout", "20000".to_owned()),
    ];
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(pool.connections)
        .min_connections(0)
        .acquire_timeout(pool.acquire)
        .connect_timeout(pool.acquire)
        .connect_lazy(true)
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .test_before_acquire_if_idle_for(Duration::from_secs(30))
        .map_sqlx_postgres_opts(move |opts| opts.application_name("rollcall").options(limits.clone()));
    options
}

fn sqlite(path: &std::path::Path, pool: &Pool, connections: u32) -> ConnectOptions {
    let (lock, path) = (pool.lock, path.to_owned());
    let mut options = ConnectOptions::new("sqlite://");
    options
        .max_connections(connections)
        .acquire_timeout(pool.acquire)
        .connect_lazy(true)
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .test_before_acquire(false)
        .map_sqlx_sqlite_opts(move |opts| {
            opts.filename(&path)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(lock)
        });
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_shown_without_its_password() {
        let url: DatabaseUrl =
            "postgres://rollcall:hunter2@db.internal:5432/rollcall?sslmode=require".parse().unwrap();
        assert_eq!(url.to_string(), "postgres://db.internal:5432/rollcall");
        assert!(!format!("{url:?}").contains("hunter2"));
        assert_eq!("sqlite://data/x.db".parse(), Ok(DatabaseUrl::Sqlite("data/x.db".into())));
        for bad in ["", "sqlite://", "mysql://x", "data/x.db", "postgres://"] {
            assert_eq!(bad.parse::<DatabaseUrl>(), Err(InvalidDatabaseUrl), "{bad}");
        }
    }
}
