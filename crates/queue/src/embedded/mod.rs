//! The queue as one SQLite file, for a single machine.
//!
//! One task per opened queue owns the only connection that writes. Whatever waits when it becomes free goes
//! into one transaction with one sync to disk, so the rate grows with the number of callers. Two processes
//! share the file: each wakes on the other's commits by asking SQLite whether the file changed.

mod consumer;
mod file;
mod leases;
mod owner;
mod publishes;
mod settle;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(crate) use consumer::Consumer;
pub(crate) use file::{declare, depths};

use crate::health::Pulse;
use crate::name::ConsumedQueue;
use crate::wire::Headers;
use crate::{Health, Options, PublishError, QueueError};
use leases::Lease;
use settle::{Release, Settle};

/// A message to be stored, as SQLite takes it: made so by whoever publishes, because everybody waits for what the owner
/// does.
struct Publish {
    queue: ConsumedQueue,
    key: String,
    /// As JSON.
    headers: String,
    body: Vec<u8>,
    answer: oneshot::Sender<Result<(), PublishError>>,
}

/// Everything else the owner is asked for. Unbounded, but each consumer has one order out at a time.
enum Order {
    Lease(Lease),
    Settle(Settle),
    Release(Release),
    Probe(oneshot::Sender<Result<(), PublishError>>),
    /// Answered when all that was accepted before is stored or refused.
    Flush(oneshot::Sender<()>),
}

/// A handle to the owner of a queue file. The owner ends when the last handle is gone.
#[derive(Clone)]
pub(crate) struct Queue(Arc<Shared>);

struct Shared {
    publishes: mpsc::Sender<Publish>,
    orders: mpsc::UnboundedSender<Order>,
    pulse: Arc<Pulse>,
    closed: CancellationToken,
    options: Options,
    _owner: JoinHandle<()>,
}

impl Queue {
    /// Opens the file, making it and its folder if need be, and starts its owner.
    pub(crate) async fn open(path: &Path, options: &Options) -> Result<Self, QueueError> {
        let connection = file::open(path).await?;
        let (publishes, publishes_out) = mpsc::channel(options.line());
        let (orders, orders_out) = mpsc::unbounded_channel();
        let pulse = Arc::new(Pulse::new());
        pulse.up();
        let owner = owner::Owner::new(path, options, connection, publishes_out, orders_out, pulse.clone());
        let _owner = tokio::spawn(owner.run());
        let closed = CancellationToken::new();
        Ok(Self(Arc::new(Shared { publishes, orders, pulse, closed, options: options.clone(), _owner })))
    }

    pub(crate) async fn publish(&self, key: &str, headers: Headers, body: Bytes) -> Result<(), PublishError> {
        if self.0.closed.is_cancelled() {
            return Err(PublishError::Closed);
        }
        let queue = ConsumedQueue::of_key(key).ok_or(PublishError::Unroutable)?;
        let headers = serde_json::to_string(&headers).unwrap_or_default();
        let (answer, verdict) = oneshot::channel();
        let publish = Publish { queue, key: key.to_owned(), headers, body: body.into(), answer };
        self.0.publishes.try_send(publish).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => PublishError::Busy,
            mpsc::error::TrySendError::Closed(_) => PublishError::Closed,
        })?;
        self.wait(verdict).await
    }

    pub(crate) fn health(&self) -> Health {
        if self.0.closed.is_cancelled() {
            return Health::NotReady(PublishError::Closed.to_string());
        }
        self.0.pulse.health()
    }

    pub(crate) async fn probe(&self) -> Health {
        if !self.0.closed.is_cancelled() && !self.0.pulse.confirmed_just_now() {
            let (answer, verdict) = oneshot::channel();
            // A failed send means that the owner is gone, which the wait reports.
            let _ = self.0.orders.send(Order::Probe(answer));
            if let Err(error) = self.wait(verdict).await {
                return Health::NotReady(crate::error::chain(&error));
            }
        }
        self.health()
    }

    pub(crate) async fn close(&self, grace: Duration) {
        self.0.closed.cancel();
        let (answer, flushed) = oneshot::channel();
        if self.0.orders.send(Order::Flush(answer)).is_ok() && timeout(grace, flushed).await.is_err() {
            tracing::warn!("the queue file did not take everything within the grace period");
        }
    }

    fn order(&self, order: Order) -> Result<(), QueueError> {
        self.0.orders.send(order).map_err(|_| QueueError::Closed)
    }

    async fn wait(&self, verdict: oneshot::Receiver<Result<(), PublishError>>) -> Result<(), PublishError> {
        match timeout(self.0.options.confirm_timeout, verdict).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(_)) => Err(PublishError::Closed),
            Err(_) => Err(PublishError::TimedOut),
        }
    }
}
