//! The other direction: signing, for tests, the simulator and test events.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};

use crate::{HeaderFamily, Key, mac};

/// One entry of a signature header, `v1,<base64>`. `timestamp` is in whole seconds since 1970.
///
/// Signs whatever it is given, also ids that [`crate::Verifier`] refuses: tests need those.
pub fn sign(key: &Key, delivery_id: &str, timestamp: i64, body: &[u8]) -> String {
    let timestamp = timestamp.to_string();
    let fed = mac::over_delivery(key.bytes(), delivery_id.as_bytes(), timestamp.as_bytes(), body);
    format!("v1,{}", STANDARD.encode(mac::tag(fed)))
}

/// The three headers of a delivery signed at `now`: names in lower case, and values.
pub fn signed_headers(
    key: &Key,
    family: HeaderFamily,
    delivery_id: &str,
    now: DateTime<Utc>,
    body: &[u8],
) -> [(&'static str, String); 3] {
    let [id, timestamp, signature] = family.names();
    let seconds = now.timestamp();
    [
        (id, delivery_id.to_owned()),
        (timestamp, seconds.to_string()),
        (signature, sign(key, delivery_id, seconds, body)),
    ]
}
