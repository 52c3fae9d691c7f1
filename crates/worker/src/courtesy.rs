//! Bulk gives way: while others' events come to this worker, half of its time is theirs.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Others are about for so long after their last events.
const ABOUT: Duration = Duration::from_secs(1);
/// Longest rest. A batch that took longer was waiting itself.
const LONGEST: Duration = Duration::from_millis(200);

/// When others' events were last here.
#[derive(Default)]
pub(crate) struct Courtesy(Mutex<Option<Instant>>);

impl Courtesy {
    /// Notes that others' events came.
    pub(crate) fn others_came(&self, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// How long bulk rests after writing for so long.
    pub(crate) fn rest(&self, now: Instant, written_for: Duration) -> Duration {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let about = last.is_some_and(|last| now.saturating_duration_since(last) < ABOUT);
        if about { written_for.min(LONGEST) } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_rests_as_long_as_it_wrote_while_others_are_about() {
        let (courtesy, now) = (Courtesy::default(), Instant::now());
        let wrote = Duration::from_millis(20);
        assert_eq!(courtesy.rest(now, wrote), Duration::ZERO);
        courtesy.others_came(now);
        assert_eq!(courtesy.rest(now, wrote), wrote);
        assert_eq!(courtesy.rest(now + Duration::from_millis(999), wrote), wrote);
        assert_eq!(courtesy.rest(now + ABOUT, wrote), Duration::ZERO);
        assert_eq!(courtesy.rest(now, Duration::from_secs(30)), LONGEST);
    }
}
