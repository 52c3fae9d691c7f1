//! Our headers as AMQP properties, and what the broker adds to them.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use rollcall_event::{ReasonCode, RoutingKey};

use crate::DeadInfo;
use crate::wire::{self, Headers};

/// Persistent, with our headers and a message id that is unique on its connection.
pub(super) fn outgoing(headers: &Headers, message_id: &str) -> BasicProperties {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        if let Ok(name) = ShortString::try_new(name.as_str()) {
            table.insert(name, AMQPValue::LongString(value.as_str().into()));
        }
    }
    let properties = BasicProperties::default().with_delivery_mode(2).with_headers(table);
    match ShortString::try_new(message_id) {
        Ok(id) => properties.with_message_id(id),
        Err(_) => properties,
    }
}

/// Our own headers of a message that arrived.
pub(super) fn incoming(properties: &BasicProperties) -> Headers {
    let entries = properties.headers().iter().flatten();
    entries
        .filter(|(name, _)| wire::is_ours(name.as_str()))
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), as_text(value)?)))
        .collect()
}

/// How often this copy of the message was handed out before, as the broker counts.
pub(super) fn deliveries(properties: &BasicProperties, redelivered: bool) -> u32 {
    let counted = properties.headers().as_ref().and_then(|table| table.inner().get("x-delivery-count"));
    let counted = counted.and_then(as_text).and_then(|count| count.parse().ok()).unwrap_or(0);
    // From 4.3 on a handed-back message is marked without being counted.
    if redelivered { counted.max(1) } else { counted }
}

/// Why a message that arrived at the dead letters by `key` is there: what we wrote, or what the broker notes
/// when it gives up itself, or else that it is not ours.
pub(super) fn dead_info(headers: &Headers, properties: &BasicProperties, key: &str, limit: u32) -> DeadInfo {
    if let Some(info) = wire::dead_info(headers) {
        return info;
    }
    let unknown = || RoutingKey::unreadable().as_str().to_owned();
    if key == RoutingKey::dead(ReasonCode::DeliveryLimit).as_str() {
        let routing_key = key_at_limit(properties).unwrap_or_else(unknown);
        return DeadInfo { reason: ReasonCode::DeliveryLimit, error: wire::limit_error(limit), routing_key };
    }
    let error = "arrived among the dead letters without a reason".to_owned();
    DeadInfo { reason: ReasonCode::ForeignMessage, error, routing_key: unknown() }
}

/// The routing key a message had when its queue reached the delivery limit with it, from `x-death`.
fn key_at_limit(properties: &BasicProperties) -> Option<String> {
    let deaths = properties.headers().as_ref()?.inner().get("x-death")?.as_array()?;
    let tables = deaths.as_slice().iter().filter_map(AMQPValue::as_field_table);
    let death = tables
        .map(FieldTable::inner)
        .find(|death| death.get("reason").and_then(as_text).as_deref() == Some("delivery_limit"))?;
    as_text(death.get("routing-keys")?.as_array()?.as_slice().first()?)
}

fn as_text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok().map(str::to_owned),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        AMQPValue::ShortShortInt(n) => Some(n.to_string()),
        AMQPValue::ShortShortUInt(n) => Some(n.to_string()),
        AMQPValue::ShortInt(n) => Some(n.to_string()),
        AMQPValue::ShortUInt(n) => Some(n.to_string()),
        AMQPValue::LongInt(n) => Some(n.to_string()),
        AMQPValue::LongUInt(n) => Some(n.to_string()),
        AMQPValue::LongLongInt(n) => Some(n.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldArray;

    use super::*;

    fn text(value: &str) -> AMQPValue {
        AMQPValue::LongString(value.into())
    }

    #[test]
    fn only_our_headers_travel_on() {
        let sent = Headers::from([("rollcall-attempt".into(), "2".into()), ("x-death".into(), "no".into())]);
        let received = incoming(&outgoing(&sent, "a-1"));
        assert_eq!(received, Headers::from([("rollcall-attempt".into(), "2".into())]));
    }

    #[test]
    fn a_broken_header_value_is_left_out() {
        let mut table = FieldTable::default();
        table.insert("rollcall-source".into(), AMQPValue::LongString(vec![0xff].into()));
        assert!(incoming(&BasicProperties::default().with_headers(table)).is_empty());
    }

    #[test]
    fn a_message_at_the_delivery_limit_names_its_original_key() {
        let death = |reason: &str, key: &str| {
            let mut death = FieldTable::default();
            death.insert("reason".into(), text(reason));
            death.insert("routing-keys".into(), AMQPValue::FieldArray(FieldArray::from(vec![text(key)])));
            AMQPValue::FieldTable(death)
        };
        let deaths = FieldArray::from(vec![death("expired", "event.b"), death("delivery_limit", "revoke.a")]);
        let mut table = FieldTable::default();
        table.insert("x-death".into(), AMQPValue::FieldArray(deaths));
        let properties = BasicProperties::default().with_headers(table);
        let info = dead_info(&Headers::new(), &properties, "dead.delivery_limit", 20);
        assert_eq!((info.reason, info.routing_key.as_str()), (ReasonCode::DeliveryLimit, "revoke.a"));
        assert!(info.error.contains("20"));
        let foreign = dead_info(&Headers::new(), &properties, "dead.whatever", 20);
        assert_eq!(foreign.reason, ReasonCode::ForeignMessage);
    }

    #[test]
    fn a_redelivered_message_counts_even_without_a_count() {
        assert_eq!(deliveries(&BasicProperties::default(), false), 0);
        assert_eq!(deliveries(&BasicProperties::default(), true), 1);
    }
}
