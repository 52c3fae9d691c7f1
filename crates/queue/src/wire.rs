//! How an envelope becomes headers and comes back, the same on both backends.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use rollcall_event::{DeliveryId, Envelope, ReasonCode, Source};

use crate::{DeadInfo, ForeignMessage};

/// Our headers of a message: names and values as text.
pub(crate) type Headers = BTreeMap<String, String>;

const SOURCE: &str = "rollcall-source";
const DELIVERY_ID: &str = "rollcall-delivery-id";
const RECEIVED_AT: &str = "rollcall-received-at";
const ATTEMPT: &str = "rollcall-attempt";
const FIRST_ERROR: &str = "rollcall-first-error";
const LAST_ERROR: &str = "rollcall-last-error";
const TRACEPARENT: &str = "traceparent";
const REASON: &str = "rollcall-reason";
const DEAD_KEY: &str = "rollcall-dead-key";
/// How often a message that was handed back had been handed out without an answer: a copy starts the
/// broker's own count again, and the suspicion must not be lost with it.
const DELIVERIES: &str = "rollcall-deliveries";

/// Longest error text kept, in bytes: all headers of a message must fit one AMQP frame of 128 KiB.
const LONGEST_ERROR: usize = 4096;

/// Whether a header is ours to keep when a message is published again. Others, such as `x-death`, are the
/// broker's: some versions go on counting in a copied one.
pub(crate) fn is_ours(name: &str) -> bool {
    name == TRACEPARENT || name.starts_with("rollcall-")
}

/// The headers of an envelope.
pub(crate) fn encode(envelope: &Envelope) -> Headers {
    let mut headers = Headers::new();
    let mut put = |name: &str, value: String| headers.insert(name.to_owned(), value);
    put(SOURCE, envelope.source.as_str().to_owned());
    put(DELIVERY_ID, envelope.delivery_id.as_str().to_owned());
    put(RECEIVED_AT, envelope.received_at.to_rfc3339_opts(SecondsFormat::Nanos, true));
    put(ATTEMPT, envelope.attempt.to_string());
    for (name, error) in [(FIRST_ERROR, &envelope.first_error), (LAST_ERROR, &envelope.last_error)] {
        if let Some(error) = error {
            put(name, shortened(error).to_owned());
        }
    }
    // A W3C context has 55 characters; whatever is much longer is none.
    if let Some(context) = envelope.traceparent.as_ref().filter(|context| context.len() <= 255) {
        put(TRACEPARENT, context.clone());
    }
    headers
}

/// The envelope that these headers and this body were.
pub(crate) fn decode(headers: &Headers, body: Bytes) -> Result<Envelope, ForeignMessage> {
    match read(headers) {
        Ok((source, delivery_id, received_at, attempt)) => Ok(Envelope {
            source,
            delivery_id,
            received_at,
            attempt,
            first_error: headers.get(FIRST_ERROR).cloned(),
            last_error: headers.get(LAST_ERROR).cloned(),
            traceparent: headers.get(TRACEPARENT).cloned(),
            body,
        }),
        Err(name) => Err(ForeignMessage { why: format!("header {name} is missing or unreadable"), body }),
    }
}

type Identity = (Source, DeliveryId, DateTime<Utc>, u32);

fn read(headers: &Headers) -> Result<Identity, &'static str> {
    let text = |name: &'static str| headers.get(name).ok_or(name);
    let source = Source::parse(text(SOURCE)?).ok_or(SOURCE)?;
    let delivery_id = DeliveryId::parse(text(DELIVERY_ID)?).map_err(|_| DELIVERY_ID)?;
    let received_at = DateTime::parse_from_rfc3339(text(RECEIVED_AT)?).map_err(|_| RECEIVED_AT)?;
    let attempt = text(ATTEMPT)?.parse().ok().filter(|attempt| *attempt > 0).ok_or(ATTEMPT)?;
    Ok((source, delivery_id, received_at.to_utc(), attempt))
}

/// Marks headers as those of a dead letter. The attempt stays the number of the one that failed last.
pub(crate) fn bury(mut headers: Headers, reason: ReasonCode, error: &str, routing_key: &str) -> Headers {
    let error = shortened(error).to_owned();
    headers.entry(FIRST_ERROR.to_owned()).or_insert_with(|| error.clone());
    headers.insert(LAST_ERROR.to_owned(), error);
    headers.insert(REASON.to_owned(), reason.to_string());
    headers.insert(DEAD_KEY.to_owned(), routing_key.to_owned());
    headers.remove(DELIVERIES);
    headers
}

/// Reads what [`bury`] wrote; `None` for a message it did not write.
pub(crate) fn dead_info(headers: &Headers) -> Option<DeadInfo> {
    Some(DeadInfo {
        reason: ReasonCode::parse(headers.get(REASON)?)?,
        error: headers.get(LAST_ERROR).cloned().unwrap_or_default(),
        routing_key: headers.get(DEAD_KEY)?.clone(),
    })
}

/// How often the message was handed out before this copy of it was made.
pub(crate) fn earlier_deliveries(headers: &Headers) -> u32 {
    headers.get(DELIVERIES).and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Headers for a copy of a message that was handed out `deliveries` times without an answer.
pub(crate) fn suspected(mut headers: Headers, deliveries: u32) -> Headers {
    if deliveries > 0 {
        headers.insert(DELIVERIES.to_owned(), deliveries.to_string());
    }
    headers
}

/// What is said of a message that came back too often.
pub(crate) fn limit_error(limit: u32) -> String {
    format!("handed out more than {limit} times without an answer")
}

fn shortened(error: &str) -> &str {
    &error[..error.floor_char_boundary(LONGEST_ERROR)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        let id = DeliveryId::parse("msg_ä").unwrap();
        let at = DateTime::parse_from_rfc3339("2026-09-01T08:00:00.123456789Z").unwrap().to_utc();
        let mut envelope = Envelope::new(Source::Scalekit, id, at, Bytes::from_static(b"\0\xff{}"));
        envelope.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
        envelope
    }

    #[test]
    fn an_envelope_comes_back_as_it_was() {
        for sent in [envelope(), envelope().failed("first \u{1b} error").failed("second")] {
            assert_eq!(decode(&encode(&sent), sent.body.clone()).unwrap(), sent);
        }
    }

    #[test]
    fn a_message_without_our_headers_is_foreign_and_keeps_its_bytes() {
        for name in [SOURCE, DELIVERY_ID, RECEIVED_AT, ATTEMPT] {
            for broken in [None, Some("\u{7f}")] {
                let mut headers = encode(&envelope());
                headers.remove(name);
                headers.extend(broken.map(|value| (name.to_owned(), value.to_owned())));
                let foreign = decode(&headers, envelope().body).unwrap_err();
                assert!(foreign.why.contains(name), "{}", foreign.why);
                assert_eq!(foreign.body, envelope().body);
            }
        }
    }

    #[test]
    fn a_dead_letter_says_why_and_where_it_came_from() {
        let headers = bury(encode(&envelope().failed("one")), ReasonCode::MissingId, "two", "event.a");
        let envelope = decode(&headers, Bytes::new()).unwrap();
        assert_eq!((envelope.attempt, envelope.first_error.as_deref()), (2, Some("one")));
        let info = dead_info(&headers).unwrap();
        assert_eq!((info.reason, info.error.as_str()), (ReasonCode::MissingId, "two"));
        assert_eq!(info.routing_key, "event.a");
        assert!(dead_info(&encode(&envelope)).is_none());
    }

    #[test]
    fn an_endless_error_is_cut_at_a_character() {
        let headers = encode(&envelope().failed(&"ä".repeat(100_000)));
        assert_eq!(headers[LAST_ERROR].len(), LONGEST_ERROR);
        assert!(headers[FIRST_ERROR].chars().all(|c| c == 'ä'));
    }

    #[test]
    fn a_copy_keeps_the_suspicion() {
        let headers = suspected(encode(&envelope()), 3);
        assert_eq!(earlier_deliveries(&headers), 3);
        assert_eq!(earlier_deliveries(&suspected(encode(&envelope()), 0)), 0);
        assert!(is_ours(DELIVERIES) && is_ours(TRACEPARENT) && !is_ours("x-death"));
    }
}
