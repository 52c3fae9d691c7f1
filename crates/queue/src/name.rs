//! Names of queues and exchanges, the same on both backends.

use std::collections::BTreeMap;
use std::time::Duration;

use rollcall_event::Lane;

/// The topic exchange everything passes.
pub(crate) const EXCHANGE: &str = "rollcall";
/// Where dead letters wait for the worker to take them into its table.
pub(crate) const DEAD: &str = "rollcall.dead";
/// What every retry queue's name begins with.
const RETRY: &str = "rollcall.retry.";

/// A queue that a [`crate::Consumer`] can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConsumedQueue {
    /// One of the lanes.
    Lane(Lane),
    /// The dead letters.
    Dead,
}

impl ConsumedQueue {
    /// All of them, leavers first.
    pub const ALL: [Self; 4] =
        [Self::Lane(Lane::Revocations), Self::Lane(Lane::Events), Self::Lane(Lane::Bulk), Self::Dead];

    /// The queue's name, e.g. `rollcall.revocations`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lane(Lane::Revocations) => "rollcall.revocations",
            Self::Lane(Lane::Events) => "rollcall.events",
            Self::Lane(Lane::Bulk) => "rollcall.bulk",
            Self::Dead => DEAD,
        }
    }

    /// Which routing keys reach it, as a topic pattern.
    pub(crate) fn pattern(self) -> &'static str {
        match self {
            Self::Lane(Lane::Revocations) => "revoke.#",
            Self::Lane(Lane::Events) => "event.#",
            Self::Lane(Lane::Bulk) => "bulk.#",
            Self::Dead => "dead.#",
        }
    }

    /// The queue a routing key reaches, by the same patterns.
    pub(crate) fn of_key(key: &str) -> Option<Self> {
        let first = key.split('.').next()?;
        Self::ALL.into_iter().find(|queue| queue.pattern().strip_suffix(".#") == Some(first))
    }
}

/// The retry queue of a delay, e.g. `rollcall.retry.30s`; the exchange in front of it has the same name.
pub(crate) fn retry(delay: Duration) -> String {
    format!("{RETRY}{}", spelled(delay))
}

/// The retry queues of these steps with their delays, each once.
pub(crate) fn retries(steps: &[Duration]) -> BTreeMap<Duration, String> {
    steps.iter().map(|&delay| (delay, retry(delay))).collect()
}

/// A delay in the largest unit that divides it: `30s`, `2m`, `1h`, `1500ms`.
fn spelled(delay: Duration) -> String {
    match delay.as_millis() {
        0 => "0ms".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    #[test]
    fn a_retry_queue_is_named_after_its_delay() {
        let names: Vec<String> = retries(&Options::default().retry_steps).into_values().collect();
        let delays = ["1s", "5s", "30s", "2m", "10m", "30m", "1h", "2h"];
        assert_eq!(names, delays.map(|delay| format!("rollcall.retry.{delay}")));
        assert_eq!(retry(Duration::from_millis(1500)), "rollcall.retry.1500ms");
        assert_eq!(retry(Duration::from_secs(90)), "rollcall.retry.90s");
    }

    #[test]
    fn a_key_reaches_the_queue_that_is_bound_to_it() {
        for (key, queue) in [
            ("revoke.a.user_deleted", Some(ConsumedQueue::Lane(Lane::Revocations))),
            ("event.unreadable", Some(ConsumedQueue::Lane(Lane::Events))),
            ("bulk.role.updated", Some(ConsumedQueue::Lane(Lane::Bulk))),
            ("dead.parse_error", Some(ConsumedQueue::Dead)),
            ("other.a", None),
            ("", None),
        ] {
            assert_eq!(ConsumedQueue::of_key(key), queue, "{key}");
        }
    }
}
