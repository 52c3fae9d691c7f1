//! Every test with a socket.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod door;
mod faults;
mod harness;
mod pipeline;
mod queue;
mod simulator;
mod store;
mod telemetry;
