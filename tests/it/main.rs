//! Every test with a socket.

mod door;
mod faults;
mod harness;
mod pipeline;
mod queue;
mod simulator;
mod store;
mod telemetry;
