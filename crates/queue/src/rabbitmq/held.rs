//! What one connection's consumer holds: arrived, handed out, not yet settled.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use lapin::message::Delivery;

use super::properties;
use crate::message::Tag;
use crate::name::ConsumedQueue;
use crate::{Message, wire};

/// Messages by what is known about them, and the tags the broker waits for.
#[derive(Default)]
pub(super) struct Held {
    /// Taken from the stream and not looked at.
    pub(super) arrived: Vec<Delivery>,
    /// Never handed out before.
    pub(super) fresh: VecDeque<Message>,
    /// Handed out before without an answer.
    pub(super) suspects: VecDeque<Message>,
    /// Everything not settled, handed out or not, and every tag that never arrived here.
    unsettled: BTreeSet<u64>,
    /// The highest tag seen. The broker counts a channel's tags up by one.
    highest: u64,
    missed: bool,
}

/// Tags to acknowledge, in as few frames as the rest allows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Acks {
    /// This tag and every lower one.
    pub(super) up_to: Option<u64>,
    /// These one by one.
    pub(super) single: Vec<u64>,
}

impl Held {
    /// Looks at what arrived.
    pub(super) fn sort(&mut self, queue: ConsumedQueue, generation: u64, limit: u32) {
        for delivery in self.arrived.drain(..) {
            // A message that was sent here and never arrived must not be acknowledged along with later ones.
            self.missed |= delivery.delivery_tag > self.highest + 1;
            self.unsettled.extend(self.highest + 1..=delivery.delivery_tag);
            self.highest = self.highest.max(delivery.delivery_tag);
            let message = read(delivery, queue, generation, limit);
            let known = if message.deliveries > 0 { &mut self.suspects } else { &mut self.fresh };
            known.push_back(message);
        }
    }

    /// Whether the broker believes that a message is here which is not. It comes again with a new channel.
    pub(super) fn misses_one(&self) -> bool {
        self.missed
    }

    /// Whether the broker waits for no answer.
    pub(super) fn is_empty(&self) -> bool {
        self.arrived.is_empty() && self.unsettled.is_empty()
    }

    /// How many messages the broker waits for.
    pub(super) fn len(&self) -> usize {
        self.arrived.len() + self.unsettled.len()
    }

    /// How many of them were taken from here, by the caller or to be stored anew.
    pub(super) fn away(&self) -> usize {
        self.unsettled.len() - self.fresh.len() - self.suspects.len()
    }

    pub(super) fn holds(&self, tag: u64) -> bool {
        self.unsettled.contains(&tag)
    }

    /// Lets go of one that needs no acknowledgement any more.
    pub(super) fn forget(&mut self, tag: u64) {
        self.unsettled.remove(&tag);
        self.suspects.retain(|message| !matches!(message.tag, Tag::Rabbit { tag: its, .. } if its == tag));
    }

    /// Lets go of these tags and says how to acknowledge them: "multiple" would also settle lower tags that
    /// are still open, so it reaches only as far as the lowest of these.
    pub(super) fn let_go(&mut self, tags: impl IntoIterator<Item = u64>) -> Acks {
        let mut tags: BTreeSet<u64> = tags.into_iter().filter(|tag| self.unsettled.remove(tag)).collect();
        let above = self.unsettled.first().map_or_else(BTreeSet::new, |lowest| tags.split_off(lowest));
        Acks { up_to: tags.last().copied(), single: above.into_iter().collect() }
    }
}

fn read(delivery: Delivery, queue: ConsumedQueue, generation: u64, limit: u32) -> Message {
    let mut headers = properties::incoming(&delivery.properties);
    let routing_key = delivery.routing_key.as_str().to_owned();
    let earlier = wire::earlier_deliveries(&headers);
    let dead = (queue == ConsumedQueue::Dead)
        .then(|| properties::dead_info(&headers, &delivery.properties, &routing_key, limit));
    if let Some(info) = &dead {
        // What the broker noted would be lost with the next copy: from here on our own headers say it.
        headers = wire::bury(headers, info.reason, &info.error, &info.routing_key);
    }
    Message {
        envelope: wire::decode(&headers, Bytes::from(delivery.data)),
        routing_key,
        deliveries: properties::deliveries(&delivery.properties, delivery.redelivered)
            .saturating_add(earlier),
        dead,
        headers,
        tag: Tag::Rabbit { generation, tag: delivery.delivery_tag },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(tags: impl IntoIterator<Item = u64>) -> Held {
        let arrived =
            tags.into_iter().map(|tag| Delivery::mock(tag, "".into(), "event.a".into(), false, vec![]));
        let mut held = Held { arrived: arrived.collect(), ..Held::default() };
        held.sort(ConsumedQueue::Dead, 1, 20);
        held
    }

    #[test]
    fn a_whole_batch_is_one_acknowledgement() {
        assert_eq!(held(1..=256).let_go(1..=256), Acks { up_to: Some(256), single: vec![] });
        assert_eq!(held(1..=9).let_go(1..=5), Acks { up_to: Some(5), single: vec![] });
    }

    #[test]
    fn an_open_message_is_never_acknowledged_along_with_others() {
        let mut held = held(1..=6);
        assert_eq!(held.let_go([1, 2, 4, 6]), Acks { up_to: Some(2), single: vec![4, 6] });
        assert!(held.holds(3) && held.holds(5) && !held.holds(4));
        assert_eq!(held.let_go([3]), Acks { up_to: Some(3), single: vec![] });
        assert_eq!(held.let_go([5]), Acks { up_to: Some(5), single: vec![] });
    }

    #[test]
    fn a_message_that_never_arrived_is_not_acknowledged_along_with_later_ones() {
        let mut held = held([1, 2, 4, 5]);
        assert!(held.misses_one());
        assert_eq!(held.let_go([1, 2, 4, 5]), Acks { up_to: Some(2), single: vec![4, 5] });
        assert!(!self::held(1..=5).misses_one());
    }

    #[test]
    fn a_tag_is_acknowledged_once() {
        let mut held = held(1..=2);
        held.let_go([1, 2]);
        assert_eq!(held.let_go([1, 2, 7]), Acks { up_to: None, single: vec![] });
    }
}
