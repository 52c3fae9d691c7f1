//! Waiting for a condition instead of for a time.

use std::time::{Duration, Instant};

use anyhow::Context;

/// How long between two looks: short beside any deadline, long beside the cost of a look.
const PAUSE: Duration = Duration::from_millis(20);

/// Tries `check` until it answers `Ok`, and gives that answer.
///
/// # Errors
///
/// The last error of `check` when `within` has passed; a check still running then is dropped.
pub async fn eventually<T>(
    within: Duration,
    mut check: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    let mut last = anyhow::anyhow!("the first look did not come back");
    loop {
        let left = within.saturating_sub(started.elapsed());
        match tokio::time::timeout(left, check()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) if left > PAUSE => last = error,
            Ok(Err(error)) => return Err(error).with_context(|| format!("not within {within:?}")),
            Err(_) => return Err(last).with_context(|| format!("not within {within:?}")),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
