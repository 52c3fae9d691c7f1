//! Whether a publish could be confirmed now.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::PublishError;

/// Whether a publish could be confirmed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It could.
    Ready,
    /// It could not, and why: one sentence for the operator, without secrets.
    NotReady(String),
}

impl Health {
    /// Whether it is [`Health::Ready`].
    pub fn is_ready(&self) -> bool {
        *self == Self::Ready
    }
}

/// How long one refused or returned publish speaks for the queue, unless a confirm came since.
const REFUSAL_COUNTS_FOR: Duration = Duration::from_secs(10);

/// How recent a confirm must be to answer a probe without a canary.
const CONFIRM_COUNTS_FOR: Duration = Duration::from_secs(2);

/// What the owner task knows, for everybody who asks.
#[derive(Debug)]
pub(crate) struct Pulse(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// Why publishing is impossible at all, if it is.
    down: Option<String>,
    /// The latest confirm of a real message.
    confirmed: Option<Instant>,
    /// The latest refusal since then.
    refused: Option<(Instant, String)>,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        let down = Some("not connected yet".to_owned());
        Self(Mutex::new(Inner { down, confirmed: None, refused: None }))
    }

    pub(crate) fn up(&self) {
        self.lock().down = None;
    }

    pub(crate) fn down(&self, cause: impl Into<String>) {
        self.lock().down = Some(cause.into());
    }

    /// Notes the verdict on a real message.
    pub(crate) fn note(&self, verdict: &Result<(), PublishError>) {
        let mut inner = self.lock();
        match verdict {
            Ok(()) => {
                inner.confirmed = Some(Instant::now());
                inner.refused = None;
            }
            Err(error @ (PublishError::Refused | PublishError::Unroutable)) => {
                inner.refused = Some((Instant::now(), error.to_string()));
            }
            Err(_) => {}
        }
    }

    pub(crate) fn health(&self) -> Health {
        let inner = self.lock();
        match (&inner.down, &inner.refused) {
            (Some(cause), _) => Health::NotReady(cause.clone()),
            (None, Some((at, cause))) if at.elapsed() < REFUSAL_COUNTS_FOR => Health::NotReady(cause.clone()),
            _ => Health::Ready,
        }
    }

    /// Whether a confirm came so recently that a canary would say nothing new.
    pub(crate) fn confirmed_just_now(&self) -> bool {
        self.lock().confirmed.is_some_and(|at| at.elapsed() < CONFIRM_COUNTS_FOR)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Plain values: a panic elsewhere cannot leave them half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_counts_until_the_next_confirm() {
        let pulse = Pulse::new();
        assert!(!pulse.health().is_ready());
        pulse.up();
        assert!(pulse.health().is_ready() && !pulse.confirmed_just_now());
        pulse.note(&Err(PublishError::Refused));
        assert_eq!(pulse.health(), Health::NotReady(PublishError::Refused.to_string()));
        pulse.note(&Err(PublishError::TimedOut));
        assert!(!pulse.health().is_ready());
        pulse.note(&Ok(()));
        assert!(pulse.health().is_ready() && pulse.confirmed_just_now());
        pulse.down("gone");
        assert_eq!(pulse.health(), Health::NotReady("gone".into()));
    }
}
