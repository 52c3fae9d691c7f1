//! Taking messages and saying what becomes of them.

use std::time::Duration;

use crate::publisher::Backend as Publishing;
use crate::{
    ConsumedQueue, Message, Options, Publisher, QueueError, QueueUrl, Settled, Settlement, embedded, rabbitmq,
};

/// Takes messages from one queue.
///
/// Dropped without [`Consumer::close`], everything it holds comes again and counts as handed out without an
/// answer, as after a crash.
pub struct Consumer(Backend);

enum Backend {
    // Boxed: it holds a connection and buffers, and the futures of callers hold the consumer.
    Rabbit(Box<rabbitmq::Consumer>),
    Embedded(embedded::Consumer),
}

impl Consumer {
    /// Opens a consumer of `queue`. On RabbitMQ it has a connection of its own, apart from the publisher's,
    /// and holds at most `prefetch` messages; the embedded queue holds what was received and not settled.
    /// `publisher` carries retries and dead letters, and must be of the same queue.
    ///
    /// A broker that is down is no error: [`Consumer::receive`] keeps trying.
    ///
    /// # Errors
    ///
    /// [`QueueError::Conflict`] and [`QueueError::Mixed`].
    pub async fn open(
        url: &QueueUrl,
        options: &Options,
        queue: ConsumedQueue,
        prefetch: u16,
        publisher: Publisher,
    ) -> Result<Self, QueueError> {
        Ok(Self(match (url, publisher.0) {
            (QueueUrl::Rabbit(url), Publishing::Rabbit(publisher)) => {
                let consumer = rabbitmq::Consumer::open(url, options, queue, prefetch, publisher).await?;
                Backend::Rabbit(Box::new(consumer))
            }
            (QueueUrl::Embedded(_), Publishing::Embedded(shared)) => {
                Backend::Embedded(embedded::Consumer::new(shared, queue))
            }
            _ => return Err(QueueError::Mixed),
        }))
    }

    /// Waits for at least one message, then until there are `max` or `linger` is over.
    ///
    /// A message that was handed out before comes alone, and on RabbitMQ nothing else is held with it: one
    /// that kills the worker must not take its neighbours along. For that the call may wait until what was
    /// handed out before is settled. Safe to cancel: nothing is lost.
    ///
    /// # Errors
    ///
    /// The connection or the file was lost; what was held comes again. Call again: it waits with growing
    /// delays and connects anew.
    pub async fn receive(&mut self, max: usize, linger: Duration) -> Result<Vec<Message>, QueueError> {
        match &mut self.0 {
            Backend::Rabbit(consumer) => Box::pin(consumer.receive(max, linger)).await,
            Backend::Embedded(consumer) => consumer.receive(max, linger).await,
        }
    }

    /// Settles a batch. Retries and dead letters are stored first, then the originals are let go: a crash
    /// in between makes a duplicate, never a loss. Says what became of each message.
    ///
    /// Let it run to its end: cancelled, what was not yet let go comes again after a while.
    ///
    /// # Errors
    ///
    /// The file cannot be written: nothing was settled, and the batch may be settled again only by what
    /// comes again. A lost connection to the broker is [`crate::Fate::ComesAgain`], not an error.
    pub async fn settle(&mut self, settled: Vec<(Message, Settlement)>) -> Result<Settled, QueueError> {
        match &mut self.0 {
            Backend::Rabbit(consumer) => Box::pin(consumer.settle(settled)).await,
            Backend::Embedded(consumer) => consumer.settle(settled).await,
        }
    }

    /// Hands back what it holds, not counted as an attempt, and ends, within about `grace`. Messages that
    /// were received and never settled come again; settle them as [`Settlement::Return`] before.
    pub async fn close(self, grace: Duration) {
        match self.0 {
            Backend::Rabbit(consumer) => Box::pin(consumer.close(grace)).await,
            Backend::Embedded(consumer) => consumer.close(grace).await,
        }
    }
}
