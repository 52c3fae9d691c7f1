//! lapin alone: one channel, confirms on, a window of publishes, nothing around it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, PublisherConfirm};

use crate::latency::Latencies;

const QUEUE: &str = "bench.limit";

/// A connected publisher with a quorum queue of its own.
pub(crate) struct Bare {
    // Dropped, it would close under the channel.
    _connection: Connection,
    channel: Channel,
}

impl Bare {
    pub(crate) async fn connect(url: &str) -> anyhow::Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        channel.queue_declare(QUEUE.into(), QueueDeclareOptions::durable(), arguments).await?;
        Ok(Self { _connection: connection, channel })
    }

    async fn publish(&self, body: &[u8]) -> anyhow::Result<PublisherConfirm> {
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let persistent = BasicProperties::default().with_delivery_mode(2);
        Ok(self.channel.basic_publish("".into(), QUEUE.into(), options, body, persistent).await?)
    }

    /// Publishes such a body for a while with so many unconfirmed at once; gives confirms a second and how
    /// long each took.
    pub(crate) async fn rate(
        &self,
        body: &[u8],
        window: usize,
        time: Duration,
    ) -> anyhow::Result<(f64, Latencies)> {
        let began = Instant::now();
        let mut latencies = Latencies::default();
        let mut flight: VecDeque<(Instant, PublisherConfirm)> = VecDeque::new();
        while began.elapsed() < time {
            while flight.len() < window {
                flight.push_back((Instant::now(), self.publish(body).await?));
            }
            land(&mut flight, &mut latencies).await?;
        }
        while !flight.is_empty() {
            land(&mut flight, &mut latencies).await?;
        }
        Ok((latencies.count() as f64 / began.elapsed().as_secs_f64(), latencies))
    }

    /// Publishes one message and waits for its confirm.
    pub(crate) async fn once(&self, body: &[u8]) -> anyhow::Result<()> {
        let mut flight = VecDeque::from([(Instant::now(), self.publish(body).await?)]);
        land(&mut flight, &mut Latencies::default()).await
    }

    /// Empties our queue and those of rollcall.
    pub(crate) async fn purge(&self) -> anyhow::Result<()> {
        for queue in [QUEUE, "rollcall.events", "rollcall.bulk", "rollcall.revocations"] {
            self.channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await?;
        }
        Ok(())
    }
}

/// A quorum queue confirms in order, so the oldest is the next to be confirmed.
async fn land(
    flight: &mut VecDeque<(Instant, PublisherConfirm)>,
    latencies: &mut Latencies,
) -> anyhow::Result<()> {
    let Some((sent, confirm)) = flight.pop_front() else { return Ok(()) };
    let confirmation =
        tokio::time::timeout(Duration::from_secs(30), confirm).await.context("no confirm")??;
    ensure!(confirmation.is_ack(), "the broker refused a message");
    latencies.note(sent.elapsed());
    Ok(())
}
