//! Signing, posting, and posting again until it is taken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use rollcall_signature::{HeaderFamily, Key};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;

use super::delivery::Delivery;
use crate::http::{Client, Response};

/// The path deliveries are posted to.
pub const PATH: &str = "/webhooks/scalekit";

/// How long the vendor waits before each further try.
pub const VENDOR_SCHEDULE: [Duration; 7] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 60 * 60),
    Duration::from_secs(5 * 60 * 60),
    Duration::from_secs(10 * 60 * 60),
    Duration::from_secs(10 * 60 * 60),
];

/// The vendor's sending side.
#[derive(Clone)]
pub struct Sender {
    address: String,
    path: String,
    key: Key,
    family: HeaderFamily,
    schedule: Vec<Duration>,
}

/// What came of a set of deliveries.
#[derive(Debug, Default)]
pub struct Report {
    /// Those answered 2xx, in the order of the answers, with the time of each.
    pub accepted: Vec<(Delivery, Instant)>,
    /// Those not taken at any try.
    pub given_up: Vec<Delivery>,
    /// How often each answer came; 0 stands for none.
    pub answers: BTreeMap<u16, usize>,
    /// The longest wait for an answer.
    pub slowest: Duration,
}

impl Sender {
    /// Posts to the door at `address` (`127.0.0.1:8080`), signed with `key` in `webhook-*` headers, and
    /// retries as the vendor does.
    pub fn new(address: impl Into<String>, key: Key) -> Self {
        Self {
            address: address.into(),
            path: PATH.to_owned(),
            key,
            family: HeaderFamily::Webhook,
            schedule: VENDOR_SCHEDULE.to_vec(),
        }
    }

    /// The same with other headers.
    pub fn family(mut self, family: HeaderFamily) -> Self {
        self.family = family;
        self
    }

    /// The same to another path.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// The same with every wait of the vendor's schedule multiplied by `factor`.
    pub fn time_factor(mut self, factor: f64) -> Self {
        self.schedule = VENDOR_SCHEDULE.iter().map(|wait| wait.mul_f64(factor)).collect();
        self
    }

    /// The same with a schedule of its own.
    pub fn schedule(mut self, schedule: Vec<Duration>) -> Self {
        self.schedule = schedule;
        self
    }

    /// A connection to the door.
    pub fn client(&self) -> Client {
        Client::new(&self.address)
    }

    /// Signs a delivery now and posts it, once.
    pub async fn deliver(&self, client: &mut Client, delivery: &Delivery) -> anyhow::Result<Response> {
        let headers = delivery.headers(&self.key, self.family, rollcall_event::clock::now());
        client.post(&self.path, &headers, delivery.body.clone()).await
    }

    /// Posts all of them over `connections` connections, started in their order, each until it is taken
    /// or the schedule ends. With one connection and no refusal they arrive in their order.
    ///
    /// # Errors
    ///
    /// None of the door's doing: what was refused is in the report.
    pub async fn deliver_all(&self, deliveries: &[Delivery], connections: usize) -> anyhow::Result<Report> {
        let pool = Arc::new(Pool {
            turns: Semaphore::new(connections),
            clients: Mutex::new((0..connections).map(|_| self.client()).collect()),
        });
        let report = Arc::new(Mutex::new(Report::default()));
        let mut tasks = JoinSet::new();
        for delivery in deliveries {
            // A turn is taken here, in order; a retry takes one later.
            let turn = pool.turns.acquire().await.context("the pool is never closed")?;
            turn.forget();
            let (sender, pool, report) = (self.clone(), Arc::clone(&pool), Arc::clone(&report));
            tasks.spawn(sender.deliver_until_taken(delivery.clone(), pool, report));
            while tasks.try_join_next().is_some() {}
        }
        while let Some(ended) = tasks.join_next().await {
            ended.context("a delivery panicked")?;
        }
        let report = std::mem::take(&mut *report.lock().await);
        Ok(report)
    }

    async fn deliver_until_taken(self, delivery: Delivery, pool: Arc<Pool>, report: Arc<Mutex<Report>>) {
        let mut waits = self.schedule.iter();
        loop {
            let started = Instant::now();
            let answer = {
                let mut client = pool.clients.lock().await.pop().expect("there is a client for each turn");
                let answer = self.deliver(&mut client, &delivery).await;
                pool.clients.lock().await.push(client);
                pool.turns.add_permits(1);
                answer
            };
            let status = answer.map_or(0, |answer| answer.status.as_u16());
            {
                let mut report = report.lock().await;
                *report.answers.entry(status).or_default() += 1;
                report.slowest = report.slowest.max(started.elapsed());
                if (200..300).contains(&status) {
                    report.accepted.push((delivery, Instant::now()));
                    return;
                }
            }
            let Some(wait) = waits.next() else {
                report.lock().await.given_up.push(delivery);
                return;
            };
            tokio::time::sleep(*wait).await;
            match pool.turns.acquire().await {
                Ok(turn) => turn.forget(),
                Err(_) => return,
            }
        }
    }
}

struct Pool {
    turns: Semaphore,
    clients: Mutex<Vec<Client>>,
}
