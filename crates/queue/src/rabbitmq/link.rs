//! The consuming connection: one channel, and a consumer whose width can be changed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::connection::{answered, close, connect};
use super::topology::declare_on;
use crate::name::ConsumedQueue;
use crate::{Options, QueueError};

pub(super) struct Link {
    connection: Arc<Connection>,
    channel: Channel,
    queue: ConsumedQueue,
    /// The consumer and its prefetch.
    stream: Option<(lapin::Consumer, u16)>,
    /// Starting and stopping run in tasks of their own: a cancelled caller must not leave a consumer at the
    /// broker that nobody reads, and the next call goes on where it was.
    starting: Option<JoinHandle<Result<(lapin::Consumer, u16), QueueError>>>,
    stopping: Option<JoinHandle<Result<(), QueueError>>>,
    renewing: Option<JoinHandle<Result<Channel, QueueError>>>,
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
            Ok(channel) => {
                let (stream, starting, stopping, renewing) = (None, None, None, None);
                let connection = Arc::new(connection);
                Ok(Self { connection, channel, queue, stream, starting, stopping, renewing })
            }
            Err(error) => {
                close(&connection).await;
                Err(error)
            }
        }
    }

    /// How many unsettled messages it consumes at most; `None` while it does not consume, or begins to stop.
    pub(super) fn width(&self) -> Option<u16> {
        self.stream.as_ref().filter(|_| self.stopping.is_none()).map(|(_, width)| *width)
    }

    /// Whether the connection and the channel still stand, as far as anybody noticed.
    pub(super) fn is_alive(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }

    /// Consumes with at most `prefetch` messages unsettled. Safe to cancel.
    pub(super) async fn consume(&mut self, prefetch: u16) -> Result<(), QueueError> {
        if self.starting.is_none() {
            self.starting = Some(tokio::spawn(start(self.channel.clone(), self.queue, prefetch)));
        }
        self.started().await
    }

    /// Finishes a start under way.
    pub(super) async fn started(&mut self) -> Result<(), QueueError> {
        if let Some(starting) = self.starting.as_mut() {
            let started = starting.await;
            self.starting = None;
            self.stream = Some(started.unwrap_or(Err(QueueError::Closed))?);
        }
        Ok(())
    }

    /// Stops consuming and gives what had arrived. Those messages stay unsettled on the channel. Safe to
    /// cancel: what is not given this time is given the next.
    pub(super) async fn pause(&mut self, into: &mut impl Extend<Delivery>) -> Result<(), QueueError> {
        self.started().await?;
        let Some((stream, _)) = self.stream.as_mut() else { return Ok(()) };
        let stopping =
            self.stopping.get_or_insert_with(|| tokio::spawn(stop(self.channel.clone(), stream.tag())));
        stopping.await.unwrap_or(Err(QueueError::Closed))?;
        // The end of the stream is queued behind everything that arrived before the broker's answer, and
        // all of that is here: nothing below waits, so nothing can be cut short.
        while let Some(Some(delivery)) = stream.next().now_or_never() {
            into.extend([delivery?]);
        }
        (self.stream, self.stopping) = (None, None);
        Ok(())
    }

    /// Goes over to a new channel, and closes the old one. Call it while nothing is consumed. Safe to cancel.
    pub(super) async fn renew(&mut self) -> Result<(), QueueError> {
        let renewing = self
            .renewing
            .get_or_insert_with(|| tokio::spawn(renew(self.connection.clone(), self.channel.clone())));
        let renewed = renewing.await.unwrap_or(Err(QueueError::Closed));
        self.renewing = None;
        self.channel = renewed?;
        Ok(())
    }

    /// The next message. However a stream ends, the channel or its queue is gone and all of it is rebuilt.
    pub(super) async fn next(&mut self) -> Result<Delivery, QueueError> {
        let ended = QueueError::Ended(self.queue.name());
        let Some((stream, _)) = self.stream.as_mut() else { return Err(ended) };
        stream.next().await.ok_or(ended)?.map_err(Into::into)
    }

    /// Acknowledges `tag`, and everything before it if `multiple`.
    pub(super) fn ack(
        &self,
        tag: u64,
        multiple: bool,
    ) -> impl Future<Output = Result<(), QueueError>> + use<> {
        let channel = self.channel.clone();
        async move { answered("acknowledge", channel.basic_ack(tag, BasicAckOptions { multiple })).await }
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

async fn start(
    channel: Channel,
    queue: ConsumedQueue,
    prefetch: u16,
) -> Result<(lapin::Consumer, u16), QueueError> {
    answered("limit a consumer", channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume(queue.name().into(), "".into(), options, FieldTable::default());
    Ok((answered("start a consumer", consumer).await?, prefetch))
}

async fn stop(channel: Channel, tag: ShortString) -> Result<(), QueueError> {
    answered("stop a consumer", channel.basic_cancel(tag, BasicCancelOptions::default())).await
}

async fn renew(connection: Arc<Connection>, old: Channel) -> Result<Channel, QueueError> {
    answered("close a channel", old.close(200, "OK".into())).await?;
    answered("open a channel", connection.create_channel()).await
}
