//! Everything a test with a socket needs: private servers, faults, the real binaries, and a sender.
//!
//! Servers and processes belong to the value that started them: dropping it ends them and removes their
//! folder, and should the test process die, the kernel ends them. Nothing is shared with, or looks like, a
//! server of the machine.

pub mod chaos;
pub mod http;
pub mod metrics;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod rabbitmq;
pub mod shared;
pub mod simulator;
pub mod testbed;

mod child;
mod folder;
mod ports;
mod wait;

pub use child::{Child, terminate};
pub use folder::Folder;
pub use ports::free_port;
pub use process::{Service, bin};

pub use testbed::TestBed;
pub use wait::eventually;
