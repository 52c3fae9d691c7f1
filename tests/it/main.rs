//! Every test with a socket.

mod door;
mod harness;
mod simulator;
mod store;
mod telemetry;
