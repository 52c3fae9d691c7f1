//! Whose events go with the bulk: one organization's import must not stand in front of everybody else's events.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rollcall_event::OrganizationId;

/// Events of one organization that may come at once: a busy morning, not an import.
const BURST: f64 = 256.0;

/// Events a second that an organization may send for good.
const STEADY: f64 = 50.0;

/// Most organizations remembered; the events of further ones are within their share.
const MOST: usize = 4096;

/// What is left to each organization of its share of the events lane, a bucket of tokens each.
///
/// Every door counts for itself. Order does not matter to what is applied, so events of one organization may go
/// through both lanes.
#[derive(Debug, Default)]
pub(crate) struct Shares(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    left: HashMap<OrganizationId, Bucket>,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn tokens_at(&self, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        BURST.min(self.tokens + since * STEADY)
    }
}

impl Shares {
    /// Takes one event of `organization` at `now` from its share; false if nothing is left.
    pub(crate) fn take(&self, organization: &OrganizationId, now: Instant) -> bool {
        // The table is whole after every statement, so a panic elsewhere cannot have spoilt it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(organization, now)
    }
}

impl Table {
    fn take(&mut self, organization: &OrganizationId, now: Instant) -> bool {
        if let Some(bucket) = self.left.get_mut(organization) {
            let tokens = bucket.tokens_at(now);
            let within = tokens >= 1.0;
            *bucket = Bucket { tokens: if within { tokens - 1.0 } else { tokens }, at: now };
            return within;
        }
        if self.has_room(now) {
            self.left.insert(organization.clone(), Bucket { tokens: BURST - 1.0, at: now });
        }
        true
    }

    /// Makes room by forgetting those whose bucket is full again, at most once a second.
    fn has_room(&mut self, now: Instant) -> bool {
        let rested = self.swept.is_none_or(|swept| now.duration_since(swept) >= Duration::from_secs(1));
        if self.left.len() >= MOST && rested {
            self.swept = Some(now);
            self.left.retain(|_, bucket| bucket.tokens_at(now) < BURST);
        }
        self.left.len() < MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> OrganizationId {
        OrganizationId::parse(text).unwrap()
    }

    fn taken(shares: &Shares, organization: &str, events: usize, now: Instant) -> usize {
        (0..events).filter(|_| shares.take(&id(organization), now)).count()
    }

    #[test]
    fn an_import_is_beyond_its_share_and_others_are_not() {
        let (shares, now) = (Shares::default(), Instant::now());
        assert_eq!(taken(&shares, "org_1", 1000, now), 256);
        assert_eq!(taken(&shares, "org_2", 200, now), 200);
        assert!(!shares.take(&id("org_1"), now));
    }

    #[test]
    fn a_share_comes_back_with_time_and_never_grows() {
        let (shares, now) = (Shares::default(), Instant::now());
        assert_eq!(taken(&shares, "org_1", 300, now), 256);
        assert_eq!(taken(&shares, "org_1", 300, now + Duration::from_secs(1)), 50);
        assert_eq!(taken(&shares, "org_1", 300, now + Duration::from_secs(3600)), 256);
    }

    #[test]
    fn the_table_stays_bounded_and_forgets_who_is_quiet() {
        let (shares, now) = (Shares::default(), Instant::now());
        for number in 0..2 * MOST {
            assert!(shares.take(&id(&format!("org_{number}")), now));
        }
        assert_eq!(shares.0.lock().unwrap().left.len(), MOST);
        assert_eq!(taken(&shares, "org_late", 300, now), 300);
        let later = now + Duration::from_secs(60);
        assert_eq!(taken(&shares, "org_late", 300, later), 256);
        assert_eq!(shares.0.lock().unwrap().left.len(), 1);
    }
}
