//! Panics go where every other line goes.

use std::time::Duration;

use crate::queue::LogQueue;

/// Replaces the panic hook by one that logs the place at `error`.
///
/// The standard hook writes to standard error and waits for its reader; and a panic's own words may quote
/// the data it tripped over, so they are logged at `debug` only.
pub(crate) fn log_them(log: LogQueue) {
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(thread, place, "panicked: this is a defect of the program");
        tracing::debug!(thread, place, message = panic.payload_as_str().unwrap_or("not text"));
        // Nothing runs after a panic of the main thread that could still write the line.
        if thread == "main" {
            log.flush(Duration::from_millis(500));
        }
    }));
}
