//! Bulk gives way: while the other lanes of this worker have something to do, it rests as long as it writes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rollcall_event::Lane;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

/// The other lanes have something to do for so long after their last batch.
const BUSY: Duration = Duration::from_secs(1);
/// Longest rest. A batch that took longer was waiting itself.
const LONGEST: Duration = Duration::from_millis(200);

/// When another lane last wrote.
#[derive(Default)]
pub(crate) struct Courtesy(Mutex<Option<Instant>>);

impl Courtesy {
    /// Gives back what a lane's batch needed to be written, since `began`: at once, or after a rest.
    pub(crate) fn leave(&self, lane: Lane, began: Instant, permit: OwnedSemaphorePermit) {
        let rest = self.rest_after(lane, began, Instant::now());
        if !rest.is_zero() {
            tokio::spawn(async move {
                sleep(rest).await;
                drop(permit);
            });
        }
    }

    fn rest_after(&self, lane: Lane, began: Instant, now: Instant) -> Duration {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match lane {
            Lane::Revocations | Lane::Events => {
                *last = Some(now);
                Duration::ZERO
            }
            Lane::Bulk if last.is_some_and(|last| now.saturating_duration_since(last) < BUSY) => {
                now.saturating_duration_since(began).min(LONGEST)
            }
            Lane::Bulk => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn bulk_rests_as_long_as_it_wrote_while_other_lanes_write() {
        let (courtesy, began) = (Courtesy::default(), Instant::now());
        let wrote = Duration::from_millis(20);
        let now = began + wrote;
        assert_eq!(courtesy.rest_after(Lane::Bulk, began, now), Duration::ZERO);
        for lane in [Lane::Events, Lane::Revocations] {
            let courtesy = Courtesy::default();
            assert_eq!(courtesy.rest_after(lane, began, now), Duration::ZERO);
            assert_eq!(courtesy.rest_after(Lane::Bulk, began, now), wrote);
        }
    }

    #[test]
    fn a_rest_has_bounds() {
        let (courtesy, now) = (Courtesy::default(), Instant::now());
        courtesy.rest_after(Lane::Events, now, now);
        let almost = now + BUSY - Duration::from_millis(1);
        assert_eq!(courtesy.rest_after(Lane::Bulk, now, almost), LONGEST);
        assert_eq!(courtesy.rest_after(Lane::Bulk, now, now + BUSY), Duration::ZERO);
    }

    #[tokio::test]
    async fn nothing_is_written_during_a_rest() {
        let (courtesy, writing) = (Courtesy::default(), Arc::new(Semaphore::new(1)));
        for lane in [Lane::Events, Lane::Bulk] {
            let permit = writing.clone().acquire_owned().await.unwrap();
            let wrote = Duration::from_millis(50);
            let began = Instant::now().checked_sub(wrote).unwrap();
            let left = Instant::now();
            courtesy.leave(lane, began, permit);
            let again = writing.clone().acquire_owned().await;
            assert!(again.is_ok());
            if lane == Lane::Bulk {
                assert!(left.elapsed() >= wrote, "{:?}", left.elapsed());
            }
        }
    }
}
