//! What can be chosen about a queue.

use std::time::Duration;

/// What can be chosen about a queue. `Default` is what the documentation states.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a failed message waits before its next attempt: the first after attempt 1, and so on. When
    /// they are used up the message is dead-lettered. On RabbitMQ each distinct delay is a queue; queues of
    /// delays no longer listed stay, and drain by themselves.
    pub retry_steps: Vec<Duration>,
    /// Publishes in flight without a confirm, at most. Four times as many may wait in line behind them.
    pub window: usize,
    /// How long a caller waits for a confirm, at most.
    pub confirm_timeout: Duration,
    /// How often a message may be handed out again without an answer before it is dead-lettered as
    /// `delivery_limit`. An argument of the queues on RabbitMQ: it cannot be changed on existing ones.
    pub delivery_limit: u32,
    /// Certificate authority for `amqps://`, PEM; `None` trusts the system's.
    pub ca_certificate: Option<String>,
    /// RabbitMQ only: how old a consumer's channel gets before a new one replaces it, as soon as nothing is held.
    /// A queue that is deleted and declared again at once goes on sending its messages into the old one, where
    /// the broker drops them unseen.
    pub renewal: Duration,
    /// Embedded only: how long a worker that died keeps what it held. A living one renews in time.
    pub lease: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            retry_steps: [1, 5, 30, 120, 600, 1800, 3600, 7200].map(Duration::from_secs).to_vec(),
            // 64 to 256 is where a quorum queue's rate stops growing and only its latency does.
            window: 256,
            // The sender gives up at 10 s; the door must have answered well before.
            confirm_timeout: Duration::from_secs(5),
            delivery_limit: 20,
            ca_certificate: None,
            renewal: Duration::from_secs(30),
            lease: Duration::from_secs(10),
        }
    }
}

impl Options {
    /// How many publishes may wait in line behind the window.
    pub(crate) fn line(&self) -> usize {
        self.window.max(1).saturating_mul(4)
    }
}
