//! A gauge that is set as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Gauge, Meter};

/// Label sets a gauge may ever show, below the 2,000 at which the SDK itself starts to merge them. The rest is
/// summed up under `other`.
const MOST_SERIES: usize = 1000;

/// A gauge per label set, of which each report names all that are not zero.
///
/// A set that was reported once and is absent now goes to zero: a series that kept its last value would say
/// that dead letters are still there after they were replayed.
pub(crate) struct WholeGauge<const N: usize> {
    gauge: Gauge<u64>,
    labels: [&'static str; N],
    seen: Mutex<BTreeSet<[String; N]>>,
}

impl<const N: usize> WholeGauge<N> {
    pub(crate) fn new(
        meter: &Meter,
        name: &'static str,
        description: &'static str,
        labels: [&'static str; N],
    ) -> Self {
        let gauge = meter.u64_gauge(name).with_description(description).build();
        Self { gauge, labels, seen: Mutex::default() }
    }

    /// Reports all values; the same labels twice are added up.
    pub(crate) fn set(&self, values: impl IntoIterator<Item = ([String; N], u64)>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut report: BTreeMap<[String; N], u64> = seen.iter().map(|key| (key.clone(), 0)).collect();
        for (key, value) in values {
            let room = seen.len() < MOST_SERIES || seen.contains(&key);
            let key = if room { key } else { std::array::from_fn(|_| "other".to_owned()) };
            seen.insert(key.clone());
            *report.entry(key).or_default() += value;
        }
        for (key, value) in report {
            let labels: Vec<KeyValue> =
                self.labels.iter().zip(key).map(|(label, value)| KeyValue::new(*label, value)).collect();
            self.gauge.record(value, &labels);
        }
    }
}
