//! Any message headers, one `name: value` a line: reading them never panics, a foreign message keeps its
//! bytes, and an envelope that is read can be written and read again.
#![no_main]

use std::collections::BTreeMap;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rollcall_queue::testing::{decode, encode};

fuzz_target!(|input: (&str, &[u8])| {
    let (lines, body) = input;
    let headers: BTreeMap<String, String> = lines
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let body = Bytes::copy_from_slice(body);
    match decode(&headers, body.clone()) {
        Ok(envelope) => {
            let again = decode(&encode(&envelope), envelope.body.clone()).expect("what was read can be read");
            assert_eq!(
                (again.attempt, &again.delivery_id, again.received_at),
                (envelope.attempt, &envelope.delivery_id, envelope.received_at)
            );
        }
        Err(foreign) => assert_eq!(foreign.body, body),
    }
});
