//! One lane: take a batch, have it judged, settle it, count it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rollcall_event::{DeliveryId, Lane};
use rollcall_queue::{ConsumedQueue, Consumer, Fate, Message, QueueError, Settlement};
use rollcall_store::{Effect, Incoming};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Shared;
use crate::judge::{self, Judged, Verdict};

/// For handing back what is held when the lane ends.
const HAND_BACK: Duration = Duration::from_secs(3);

/// Works a lane until the worker stops. While the database is away nothing is taken.
pub(crate) async fn run(shared: Arc<Shared>, lane: Lane) -> anyhow::Result<()> {
    while judge::until_ready(&shared).await {
        let (queue, options, publisher) = (&shared.queue, &shared.queue_options, shared.publisher.clone());
        let consumed = ConsumedQueue::Lane(lane);
        let mut consumer = Consumer::open(queue, options, consumed, shared.rules.prefetch, publisher).await?;
        consume(&shared, lane, &mut consumer).await;
        consumer.close(HAND_BACK).await;
    }
    Ok(())
}

/// Batches of one lane in hand at once: while some are written, the next is read.
const IN_HAND: usize = 3;

/// Of these, so many are written at once. More keep one worker's database no busier, and make several workers
/// wait for each other. Bulk gives way to the other lanes.
fn written_at_once(lane: Lane) -> usize {
    match lane {
        Lane::Revocations | Lane::Events => 2,
        Lane::Bulk => 1,
    }
}

/// Takes batches until the worker stops, or an outage lasts so long that what is held must be given back;
/// then finishes what is in hand.
async fn consume(shared: &Arc<Shared>, lane: Lane, consumer: &mut Consumer) {
    let most = shared.rules.batch_size;
    let linger = match lane {
        // A leaver waits for no batch to fill: while some are written, the next gathers by itself.
        Lane::Revocations => Duration::ZERO,
        Lane::Events | Lane::Bulk => shared.rules.batch_linger,
    };
    // Tasks of their own: while one computes, the others hear from the database.
    let mut in_hand: JoinSet<Vec<Judged>> = JoinSet::new();
    let writing = Arc::new(Semaphore::new(written_at_once(lane)));
    let mut ending = false;
    while !(ending && in_hand.is_empty()) {
        tokio::select! {
            biased;
            Some(judged) = in_hand.join_next() => {
                let judged = judged.unwrap_or_else(|failed| match failed.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(failed) => unreachable!("nobody cancels a batch: {failed}"),
                });
                ending |= judged.iter().any(|judged| matches!(judged.verdict, Verdict::GiveBack));
                settle(shared, consumer, judged).await;
            }
            () = shared.stop.cancelled(), if !ending => ending = true,
            received = consumer.receive(most, linger), if !ending && in_hand.len() < IN_HAND => match received {
                Ok(messages) => {
                    shared.condition.good(lane.as_str());
                    in_hand.spawn(judge::batch(shared.clone(), lane, messages, writing.clone()));
                }
                Err(error) => away(shared, lane, error),
            },
        }
    }
}

fn away(shared: &Shared, lane: Lane, error: QueueError) {
    if shared.condition.bad(lane.as_str(), error.to_string()) {
        let error = format!("{:#}", anyhow::Error::new(error));
        tracing::warn!(lane = lane.as_str(), error, "the queue is away; connecting again");
    }
}

/// What is remembered of a message while the queue has it back.
struct Record {
    delivery: Option<DeliveryId>,
    attempt: Option<u32>,
    incoming: Option<Incoming>,
    effect: Option<Effect>,
    error: Option<String>,
    /// Lasts until the message is settled.
    _span: tracing::Span,
}

impl Record {
    /// The event's type as a metric label.
    fn kind(&self) -> &'static str {
        self.incoming.as_ref().map_or("unreadable", |incoming| incoming.event.kind_label())
    }
}

async fn settle(shared: &Shared, consumer: &mut Consumer, judged: Vec<Judged>) {
    let mut records = Vec::with_capacity(judged.len());
    let mut settled: Vec<(Message, Settlement)> = Vec::with_capacity(judged.len());
    for Judged { message, verdict, incoming, span } in judged {
        let (settlement, effect, error) = match verdict {
            Verdict::Done(effect) => (Settlement::Done, Some(effect), None),
            Verdict::Retry(error) => (Settlement::Retry { error: error.clone() }, None, Some(error)),
            Verdict::Dead(reason, error) => {
                (Settlement::Dead { reason, error: error.clone() }, None, Some(error))
            }
            Verdict::GiveBack => (Settlement::Return, None, None),
        };
        let envelope = message.envelope.as_ref().ok();
        records.push(Record {
            delivery: envelope.map(|envelope| envelope.delivery_id.clone()),
            attempt: envelope.map(|envelope| envelope.attempt),
            incoming,
            effect,
            error,
            _span: span,
        });
        settled.push((message, settlement));
    }
    match consumer.settle(settled).await {
        Ok(settled) => {
            let mut settled_as: BTreeMap<(&str, &str), u64> = BTreeMap::new();
            for (record, fate) in records.iter().zip(settled.fates) {
                if let Some(outcome) = told(shared, record, fate) {
                    *settled_as.entry((record.kind(), outcome)).or_default() += 1;
                }
            }
            for ((kind, outcome), number) in settled_as {
                shared.metrics.event(kind, outcome, number);
            }
        }
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::new(error));
            tracing::warn!(error, "a batch could not be settled; it comes again and is known");
        }
    }
}

/// A log line about a message, with all that names it.
macro_rules! line {
    ($level:ident, $record:expr, $($rest:tt)+) => {{
        let event = $record.incoming.as_ref().map(|incoming| &incoming.event);
        tracing::$level!(
            delivery.id = $record.delivery.as_ref().map(DeliveryId::as_str),
            attempt = $record.attempt,
            event.id = event.map(|event| event.id.as_str()),
            event.type = event.map(|event| event.kind_label()),
            organization.id = event.and_then(|event| event.organization_id.as_ref()).map(|id| id.as_str()),
            $($rest)+
        )
    }};
}

/// The one place where an outcome becomes a line; gives the label it is counted under.
fn told(shared: &Shared, record: &Record, fate: Fate) -> Option<&'static str> {
    let error = record.error.as_deref().unwrap_or_default();
    match (fate, record.effect) {
        (Fate::Done, Some(effect)) => {
            match effect {
                Effect::Held => line!(warn, record, outcome = "held", "waits for a person"),
                _ => line!(debug, record, outcome = effect.as_str(), "processed"),
            }
            Some(effect.as_str())
        }
        (Fate::Retried { step }, _) => {
            let step = rollcall_settings::duration::human(step);
            shared.metrics.retry(&step);
            line!(warn, record, outcome = "retry", step, error, "failed; will be tried again");
            Some("retried")
        }
        (Fate::Dead { reason }, _) => {
            line!(error, record, outcome = "dead", reason = reason.as_str(), error, "given up");
            Some("dead")
        }
        (Fate::Kept | Fate::ComesAgain | Fate::Returned | Fate::Done, _) => {
            line!(debug, record, ?fate, "comes again");
            None
        }
    }
}
