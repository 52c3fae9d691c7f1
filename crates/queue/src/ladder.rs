//! What a settlement means for a message: decided once, for both backends.

use std::time::Duration;

use rollcall_event::{ReasonCode, RoutingKey};

use crate::wire::{self, Headers};
use crate::{Fate, Message, Settlement};

/// What is to be done with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Move {
    /// Forget it.
    Drop,
    /// Back to its queue, with these headers.
    Return(Headers),
    /// To the retry queue of `step`, by its own key.
    Retry { step: Duration, headers: Headers },
    /// To the dead letters.
    Dead { reason: ReasonCode, headers: Headers },
}

impl Move {
    pub(crate) fn of(message: &Message, settlement: &Settlement, steps: &[Duration]) -> Self {
        let back = || Self::Return(wire::suspected(message.headers.clone(), message.deliveries));
        match settlement {
            Settlement::Done => Self::Drop,
            Settlement::Return => back(),
            // Neither would say anything new of a dead letter, and its reason must not change.
            Settlement::Retry { .. } | Settlement::Dead { .. } if message.dead.is_some() => back(),
            Settlement::Retry { error } => Self::again(message, error, steps),
            Settlement::Dead { reason, error } => Self::bury(message, *reason, error),
        }
    }

    fn again(message: &Message, error: &str, steps: &[Duration]) -> Self {
        // Attempts are counted in our headers: without them there is nothing to count.
        let Ok(envelope) = &message.envelope else {
            return Self::bury(message, ReasonCode::ForeignMessage, error);
        };
        match step_after(envelope.attempt, steps) {
            Some(step) => Self::Retry { step, headers: wire::encode(&envelope.clone().failed(error)) },
            None => Self::bury(message, ReasonCode::RetriesExhausted, error),
        }
    }

    fn bury(message: &Message, reason: ReasonCode, error: &str) -> Self {
        let headers = wire::bury(message.headers.clone(), reason, error, &message.routing_key);
        Self::Dead { reason, headers }
    }

    /// What becomes of the message when this is done.
    pub(crate) fn fate(&self) -> Fate {
        match self {
            Self::Drop => Fate::Done,
            Self::Return(_) => Fate::Returned,
            Self::Retry { step, .. } => Fate::Retried { step: *step },
            Self::Dead { reason, .. } => Fate::Dead { reason: *reason },
        }
    }

    /// The routing key the message travels by from here, its own being `key`.
    pub(crate) fn key(&self, key: &str) -> String {
        match self {
            Self::Dead { reason, .. } => RoutingKey::dead(*reason).as_str().to_owned(),
            Self::Drop | Self::Return(_) | Self::Retry { .. } => key.to_owned(),
        }
    }
}

/// The delay after attempt `attempt` (from 1) failed; `None` when the steps are used up.
fn step_after(attempt: u32, steps: &[Duration]) -> Option<Duration> {
    steps.get(usize::try_from(attempt).ok()?.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::DateTime;
    use rollcall_event::{DeliveryId, Envelope, Source};

    use super::*;
    use crate::message::Tag;
    use crate::{DeadInfo, ForeignMessage, Options};

    fn message(attempt: u32) -> Message {
        let id = DeliveryId::parse("msg_1").unwrap();
        let mut envelope = Envelope::new(Source::Scalekit, id, DateTime::UNIX_EPOCH, Bytes::new());
        envelope.attempt = attempt;
        Message {
            headers: wire::encode(&envelope),
            envelope: Ok(envelope),
            routing_key: "event.a".into(),
            deliveries: 0,
            dead: None,
            tag: Tag::Embedded { holder: 1, id: 1 },
        }
    }

    fn retry(message: &Message) -> Fate {
        let settlement = Settlement::Retry { error: "e".into() };
        Move::of(message, &settlement, &Options::default().retry_steps).fate()
    }

    #[test]
    fn each_failed_attempt_takes_the_next_step_and_the_last_none() {
        for (attempt, seconds) in (1..).zip([1, 5, 30, 120, 600, 1800, 3600, 7200]) {
            assert_eq!(retry(&message(attempt)), Fate::Retried { step: Duration::from_secs(seconds) });
        }
        for attempt in [9, 10, u32::MAX] {
            assert_eq!(retry(&message(attempt)), Fate::Dead { reason: ReasonCode::RetriesExhausted });
        }
    }

    #[test]
    fn a_foreign_message_is_never_retried() {
        let mut foreign = message(1);
        foreign.envelope = Err(ForeignMessage { why: "x".into(), body: Bytes::new() });
        assert_eq!(retry(&foreign), Fate::Dead { reason: ReasonCode::ForeignMessage });
    }

    #[test]
    fn a_dead_letter_keeps_its_reason() {
        let mut dead = message(1);
        let info = DeadInfo { reason: ReasonCode::TooDeep, error: "e".into(), routing_key: "event.a".into() };
        dead.dead = Some(info);
        assert_eq!(retry(&dead), Fate::Returned);
    }

    #[test]
    fn a_handed_back_message_counts_nothing_but_stays_suspect() {
        let mut suspect = message(4);
        suspect.deliveries = 2;
        let Move::Return(headers) = Move::of(&suspect, &Settlement::Return, &[]) else { panic!() };
        assert_eq!(wire::decode(&headers, Bytes::new()).unwrap().attempt, 4);
        assert_eq!(wire::earlier_deliveries(&headers), 2);
    }
}
