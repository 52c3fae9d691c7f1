//! The consuming connection: one channel, and a consumer whose width can be changed.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::time::timeout;

use super::connection::{answered, close, connect};
use super::topology::declare_on;
use crate::name::ConsumedQueue;
use crate::{Options, QueueError};

pub(super) struct Link {
    connection: Connection,
    channel: Channel,
    queue: ConsumedQueue,
    /// The consumer and its prefetch.
    stream: Option<(lapin::Consumer, u16)>,
}

impl Link {
    /// Connects, makes sure the queues are there, opens a channel. Nothing is consumed yet.
    pub(super) async fn open(
        url: String,
        options: Options,
        queue: ConsumedQueue,
    ) -> Result<Self, QueueError> {
        let connection = connect(&url, &options, &format!("rollcall consumer of {}", queue.name())).await?;
        let ready = async {
            declare_on(&connection, &options).await?;
            answered("open a channel", connection.create_channel()).await
        };
        match ready.await {
            Ok(channel) => Ok(Self { connection, channel, queue, stream: None }),
            Err(error) => {
                close(&connection).await;
                Err(error)
            }
        }
    }

    /// How many unsettled messages it consumes at most; `None` while it does not consume.
    pub(super) fn width(&self) -> Option<u16> {
        self.stream.as_ref().map(|(_, width)| *width)
    }

    /// Consumes with at most `prefetch` messages unsettled.
    pub(super) async fn consume(&mut self, prefetch: u16) -> Result<(), QueueError> {
        let limited = self.channel.basic_qos(prefetch, BasicQosOptions::default());
        answered("limit a consumer", limited).await?;
        let (queue, options) = (self.queue.name().into(), BasicConsumeOptions::default());
        let consumer = self.channel.basic_consume(queue, "".into(), options, FieldTable::default());
        self.stream = Some((answered("start a consumer", consumer).await?, prefetch));
        Ok(())
    }

    /// Stops consuming and gives what had arrived. Those messages stay unsettled on the channel. Safe to
    /// cancel: what is not given this time is given the next.
    pub(super) async fn pause(&mut self, into: &mut impl Extend<Delivery>) -> Result<(), QueueError> {
        let Some((stream, _)) = self.stream.as_mut() else { return Ok(()) };
        let cancelled = self.channel.basic_cancel(stream.tag(), BasicCancelOptions::default());
        answered("stop a consumer", cancelled).await?;
        // The end of the stream is queued behind everything that arrived before the broker's answer.
        while let Some(delivery) = answered("drain a consumer", stream.next().map(Option::transpose)).await? {
            into.extend([delivery]);
        }
        self.stream = None;
        Ok(())
    }

    /// The next message. However a stream ends, the channel or its queue is gone and all of it is rebuilt.
    pub(super) async fn next(&mut self) -> Result<Delivery, QueueError> {
        let ended = QueueError::Ended(self.queue.name());
        let Some((stream, _)) = self.stream.as_mut() else { return Err(ended) };
        stream.next().await.ok_or(ended)?.map_err(Into::into)
    }

    /// Acknowledges `tag`, and everything before it if `multiple`.
    pub(super) async fn ack(&self, tag: u64, multiple: bool) -> Result<(), QueueError> {
        answered("acknowledge", self.channel.basic_ack(tag, BasicAckOptions { multiple })).await
    }

    /// Gives a message back by the broker's own means, which may count it as handed out.
    pub(super) async fn requeue(&self, tag: u64) -> Result<(), QueueError> {
        let options = BasicNackOptions { multiple: false, requeue: true };
        answered("requeue", self.channel.basic_nack(tag, options)).await
    }

    /// Ends the connection. Unsettled messages come again.
    pub(super) async fn close(self) {
        // Channel first: the broker then requeues before the connection's own end is waited for.
        let _ = timeout(Duration::from_secs(1), self.channel.close(200, "OK".into())).await;
        close(&self.connection).await;
    }
}
