//! A retry or dead letter that could not be stored yet. Its original stays unacknowledged meanwhile.

use bytes::Bytes;

use super::Publisher;
use crate::PublishError;
use crate::ladder::Move;

/// What has to be stored before the original may be acknowledged.
#[derive(Clone)]
pub(super) struct Owed {
    pub(super) tag: u64,
    key: String,
    body: Bytes,
    step: Move,
}

impl Owed {
    pub(super) fn new(tag: u64, key: &str, body: &Bytes, step: Move) -> Self {
        Self { tag, key: key.to_owned(), body: body.clone(), step }
    }

    /// Tries to store it. Trying again after an error may store it twice.
    pub(super) async fn pay(&self, publisher: &Publisher) -> Result<(), PublishError> {
        publisher.carry(self.step.clone(), &self.key, self.body.clone()).await?;
        fail::fail_point!("queue.after_retry_published", matches!(self.step, Move::Retry { .. }), |_| {
            std::process::abort()
        });
        fail::fail_point!("queue.after_dead_published", matches!(self.step, Move::Dead { .. }), |_| {
            std::process::abort()
        });
        Ok(())
    }

    /// Whether it only goes back to its queue, for which the broker has means of its own.
    pub(super) fn is_return(&self) -> bool {
        matches!(self.step, Move::Return(_))
    }
}
