//! Latencies, every one kept: a run has a few hundred thousand at most, and sorted samples have no buckets
//! to be wrong about.

use std::time::Duration;

/// Durations in the order they were noted, or any other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// Notes one.
    pub(crate) fn note(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    /// Takes over those of another.
    pub(crate) fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest that at least `share` (0 to 1) of them do not exceed, in milliseconds; 0 where there is
    /// none.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        let at = rank.clamp(1, sorted.len().max(1)) - 1;
        sorted.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_sample_that_so_many_do_not_exceed() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile_ms(0.99), 0.0);
        (1..=100).rev().for_each(|ms| latencies.note(Duration::from_millis(ms)));
        assert_eq!(latencies.quantile_ms(0.5), 50.0);
        assert_eq!(latencies.quantile_ms(0.99), 99.0);
        assert_eq!(latencies.quantile_ms(1.0), 100.0);
        assert_eq!(latencies.quantile_ms(0.0), 1.0);
    }
}
