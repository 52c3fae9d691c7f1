//! The queue on RabbitMQ 3.10 to 4.x: one topic exchange, quorum queues, confirms.

mod connection;
mod consumer;
mod flight;
mod held;
mod link;
mod owed;
mod owner;
mod properties;
mod publisher;
mod repairs;
mod settle;
mod topology;

use std::time::Duration;

pub(crate) use consumer::Consumer;
pub(crate) use publisher::Publisher;
pub(crate) use topology::{declare, depths};

/// How long any single answer of the broker is waited for, connecting apart.
const ANSWER: Duration = Duration::from_secs(10);
