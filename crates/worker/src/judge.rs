//! From messages to verdicts: read each, apply the batch, find the guilty one if there is one.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rollcall_event::{DirectoryEvent, Lane, ReasonCode};
use rollcall_queue::Message;
use rollcall_store::{Blame, Effect, Incoming, StoreError};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::Shared;

/// What becomes of a message; decided here and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Committed.
    Done(Effect),
    /// It met something that may pass.
    Retry(String),
    /// It can never succeed.
    Dead(ReasonCode, String),
    /// Not its fault and not over soon: back to the queue, nothing counted.
    GiveBack,
}

/// A message with its verdict.
pub(crate) struct Judged {
    pub(crate) message: Message,
    pub(crate) verdict: Verdict,
    /// What it says; `None` if that cannot be read or must not be applied.
    pub(crate) incoming: Option<Incoming>,
    pub(crate) span: tracing::Span,
}

/// How often a batch that met other transactions is tried in place before its messages go to the ladder.
const CONTENDED_TRIES: u32 = 5;

/// Judges a batch: reads it at once, and applies it when `writing` has room. Every message gets exactly one
/// verdict, in order.
pub(crate) async fn batch(
    shared: Arc<Shared>,
    lane: Lane,
    messages: Vec<Message>,
    writing: Arc<Semaphore>,
) -> Vec<Judged> {
    let mut judged = Vec::with_capacity(messages.len());
    let (mut readable, mut places) = (Vec::new(), Vec::new());
    for message in messages {
        let reading = read(&shared, &message);
        let span = span(&message, reading.as_ref().ok());
        let verdict = match reading {
            Ok(incoming) => {
                places.push(judged.len());
                readable.push(incoming);
                Verdict::GiveBack
            }
            Err((reason, error)) => Verdict::Dead(reason, error),
        };
        judged.push(Judged { message, verdict, incoming: None, span });
    }
    // Nobody closes it.
    let permit = writing.acquire_owned().await.ok();
    let began = Instant::now();
    fail::fail_point!("worker.before_begin", |_| std::process::abort());
    let verdicts = apply(&shared, &readable).await;
    if let Some(permit) = permit {
        shared.courtesy.leave(lane, began, permit);
    }
    fail::fail_point!("worker.after_commit", |_| std::process::abort());
    let now = (shared.rules.clock)();
    for ((place, verdict), incoming) in places.into_iter().zip(verdicts).zip(readable) {
        if matches!(verdict, Verdict::Done(_)) {
            let lag = now.signed_duration_since(incoming.envelope.received_at);
            shared.metrics.event_lag(lane.as_str(), lag.to_std().unwrap_or_default());
        }
        judged[place].verdict = verdict;
        judged[place].incoming = Some(incoming);
    }
    judged
}

fn span(message: &Message, incoming: Option<&Incoming>) -> tracing::Span {
    let envelope = message.envelope.as_ref().ok();
    let span = tracing::info_span!(
        "process",
        otel.kind = "consumer",
        delivery.id = envelope.map(|envelope| envelope.delivery_id.as_str()),
        attempt = envelope.map(|envelope| envelope.attempt),
        event.id = incoming.map(|incoming| incoming.event.id.as_str()),
        event.type = incoming.map(|incoming| incoming.event.kind_label()),
        organization.id = incoming.and_then(|it| it.event.organization_id.as_ref()).map(|id| id.as_str()),
    );
    if let Some(traceparent) = envelope.and_then(|envelope| envelope.traceparent.as_deref()) {
        rollcall_telemetry::link_to(&span, traceparent);
    }
    span
}

/// What a message says, or why it never can be applied.
fn read(shared: &Shared, message: &Message) -> Result<Incoming, (ReasonCode, String)> {
    let envelope =
        message.envelope.as_ref().map_err(|foreign| (ReasonCode::ForeignMessage, foreign.why.clone()))?;
    fail::fail_point!(
        "worker.killer_message",
        String::from_utf8_lossy(&envelope.body).contains("killer-message"),
        |_| std::process::abort()
    );
    let event = DirectoryEvent::parse(&envelope.body).map_err(|unreadable| {
        let reason = unreadable.reason();
        (reason, format!("{:#}", anyhow::Error::new(unreadable)))
    })?;
    if let (Some(ours), Some(theirs)) = (&shared.rules.environment_id, &event.environment_id)
        && ours != theirs.as_str()
    {
        return Err((ReasonCode::WrongEnvironment, "the event belongs to another environment".to_owned()));
    }
    if event.occurred_at.is_some_and(|at| at.is_in_future_of(envelope.received_at)) {
        let error = "occurred_at is more than five minutes after the receipt";
        return Err((ReasonCode::OccurredAtInFuture, error.to_owned()));
    }
    Ok(Incoming { envelope: envelope.clone(), event })
}

/// Applies a batch; where its content is at fault, halves it until the guilty message stands alone.
async fn apply(shared: &Shared, batch: &[Incoming]) -> Vec<Verdict> {
    let mut verdicts = vec![Verdict::GiveBack; batch.len()];
    let mut pending: Vec<(Range<usize>, u32)> = vec![(0..batch.len(), 1)];
    let mut outage = Outage::default();
    while let Some((range, tries)) = pending.pop() {
        if range.is_empty() {
            continue;
        }
        let started = Instant::now();
        let now = (shared.rules.clock)();
        let applying = shared.store.apply(&batch[range.clone()], &shared.rules.removal_budget, now);
        let error = match applying.await {
            Ok(effects) => {
                shared.metrics.apply_seconds(started.elapsed());
                shared.condition.good("database");
                outage = Outage::default();
                for (place, effect) in range.zip(effects) {
                    verdicts[place] = Verdict::Done(effect);
                }
                continue;
            }
            Err(error) => error,
        };
        match error.blame() {
            Blame::Outage => {
                away(shared, &error);
                if !outage.may_be_over(shared).await {
                    return verdicts;
                }
                pending.push((range, tries));
            }
            Blame::Contention if tries < CONTENDED_TRIES => {
                tracing::debug!(tries, "met another transaction");
                pause(shared, pause_after(tries)).await;
                pending.push((range, tries + 1));
            }
            Blame::Contention | Blame::Message if range.len() == 1 => verdicts[range.start] = guilty(error),
            Blame::Contention | Blame::Message => {
                let middle = range.start + range.len() / 2;
                pending.push((middle..range.end, 1));
                pending.push((range.start..middle, 1));
            }
        }
    }
    verdicts
}

fn guilty(error: StoreError) -> Verdict {
    let transient = error.is_transient();
    let error = format!("{:#}", anyhow::Error::new(error));
    if transient { Verdict::Retry(error) } else { Verdict::Dead(ReasonCode::RefusedByDatabase, error) }
}

/// 20 ms, doubled per try, and up to as much again, so that two workers do not meet again.
fn pause_after(tries: u32) -> Duration {
    let base = Duration::from_millis(20) * 2_u32.pow(tries.min(8));
    base + base.mul_f64(rand::random::<f64>())
}

pub(crate) async fn pause(shared: &Shared, how_long: Duration) {
    tokio::select! { () = shared.stop.cancelled() => {}, () = sleep(how_long) => {} }
}

/// How long messages are kept in hand while the database is away. Well below the 30 minutes after which
/// RabbitMQ takes them back itself, counting each as handed out once.
const HOLD: Duration = Duration::from_secs(300);

/// Longest pause between two probes.
const PROBE_AT_MOST: Duration = Duration::from_secs(2);

/// An outage that a batch lives through.
#[derive(Default)]
struct Outage {
    failures: u32,
    since: Option<Instant>,
}

impl Outage {
    /// Waits until it is worth trying again; false when the worker stops first or [`HOLD`] has passed.
    ///
    /// A probe only reads, and a database that is full or read-only answers it: so every failure makes
    /// the wait longer, whatever the probe says.
    async fn may_be_over(&mut self, shared: &Shared) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
        self.failures += 1;
        pause(shared, pause_after(self.failures).min(PROBE_AT_MOST)).await;
        until_answers(shared, HOLD.saturating_sub(since.elapsed())).await
    }
}

/// Waits until the database answers and has this version's tables; false when the worker stops first.
pub(crate) async fn until_ready(shared: &Shared) -> bool {
    let ready = until_answers(shared, Duration::MAX).await;
    if ready {
        shared.condition.good("database");
    }
    ready
}

/// The same within `patience`. That it can be read does not say that the outage is over.
async fn until_answers(shared: &Shared, patience: Duration) -> bool {
    let started = Instant::now();
    let mut tries = 0;
    while !shared.stop.is_cancelled() && started.elapsed() < patience {
        let ready = tokio::select! {
            () = shared.stop.cancelled() => return false,
            ready = shared.store.ready() => ready,
        };
        match ready {
            Ok(()) => return true,
            Err(error) => away(shared, &error),
        }
        tries += 1;
        pause(shared, pause_after(tries).min(PROBE_AT_MOST)).await;
    }
    false
}

/// Says once per outage that the database is away, and why.
fn away(shared: &Shared, error: &StoreError) {
    let cause = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    if shared.condition.bad("database", cause.clone()) {
        tracing::warn!(error = cause, "the database is away; nothing is taken until it is back");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_never_twice_the_same_by_design() {
        for tries in 1..=12 {
            let base = Duration::from_millis(20) * 2_u32.pow(tries.min(8));
            let pause = pause_after(tries);
            assert!(pause >= base && pause <= base * 2, "{tries}: {pause:?}");
        }
    }
}
