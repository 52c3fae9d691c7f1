//! Storing messages durably.

use std::time::Duration;

use rollcall_event::{Envelope, RoutingKey};

use crate::{Health, Options, PublishError, QueueError, QueueUrl, embedded, rabbitmq, wire};

/// Stores messages durably. Cheap to clone; all clones share one owner task and one connection.
#[derive(Clone)]
pub struct Publisher(pub(crate) Backend);

#[derive(Clone)]
pub(crate) enum Backend {
    Rabbit(rabbitmq::Publisher),
    Embedded(embedded::Queue),
}

impl Publisher {
    /// Starts the owner task and waits for its first attempt to connect and to make the queues.
    ///
    /// A broker that is down is no error: the task keeps trying, and meanwhile [`Publisher::health`] names
    /// the cause and every publish fails at once.
    ///
    /// # Errors
    ///
    /// Only what waiting cannot mend: [`QueueError::Conflict`], or an embedded file that cannot be opened.
    pub async fn start(url: &QueueUrl, options: &Options) -> Result<Self, QueueError> {
        Ok(Self(match url {
            QueueUrl::Embedded(path) => Backend::Embedded(embedded::Queue::open(path, options).await?),
            QueueUrl::Rabbit(url) => Backend::Rabbit(rabbitmq::Publisher::start(url, options).await?),
        }))
    }

    /// Stores a message; `Ok` only when it survives a crash: confirmed and not returned, or committed with
    /// full sync. Answers within [`Options::confirm_timeout`].
    ///
    /// # Errors
    ///
    /// After any error it is unknown whether the message was stored; publishing again is safe, since the
    /// worker recognises duplicates. Dropping the future early leaves it unknown, too.
    pub async fn publish(&self, key: &RoutingKey, envelope: &Envelope) -> Result<(), PublishError> {
        self.publish_text(key.as_str(), envelope).await
    }

    /// Publishes under any key at all, which [`RoutingKey`] does not allow: for tests of what happens to
    /// messages that no queue takes.
    ///
    /// # Errors
    ///
    /// As [`Publisher::publish`].
    #[cfg(feature = "testing")]
    pub async fn publish_raw_key(&self, key: &str, envelope: &Envelope) -> Result<(), PublishError> {
        self.publish_text(key, envelope).await
    }

    async fn publish_text(&self, key: &str, envelope: &Envelope) -> Result<(), PublishError> {
        let (headers, body) = (wire::encode(envelope), envelope.body.clone());
        match &self.0 {
            Backend::Rabbit(publisher) => publisher.publish(key, headers, body).await,
            Backend::Embedded(queue) => queue.publish(key, headers, body).await,
        }
    }

    /// What is known without asking: cheap, for every request if need be. Notices a blocked broker only
    /// once something was published.
    pub fn health(&self) -> Health {
        match &self.0 {
            Backend::Rabbit(publisher) => publisher.health(),
            Backend::Embedded(queue) => queue.health(),
        }
    }

    /// Whether a publish could be confirmed now: a confirm came within two seconds, or a canary that no
    /// queue keeps is confirmed now. Answers within [`Options::confirm_timeout`].
    pub async fn probe(&self) -> Health {
        match &self.0 {
            Backend::Rabbit(publisher) => publisher.probe().await,
            Backend::Embedded(queue) => queue.probe().await,
        }
    }

    /// Takes nothing more, finishes what is under way, at most for `grace`. Every later publish fails with
    /// [`PublishError::Closed`]. Closing twice is closing once. Close the consumers that use it first.
    pub async fn close(&self, grace: Duration) {
        match &self.0 {
            Backend::Rabbit(publisher) => publisher.close(grace).await,
            Backend::Embedded(queue) => queue.close(grace).await,
        }
    }
}
