//! What keeps the worker from its work right now, for `/readyz`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

const UNASKED: &str = "not asked yet";

/// Causes by component; empty means ready.
#[derive(Debug)]
pub(crate) struct Condition(Mutex<BTreeMap<&'static str, String>>);

impl Default for Condition {
    /// Not ready until the database has answered once.
    fn default() -> Self {
        Self(Mutex::new(BTreeMap::from([("database", UNASKED.to_owned())])))
    }
}

impl Condition {
    pub(crate) fn good(&self, component: &'static str) {
        self.lock().remove(component);
    }

    /// Notes a cause; true if the component was good until now, or never asked.
    pub(crate) fn bad(&self, component: &'static str, cause: impl Into<String>) -> bool {
        let before = self.lock().insert(component, cause.into());
        before.is_none_or(|before| before == UNASKED)
    }

    /// `None` if ready, else every cause on a line of its own.
    pub(crate) fn causes(&self) -> Option<String> {
        let causes = self.lock();
        let lines = causes.iter().map(|(component, cause)| format!("{component}: {cause}\n"));
        (!causes.is_empty()).then(|| lines.collect())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        // Plain texts: a panic elsewhere cannot leave them half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_no_component_has_a_cause() {
        let condition = Condition::default();
        condition.good("database");
        assert_eq!(condition.causes(), None);
        assert!(condition.bad("queue", "refused"));
        assert!(!condition.bad("queue", "refused"), "said once");
        assert_eq!(condition.causes().unwrap(), "queue: refused\n");
        condition.good("queue");
        assert_eq!(condition.causes(), None);
    }
}
