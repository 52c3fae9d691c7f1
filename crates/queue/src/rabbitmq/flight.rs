//! Publishes in flight, and the verdict on each.
//!
//! A returned message sits on whichever confirm lapin resolves next, often another message's. So every
//! message carries its own id; a message is stored if its confirm is an ack and its id was never returned.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{Channel, Confirmation};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::properties;
use crate::PublishError;
use crate::name::EXCHANGE;
use crate::wire::Headers;

/// A message to publish.
pub(super) struct Job {
    pub(super) route: Route,
    pub(super) key: String,
    pub(super) headers: Headers,
    pub(super) body: Bytes,
    pub(super) answer: oneshot::Sender<Result<(), PublishError>>,
}

impl Job {
    /// Answers the caller, who may have stopped waiting, that it was not stored.
    pub(super) fn refuse(self, error: PublishError) {
        let _ = self.answer.send(Err(error));
    }
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// To the work exchange, where some queue must take it.
    Work,
    /// To this retry queue's exchange, which must take it.
    Retry(String),
    /// To the work exchange, where no queue takes it: the broker confirms it and keeps nothing.
    Canary,
}

type Confirmed = Pin<Box<dyn Future<Output = (u64, lapin::Result<Confirmation>)> + Send>>;

struct Waiter {
    answer: oneshot::Sender<Result<(), PublishError>>,
    canary: bool,
}

/// What is in flight on one confirm channel.
#[derive(Default)]
pub(super) struct Flight {
    confirms: FuturesUnordered<Confirmed>,
    waiters: HashMap<u64, Waiter>,
    returned: HashSet<u64>,
    sent: u64,
    /// Since when nothing was confirmed, though something waits to be.
    waiting_since: Option<Instant>,
}

/// A message whose confirm came: to be noted first and told then, so that a caller who asks for the health
/// right after a refusal hears of it.
pub(super) struct Landed {
    pub(super) verdict: Result<(), PublishError>,
    pub(super) canary: bool,
    answer: Option<oneshot::Sender<Result<(), PublishError>>>,
}

impl Landed {
    /// Answers the caller, who may have stopped waiting.
    pub(super) fn tell(self) {
        if let Some(answer) = self.answer {
            let _ = answer.send(self.verdict);
        }
    }
}

impl Flight {
    /// How many confirms are outstanding, given-up waiters included.
    pub(super) fn len(&self) -> usize {
        self.confirms.len()
    }

    /// For how long nothing was confirmed though something waits to be.
    pub(super) fn stalled(&self) -> Duration {
        self.waiting_since.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// Begins to count anew how long nothing was confirmed.
    pub(super) fn forgive(&mut self) {
        self.waiting_since = (self.len() > 0).then(Instant::now);
    }

    /// Sends a message. Its frames are queued when [`Flight::landed`] is next polled, in the order of launch:
    /// taking the tag and queueing the frames happen in one poll, in the one task that owns the channel.
    pub(super) fn launch(&mut self, channel: &Channel, prefix: &str, job: Job) {
        // Whoever stopped waiting was told "not stored": storing it now would only make a duplicate.
        if job.answer.is_closed() {
            return;
        }
        self.sent += 1;
        let id = self.sent;
        let Some((exchange, key)) = addressed(&job) else {
            let _ = job.answer.send(Err(PublishError::Unroutable));
            return;
        };
        let canary = job.route == Route::Canary;
        let options = BasicPublishOptions { mandatory: !canary, immediate: false };
        let properties = properties::outgoing(&job.headers, &format!("{prefix}-{id}"));
        let (channel, body) = (channel.clone(), job.body);
        self.waiters.insert(id, Waiter { answer: job.answer, canary });
        self.waiting_since.get_or_insert_with(Instant::now);
        self.confirms.push(Box::pin(async move {
            let published = channel.basic_publish(exchange, key, options, &body, properties).await;
            fail::fail_point!("queue.after_publish_before_confirm", |_| std::process::abort());
            match published {
                Ok(confirm) => (id, confirm.await),
                Err(error) => (id, Err(error)),
            }
        }));
    }

    /// Waits for confirms. Must not be called with nothing in flight.
    ///
    /// # Errors
    ///
    /// The channel is of no use any more.
    pub(super) async fn landed(&mut self) -> Result<Vec<Landed>, lapin::Error> {
        let Some(first) = self.confirms.next().await else { return Ok(Vec::new()) };
        let mut landed = vec![first];
        // All that are there must be read before any is judged: the return of one may sit on another that
        // was resolved a moment before it.
        while let Some(Some(more)) = self.confirms.next().now_or_never() {
            landed.push(more);
        }
        self.forgive();
        let mut failure = None;
        let mut acks = Vec::with_capacity(landed.len());
        for (id, confirmation) in landed {
            match confirmation {
                Ok(Confirmation::Ack(carried)) => {
                    self.note_return(carried);
                    acks.push((id, true));
                }
                Ok(Confirmation::Nack(carried)) => {
                    self.note_return(carried);
                    acks.push((id, false));
                }
                // Only without confirm mode, which every channel here is in. Not a promise, so a failure.
                Ok(Confirmation::NotRequested) => acks.push((id, false)),
                Err(error) => failure = Some(error),
            }
        }
        let landed: Vec<Landed> = acks.into_iter().map(|(id, acked)| self.judge(id, acked)).collect();
        match failure {
            None => Ok(landed),
            Some(error) => {
                landed.into_iter().for_each(Landed::tell);
                Err(error)
            }
        }
    }

    fn note_return(&mut self, carried: Option<BasicReturnMessage>) {
        let id = carried.and_then(|message| {
            let (_, id) = message.delivery.properties.message_id().as_ref()?.as_str().rsplit_once('-')?;
            id.parse::<u64>().ok()
        });
        self.returned.extend(id);
    }

    fn judge(&mut self, id: u64, acked: bool) -> Landed {
        let verdict = match (acked, self.returned.remove(&id)) {
            (true, false) => Ok(()),
            (_, true) => Err(PublishError::Unroutable),
            (false, false) => Err(PublishError::Refused),
        };
        match self.waiters.remove(&id) {
            Some(Waiter { answer, canary }) => Landed { verdict, canary, answer: Some(answer) },
            None => Landed { verdict, canary: false, answer: None },
        }
    }

    /// Answers everybody who waits with an error. What is in flight stays in flight.
    pub(super) fn fail_waiters(&mut self, error: &PublishError) {
        for (_, waiter) in self.waiters.drain() {
            let _ = waiter.answer.send(Err(error.clone()));
        }
    }
}

/// Exchange and key as short strings; `None` if one is too long for AMQP.
fn addressed(job: &Job) -> Option<(ShortString, ShortString)> {
    let exchange = match &job.route {
        Route::Work | Route::Canary => EXCHANGE,
        Route::Retry(name) => name,
    };
    Some((ShortString::try_new(exchange).ok()?, ShortString::try_new(job.key.as_str()).ok()?))
}
