//! Numbers that are looked up rather than counted: dead letters, held changes, depth of queues.

use std::sync::Arc;
use std::time::Duration;

use crate::Shared;

/// Between two look-ups.
const EVERY: Duration = Duration::from_secs(10);

/// Looks the numbers up until the worker stops. One that cannot be looked up keeps its last value.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        if let Ok(counts) = shared.store.dead_letter_counts().await {
            shared.metrics.set_dead_letters(&counts);
        }
        if let Ok(counts) = shared.store.held_counts().await {
            shared.metrics.set_held(&counts);
        }
        let depths = rollcall_queue::depths(&shared.queue, &shared.queue_options);
        if let Ok(Ok(depths)) = tokio::time::timeout(EVERY, depths).await {
            let depths: Vec<(String, u64)> =
                depths.into_iter().map(|depth| (depth.queue, depth.ready)).collect();
            shared.metrics.set_queue_depth(&depths);
        }
        tokio::select! { () = shared.stop.cancelled() => return, () = tokio::time::sleep(EVERY) => {} }
    }
}
