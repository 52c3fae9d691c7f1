//! What was counted, over restarts.

use rollcall_tests::TestBed;
use rollcall_tests::metrics::Samples;

/// Counters of the worker's outcomes, as they are shown.
const OUTCOMES: [&str; 7] = ["applied", "superseded", "duplicate", "ignored", "held", "retried", "dead"];

/// Sums since the beginning; a process that is restarted counts from nothing, and is told of here.
#[derive(Debug, Clone, Default)]
pub(super) struct Counters {
    accepted: Kept,
    outcomes: [Kept; OUTCOMES.len()],
    /// Tries of the sender that were not taken.
    pub(super) sent_again: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Kept {
    before: f64,
    last: f64,
}

impl Kept {
    fn begin_anew(&mut self) {
        self.before += self.last;
        self.last = 0.0;
    }

    fn sum(self) -> f64 {
        self.before + self.last
    }
}

impl Counters {
    /// Looks at both processes; one that is away keeps its last numbers.
    pub(super) async fn look(&mut self, bed: &TestBed) {
        if let Ok(door) = bed.ingress_metrics().await {
            self.accepted.last = door.sum("rollcall_deliveries_total", &[("outcome", "accepted")]);
        }
        if let Ok(worker) = bed.worker_metrics().await {
            self.see_worker(&worker);
        }
    }

    /// The door was stopped; its numbers were looked at before.
    pub(super) fn door_stopped(&mut self) {
        self.accepted.begin_anew();
    }

    /// The worker was stopped; its numbers were looked at before.
    pub(super) fn worker_stopped(&mut self) {
        self.outcomes.iter_mut().for_each(Kept::begin_anew);
    }

    fn see_worker(&mut self, worker: &Samples) {
        for (kept, outcome) in self.outcomes.iter_mut().zip(OUTCOMES) {
            kept.last = worker.sum("rollcall_events_total", &[("outcome", outcome)]);
        }
    }

    /// Deliveries that have come to an end.
    pub(super) fn ended(&self) -> usize {
        let outcomes = self.outcomes.iter().zip(OUTCOMES).filter(|(_, outcome)| *outcome != "retried");
        outcomes.map(|(kept, _)| kept.sum()).sum::<f64>() as usize
    }

    /// One line.
    pub(super) fn line(&self) -> String {
        let mut parts = vec![format!("accepted {}", self.accepted.sum())];
        parts.extend(
            self.outcomes.iter().zip(OUTCOMES).map(|(kept, outcome)| format!("{outcome} {}", kept.sum())),
        );
        parts.push(format!("sent again {}", self.sent_again));
        parts.join("   ")
    }
}
