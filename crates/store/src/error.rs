//! What went wrong in the database, judged once by SQLSTATE or error kind, never by text.

use sea_orm::sqlx;
use sea_orm::{DbErr, RuntimeErr};

/// A failed call of the store. Whether anything was written is unknown; calling again is safe.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not reachable, out of connections, shutting down, full, or read-only.
    #[error("the database is not available")]
    Unavailable(#[source] DbErr),
    /// No answer within the time a call may take.
    #[error("the database did not answer within {0:?}")]
    TimedOut(std::time::Duration),
    /// The tables are not those of this version, or the role lacks a right.
    #[error("the database's tables are not as this version needs them")]
    Unready(#[source] DbErr),
    /// Another transaction stood in the way.
    #[error("another transaction was in the way")]
    Contended(#[source] DbErr),
    /// A value that the database will never take.
    #[error("the database refused the values")]
    Refused(#[source] DbErr),
    /// A uniqueness or reference rule failed that no event should be able to break.
    #[error("a rule of the tables was broken")]
    RuleBroken(#[source] DbErr),
    /// The driver or a stored value is not as expected.
    #[error("unexpected answer of the database")]
    Unexpected(#[source] DbErr),
    /// Stored rows that cannot be read back.
    #[error("{0}")]
    Corrupt(String),
}

/// Whose fault an error is, and so what becomes of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Nobody's here: stop taking messages, count nothing against them, and probe.
    Outage,
    /// Chance: the same batch may pass in a moment.
    Contention,
    /// One of the messages: find it by splitting the batch.
    Message,
}

impl StoreError {
    /// Whose fault this is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Unavailable(_) | Self::TimedOut(_) | Self::Unready(_) => Blame::Outage,
            Self::Contended(_) => Blame::Contention,
            Self::Refused(_) | Self::RuleBroken(_) | Self::Unexpected(_) | Self::Corrupt(_) => Blame::Message,
        }
    }

    /// Whether the same call may succeed later without anyone changing the message.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::TimedOut(_) | Self::Unready(_) | Self::Contended(_) => true,
            // Our own rule broke: worth another look later, and then an alert.
            Self::RuleBroken(_) | Self::Unexpected(_) => true,
            Self::Refused(_) | Self::Corrupt(_) => false,
        }
    }
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        let class = match &error {
            DbErr::ConnectionAcquire(_) => Class::Unavailable,
            DbErr::Conn(RuntimeErr::SqlxError(cause))
            | DbErr::Exec(RuntimeErr::SqlxError(cause))
            | DbErr::Query(RuntimeErr::SqlxError(cause)) => driver_class(cause),
            DbErr::Conn(_) => Class::Unavailable,
            DbErr::Migration(_) => Class::Unready,
            _ => Class::Unexpected,
        };
        match class {
            Class::Unavailable => Self::Unavailable(error),
            Class::Unready => Self::Unready(error),
            Class::Contended => Self::Contended(error),
            Class::Refused => Self::Refused(error),
            Class::RuleBroken => Self::RuleBroken(error),
            Class::Unexpected => Self::Unexpected(error),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Unavailable,
    Unready,
    Contended,
    Refused,
    RuleBroken,
    Unexpected,
}

fn driver_class(error: &sqlx::Error) -> Class {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            // SQLSTATE has five characters; SQLite's codes are numbers.
            if code.len() == 5 { sqlstate_class(&code) } else { sqlite_class(&code) }
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Class::Unavailable,
        _ => Class::Unexpected,
    }
}

/// By the first two characters, but for the codes whose class does not say enough.
///
/// Class 42 (no such table, no such column, no right) is never the message's doing, as every statement is
/// constant: the schema is older or newer than this program. Dead-lettering on it would empty the queue
/// into the dead letters during a deployment.
fn sqlstate_class(code: &str) -> Class {
    match code {
        "40001" | "40P01" | "55P03" | "57014" => Class::Contended,
        "23505" | "23503" => Class::RuleBroken,
        "25006" => Class::Unavailable,
        _ => match &code[..2] {
            "08" | "53" | "57" | "58" | "28" | "3D" | "XX" => Class::Unavailable,
            "25" | "40" | "55" => Class::Contended,
            "42" | "3F" | "0A" => Class::Unready,
            // P0: raised by a function or trigger, which judges values.
            "22" | "23" | "54" | "P0" => Class::Refused,
            _ => Class::Unexpected,
        },
    }
}

/// SQLite's extended result codes; the low byte is the primary code.
fn sqlite_class(code: &str) -> Class {
    let Ok(code) = code.parse::<u32>() else { return Class::Unexpected };
    match (code & 0xFF, code) {
        (_, 1555 | 2067 | 787) => Class::RuleBroken,
        (5 | 6, _) => Class::Contended,
        // Permission, read-only, I/O, corrupt, full, cannot open, not a database.
        (3 | 8 | 10 | 11 | 13 | 14 | 26, _) => Class::Unavailable,
        (1 | 17, _) => Class::Unready,
        (18..=20, _) => Class::Refused,
        _ => Class::Unexpected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_never_blamed_on_a_message() {
        for code in [
            "08006", "53100", "53200", "53300", "57P01", "57P02", "57P03", "58030", "25006", "28P01", "3D000",
        ] {
            assert_eq!(sqlstate_class(code), Class::Unavailable, "{code}");
        }
        for code in ["42P01", "42703", "42501"] {
            assert_eq!(sqlstate_class(code), Class::Unready, "{code}");
        }
    }

    #[test]
    fn contention_passes_and_content_does_not() {
        for code in ["40001", "40P01", "55P03", "57014", "25P02"] {
            assert_eq!(sqlstate_class(code), Class::Contended, "{code}");
        }
        for code in ["22P05", "22P02", "22003", "22008", "23502", "23514", "54000", "54001", "P0001"] {
            assert_eq!(sqlstate_class(code), Class::Refused, "{code}");
        }
        for code in ["23505", "23503"] {
            assert_eq!(sqlstate_class(code), Class::RuleBroken, "{code}");
        }
        assert_eq!(sqlstate_class("99999"), Class::Unexpected);
    }

    #[test]
    fn sqlite_codes_are_judged_by_primary_code() {
        assert_eq!(sqlite_class("5"), Class::Contended);
        assert_eq!(sqlite_class("517"), Class::Contended);
        assert_eq!(sqlite_class("13"), Class::Unavailable);
        assert_eq!(sqlite_class("1032"), Class::Unavailable);
        assert_eq!(sqlite_class("2067"), Class::RuleBroken);
        assert_eq!(sqlite_class("1299"), Class::Refused);
        assert_eq!(sqlite_class("1811"), Class::Refused);
        assert_eq!(sqlite_class("1"), Class::Unready);
        assert_eq!(sqlite_class("x"), Class::Unexpected);
    }

    #[test]
    fn blame_follows_the_class() {
        let lost = StoreError::from(DbErr::Conn(RuntimeErr::SqlxError(sqlx::Error::PoolTimedOut.into())));
        assert_eq!(lost.blame(), Blame::Outage);
        assert!(lost.is_transient());
        assert!(!StoreError::Corrupt(String::new()).is_transient());
    }
}
