//! What the parts can do without rollcall around them, measured in the same run.

pub(crate) mod bare;
pub(crate) mod idle;
pub(crate) mod pgbench;
pub(crate) mod publisher;
pub(crate) mod sqlite;
