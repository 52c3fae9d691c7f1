//! A message as the worker sees it, and what may become of it.

use std::time::Duration;

use bytes::Bytes;
use rollcall_event::{Envelope, ReasonCode};

use crate::wire::Headers;

/// One message handed out by a [`crate::Consumer`].
#[derive(Debug)]
pub struct Message {
    /// What it carries, or why that cannot be read.
    pub envelope: Result<Envelope, ForeignMessage>,
    /// The key it came with, e.g. `event.organization.directory.user_created`.
    pub routing_key: String,
    /// How often it was handed out before without an answer. Above 0 it comes alone in its batch.
    pub deliveries: u32,
    /// Why it was given up on; only on [`crate::ConsumedQueue::Dead`].
    pub dead: Option<DeadInfo>,
    pub(crate) headers: Headers,
    pub(crate) tag: Tag,
}

impl Message {
    /// The bytes it carries, readable or not.
    pub fn body(&self) -> &Bytes {
        match &self.envelope {
            Ok(envelope) => &envelope.body,
            Err(foreign) => &foreign.body,
        }
    }
}

/// What a consumer needs to find the message again when it is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    Rabbit { generation: u64, tag: u64 },
    Embedded { holder: i64, id: i64 },
}

/// A message that is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignMessage {
    /// Which header is missing or unreadable. Never its value.
    pub why: String,
    /// The bytes it carried.
    pub body: Bytes,
}

/// Why a dead letter was given up on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadInfo {
    /// The short name of the cause.
    pub reason: ReasonCode,
    /// What the last attempt said.
    pub error: String,
    /// The key it had before, which says the lane it belongs to.
    pub routing_key: String,
}

/// What shall become of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// It is done with: forget it.
    Done,
    /// Its attempt failed and a later one may not: send it to the next retry step, or, when these are used
    /// up, give up on it as [`ReasonCode::RetriesExhausted`].
    Retry {
        /// What the attempt said: one line, no body and no e-mail.
        error: String,
    },
    /// It can never succeed.
    Dead {
        /// The short name of the cause.
        reason: ReasonCode,
        /// What the attempt said: one line, no body and no e-mail.
        error: String,
    },
    /// Nothing was tried: back to its queue, nothing counted.
    Return,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is gone.
    Done,
    /// It waits for its next attempt.
    Retried {
        /// How long.
        step: Duration,
    },
    /// It was given up on.
    Dead {
        /// Why.
        reason: ReasonCode,
    },
    /// It is back in its queue.
    Returned,
    /// Its retry or dead letter could not be stored yet. The consumer keeps it and goes on trying; if it
    /// ends before, the message comes again.
    Kept,
    /// It no longer belonged to this consumer (connection lost, lease run out): nothing was sent and it
    /// comes again, perhaps to another worker.
    ComesAgain,
}

/// What became of a batch, message by message in the order they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// One for each message.
    pub fates: Vec<Fate>,
}
