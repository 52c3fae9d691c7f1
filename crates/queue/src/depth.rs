//! How much is in each queue, and making the queues.

use std::time::Duration;

use crate::{Options, QueueError, QueueUrl, embedded, rabbitmq};

/// What one queue holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depth {
    /// The queue's name, e.g. `rollcall.events` or `rollcall.retry.30s`.
    pub queue: String,
    /// Messages that wait: for a consumer, or in a retry queue for their time.
    pub ready: u64,
    /// Messages handed out and not settled. RabbitMQ does not tell its clients.
    pub unacked: Option<u64>,
    /// How long the oldest message has been in this queue. RabbitMQ does not tell its clients.
    pub oldest_age: Option<Duration>,
    /// Consumers of the queue; only RabbitMQ knows.
    pub consumers: Option<u32>,
}

impl Depth {
    /// An empty queue of the embedded backend.
    pub(crate) fn empty(queue: String) -> Self {
        Self { queue, ready: 0, unacked: Some(0), oldest_age: None, consumers: None }
    }
}

/// Counts every queue: the lanes, the dead letters, and one per retry step.
///
/// Opens a connection of its own and closes it. Makes what is missing, as [`declare`] does.
///
/// # Errors
///
/// The broker cannot be reached, or the file cannot be opened.
pub async fn depths(url: &QueueUrl, options: &Options) -> Result<Vec<Depth>, QueueError> {
    match url {
        QueueUrl::Embedded(path) => embedded::depths(path, options).await,
        QueueUrl::Rabbit(url) => rabbitmq::depths(url, options).await,
    }
}

/// Makes everything a queue needs: exchanges, queues and bindings, or the file with its tables. Changes
/// nothing that is there already.
///
/// # Errors
///
/// [`QueueError::Conflict`] when a queue exists with other arguments, else as for [`depths`].
pub async fn declare(url: &QueueUrl, options: &Options) -> Result<(), QueueError> {
    match url {
        QueueUrl::Embedded(path) => embedded::declare(path).await,
        QueueUrl::Rabbit(url) => rabbitmq::declare(url, options).await,
    }
}
