//! Any body: reading it never panics, a body that is read has text a database can hold, and the lane chosen
//! at the door is a routing key the broker takes.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rollcall_event::{Change, DirectoryEvent, RoutingKey};

fuzz_target!(|body: &[u8]| {
    let key = RoutingKey::for_body(body);
    assert!(key.as_str().len() <= 255 && key.lane().is_some());
    match DirectoryEvent::parse(&Bytes::copy_from_slice(body)) {
        Ok(event) => {
            assert!(!event.id.as_str().is_empty() && !event.kind.contains('\0'));
            if let Change::User(version, user) = &event.change {
                assert!(version.as_str().starts_with(char::is_numeric));
                assert!(user.profile.iter().all(|profile| !profile.attributes.contains('\0')));
            }
        }
        // What is said of it becomes a header and a log line.
        Err(unreadable) => assert!(unreadable.to_string().len() < 1024),
    }
});
