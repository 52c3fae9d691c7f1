//! Declaring the topology again while publishing goes on, after a message found no queue.

use std::future::pending;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lapin::Connection;
use tokio::time::{Instant, sleep_until};

use super::topology::declare_on;
use crate::Options;
use crate::error::chain;

/// At most this often: a deleted queue makes every message say so.
const EVERY: Duration = Duration::from_secs(1);

pub(super) struct Repairs<'a> {
    connection: &'a Connection,
    options: &'a Options,
    wanted: bool,
    running: Option<BoxFuture<'a, ()>>,
    not_before: Instant,
}

impl<'a> Repairs<'a> {
    pub(super) fn new(connection: &'a Connection, options: &'a Options) -> Self {
        Self { connection, options, wanted: false, running: None, not_before: Instant::now() }
    }

    /// Asks for a repair; one at a time runs.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Runs what is wanted; waits for ever when nothing is. Cancelled and called again, it goes on.
    pub(super) async fn run(&mut self) {
        if self.running.is_none() {
            if !self.wanted {
                return pending().await;
            }
            sleep_until(self.not_before).await;
            self.wanted = false;
            self.not_before = Instant::now() + EVERY;
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
