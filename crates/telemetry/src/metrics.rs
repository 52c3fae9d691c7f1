//! Every instrument of the product, by name.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, MeterProvider as _};
use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

use crate::gauge::WholeGauge;

/// Content type of [`Metrics::render`]: Prometheus's text format.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Seconds a publish or a transaction may take: from a fast disk to past the 5 s after which the ingress gives up.
const SHORT: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Seconds from receipt to commit: from at once to past the sum of all retry delays.
const LONG: [f64; 16] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 21600.0];

/// The instruments of both binaries; a binary shows those that it has used. Cheap to clone.
///
/// Names and labels are a contract with dashboards and alert rules. Label values come from fixed lists, or are
/// ids of organizations, so that the number of series stays bounded; the caller sees to it.
#[derive(Clone)]
pub struct Metrics(Arc<Instruments>);

struct Instruments {
    registry: Registry,
    provider: SdkMeterProvider,
    deliveries: Counter<u64>,
    publish: Histogram<f64>,
    events: Counter<u64>,
    apply: Histogram<f64>,
    event_lag: Histogram<f64>,
    retries: Counter<u64>,
    clock_skew: Counter<u64>,
    dead_letters: WholeGauge<1>,
    held: WholeGauge<1>,
    queue_depth: WholeGauge<1>,
    drift: WholeGauge<2>,
    unmapped_groups: WholeGauge<1>,
}

impl Metrics {
    /// Instruments with a registry of their own and no effect outside: for tests and for commands.
    pub fn detached() -> Self {
        Self::new(Resource::builder_empty().build(), None)
            .expect("a registry that was just made holds nothing to collide with")
    }

    pub(crate) fn new(resource: Resource, push: Option<MetricExporter>) -> anyhow::Result<Self> {
        let registry = Registry::new();
        let pull = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .without_target_info()
            .build()?;
        let mut provider = SdkMeterProvider::builder().with_reader(pull).with_resource(resource);
        if let Some(push) = push {
            provider = provider.with_periodic_exporter(push);
        }
        let provider = provider.build();
        let meter = provider.meter("rollcall");
        Ok(Self(Arc::new(Instruments::new(registry, provider, &meter))))
    }

    pub(crate) fn provider(&self) -> &SdkMeterProvider {
        &self.0.provider
    }

    /// Everything in Prometheus's text format ([`TEXT`]); empty after telemetry was shut down.
    pub fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.0.registry.gather()).unwrap_or_else(|error| {
            tracing::error!(%error, "metrics could not be written");
            String::new()
        })
    }

    /// One delivery answered: `rollcall_deliveries_total{source,outcome}`.
    pub fn delivery(&self, source: &str, outcome: &str) {
        self.0.deliveries.add(1, &[label("source", source), label("outcome", outcome)]);
    }

    /// One publish, until the queue confirmed it or the ingress gave up: `rollcall_publish_seconds`.
    pub fn publish_seconds(&self, elapsed: Duration) {
        self.0.publish.record(elapsed.as_secs_f64(), &[]);
    }

    /// `n` events settled: `rollcall_events_total{type,outcome}`. `kind` is a type of the catalogue or `other`.
    pub fn event(&self, kind: &str, outcome: &str, n: u64) {
        self.0.events.add(n, &[label("type", kind), label("outcome", outcome)]);
    }

    /// One transaction: `rollcall_apply_seconds`.
    pub fn apply_seconds(&self, elapsed: Duration) {
        self.0.apply.record(elapsed.as_secs_f64(), &[]);
    }

    /// From received to committed, of one event: `rollcall_event_lag_seconds{lane}`.
    pub fn event_lag(&self, lane: &str, lag: Duration) {
        self.0.event_lag.record(lag.as_secs_f64(), &[label("lane", lane)]);
    }

    /// One message sent to a retry queue: `rollcall_retries_total{step}`, the step as in `RETRY_STEPS`.
    pub fn retry(&self, step: &str) {
        self.0.retries.add(1, &[label("step", step)]);
    }

    /// One delivery refused because its time is too far from ours: `rollcall_clock_skew_total`. Many in a row
    /// mean that a clock is wrong, more likely ours.
    pub fn clock_skew(&self) {
        self.0.clock_skew.add(1, &[]);
    }

    /// Open dead letters now: `rollcall_dead_letters{reason_code}`. A reason that is absent goes to 0.
    pub fn set_dead_letters(&self, by_reason: &[(String, u64)]) {
        self.0.dead_letters.set(single(by_reason));
    }

    /// Changes that wait for a person now: `rollcall_held{organization_id}`. An absent organization goes to 0.
    pub fn set_held(&self, by_organization: &[(String, u64)]) {
        self.0.held.set(single(by_organization));
    }

    /// Messages in each queue now: `rollcall_queue_depth{queue}`. An absent queue goes to 0.
    pub fn set_queue_depth(&self, by_queue: &[(String, u64)]) {
        self.0.queue_depth.set(single(by_queue));
    }

    /// Differences between mirror and directory at the last comparison, as (organization, kind, number):
    /// `rollcall_drift{organization_id,kind}`. An absent pair goes to 0.
    pub fn set_drift(&self, by_organization_and_kind: &[(String, String, u64)]) {
        let values = by_organization_and_kind.iter();
        self.0.drift.set(values.map(|(organization, kind, n)| ([organization.clone(), kind.clone()], *n)));
    }

    /// Live groups that no role is mapped to: `rollcall_unmapped_groups{organization_id}`. An absent
    /// organization goes to 0.
    pub fn set_unmapped_groups(&self, by_organization: &[(String, u64)]) {
        self.0.unmapped_groups.set(single(by_organization));
    }
}

impl Instruments {
    fn new(registry: Registry, provider: SdkMeterProvider, meter: &Meter) -> Self {
        meter
            .u64_observable_counter("rollcall.log_dropped")
            .with_description("Log lines dropped because their reader was too slow or away")
            .with_callback(|observer| observer.observe(crate::log_dropped(), &[]))
            .build();
        let clock_skew = counter(meter, "rollcall.clock_skew", "Deliveries refused because of their time");
        // An alert on an increase needs a value to increase from.
        clock_skew.add(0, &[]);
        Self {
            registry,
            provider,
            deliveries: counter(meter, "rollcall.deliveries", "Deliveries answered"),
            publish: seconds(meter, "rollcall.publish", "Time until the queue confirmed a delivery", &SHORT),
            events: counter(meter, "rollcall.events", "Events settled"),
            apply: seconds(meter, "rollcall.apply", "Time of one transaction", &SHORT),
            event_lag: seconds(meter, "rollcall.event_lag", "Time from received to committed", &LONG),
            retries: counter(meter, "rollcall.retries", "Messages sent to a retry queue"),
            clock_skew,
            dead_letters: WholeGauge::new(
                meter,
                "rollcall.dead_letters",
                "Open dead letters",
                ["reason_code"],
            ),
            held: WholeGauge::new(
                meter,
                "rollcall.held",
                "Changes that wait for a person",
                ["organization_id"],
            ),
            queue_depth: WholeGauge::new(meter, "rollcall.queue_depth", "Messages in a queue", ["queue"]),
            drift: WholeGauge::new(
                meter,
                "rollcall.drift",
                "Differences between mirror and directory",
                ["organization_id", "kind"],
            ),
            unmapped_groups: WholeGauge::new(
                meter,
                "rollcall.unmapped_groups",
                "Live groups without a role",
                ["organization_id"],
            ),
        }
    }
}

fn counter(meter: &Meter, name: &'static str, description: &'static str) -> Counter<u64> {
    meter.u64_counter(name).with_description(description).build()
}

/// The unit becomes the end of the name: `rollcall.publish` in `s` is `rollcall_publish_seconds`.
fn seconds(
    meter: &Meter,
    name: &'static str,
    description: &'static str,
    boundaries: &[f64],
) -> Histogram<f64> {
    meter
        .f64_histogram(name)
        .with_unit("s")
        .with_description(description)
        .with_boundaries(boundaries.to_vec())
        .build()
}

fn label(name: &'static str, value: &str) -> KeyValue {
    KeyValue::new(name, value.to_owned())
}

fn single(values: &[(String, u64)]) -> impl Iterator<Item = ([String; 1], u64)> {
    values.iter().map(|(key, value)| ([key.clone()], *value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used() -> Metrics {
        let metrics = Metrics::detached();
        metrics.delivery("scalekit", "accepted");
        metrics.publish_seconds(Duration::from_millis(3));
        metrics.event("organization.directory.user_created", "applied", 2);
        metrics.apply_seconds(Duration::from_millis(7));
        metrics.event_lag("revocations", Duration::from_secs(20));
        metrics.retry("30s");
        metrics.clock_skew();
        metrics.set_dead_letters(&[("unreadable".to_owned(), 3)]);
        metrics.set_held(&[("org_1".to_owned(), 60)]);
        metrics.set_queue_depth(&[("rollcall.events".to_owned(), 5)]);
        metrics.set_drift(&[("org_1".to_owned(), "missing".to_owned(), 4)]);
        metrics.set_unmapped_groups(&[("org_1".to_owned(), 2)]);
        metrics
    }

    #[test]
    fn every_metric_has_exactly_the_name_and_labels_that_dashboards_know() {
        let text = used().render();
        let lines: Vec<&str> =
            text.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket")).collect();
        let expected = [
            "rollcall_apply_seconds_count 1",
            "rollcall_apply_seconds_sum 0.007",
            "rollcall_clock_skew_total 1",
            "rollcall_dead_letters{reason_code=\"unreadable\"} 3",
            "rollcall_deliveries_total{outcome=\"accepted\",source=\"scalekit\"} 1",
            "rollcall_drift{kind=\"missing\",organization_id=\"org_1\"} 4",
            "rollcall_event_lag_seconds_count{lane=\"revocations\"} 1",
            "rollcall_event_lag_seconds_sum{lane=\"revocations\"} 20",
            "rollcall_events_total{outcome=\"applied\",type=\"organization.directory.user_created\"} 2",
            "rollcall_held{organization_id=\"org_1\"} 60",
            "rollcall_log_dropped_total 0",
            "rollcall_publish_seconds_count 1",
            "rollcall_publish_seconds_sum 0.003",
            "rollcall_queue_depth{queue=\"rollcall.events\"} 5",
            "rollcall_retries_total{step=\"30s\"} 1",
            "rollcall_unmapped_groups{organization_id=\"org_1\"} 2",
        ];
        let mut sorted = lines.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected);
    }

    #[test]
    fn boundaries_are_seconds_and_types_are_said() {
        let text = used().render();
        assert!(text.contains("# TYPE rollcall_publish_seconds histogram"), "{text}");
        assert!(text.contains("# TYPE rollcall_deliveries_total counter"), "{text}");
        assert!(text.contains("# TYPE rollcall_held gauge"), "{text}");
        assert!(text.contains("rollcall_publish_seconds_bucket{le=\"0.0025\"} 0"), "{text}");
        assert!(text.contains("rollcall_publish_seconds_bucket{le=\"0.005\"} 1"), "{text}");
        assert!(
            text.contains("rollcall_event_lag_seconds_bucket{lane=\"revocations\",le=\"60\"} 1"),
            "{text}"
        );
    }

    #[test]
    fn a_gauge_that_is_not_reported_any_more_goes_to_zero() {
        let metrics = used();
        metrics.set_dead_letters(&[("handler_failed".to_owned(), 1)]);
        let text = metrics.render();
        assert!(text.contains("rollcall_dead_letters{reason_code=\"unreadable\"} 0"), "{text}");
        assert!(text.contains("rollcall_dead_letters{reason_code=\"handler_failed\"} 1"), "{text}");
    }

    #[test]
    fn more_organizations_than_fit_are_summed_up_as_other() {
        let metrics = Metrics::detached();
        let all: Vec<(String, u64)> = (0..5000).map(|n| (format!("org_{n}"), 2)).collect();
        metrics.set_held(&all);
        metrics.set_held(&all);
        let text = metrics.render();
        let series = text.lines().filter(|line| line.starts_with("rollcall_held{"));
        let sum: u64 =
            series.clone().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
        assert_eq!((series.count(), sum), (1001, 10_000));
        assert!(text.contains("rollcall_held{organization_id=\"other\"} 8000"), "{text}");
        assert!(!text.contains("overflow"));
    }

    #[test]
    fn two_sets_of_instruments_share_nothing() {
        used();
        assert!(!Metrics::detached().render().contains("rollcall_deliveries_total"));
    }
}
