//! Dead letters: from their queue into their table, acknowledged after the commit.

use std::sync::Arc;
use std::time::Duration;

use rollcall_event::{DeliveryId, Envelope, ReasonCode, RoutingKey, Source};
use rollcall_queue::{ConsumedQueue, Consumer, Message, Settlement};
use rollcall_store::NewDeadLetter;

use crate::Shared;
use crate::judge;

/// Dead letters taken at once.
const PREFETCH: u16 = 64;

/// Before they are tried again: a database that can only be read looks ready.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// Moves dead letters until the worker stops.
pub(crate) async fn run(shared: Arc<Shared>) -> anyhow::Result<()> {
    while judge::until_ready(&shared).await {
        let (queue, options, publisher) = (&shared.queue, &shared.queue_options, shared.publisher.clone());
        let mut consumer = Consumer::open(queue, options, ConsumedQueue::Dead, PREFETCH, publisher).await?;
        consume(&shared, &mut consumer).await;
        consumer.close(Duration::from_secs(3)).await;
    }
    Ok(())
}

async fn consume(shared: &Shared, consumer: &mut Consumer) {
    loop {
        let received = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            received = consumer.receive(usize::from(PREFETCH), Duration::from_millis(10)) => received,
        };
        let messages = match received {
            Ok(messages) => messages,
            Err(error) => {
                tracing::warn!(
                    error = format!("{:#}", anyhow::Error::new(error)),
                    "the dead letters' queue is away"
                );
                continue;
            }
        };
        let now = (shared.rules.clock)();
        let letters: Vec<NewDeadLetter> = messages.iter().map(|message| letter(message, now)).collect();
        let buried = shared.store.bury(&letters, now).await;
        fail::fail_point!("worker.after_bury", |_| std::process::abort());
        let settlement = match &buried {
            Ok(()) => Settlement::Done,
            Err(_) => Settlement::Return,
        };
        let settled = messages.into_iter().map(|message| (message, settlement.clone())).collect();
        if let Err(error) = consumer.settle(settled).await {
            let error = format!("{:#}", anyhow::Error::new(error));
            tracing::warn!(error, "dead letters could not be settled; they come again and are known");
        }
        if let Err(error) = buried {
            let error = format!("{:#}", anyhow::Error::new(error));
            tracing::warn!(error, "dead letters could not be kept yet; they stay in their queue");
            judge::pause(shared, AFTER_FAILURE).await;
            return;
        }
    }
}

fn letter(message: &Message, now: chrono::DateTime<chrono::Utc>) -> NewDeadLetter {
    let (reason, error, key) = match &message.dead {
        Some(dead) => (dead.reason, dead.error.clone(), dead.routing_key.as_str()),
        None => {
            (ReasonCode::ForeignMessage, "it says not why it died".to_owned(), message.routing_key.as_str())
        }
    };
    let envelope = message.envelope.clone().unwrap_or_else(|foreign| {
        let nobody = DeliveryId::parse("foreign").expect("a word is an id");
        Envelope::new(Source::Scalekit, nobody, now, foreign.body)
    });
    let routing_key = RoutingKey::parse(key).filter(|key| key.lane().is_some());
    NewDeadLetter { envelope, routing_key: routing_key.unwrap_or_else(RoutingKey::unreadable), reason, error }
}
