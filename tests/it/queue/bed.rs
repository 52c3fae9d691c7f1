//! A queue of a test's own, on either backend.

use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use chrono::DateTime;
use rollcall_event::{DeliveryId, Envelope, Lane, RoutingKey, Source};
use rollcall_queue::{
    ConsumedQueue, Consumer, Depth, Message, Options, Publisher, QueueUrl, Settled, Settlement, depths,
};
use rollcall_tests::{Folder, eventually, shared};

/// Longest anything here takes on a busy machine.
pub(super) const SOON: Duration = Duration::from_secs(20);
pub(super) const LINGER: Duration = Duration::from_millis(20);
pub(super) const EVENTS: ConsumedQueue = ConsumedQueue::Lane(Lane::Events);
pub(super) const REVOCATIONS: ConsumedQueue = ConsumedQueue::Lane(Lane::Revocations);

pub(super) struct Bed {
    pub(super) url: QueueUrl,
    pub(super) options: Options,
    _folder: Option<Folder>,
}

impl Bed {
    pub(super) fn embedded() -> anyhow::Result<Self> {
        let folder = Folder::new("queue")?;
        // In a folder that is not there yet.
        let url = QueueUrl::Embedded(folder.join("data").join("queue.db"));
        Ok(Self { url, options: options(), _folder: Some(folder) })
    }

    pub(super) async fn rabbitmq() -> anyhow::Result<Self> {
        Self::at(&shared::broker().await?.new_vhost().await?)
    }

    pub(super) fn at(url: &str) -> anyhow::Result<Self> {
        Ok(Self { url: url.parse()?, options: options(), _folder: None })
    }

    /// The virtual host it is in.
    pub(super) fn vhost(&self) -> String {
        let QueueUrl::Rabbit(url) = &self.url else { return String::new() };
        url.rsplit('/').next().unwrap_or_default().to_owned()
    }

    /// The same queue with other options.
    pub(super) fn with(&self, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = self.options.clone();
        change(&mut options);
        Self { url: self.url.clone(), options, _folder: None }
    }

    pub(super) async fn publisher(&self) -> anyhow::Result<Publisher> {
        Ok(Publisher::start(&self.url, &self.options).await?)
    }

    /// A consumer with a publisher of its own.
    pub(super) async fn consumer(&self, queue: ConsumedQueue) -> anyhow::Result<Consumer> {
        self.consumer_with(queue, 64, self.publisher().await?).await
    }

    pub(super) async fn consumer_with(
        &self,
        queue: ConsumedQueue,
        prefetch: u16,
        publisher: Publisher,
    ) -> anyhow::Result<Consumer> {
        Ok(Consumer::open(&self.url, &self.options, queue, prefetch, publisher).await?)
    }

    pub(super) async fn depth(&self, queue: ConsumedQueue) -> anyhow::Result<Depth> {
        let mut all = depths(&self.url, &self.options).await?.into_iter();
        all.find(|depth| depth.queue == queue.name()).context("the queue is not counted")
    }

    /// Waits until nothing is left in a queue.
    pub(super) async fn drained(&self, queue: ConsumedQueue) -> anyhow::Result<()> {
        eventually(SOON, async || {
            let depth = self.depth(queue).await?;
            ensure!(depth.ready == 0 && depth.unacked.unwrap_or(0) == 0, "{depth:?}");
            Ok(())
        })
        .await
    }
}

fn options() -> Options {
    let retry_steps = vec![Duration::from_millis(50), Duration::from_millis(150)];
    Options { retry_steps, delivery_limit: 3, ..Options::default() }
}

pub(super) fn envelope(id: &str, body: &str) -> Envelope {
    let at = DateTime::parse_from_rfc3339("2026-09-01T08:00:00.123456789Z").unwrap().to_utc();
    Envelope::new(
        Source::Scalekit,
        DeliveryId::parse(id).unwrap(),
        at,
        Bytes::copy_from_slice(body.as_bytes()),
    )
}

pub(super) fn event_key() -> RoutingKey {
    RoutingKey::parse("event.organization.directory.user_created").unwrap()
}

pub(super) fn revoke_key() -> RoutingKey {
    RoutingKey::parse("revoke.organization.directory.user_deleted").unwrap()
}

pub(super) async fn publish(publisher: &Publisher, key: &RoutingKey, ids: &[&str]) -> anyhow::Result<()> {
    for id in ids {
        publisher.publish(key, &envelope(id, "{}")).await?;
    }
    Ok(())
}

/// The next batch, or an error after [`SOON`].
pub(super) async fn receive(consumer: &mut Consumer, max: usize) -> anyhow::Result<Vec<Message>> {
    let received = tokio::time::timeout(SOON, consumer.receive(max, LINGER)).await;
    let batch = received.context("nothing came")??;
    ensure!(!batch.is_empty() && batch.len() <= max, "a batch of {} for {max}", batch.len());
    Ok(batch)
}

/// The next message; it must be the only one there.
pub(super) async fn receive_one(consumer: &mut Consumer) -> anyhow::Result<Message> {
    let mut batch = receive(consumer, 10).await?;
    ensure!(batch.len() == 1, "{} messages instead of one", batch.len());
    batch.pop().context("nothing came")
}

/// Messages until there are `count`, each settled as done. Gives their ids in the order they came.
pub(super) async fn receive_all(consumer: &mut Consumer, count: usize) -> anyhow::Result<Vec<String>> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let batch = receive(consumer, 64).await?;
        ids.extend(batch.iter().map(id));
        settle(consumer, batch, &Settlement::Done).await?;
    }
    Ok(ids)
}

/// Settles a whole batch in one way.
pub(super) async fn settle(
    consumer: &mut Consumer,
    batch: Vec<Message>,
    settlement: &Settlement,
) -> anyhow::Result<Settled> {
    let settled = batch.into_iter().map(|message| (message, settlement.clone())).collect();
    Ok(tokio::time::timeout(SOON, consumer.settle(settled)).await??)
}

pub(super) fn id(message: &Message) -> String {
    message.envelope.as_ref().unwrap().delivery_id.to_string()
}

pub(super) fn retry(error: &str) -> Settlement {
    Settlement::Retry { error: error.to_owned() }
}
