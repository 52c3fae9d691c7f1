//! Exchanges, queues and bindings. Declaring them again changes nothing; other arguments than an existing
//! queue has are refused, so delays and limits are part of what cannot be changed in place.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ExchangeKind};
use rollcall_event::{ReasonCode, RoutingKey};
use tokio::time::sleep;

use super::connection::{answered, close, connect};
use crate::name::{self, ConsumedQueue, EXCHANGE};
use crate::{Depth, Options, QueueError};

/// RabbitMQ 4 drops a message that was handed out 20 times unless told otherwise. A dead letter has no
/// further place to go, so its queue gets a limit nobody reaches; 3.10 refuses "none".
const NO_LIMIT: u32 = 1_000_000_000;

/// How long a missing queue is left alone. One that is declared again within some 50 ms of its deletion
/// keeps the consumers of the old one, without telling them, and its messages get lost on their way to them.
pub(super) const REST: Duration = Duration::from_secs(1);

/// Connects, declares everything and closes again.
pub(crate) async fn declare(url: &str, options: &Options) -> Result<(), QueueError> {
    let connection = connect(url, options, "rollcall declare").await?;
    let declared = declare_on(&connection, options).await;
    close(&connection).await;
    declared
}

/// Declares everything on a channel of its own: a refusal ends only that.
pub(super) async fn declare_on(connection: &Connection, options: &Options) -> Result<(), QueueError> {
    let channel = answered("open a channel", connection.create_channel()).await?;
    exchange(&channel, EXCHANGE, ExchangeKind::Topic).await?;
    // The dead letters first: at-least-once dead-lettering stalls for minutes while its target is missing.
    for consumed in ConsumedQueue::ALL.into_iter().rev() {
        queue(&channel, consumed.name(), consumed_arguments(consumed, options)).await?;
        bind(&channel, consumed.name(), EXCHANGE, consumed.pattern()).await?;
    }
    for (delay, name) in name::retries(&options.retry_steps) {
        exchange(&channel, &name, ExchangeKind::Fanout).await?;
        queue(&channel, &name, retry_arguments(delay)).await?;
        bind(&channel, &name, &name, "").await?;
    }
    finish(&channel).await
}

/// Closes a channel before its connection: one that is still closing when the connection closes is an error in
/// lapin's log.
async fn finish(channel: &Channel) -> Result<(), QueueError> {
    answered("close a channel", channel.close(200, "OK".into())).await
}

/// Counts what is ready in every queue.
pub(crate) async fn depths(url: &str, options: &Options) -> Result<Vec<Depth>, QueueError> {
    let connection = connect(url, options, "rollcall queues").await?;
    let counted = match count(&connection, options).await {
        Ok(depths) => Ok(depths),
        // A queue is missing, most likely; the refusal has ended no more than its channel.
        Err(_) => {
            sleep(REST).await;
            match declare_on(&connection, options).await {
                Ok(()) => count(&connection, options).await,
                Err(error) => Err(error),
            }
        }
    };
    close(&connection).await;
    counted
}

async fn count(connection: &Connection, options: &Options) -> Result<Vec<Depth>, QueueError> {
    let channel = answered("open a channel", connection.create_channel()).await?;
    let retries = name::retries(&options.retry_steps).into_values();
    let mut depths = Vec::new();
    for name in ConsumedQueue::ALL.map(|queue| queue.name().to_owned()).into_iter().chain(retries) {
        let passive = QueueDeclareOptions::durable().passive();
        let declared = channel.queue_declare(short(&name), passive, FieldTable::default());
        let state = answered("count a queue", declared).await?;
        depths.push(Depth {
            queue: name,
            ready: state.message_count().into(),
            unacked: None,
            oldest_age: None,
            consumers: Some(state.consumer_count()),
        });
    }
    finish(&channel).await?;
    Ok(depths)
}

/// All four of these, or the broker silently dead-letters at most once: quorum, target, strategy, and
/// refusing publishers when full.
fn at_least_once(target_key: Option<&str>) -> FieldTable {
    let mut arguments = quorum();
    set(&mut arguments, "x-dead-letter-exchange", text(EXCHANGE));
    set(&mut arguments, "x-dead-letter-strategy", text("at-least-once"));
    if let Some(key) = target_key {
        set(&mut arguments, "x-dead-letter-routing-key", text(key));
    }
    arguments
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    set(&mut arguments, "x-queue-type", text("quorum"));
    set(&mut arguments, "x-overflow", text("reject-publish"));
    arguments
}

fn consumed_arguments(queue: ConsumedQueue, options: &Options) -> FieldTable {
    let (mut arguments, limit) = match queue {
        ConsumedQueue::Lane(_) => {
            let key = RoutingKey::dead(ReasonCode::DeliveryLimit);
            (at_least_once(Some(key.as_str())), options.delivery_limit)
        }
        ConsumedQueue::Dead => (quorum(), NO_LIMIT),
    };
    set(&mut arguments, "x-delivery-limit", AMQPValue::LongLongInt(limit.into()));
    arguments
}

/// Without a dead-letter routing key, so that each message goes back by the key it came with.
fn retry_arguments(delay: Duration) -> FieldTable {
    let mut arguments = at_least_once(None);
    let ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
    set(&mut arguments, "x-message-ttl", AMQPValue::LongLongInt(ms));
    arguments
}

async fn exchange(channel: &Channel, name: &str, kind: ExchangeKind) -> Result<(), QueueError> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declared = channel.exchange_declare(short(name), kind, options, FieldTable::default());
    answered("declare an exchange", declared).await.map_err(|error| conflict(error, name))
}

async fn queue(channel: &Channel, name: &str, arguments: FieldTable) -> Result<(), QueueError> {
    let declared = channel.queue_declare(short(name), QueueDeclareOptions::durable(), arguments);
    answered("declare a queue", declared).await.map(drop).map_err(|error| conflict(error, name))
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, pattern: &str) -> Result<(), QueueError> {
    let options = QueueBindOptions::default();
    let bound =
        channel.queue_bind(short(queue), short(exchange), short(pattern), options, FieldTable::default());
    answered("bind a queue", bound).await
}

fn conflict(error: QueueError, name: &str) -> QueueError {
    match error {
        QueueError::Broker(source) if source.is_conflict() => {
            QueueError::Conflict { name: name.to_owned(), source }
        }
        other => other,
    }
}

fn set(arguments: &mut FieldTable, name: &str, value: AMQPValue) {
    arguments.insert(short(name), value);
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// Names made here are far below the 255 bytes of a short string; a cut one would be refused by the broker.
fn short(name: &str) -> ShortString {
    ShortString::try_new(name).unwrap_or_default()
}
