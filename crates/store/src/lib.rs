//! The mirror of every directory, and all that is applied to it.
//!
//! [`Store::apply`] takes a batch of events and brings the tables to where rule L wants them, in one
//! transaction with a fixed number of statements, whatever the order or repetition of the events. The
//! store never reaches the queue: a transaction never waits on the network of another server.

mod apply;
mod connect;
mod dead_letters;
mod entity;
mod error;
mod export;
mod held;
mod rows;
mod verify;

pub use apply::{Effect, Incoming, RemovalBudget};
pub use connect::{DatabaseUrl, InvalidDatabaseUrl, Pool, Store};
pub use dead_letters::{DeadLetter, Filter, Group, NewDeadLetter, Settled};
pub use error::{Blame, StoreError};
pub use export::{Exported, GroupRow};
pub use held::{Decision, Held, HeldChange};
pub use verify::{Difference, Verification};
