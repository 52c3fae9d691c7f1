//! The door, over real sockets: what it takes in, what it turns away, and how. Rows S of the list of
//! security tests are named where they are tried.
//!
//! Row S28, constant time, is not measured here: `rollcall-signature` compares 32 decoded bytes with hmac's
//! `verify_slice`, and a statistic over a busy machine would only say how busy it was.

mod bed;
mod delivery;
mod wire;

mod acceptance;
mod floods;
mod framing;
mod lifecycle;
mod pinned_clock;
mod proxies;
mod routes;
mod signatures;
mod slowness;
mod start;
mod tls;
