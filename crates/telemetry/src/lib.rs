//! Logs, metrics and traces of both binaries.
//!
//! [`Telemetry::start`] belongs at the top of a synchronous `main`, before the async runtime is built, and
//! [`Telemetry::shutdown`] after it is gone: what pushes to a collector are plain threads with a blocking
//! client, which must neither be made nor dropped inside a runtime.
//!
//! Three promises hold whatever becomes of the receivers: a log reader that stops reading slows nothing down
//! (lines are dropped and counted, [`log_dropped`]), a collector that is away costs nothing but its data, and
//! neither keeps the process from ending.

mod gauge;
pub mod healthcheck;
mod log;
mod metrics;
#[cfg(test)]
mod operations;
mod otlp;
mod panics;
mod queue;
mod start;
mod trace;

pub use log::{LogFormat, UnknownLogFormat};
pub use metrics::{Metrics, TEXT};
pub use queue::log_dropped;
pub use start::{Options, Telemetry};
pub use trace::{current_traceparent, link_to};
