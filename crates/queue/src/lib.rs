//! The queue between the ingress and the worker: RabbitMQ, or an embedded SQLite file on one machine.
//!
//! Both keep the same promises. [`Publisher::publish`] answers `Ok` only for a message that survives a
//! crash; a message handed out by a [`Consumer`] comes again until it is settled; a failed attempt
//! returns to its own lane after a delay; what is given up on arrives at [`ConsumedQueue::Dead`] with its
//! reason. Delivery is at least once: after any error the outcome is unknown, and a message may come twice.
//! `tests/it/queue.rs` holds both backends to this.
//!
//! lapin's and sqlx's types stay inside this crate.

mod backoff;
mod consumer;
mod depth;
mod embedded;
mod error;
mod health;
mod ladder;
mod message;
mod name;
mod options;
mod publisher;
mod rabbitmq;
mod url;
mod wire;

pub use consumer::Consumer;
pub use depth::{Depth, declare, depths};
pub use error::{BrokerError, FileError, PublishError, QueueError};
pub use health::Health;
pub use message::{DeadInfo, Fate, ForeignMessage, Message, Settled, Settlement};
pub use name::ConsumedQueue;
pub use options::Options;
pub use publisher::Publisher;
pub use url::{InvalidQueueUrl, QueueUrl};

/// What a log filter must add whatever else it says: lapin writes every returned message at `WARN`, body
/// included, and a body is personal data.
pub const LOG_DIRECTIVES: &str = "lapin::returned_messages=off";

/// Ways in that only tests and fuzzing need.
#[cfg(feature = "testing")]
pub mod testing {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use rollcall_event::Envelope;

    /// The envelope that these headers and this body were.
    ///
    /// # Errors
    ///
    /// A header is missing or unreadable.
    pub fn decode(
        headers: &BTreeMap<String, String>,
        body: Bytes,
    ) -> Result<Envelope, crate::ForeignMessage> {
        crate::wire::decode(headers, body)
    }

    /// The headers of an envelope.
    pub fn encode(envelope: &Envelope) -> BTreeMap<String, String> {
        crate::wire::encode(envelope)
    }
}
