//! What travels on the queue.

use std::fmt;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::DeliveryId;

/// Which door an event came through. Part of the dedupe key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Scalekit's webhooks.
    Scalekit,
}

impl Source {
    /// As stored and as sent in message headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalekit => "scalekit",
        }
    }

    /// The inverse of [`Source::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        (text == "scalekit").then_some(Self::Scalekit)
    }
}

/// SHA-256 of a body as it came: with source and event id the key by which duplicates are known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BodyHash([u8; 32]);

impl BodyHash {
    /// Hashes a body.
    pub fn of(body: &[u8]) -> Self {
        Self(Sha256::digest(body).into())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for BodyHash {
    /// 64 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BodyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A delivery on its way: the sender's bytes untouched, and what we know about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The door it came through.
    pub source: Source,
    /// The sender's id of the delivery.
    pub delivery_id: DeliveryId,
    /// When the door had read it.
    pub received_at: DateTime<Utc>,
    /// Which try of the worker the next one is, from 1.
    pub attempt: u32,
    /// What the first failed attempt said.
    pub first_error: Option<String>,
    /// What the latest failed attempt said.
    pub last_error: Option<String>,
    /// W3C trace context of the request that brought it.
    pub traceparent: Option<String>,
    /// The body, byte for byte as it was signed.
    pub body: Bytes,
}

impl Envelope {
    /// A delivery nobody has tried yet.
    pub fn new(source: Source, delivery_id: DeliveryId, received_at: DateTime<Utc>, body: Bytes) -> Self {
        Self {
            source,
            delivery_id,
            received_at,
            attempt: 1,
            first_error: None,
            last_error: None,
            traceparent: None,
            body,
        }
    }

    /// The same delivery after a failed attempt: counted, with the error kept as the latest and, if it
    /// is the first, as the first.
    #[must_use]
    pub fn failed(mut self, error: &str) -> Self {
        self.attempt = self.attempt.saturating_add(1);
        self.first_error.get_or_insert_with(|| error.to_owned());
        self.last_error = Some(error.to_owned());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_counted_and_the_first_error_stays() {
        let id = DeliveryId::parse("msg_1").unwrap();
        let envelope = Envelope::new(Source::Scalekit, id, DateTime::UNIX_EPOCH, Bytes::new());
        let twice = envelope.failed("a").failed("b");
        assert_eq!(twice.attempt, 3);
        assert_eq!(twice.first_error.as_deref(), Some("a"));
        assert_eq!(twice.last_error.as_deref(), Some("b"));
    }
}
