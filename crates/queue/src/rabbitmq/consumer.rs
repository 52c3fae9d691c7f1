//! Reading one queue of the broker.
//!
//! A message that was handed out before may be the one that kills the worker, and everything held with it
//! when the channel dies is counted with it. So the consumer starts with a prefetch of one and widens at the
//! first message that nobody had before; when such a message turns up among others, it narrows again, hands
//! the others out first, and the suspects one by one with nothing else in hand.
//!
//! The broker counts what it sent by consumer, and a new width means a new consumer. So that no more than the
//! prefetch is ever held, a consumer begins with what the earlier ones of its channel have left of it.

use std::future::pending;
use std::time::Duration;

use rollcall_event::ReasonCode;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::Publisher;
use super::held::Held;
use super::link::Link;
use super::owed::Owed;
use super::settle::Carrying;
use super::topology::REST;
use crate::backoff::Delays;
use crate::error::chain;
use crate::ladder::Move;
use crate::message::Tag;
use crate::name::ConsumedQueue;
use crate::wire::limit_error;
use crate::{Message, Options, QueueError, Settlement};

/// How often something owed is tried again.
const OWED: Duration = Duration::from_secs(1);

pub(crate) struct Consumer {
    url: String,
    pub(super) options: Options,
    queue: ConsumedQueue,
    prefetch: u16,
    pub(super) publisher: Publisher,
    pub(super) link: Option<Link>,
    opening: Option<JoinHandle<Result<Link, QueueError>>>,
    delays: Delays,
    not_before: Option<Instant>,
    /// When a new channel is due.
    renew_at: Instant,
    /// Until when the batch being collected may grow. Outlives a cancelled call, or a caller that cancels often
    /// would never get a batch.
    lingers_until: Option<Instant>,
    /// Names the connection, so that a message of an earlier one, or of another consumer, is told apart.
    generation: u64,
    /// Whether to consume one at a time.
    narrow: bool,
    pub(super) held: Held,
    pub(super) owed: Vec<Owed>,
    pub(super) carrying: Option<Carrying>,
}

impl Consumer {
    pub(crate) async fn open(
        url: &str,
        options: &Options,
        queue: ConsumedQueue,
        prefetch: u16,
        publisher: Publisher,
    ) -> Result<Self, QueueError> {
        let mut consumer = Self {
            url: url.to_owned(),
            options: options.clone(),
            queue,
            // None at all would mean "no limit".
            prefetch: prefetch.max(1),
            publisher,
            link: None,
            opening: None,
            delays: Delays::new(),
            not_before: None,
            renew_at: Instant::now(),
            lingers_until: None,
            generation: 0,
            narrow: true,
            held: Held::default(),
            owed: Vec::new(),
            carrying: None,
        };
        match consumer.connect().await {
            Err(error) if !error.is_transient() => Err(error),
            // `receive` goes on trying.
            _ => Ok(consumer),
        }
    }

    pub(crate) async fn receive(&mut self, max: usize, linger: Duration) -> Result<Vec<Message>, QueueError> {
        self.connect().await?;
        let received = loop {
            match self.collect(max.max(1), linger).await {
                // Suspects, none of them for anybody to see, or not yet.
                Ok(batch) if batch.is_empty() => {}
                received => break received,
            }
        };
        if let Err(error) = &received {
            tracing::warn!(
                queue = self.queue.name(),
                error = chain(error),
                "the consuming connection was lost"
            );
            self.lose();
            if matches!(error, QueueError::Ended(_)) {
                self.not_before = Some(Instant::now() + REST);
            }
        }
        received
    }

    pub(crate) async fn close(mut self, grace: Duration) {
        if timeout(grace, self.hand_back()).await.is_err() {
            tracing::warn!(queue = self.queue.name(), "not everything was handed back in time");
        }
        if let Some(link) = self.link.take() {
            link.close().await;
        }
    }

    /// Connects if there is no connection. In a task of its own, so that being cancelled costs no progress.
    async fn connect(&mut self) -> Result<(), QueueError> {
        if self.link.is_some() {
            return Ok(());
        }
        if let Some(at) = self.not_before {
            sleep_until(at).await;
            self.not_before = None;
        }
        let opening = self.opening.get_or_insert_with(|| {
            tokio::spawn(Link::open(self.url.clone(), self.options.clone(), self.queue))
        });
        let opened = opening.await;
        self.opening = None;
        match opened.unwrap_or(Err(QueueError::Closed)) {
            Ok(link) => {
                self.delays.connected();
                self.link = Some(link);
                self.begins();
                Ok(())
            }
            Err(error) => {
                self.lose();
                Err(error)
            }
        }
    }

    /// Begins to count and to look anew, as every channel does.
    fn begins(&mut self) {
        (self.generation, self.narrow) = (rand::random(), true);
        self.held = Held::default();
        self.renew_at = Instant::now() + self.options.renewal;
    }

    /// Forgets a connection. All that was held on it comes again.
    pub(super) fn lose(&mut self) {
        self.link = None;
        self.held = Held::default();
        self.owed.clear();
        self.carrying = None;
        self.not_before = Some(Instant::now() + self.delays.next());
    }

    async fn collect(&mut self, max: usize, linger: Duration) -> Result<Vec<Message>, QueueError> {
        self.carried().await?;
        self.sort();
        if self.held.misses_one() {
            return Err(QueueError::Ended(self.queue.name()));
        }
        if !self.has_next() {
            self.wait_for_one().await?;
        }
        if !self.held.fresh.is_empty() {
            if self.narrow {
                self.narrow = false;
                self.pause().await?;
            }
            let deadline = *self.lingers_until.get_or_insert_with(|| Instant::now() + linger);
            while self.held.fresh.len() < max && self.held.suspects.is_empty() {
                if !self.fit().await? {
                    break;
                }
                let Some(link) = self.link.as_mut() else { break };
                let Ok(delivery) = timeout_at(deadline, link.next()).await else { break };
                self.held.arrived.push(delivery?);
                self.sort();
            }
        }
        if !self.held.suspects.is_empty() {
            self.stop().await?;
        }
        self.lingers_until = None;
        if !self.held.fresh.is_empty() {
            let size = max.min(self.held.fresh.len());
            return Ok(self.held.fresh.drain(..size).collect());
        }
        if !self.has_next() {
            return Ok(Vec::new());
        }
        self.one_suspect().await
    }

    /// Whether a message may be handed out: a suspect only when nothing else is.
    fn has_next(&self) -> bool {
        !self.held.fresh.is_empty() || (!self.held.suspects.is_empty() && self.handed_out() == 0)
    }

    /// How many messages the caller has and did not settle.
    fn handed_out(&self) -> usize {
        self.held.away().saturating_sub(self.owed.len())
    }

    async fn wait_for_one(&mut self) -> Result<(), QueueError> {
        while !self.has_next() {
            if self.may_renew() && self.renew_at <= Instant::now() {
                self.renew().await?;
                continue;
            }
            if !self.held.suspects.is_empty() {
                self.stop().await?;
            }
            let consumes = self.fit().await?;
            if self.has_next() {
                break;
            }
            let idle = self.may_renew();
            let Some(link) = self.link.as_mut() else { return Err(QueueError::Ended(self.queue.name())) };
            tokio::select! { biased;
                delivery = link.next(), if consumes => {
                    self.held.arrived.push(delivery?);
                    self.sort();
                }
                () = sleep(OWED), if !self.owed.is_empty() => self.pay().await?,
                () = sleep_until(self.renew_at), if idle => {}
                // The caller settles first.
                () = pending(), if !consumes => {}
            }
        }
        Ok(())
    }

    /// Whether nothing would come again if the channel went.
    fn may_renew(&self) -> bool {
        self.held.is_empty() && self.owed.is_empty()
    }

    /// Goes on with a new channel, unless something arrives on the old one meanwhile. Whatever the broker
    /// believes to be here, and is not, comes again with it.
    async fn renew(&mut self) -> Result<(), QueueError> {
        self.pause().await?;
        if !self.may_renew() {
            return Ok(());
        }
        if let Some(link) = self.link.as_mut() {
            link.renew().await?;
            self.begins();
        }
        Ok(())
    }

    /// Sees to it that messages are consumed at the width wanted, and says whether any are.
    async fn fit(&mut self) -> Result<bool, QueueError> {
        let Some(link) = self.link.as_mut() else { return Ok(false) };
        link.started().await?;
        if link.width().is_some_and(|width| !self.narrow || width == 1) {
            return Ok(true);
        }
        self.pause().await?;
        let width = self.next_width();
        let Some(link) = self.link.as_mut() else { return Ok(false) };
        if width > 0 {
            link.consume(width).await?;
        }
        Ok(width > 0)
    }

    /// How wide a consumer may begin. None begins beside a suspect, nor with less than half of the prefetch: it
    /// would stay that small.
    fn next_width(&self) -> u16 {
        let room = self.prefetch.saturating_sub(u16::try_from(self.held.len()).unwrap_or(u16::MAX));
        if self.narrow {
            room.min(u16::from(self.handed_out() == 0))
        } else if room < self.prefetch.div_ceil(2) {
            0
        } else {
            room
        }
    }

    /// Takes nothing more, and after that one at a time.
    async fn stop(&mut self) -> Result<(), QueueError> {
        self.narrow = true;
        self.pause().await
    }

    async fn pause(&mut self) -> Result<(), QueueError> {
        if let Some(link) = self.link.as_mut() {
            link.pause(&mut self.held.arrived).await?;
        }
        self.sort();
        Ok(())
    }

    fn sort(&mut self) {
        self.held.sort(self.queue, self.generation, self.options.delivery_limit);
    }

    /// Hands out one suspect, after sending the others round again: whatever it does to this process, they
    /// are not held with it. One that cannot be sent away now is simply held on.
    async fn one_suspect(&mut self) -> Result<Vec<Message>, QueueError> {
        while let Some(owed) = self.to_send_away() {
            if !self.carry(owed).await? {
                break;
            }
        }
        Ok(self.held.suspects.pop_front().into_iter().collect())
    }

    /// The last suspect, unless it is the only one. To the dead if it was handed out too often: the broker's
    /// own count begins anew with each copy.
    fn to_send_away(&self) -> Option<Owed> {
        let last = self.held.suspects.back()?;
        let limit = self.options.delivery_limit;
        // A dead letter has nowhere left to go.
        let settlement = if last.deliveries > limit && self.queue != ConsumedQueue::Dead {
            Settlement::Dead { reason: ReasonCode::DeliveryLimit, error: limit_error(limit) }
        } else if self.held.suspects.len() > 1 {
            Settlement::Return
        } else {
            return None;
        };
        let Tag::Rabbit { tag, .. } = last.tag else { return None };
        Some(Owed::new(tag, &last.routing_key, last.body(), Move::of(last, &settlement, &[])))
    }

    async fn hand_back(&mut self) {
        if self.carried().await.is_err() || self.pause().await.is_err() {
            return;
        }
        let mut held: Vec<Message> = self.held.suspects.drain(..).collect();
        held.extend(self.held.fresh.drain(..));
        let returned = held.into_iter().map(|message| (message, Settlement::Return)).collect();
        // What fails here comes again when the channel closes.
        let _ = self.settle(returned).await;
    }

    pub(super) fn is_mine(&self, tag: Tag) -> Option<u64> {
        match tag {
            Tag::Rabbit { generation, tag } if generation == self.generation && self.held.holds(tag) => {
                Some(tag)
            }
            _ => None,
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if let Some(opening) = &self.opening {
            opening.abort();
        }
    }
}
