//! Reading one queue of the file.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::leases::{Lease, Leased};
use super::settle::{Release, Settle};
use super::{Order, Queue};
use crate::backoff::Delays;
use crate::ladder::Move;
use crate::message::Tag;
use crate::name::ConsumedQueue;
use crate::{Fate, Message, QueueError, Settled, Settlement, wire};

type Answer = oneshot::Receiver<Result<Vec<Leased>, QueueError>>;

pub(crate) struct Consumer {
    shared: Queue,
    queue: ConsumedQueue,
    holder: i64,
    /// Leased for a call of `receive` that was cancelled, or is still collecting.
    ready: Vec<Leased>,
    /// Asked for and not answered.
    asked: Option<Answer>,
    delays: Delays,
    not_before: Option<Instant>,
    /// Until when the batch being collected may grow. Outlives a cancelled call, or a caller that cancels often
    /// would never get a batch.
    lingers_until: Option<Instant>,
    released: bool,
}

impl Consumer {
    pub(crate) fn new(shared: Queue, queue: ConsumedQueue) -> Self {
        Self {
            shared,
            queue,
            holder: rand::random::<i64>(),
            ready: Vec::new(),
            asked: None,
            delays: Delays::new(),
            not_before: None,
            lingers_until: None,
            released: false,
        }
    }

    pub(crate) async fn receive(&mut self, max: usize, linger: Duration) -> Result<Vec<Message>, QueueError> {
        if let Some(at) = self.not_before {
            sleep_until(at).await;
            self.not_before = None;
        }
        let max = max.max(1);
        while self.ready.is_empty() {
            self.ask(max, true).await?;
        }
        let alone = self.ready.first().is_some_and(|first| first.deliveries > 0);
        if !alone && self.ready.len() < max && !linger.is_zero() {
            let until = *self.lingers_until.get_or_insert_with(|| Instant::now() + linger);
            sleep_until(until).await;
            self.ask(max - self.ready.len(), false).await?;
        }
        self.lingers_until = None;
        Ok(self.batch(max))
    }

    pub(crate) async fn settle(
        &mut self,
        settled: Vec<(Message, Settlement)>,
    ) -> Result<Settled, QueueError> {
        let steps = &self.shared.0.options.retry_steps;
        let mut fates = vec![Fate::ComesAgain; settled.len()];
        let (mut places, mut moves) = (Vec::new(), Vec::new());
        for (place, (message, settlement)) in settled.iter().enumerate() {
            // One that another consumer handed out stays that one's.
            if let Tag::Embedded { holder, id } = message.tag
                && holder == self.holder
            {
                let step = Move::of(message, settlement, steps);
                places.push((place, step.fate()));
                moves.push((id, message.routing_key.clone(), step));
            }
        }
        let (answer, held) = oneshot::channel();
        self.shared.order(Order::Settle(Settle { holder: self.holder, moves, answer }))?;
        let held = held.await.map_err(|_| QueueError::Closed)??;
        for ((place, fate), _) in places.into_iter().zip(held).filter(|(_, held)| *held) {
            fates[place] = fate;
        }
        Ok(Settled { fates })
    }

    pub(crate) async fn close(mut self, grace: Duration) {
        self.released = true;
        let (answer, done) = oneshot::channel();
        let release = Release { holder: self.holder, counted: false, answer: Some(answer) };
        if self.shared.order(Order::Release(release)).is_ok() && timeout(grace, done).await.is_err() {
            tracing::warn!(queue = self.queue.name(), "not everything was handed back in time");
        }
    }

    /// Asks for messages, and if `patient` waits until there are any. Cancelled in between, the next call
    /// takes the answer.
    async fn ask(&mut self, max: usize, patient: bool) -> Result<(), QueueError> {
        if self.asked.is_none() {
            let (answer, asked) = oneshot::channel();
            let lease = Lease { holder: self.holder, queue: self.queue, max, patient, answer };
            self.shared.order(Order::Lease(lease))?;
            self.asked = Some(asked);
        }
        let Some(asked) = self.asked.as_mut() else { return Ok(()) };
        let answer = asked.await;
        self.asked = None;
        match answer.map_err(|_| QueueError::Closed)? {
            Ok(leased) => {
                self.delays.connected();
                self.ready.extend(leased);
                Ok(())
            }
            Err(error) => {
                self.not_before = Some(Instant::now() + self.delays.next());
                Err(error)
            }
        }
    }

    fn batch(&mut self, max: usize) -> Vec<Message> {
        let fresh = self.ready.iter().take_while(|message| message.deliveries == 0).count();
        let size = fresh.clamp(1, max).min(self.ready.len());
        let (queue, holder) = (self.queue, self.holder);
        self.ready.drain(..size).map(|leased| message(leased, queue, holder)).collect()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if !self.released {
            let release = Release { holder: self.holder, counted: true, answer: None };
            // The owner is gone when this fails, and the leases run out by themselves.
            let _ = self.shared.order(Order::Release(release));
        }
    }
}

fn message(leased: Leased, queue: ConsumedQueue, holder: i64) -> Message {
    let dead = (queue == ConsumedQueue::Dead).then(|| wire::dead_info(&leased.headers)).flatten();
    Message {
        envelope: wire::decode(&leased.headers, Bytes::from(leased.body)),
        routing_key: leased.routing_key,
        deliveries: leased.deliveries,
        dead,
        headers: leased.headers,
        tag: Tag::Embedded { holder, id: leased.id },
    }
}
