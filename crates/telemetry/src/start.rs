//! Putting it together, and taking it apart in time.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::queue::LogQueue;
use crate::{LogFormat, Metrics, log, otlp, panics};

/// Longest that [`Telemetry::shutdown`] waits for a collector.
const PUSH_GRACE: Duration = Duration::from_secs(4);

/// Longest that it then waits for the log reader; together with [`PUSH_GRACE`] it stays within 5 s.
const LOG_GRACE: Duration = Duration::from_secs(1);

/// What a binary says about itself.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the service, `rollcall-ingress` or `rollcall-worker`. `OTEL_SERVICE_NAME` goes before it.
    pub service: &'static str,
    /// How log lines are written, from `LOG_FORMAT`.
    pub log_format: LogFormat,
    /// Which are written, from `RUST_LOG`; `info` if absent or empty.
    pub log_filter: Option<String>,
    /// Directives that hold whatever `RUST_LOG` says, for libraries that log what must not be logged.
    pub quiet: &'static [&'static str],
}

/// The running telemetry of a process; there is one.
///
/// Dropping it is the same as [`Telemetry::shutdown`], so that an early return loses no line.
#[must_use = "dropping it stops telemetry"]
pub struct Telemetry {
    metrics: Metrics,
    tracer: Option<SdkTracerProvider>,
    log: LogQueue,
}

impl Telemetry {
    /// Starts everything and sets the process-wide subscriber, propagator (W3C), meter and panic hook.
    ///
    /// Metrics are always there to be rendered. They and the traces are pushed by OTLP over HTTP when
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` (or the variable of one signal) is set and `OTEL_SDK_DISABLED` is not
    /// `true`. Logs go to standard error. Call it outside of any async runtime.
    ///
    /// # Errors
    ///
    /// A wrong `RUST_LOG` or `OTEL_*` value, by name; a second call in one process.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let log = LogQueue::start(std::io::stderr()).context("starting the log writer")?;
        let filter = log::filter(options.log_filter.as_deref(), options.quiet)?;
        let exporters = otlp::exporters(&|name| std::env::var(name).ok())?;
        let resource = resource(options.service);
        let metrics = Metrics::new(resource.clone(), exporters.metrics)?;
        let tracer = exporters.traces.map(|push| {
            SdkTracerProvider::builder().with_batch_exporter(push).with_resource(resource).build()
        });

        let spans = tracer.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("rollcall"))
                .with_location(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
                // Our own spans only, whatever RUST_LOG says: a quieter log must not cut traces in two, and the
                // exporter's own client must not be traced.
                .with_filter(Targets::new().with_target("rollcall", LevelFilter::INFO))
        });
        let lines = log::layer(options.log_format, log.clone()).with_filter(filter);
        tracing_subscriber::registry()
            .with(spans)
            .with(lines)
            .try_init()
            .context("telemetry is started once per process")?;

        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        opentelemetry::global::set_meter_provider(metrics.provider().clone());
        panics::log_them(log.clone());
        log.count_as_the_process();
        Ok(Self { metrics, tracer, log })
    }

    /// The instruments of this process.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Pushes what is left and writes the last log lines. Takes 5 s at most, then gives up on both; call it
    /// after the async runtime is gone. Instruments can still be used afterwards, without effect.
    pub fn shutdown(self) {}
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        let metrics = self.metrics.provider().clone();
        let mut pushing = vec![in_background(move || metrics.shutdown().map_err(|error| error.to_string()))];
        if let Some(tracer) = self.tracer.take() {
            pushing.push(in_background(move || {
                tracer.shutdown_with_timeout(PUSH_GRACE).map_err(|error| error.to_string())
            }));
        }
        let deadline = Instant::now() + PUSH_GRACE;
        for answer in pushing {
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match answer.recv_timeout(left) {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error,
                Err(_) => "no answer in time".to_owned(),
            };
            tracing::warn!(error, "the last telemetry could not be pushed");
        }
        self.log.flush(LOG_GRACE);
    }
}

/// Runs `work` on a thread of its own, which is left behind if it never ends.
fn in_background(
    work: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> mpsc::Receiver<Result<(), String>> {
    let (answer, answered) = mpsc::channel();
    std::thread::spawn(move || answer.send(work()));
    answered
}

/// What describes this process to a collector: `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`, else the
/// name given here.
fn resource(service: &'static str) -> Resource {
    let detected = Resource::builder().build();
    let name = detected.get(&opentelemetry::Key::from_static_str("service.name"));
    let given = name.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let builder = Resource::builder();
    if given { builder.build() } else { builder.with_service_name(service).build() }
}
