//! Every test with a socket.

mod harness;
mod simulator;
mod telemetry;
