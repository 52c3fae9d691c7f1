//! One broker and one database server for many tests.
//!
//! `cargo xtask test` starts them and names them in the environment; a test run without it starts one of
//! each per process. Each test takes a virtual host and a database of its own; a test that stops or
//! breaks a server starts one for itself.

use tokio::sync::OnceCell;

use crate::postgres::Postgres;
use crate::rabbitmq::Broker;

/// Names the folder of a running node, as [`Broker::home`] gives it.
pub const BROKER: &str = "ROLLCALL_TEST_BROKER_DIR";
/// Holds the address of a running server's database, as [`Postgres::url`] gives it.
pub const POSTGRES: &str = "ROLLCALL_TEST_POSTGRES";

/// The shared broker.
pub async fn broker() -> anyhow::Result<&'static Broker> {
    static SHARED: OnceCell<Broker> = OnceCell::const_new();
    SHARED
        .get_or_try_init(async || match std::env::var_os(BROKER) {
            Some(home) => Broker::attach(home.as_ref()),
            None => Broker::start().await,
        })
        .await
}

/// The shared database server.
pub async fn postgres() -> anyhow::Result<&'static Postgres> {
    static SHARED: OnceCell<Postgres> = OnceCell::const_new();
    SHARED
        .get_or_try_init(async || match std::env::var(POSTGRES) {
            Ok(url) => Postgres::attach(&url),
            Err(_) => Postgres::start().await,
        })
        .await
}
