//! Any headers over any body: verifying never panics, and nothing passes that was not signed.
#![no_main]

use bytes::Bytes;
use chrono::DateTime;
use libfuzzer_sys::fuzz_target;
use rollcall_signature::{Keys, Verifier, sign};

const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
const NOW: i64 = 1_788_250_000;

fuzz_target!(|input: (&[u8], &[u8], &[u8], &[u8])| {
    let (id, timestamp, signature, body) = input;
    let keys: Keys = SECRET.parse().expect("a fixed key");
    let key = keys.iter().next().expect("one key").clone();
    let now = DateTime::from_timestamp(NOW, 0).expect("a fixed time");
    let headers = [("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", signature)];
    if let Ok(verified) = Verifier::new(keys).verify(headers, Bytes::copy_from_slice(body), now) {
        let id = std::str::from_utf8(id).expect("an accepted id is text");
        let seconds: i64 =
            std::str::from_utf8(timestamp).ok().and_then(|text| text.parse().ok()).expect("digits");
        let ours = sign(&key, id, seconds, body);
        let entries = std::str::from_utf8(signature).expect("an accepted signature is text");
        assert!(entries.split(' ').any(|entry| entry == ours), "accepted what was never signed");
        assert_eq!(verified.delivery_id.as_str(), id);
        assert!((seconds - NOW).abs() <= 300);
    }
});
