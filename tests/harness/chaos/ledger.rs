//! The sender's own book: what was tried, what was answered, what was taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::http::Response;
use crate::simulator::Delivery;

/// One answer of the door.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) at: Instant,
    pub(super) took: Duration,
    /// 0 where none came: the connection was refused or lost.
    pub(super) status: u16,
    /// Seconds in `Retry-After`.
    pub(super) retry_after: Option<u64>,
}

/// Everything the sender knows, by the SHA-256 of the body in hex.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Book>);

#[derive(Default)]
struct Book {
    tried: BTreeSet<String>,
    accepted: BTreeMap<String, String>,
    acceptances: usize,
    answers: Vec<Answer>,
    given_up: Vec<String>,
}

impl Ledger {
    /// The key of a delivery's body.
    pub(super) fn key(delivery: &Delivery) -> String {
        body_key(&delivery.body)
    }

    /// Before a request: whatever comes of it, the body may arrive from now on.
    pub(super) fn try_now(&self, key: &str) {
        self.book().tried.insert(key.to_owned());
    }

    /// After a request; says whether it was taken.
    pub(super) fn note(
        &self,
        delivery: &Delivery,
        key: &str,
        started: Instant,
        answer: anyhow::Result<Response>,
    ) -> bool {
        let status = answer.as_ref().map_or(0, |answer| answer.status.as_u16());
        let retry_after =
            answer.ok().and_then(|answer| answer.header("retry-after").and_then(|text| text.parse().ok()));
        let mut book = self.book();
        let taken = (200..300).contains(&status);
        if taken {
            book.acceptances += 1;
            book.accepted.insert(key.to_owned(), delivery.event_id.clone());
        }
        book.answers.push(Answer { at: Instant::now(), took: started.elapsed(), status, retry_after });
        taken
    }

    /// After the last try.
    pub(super) fn give_up(&self, key: &str) {
        self.book().given_up.push(key.to_owned());
    }

    /// The bodies that were answered 201, with the event ids they were sent under.
    pub(super) fn accepted(&self) -> BTreeMap<String, String> {
        self.book().accepted.clone()
    }

    /// How many requests were answered 201.
    pub(super) fn acceptances(&self) -> usize {
        self.book().acceptances
    }

    /// The bodies that were sent at least once.
    pub(super) fn tried(&self) -> BTreeSet<String> {
        self.book().tried.clone()
    }

    /// Every answer so far.
    pub(super) fn answers(&self) -> Vec<Answer> {
        self.book().answers.clone()
    }

    /// The bodies no try of which was taken.
    pub(super) fn given_up(&self) -> Vec<String> {
        self.book().given_up.clone()
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// SHA-256 in hex.
pub(super) fn body_key(body: &[u8]) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}
