//! Faults, and what must hold whatever they do.
//!
//! One implementation of each fault, used by the tests and by `cargo xtask chaos`. A run has its own queue,
//! database, processes and links; a seed decides the story, how it travels, and where in it a fault strikes.
//! Phases: load, faults, heal, liveness, drain, check. The checks ([`Broken`] names them O1 to O10) look at
//! the tables and the broker directly and never through the product, but for `export` and `verify`, which
//! are compared with the simulator's own fold.

mod binaries;
mod engine;
mod faults;
mod history;
mod ledger;
mod load;
mod member;
mod oracles;
mod report;
mod run;
mod servers;
mod site;
mod watch;

pub use binaries::{CRASHING, build_crashing};
pub use engine::perform;
pub use faults::{Fault, all, find};
pub use oracles::Broken;
pub use report::Report;
pub use run::Scale;
pub use servers::Servers;
