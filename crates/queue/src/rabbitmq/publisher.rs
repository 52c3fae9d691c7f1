//! The handle to the owner task.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::flight::{Job, Route};
use super::owner::Owner;
use crate::health::Pulse;
use crate::ladder::Move;
use crate::wire::Headers;
use crate::{Health, Options, PublishError, QueueError, name};

/// How long starting waits for the first attempt. It goes on in the background after that.
const FIRST_ATTEMPT: Duration = Duration::from_secs(10);

/// A key that no queue is bound to.
const CANARY_KEY: &str = "canary";

#[derive(Clone)]
pub(crate) struct Publisher(Arc<Shared>);

struct Shared {
    jobs: mpsc::Sender<Job>,
    pulse: Arc<Pulse>,
    closing: CancellationToken,
    owner: Mutex<Option<JoinHandle<()>>>,
    confirm_timeout: Duration,
}

impl Publisher {
    pub(crate) async fn start(url: &str, options: &Options) -> Result<Self, QueueError> {
        let (jobs, jobs_out) = mpsc::channel(options.line());
        let (first, first_out) = oneshot::channel();
        let (pulse, closing) = (Arc::new(Pulse::new()), CancellationToken::new());
        let owner = Owner {
            url: url.to_owned(),
            options: options.clone(),
            jobs: jobs_out,
            pulse: pulse.clone(),
            closing: closing.clone(),
            first: Some(first),
        };
        let owner = Mutex::new(Some(tokio::spawn(owner.run())));
        let confirm_timeout = options.confirm_timeout;
        let publisher = Self(Arc::new(Shared { jobs, pulse, closing, owner, confirm_timeout }));
        match timeout(FIRST_ATTEMPT, first_out).await {
            // Trying again cannot mend it, so the process should say so instead of running without a queue.
            Ok(Ok(Err(error))) if !error.is_transient() => Err(error),
            _ => Ok(publisher),
        }
    }

    pub(crate) async fn publish(&self, key: &str, headers: Headers, body: Bytes) -> Result<(), PublishError> {
        self.send(Route::Work, key.to_owned(), headers, body).await
    }

    /// Stores what a settlement makes of a message that has `key` and `body`. Nothing to do for a drop.
    pub(super) async fn carry(&self, step: Move, key: &str, body: Bytes) -> Result<(), PublishError> {
        let onward = step.key(key);
        match step {
            Move::Drop => Ok(()),
            Move::Retry { step, headers } => {
                self.send(Route::Retry(name::retry(step)), onward, headers, body).await
            }
            Move::Return(headers) | Move::Dead { headers, .. } => {
                self.send(Route::Work, onward, headers, body).await
            }
        }
    }

    pub(crate) fn health(&self) -> Health {
        if self.0.closing.is_cancelled() {
            return Health::NotReady(PublishError::Closed.to_string());
        }
        self.0.pulse.health()
    }

    pub(crate) async fn probe(&self) -> Health {
        let health = self.health();
        if !health.is_ready() || self.0.pulse.confirmed_just_now() {
            return health;
        }
        let canary = self.send(Route::Canary, CANARY_KEY.to_owned(), Headers::new(), Bytes::new());
        match canary.await {
            Ok(()) => self.health(),
            Err(error) => Health::NotReady(error.to_string()),
        }
    }

    pub(crate) async fn close(&self, grace: Duration) {
        self.0.closing.cancel();
        let owner = self.0.owner.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut owner) = owner else { return };
        if timeout(grace, &mut owner).await.is_err() {
            tracing::warn!("the broker did not confirm everything within the grace period");
            owner.abort();
        }
    }

    async fn send(
        &self,
        route: Route,
        key: String,
        headers: Headers,
        body: Bytes,
    ) -> Result<(), PublishError> {
        if self.0.closing.is_cancelled() {
            return Err(PublishError::Closed);
        }
        let (answer, verdict) = oneshot::channel();
        let job = Job { route, key, headers, body, answer };
        self.0.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => PublishError::Busy,
            mpsc::error::TrySendError::Closed(_) => PublishError::Closed,
        })?;
        // The time-out ends only the waiting: the owner goes on with the confirm, which must not be dropped.
        match timeout(self.0.confirm_timeout, verdict).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(_)) => Err(PublishError::Disconnected("the owner of the connection ended".to_owned())),
            Err(_) => Err(PublishError::TimedOut),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Nobody waits for an answer any more, so the owner may stop wherever it is.
        self.closing.cancel();
    }
}
