//! Every test with a socket.

mod door;
mod harness;
mod queue;
mod simulator;
mod store;
mod telemetry;
