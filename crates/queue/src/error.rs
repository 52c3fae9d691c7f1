//! What can go wrong with a queue.

use std::sync::Arc;

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};

/// The broker's or the connection's own error, opaque.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct BrokerError(lapin::Error);

impl BrokerError {
    /// Whether a queue or exchange exists with other arguments than declared (406).
    pub(crate) fn is_conflict(&self) -> bool {
        self.is(&AMQPSoftError::PRECONDITIONFAILED)
    }

    fn is(&self, soft: &AMQPSoftError) -> bool {
        matches!(self.0.kind(), ErrorKind::ProtocolError(error)
            if matches!(error.kind(), AMQPErrorKind::Soft(kind) if kind == soft))
    }
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        Self(error)
    }
}

/// The queue file's own error, opaque.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct FileError(Arc<sqlx::Error>);

impl FileError {
    /// SQLite's primary result code, e.g. 5 for a file that somebody else is writing.
    pub(crate) fn code(&self) -> Option<i32> {
        let code: i32 = self.0.as_database_error()?.code()?.parse().ok()?;
        Some(code & 0xff)
    }

    /// Whether somebody else holds the write lock (`SQLITE_BUSY`, `SQLITE_LOCKED`).
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.code(), Some(5 | 6))
    }
}

impl From<sqlx::Error> for FileError {
    fn from(error: sqlx::Error) -> Self {
        Self(Arc::new(error))
    }
}

/// Why a message is not known to be stored.
///
/// It may be stored all the same (after a time-out or a lost connection): the duplicate that follows is
/// for the worker to recognise. All of them may pass by themselves but [`PublishError::Closed`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum PublishError {
    /// No confirm came within the time allowed.
    #[error("no confirm within the time allowed")]
    TimedOut,
    /// There is no connection to the broker, or it ended before the confirm.
    #[error("not connected to the broker: {0}")]
    Disconnected(String),
    /// The broker takes no messages at the moment: it is short of memory or disk.
    #[error("the broker blocks publishers: {0}")]
    Blocked(String),
    /// No queue is bound to the key. The topology is declared again meanwhile.
    #[error("no queue took the message: its queue or binding is missing")]
    Unroutable,
    /// The broker refused it: the queue is at its limit.
    #[error("the queue refused the message: it is full")]
    Refused,
    /// Too many publishes are under way. Said at once, without waiting.
    #[error("too many publishes are under way")]
    Busy,
    /// The publisher was closed.
    #[error("the publisher is closed")]
    Closed,
    /// The queue file could not be written.
    #[error("the queue file cannot be written")]
    Embedded(#[source] FileError),
}

/// Why a queue cannot be opened, read or settled.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// The broker cannot be reached, refused something, or the connection ended.
    #[error("the broker cannot be used")]
    Broker(#[source] BrokerError),
    /// The broker ended a consumer: its queue was deleted, or its channel closed.
    #[error("the broker ended the consumer of {0}")]
    Ended(&'static str),
    /// The broker did not answer in time.
    #[error("the broker did not answer in time: {0}")]
    TimedOut(&'static str),
    /// A queue or exchange of this name exists with other arguments. They cannot be changed: drain and
    /// delete it, or use another virtual host.
    #[error("{name} exists with other arguments than this version declares; drain and delete it first")]
    Conflict {
        /// The queue or exchange.
        name: String,
        /// What the broker said.
        #[source]
        source: BrokerError,
    },
    /// The queue file cannot be opened, read or written.
    #[error("the queue file cannot be used")]
    File(#[source] FileError),
    /// The queue file was written by a newer version of rollcall.
    #[error("the queue file has format {0}, which is newer than this version reads")]
    TooNew(i64),
    /// The folder of the queue file cannot be made.
    #[error("the folder of the queue file cannot be made")]
    Folder(#[source] Arc<std::io::Error>),
    /// The address is not one of a broker.
    #[error(transparent)]
    Url(#[from] crate::InvalidQueueUrl),
    /// The task that owns the queue file has ended.
    #[error("the queue is closed")]
    Closed,
    /// A consumer was given a publisher of the other kind of queue.
    #[error("the consumer and its publisher belong to different kinds of queue")]
    Mixed,
}

impl QueueError {
    /// Whether the same call may succeed later without anyone changing a setting.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Broker(_) | Self::Ended(_) | Self::TimedOut(_) | Self::File(_) => true,
            Self::Conflict { .. } | Self::TooNew(_) | Self::Folder(_) | Self::Url(_) => false,
            Self::Closed | Self::Mixed => false,
        }
    }
}

impl From<lapin::Error> for QueueError {
    fn from(error: lapin::Error) -> Self {
        Self::Broker(error.into())
    }
}

impl From<sqlx::Error> for QueueError {
    fn from(error: sqlx::Error) -> Self {
        Self::File(error.into())
    }
}

/// An error with its causes on one line, for a health answer.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| {
        let cause = cause.to_string();
        // A transparent error has its cause's text.
        if line.ends_with(&cause) { line } else { format!("{line}: {cause}") }
    })
}
