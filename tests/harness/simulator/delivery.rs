//! How events travel: twice, late, in another order.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rollcall_signature::{HeaderFamily, Key, signed_headers};

use super::event::{Fact, SimEvent};

/// One delivery as the sender knows it; sent again it is the same delivery.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The message id, `webhook-id`.
    pub id: String,
    /// The id in the body.
    pub event_id: String,
    /// The type in the body.
    pub kind: String,
    /// What is signed and posted.
    pub body: Bytes,
    /// Whether it must end as a dead letter.
    pub unreadable: bool,
}

impl Delivery {
    /// A delivery of `event` under this message id.
    pub fn of(event: &SimEvent, id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            event_id: event.id.clone(),
            kind: event.kind.clone(),
            body: event.body.clone(),
            unreadable: event.fact == Fact::Unreadable,
        }
    }

    /// Any body under any id.
    pub fn raw(id: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self {
            id: id.into(),
            event_id: String::new(),
            kind: String::new(),
            body: body.into(),
            unreadable: false,
        }
    }

    /// The headers of a request that carries it, signed at `now`.
    pub fn headers(
        &self,
        key: &Key,
        family: HeaderFamily,
        now: DateTime<Utc>,
    ) -> Vec<(&'static str, String)> {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        headers.extend(signed_headers(key, family, &self.id, now, &self.body));
        headers
    }
}

/// How badly deliveries travel. Fractions are between 0 and 1.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Decides everything left to chance.
    pub seed: u64,
    /// How many come twice: the same message id and body.
    pub duplicates: f64,
    /// How many come again as another message: the same body under a new message id.
    pub renumbered: f64,
    /// How many come late, by up to half of all deliveries.
    pub late: f64,
    /// Everything else moves by up to so many places.
    pub window: usize,
}

impl Plan {
    /// Each event once, in the order they happened.
    pub fn orderly() -> Self {
        Self { seed: 0, duplicates: 0.0, renumbered: 0.0, late: 0.0, window: 0 }
    }

    /// A fifth comes twice, a tenth again under another id, a fifth late, the rest shuffled by 40 places.
    pub fn rough(seed: u64) -> Self {
        Self { seed, duplicates: 0.2, renumbered: 0.1, late: 0.2, window: 40 }
    }
}

/// The events as they arrive under `plan`: each at least once.
pub fn deliveries(events: &[SimEvent], plan: &Plan) -> Vec<Delivery> {
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut placed: Vec<(usize, Delivery)> = Vec::with_capacity(events.len() * 3 / 2);
    let arrive = |n: usize, random: &mut StdRng| {
        let late = plan.late > 0.0 && random.random_bool(plan.late);
        let by = if late {
            random.random_range(0..=events.len() / 2)
        } else {
            random.random_range(0..=plan.window)
        };
        n + by
    };
    for (n, event) in events.iter().enumerate() {
        let first = Delivery::of(event, message_id(&mut random));
        if plan.duplicates > 0.0 && random.random_bool(plan.duplicates) {
            placed.push((arrive(n, &mut random), first.clone()));
        }
        if plan.renumbered > 0.0 && random.random_bool(plan.renumbered) {
            placed.push((arrive(n, &mut random), Delivery::of(event, message_id(&mut random))));
        }
        placed.push((arrive(n, &mut random), first));
    }
    // Stable: what shares a place keeps its order.
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, delivery)| delivery).collect()
}

/// A message id in the sender's form.
fn message_id(random: &mut StdRng) -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let tail: String = (0..27).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect();
    format!("msg_{tail}")
}
