//! Declaring the topology again while publishing goes on, after a message found no queue.

use std::future::pending;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lapin::Connection;
use tokio::time::{Instant, sleep_until};

use super::topology::{REST, declare_on};
use crate::Options;
use crate::error::chain;

pub(super) struct Repairs<'a> {
    connection: &'a Connection,
    options: &'a Options,
    /// When to declare again: a while after the first message that found no queue.
    wanted: Option<Instant>,
    running: Option<BoxFuture<'a, ()>>,
}

impl<'a> Repairs<'a> {
    pub(super) fn new(connection: &'a Connection, options: &'a Options) -> Self {
        Self { connection, options, wanted: None, running: None }
    }

    /// Asks for a repair; one at a time runs, however many messages say that a queue is missing.
    pub(super) fn want(&mut self) {
        self.wanted.get_or_insert_with(|| Instant::now() + REST);
    }

    /// Runs what is wanted; waits for ever when nothing is. Cancelled and called again, it goes on.
    pub(super) async fn run(&mut self) {
        if self.running.is_none() {
            let Some(at) = self.wanted else { return pending().await };
            sleep_until(at).await;
            self.wanted = None;
            self.running = Some(declare(self.connection, self.options).boxed());
        }
        if let Some(running) = &mut self.running {
            running.await;
            self.running = None;
        }
    }
}

async fn declare(connection: &Connection, options: &Options) {
    tracing::warn!("a message found no queue: declaring exchanges, queues and bindings again");
    if let Err(error) = declare_on(connection, options).await {
        tracing::error!(error = chain(&error), "the queues could not be declared again");
    }
}
