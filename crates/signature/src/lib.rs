//! Standard Webhooks signatures: [`Verifier`] turns headers and a body into [`Verified`] or a named
//! [`VerifyError`]; [`sign`] makes what it accepts, for tests, the simulator and test events.
//!
//! The scheme (<https://www.standardwebhooks.com>): HMAC-SHA256 over `id "." timestamp "." body`, in
//! standard base64, written `v1,<base64>`; a header holds one or several such entries separated by one
//! space, and any one valid entry under any one key passes.
//!
//! Pure: no socket, no clock but the one handed in, no log line.

mod headers;
mod key;
mod mac;
mod sign;
mod verify;

pub use headers::HeaderFamily;
pub use key::{InvalidKey, InvalidKeys, Key, Keys};
pub use sign::{sign, signed_headers};
pub use verify::{Verified, Verifier, VerifyError};
