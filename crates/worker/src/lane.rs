//! One lane: take a batch, have it judged, settle it, count it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rollcall_event::Lane;
use rollcall_queue::{ConsumedQueue, Consumer, Fate, Message, QueueError, Settlement};
use rollcall_store::Effect;

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

/// A leaver waits for no batch to fill; while one is written the next gathers by itself.
const LEAVERS_LINGER: Duration = Duration::from_millis(1);

/// Batches of one lane that are judged at once: while the database writes one, the next is read.
const IN_HAND: usize = 2;

/// Takes batches until the worker stops, or an outage lasts so long that what is held must be given back;
/// then finishes what is in hand.
async fn consume(shared: &Shared, lane: Lane, consumer: &mut Consumer) {
    let most = shared.rules.batch_size;
    let linger = match lane {
        Lane::Revocations => shared.rules.batch_linger.min(LEAVERS_LINGER),
        Lane::Events => shared.rules.batch_linger,
    };
    let mut in_hand = FuturesUnordered::new();
    let mut ending = false;
    while !(ending && in_hand.is_empty()) {
        tokio::select! {
            biased;
            Some(judged) = in_hand.next() => {
                let judged: Vec<Judged> = judged;
                ending |= judged.iter().any(|judged| matches!(judged.verdict, Verdict::GiveBack));
                settle(shared, consumer, judged).await;
            }
            () = shared.stop.cancelled(), if !ending => ending = true,
            received = consumer.receive(most, linger), if !ending && in_hand.len() < IN_HAND => match received {
                Ok(messages) => {
                    shared.condition.good(lane.as_str());
                    in_hand.push(judge::batch(shared, lane, messages));
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
    span: tracing::Span,
    kind: &'static str,
    effect: Option<Effect>,
    error: Option<String>,
}

async fn settle(shared: &Shared, consumer: &mut Consumer, judged: Vec<Judged>) {
    let mut records = Vec::with_capacity(judged.len());
    let mut settled: Vec<(Message, Settlement)> = Vec::with_capacity(judged.len());
    for Judged { message, verdict, kind, span } in judged {
        let (settlement, effect, error) = match verdict {
            Verdict::Done(effect) => (Settlement::Done, Some(effect), None),
            Verdict::Retry(error) => (Settlement::Retry { error: error.clone() }, None, Some(error)),
            Verdict::Dead(reason, error) => {
                (Settlement::Dead { reason, error: error.clone() }, None, Some(error))
            }
            Verdict::GiveBack => (Settlement::Return, None, None),
        };
        records.push(Record { span, kind, effect, error });
        settled.push((message, settlement));
    }
    match consumer.settle(settled).await {
        Ok(settled) => {
            for (record, fate) in records.iter().zip(settled.fates) {
                record.span.in_scope(|| count(shared, record, fate));
            }
        }
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::new(error));
            tracing::warn!(error, "a batch could not be settled; it comes again and is known");
        }
    }
}

/// The one place where an outcome becomes a number and a line.
fn count(shared: &Shared, record: &Record, fate: Fate) {
    let metrics = &shared.metrics;
    let error = record.error.as_deref().unwrap_or_default();
    match (fate, record.effect) {
        (Fate::Done, Some(effect)) => {
            metrics.event(record.kind, effect.as_str(), 1);
            match effect {
                Effect::Held => tracing::warn!(outcome = "held", "waits for a person"),
                _ => tracing::debug!(outcome = effect.as_str(), "processed"),
            }
        }
        (Fate::Retried { step }, _) => {
            let step = rollcall_settings::duration::human(step);
            metrics.retry(&step);
            metrics.event(record.kind, "retried", 1);
            tracing::warn!(outcome = "retry", step, error, "failed; will be tried again");
        }
        (Fate::Dead { reason }, _) => {
            metrics.event(record.kind, "dead", 1);
            tracing::error!(outcome = "dead", reason = reason.as_str(), error, "given up");
        }
        (Fate::Kept | Fate::ComesAgain | Fate::Returned | Fate::Done, _) => {
            tracing::debug!(?fate, "comes again");
        }
    }
}
