//! The one place that asks what time it is. Everything else takes the time as an argument, so that a
//! test can say what "now" means.

use chrono::{DateTime, Utc};

/// A source of the current time.
pub type Clock = fn() -> DateTime<Utc>;

/// The system's clock.
#[expect(clippy::disallowed_methods, reason = "this is the replacement the lint names")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}
