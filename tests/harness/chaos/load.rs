//! Deliveries at a pace, each sent until it is taken.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use rand::Rng;
use tokio::task::JoinSet;

use super::ledger::Ledger;
use crate::http::Client;
use crate::simulator::{Delivery, Sender};

/// Between two tries, and up to half as much again: the vendor's seconds and hours are not for tests.
const PAUSE: Duration = Duration::from_millis(200);
/// After this a delivery is given up on; no fault may last so long.
const PATIENCE: Duration = Duration::from_secs(240);

/// A load under way. Dropping it stops it.
pub(super) struct Load {
    line: Arc<Line>,
    connections: JoinSet<()>,
}

/// What each connection takes its turns from.
struct Line {
    started: Instant,
    /// Between two deliveries.
    gap: Duration,
    waiting: Mutex<(u32, VecDeque<Delivery>)>,
}

impl Load {
    /// Sends these at so many a second over so many connections, started in their order.
    pub(super) fn start(
        sender: &Sender,
        ledger: &Arc<Ledger>,
        deliveries: Vec<Delivery>,
        rate: u32,
        connections: usize,
    ) -> Self {
        let line = Arc::new(Line {
            started: Instant::now(),
            gap: Duration::from_secs(1) / rate.max(1),
            waiting: Mutex::new((0, deliveries.into())),
        });
        let mut running = JoinSet::new();
        for _ in 0..connections {
            let (sender, ledger, line) = (sender.clone(), Arc::clone(ledger), Arc::clone(&line));
            running.spawn(async move {
                let mut client = sender.client();
                while let Some((due, delivery)) = line.next() {
                    tokio::time::sleep_until(due.into()).await;
                    until_taken(&sender, &mut client, &ledger, &delivery).await;
                }
            });
        }
        Self { line, connections: running }
    }

    /// Sends nothing new from now on; what was begun is sent until it is taken.
    pub(super) fn stop(&self) {
        self.line.waiting.lock().unwrap_or_else(PoisonError::into_inner).1.clear();
    }

    /// Waits until every delivery was taken or given up on.
    pub(super) async fn finish(mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.connections.join_next().await {
            ended.context("a connection of the load panicked")?;
        }
        Ok(())
    }
}

impl Line {
    fn next(&self) -> Option<(Instant, Delivery)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let delivery = waiting.1.pop_front()?;
        waiting.0 += 1;
        Some((self.started + self.gap * (waiting.0 - 1), delivery))
    }
}

/// Sends one delivery until it is taken.
pub(super) async fn until_taken(sender: &Sender, client: &mut Client, ledger: &Ledger, delivery: &Delivery) {
    let (key, started) = (Ledger::key(delivery), Instant::now());
    while started.elapsed() < PATIENCE {
        if once(sender, client, ledger, delivery, &key).await {
            return;
        }
        let pause = PAUSE + PAUSE.mul_f64(rand::rng().random_range(0.0..0.5));
        tokio::time::sleep(pause).await;
    }
    ledger.give_up(&key);
}

/// Sends one delivery once; says whether it was taken.
pub(super) async fn once(
    sender: &Sender,
    client: &mut Client,
    ledger: &Ledger,
    delivery: &Delivery,
    key: &str,
) -> bool {
    ledger.try_now(key);
    let started = Instant::now();
    let answer = sender.deliver(client, delivery).await;
    ledger.note(delivery, key, started, answer)
}
