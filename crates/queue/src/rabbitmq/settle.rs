//! Settling a batch: first whatever must be stored anew, then the acknowledgements.

use futures_util::future::try_join_all;
use futures_util::{StreamExt, stream};
use tokio::task::JoinHandle;

use super::consumer::Consumer;
use super::owed::Owed;
use crate::error::chain;
use crate::ladder::Move;
use crate::{Fate, Message, PublishError, QueueError, Settled, Settlement};

/// Publishes of one batch that may be in flight at once. Far below the publisher's line, which a batch of
/// retries must not fill.
const AT_ONCE: usize = 64;

/// A copy on its way, and the original it stands for.
pub(super) struct Carrying {
    tag: u64,
    task: JoinHandle<Result<bool, QueueError>>,
}

impl Consumer {
    pub(crate) async fn settle(
        &mut self,
        settled: Vec<(Message, Settlement)>,
    ) -> Result<Settled, QueueError> {
        if self.link.as_ref().is_some_and(|link| !link.is_alive()) {
            self.lose();
        }
        let mut fates = Vec::with_capacity(settled.len());
        let (mut done, mut owed) = (Vec::new(), Vec::new());
        for (message, settlement) in &settled {
            let Some(tag) = self.is_mine(message.tag) else {
                fates.push(Fate::ComesAgain);
                continue;
            };
            let step = Move::of(message, settlement, &self.options.retry_steps);
            fates.push(step.fate());
            match step {
                Move::Drop => done.push((fates.len() - 1, tag)),
                step => {
                    owed.push((fates.len() - 1, Owed::new(tag, &message.routing_key, message.body(), step)))
                }
            }
        }
        self.store(owed, &mut fates, &mut done).await;
        if let Err(error) = self.acknowledge(done.iter().map(|(_, tag)| *tag)).await {
            tracing::warn!(error = chain(&error), "a batch could not be acknowledged");
            self.lose();
            done.iter().for_each(|(at, _)| fates[*at] = Fate::ComesAgain);
        }
        Ok(Settled { fates })
    }

    /// Stores copies. Those stored join `done`; the others are kept, or given back by the broker's means.
    async fn store(&mut self, owed: Vec<(usize, Owed)>, fates: &mut [Fate], done: &mut Vec<(usize, u64)>) {
        let at_once = AT_ONCE.min(self.options.window.max(1));
        let publisher = &self.publisher;
        let paid: Vec<(usize, Owed, Result<(), PublishError>)> = stream::iter(owed)
            .map(|(at, owed)| async move {
                let paid = owed.pay(publisher).await;
                (at, owed, paid)
            })
            .buffered(at_once)
            .collect()
            .await;
        for (at, owed, paid) in paid {
            match paid {
                Ok(()) => done.push((at, owed.tag)),
                Err(_) if owed.is_return() => self.requeue(owed.tag).await,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "a retry or dead letter could not be stored yet");
                    fates[at] = Fate::Kept;
                    self.owed.push(owed);
                }
            }
        }
    }

    /// Tries once more to store what is owed, in its order, until something fails.
    pub(super) async fn pay(&mut self) -> Result<(), QueueError> {
        while let Some(owed) = self.owed.first().cloned() {
            if !self.carry(owed).await? {
                break;
            }
        }
        Ok(())
    }

    /// Stores a copy of what is held and acknowledges the original, and says whether it could. In a task of
    /// its own: a caller that cancels must not have it stored again, and the next call goes on where it was.
    pub(super) async fn carry(&mut self, owed: Owed) -> Result<bool, QueueError> {
        if self.carrying.is_none()
            && let Some(link) = &self.link
        {
            let (tag, publisher, acknowledged) =
                (owed.tag, self.publisher.clone(), link.ack(owed.tag, false));
            let task = tokio::spawn(async move {
                if let Err(error) = owed.pay(&publisher).await {
                    tracing::debug!(error = chain(&error), "a copy could not be stored yet");
                    return Ok(false);
                }
                acknowledged.await.map(|()| true)
            });
            self.carrying = Some(Carrying { tag, task });
        }
        self.carried().await
    }

    /// Finishes what is being carried, and says whether it was stored.
    pub(super) async fn carried(&mut self) -> Result<bool, QueueError> {
        let Some(Carrying { tag, task }) = &mut self.carrying else { return Ok(false) };
        let (tag, stored) = (*tag, task.await);
        self.carrying = None;
        let stored = stored.unwrap_or(Err(QueueError::Closed))?;
        if stored {
            self.held.forget(tag);
            self.owed.retain(|owed| owed.tag != tag);
        }
        Ok(stored)
    }

    pub(super) async fn acknowledge(
        &mut self,
        tags: impl IntoIterator<Item = u64>,
    ) -> Result<(), QueueError> {
        let acks = self.held.let_go(tags);
        let Some(link) = &self.link else { return Ok(()) };
        if let Some(tag) = acks.up_to {
            link.ack(tag, true).await?;
        }
        try_join_all(acks.single.into_iter().map(|tag| link.ack(tag, false))).await.map(drop)
    }

    async fn requeue(&mut self, tag: u64) {
        // Let go without an acknowledgement: the broker is told to take it back instead.
        self.held.forget(tag);
        let Some(link) = &self.link else { return };
        if let Err(error) = link.requeue(tag).await {
            tracing::debug!(error = chain(&error), "a message comes again without having been handed back");
        }
    }
}
