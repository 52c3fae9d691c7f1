//! How long to wait before trying a lost connection again.
//!
//! The one module that knows the `backoff` crate. It is unmaintained (RUSTSEC-2025-0012), so it serves as
//! a calculator only: sleeping, cancelling and counting stay ours.

use std::time::{Duration, Instant};

use backoff::backoff::Backoff;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

/// A connection that lasted this long was a good one: the next loss starts again with the shortest delay.
const GOOD: Duration = Duration::from_secs(5);

/// Growing delays with jitter, from a fifth of a second to two seconds, for ever.
#[derive(Debug)]
pub(crate) struct Delays {
    calculator: ExponentialBackoff,
    since: Option<Instant>,
}

impl Delays {
    pub(crate) fn new() -> Self {
        let calculator = ExponentialBackoffBuilder::new()
            .with_initial_interval(Duration::from_millis(200))
            .with_multiplier(2.0)
            .with_randomization_factor(0.5)
            .with_max_interval(Duration::from_secs(2))
            .with_max_elapsed_time(None)
            .build();
        Self { calculator, since: None }
    }

    /// Notes that a connection stands.
    pub(crate) fn connected(&mut self) {
        self.since = Some(Instant::now());
    }

    /// How long to wait after a failure or a loss.
    pub(crate) fn next(&mut self) -> Duration {
        if self.since.take().is_some_and(|since| since.elapsed() >= GOOD) {
            self.calculator.reset();
        }
        // `None` means that the elapsed time is over, and that is switched off.
        self.calculator.next_backoff().unwrap_or(Duration::from_secs(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound_and_never_end() {
        let mut delays = Delays::new();
        let all: Vec<Duration> = (0..100).map(|_| delays.next()).collect();
        assert!(all[0] >= Duration::from_millis(100) && all[0] <= Duration::from_millis(300));
        assert!(all.iter().all(|delay| *delay <= Duration::from_secs(3)));
        assert!(all[99] >= Duration::from_secs(1));
    }
}
