//! Private servers for a while.

use std::process::ExitCode;

use anyhow::Context;
use rollcall_tests::postgres::Postgres;
use rollcall_tests::rabbitmq::Broker;
use rollcall_tests::shared;

use crate::install;
use crate::stop::Stop;

/// A RabbitMQ and a PostgreSQL of our own, ended and removed when dropped.
pub(crate) struct Servers {
    pub(crate) broker: Broker,
    pub(crate) postgres: Postgres,
}

impl Servers {
    /// Starts both at once; about ten seconds.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let missing = install::missing();
        anyhow::ensure!(
            missing.is_empty(),
            "install {} first: `cargo xtask test` does, as root",
            missing.join(", ")
        );
        let (broker, postgres) = tokio::try_join!(Broker::start(), Postgres::start())?;
        Ok(Self { broker, postgres })
    }

    /// What names them to the tests.
    pub(crate) fn environment(&self) -> anyhow::Result<[(&'static str, String); 2]> {
        let home = self.broker.home().to_str().context("temporary folders have plain names")?;
        Ok([(shared::BROKER, home.to_owned()), (shared::POSTGRES, self.postgres.url())])
    }
}

/// Starts them, says where they are, and waits to be stopped.
pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let servers = tokio::select! {
        servers = Servers::start() => servers?,
        () = stop.asked() => return Ok(ExitCode::SUCCESS),
    };
    println!("# RabbitMQ {}, PostgreSQL {}", servers.broker.url(), servers.postgres.url());
    for (name, value) in servers.environment()? {
        println!("export {name}={value}");
    }
    println!("# Ctrl-C stops and removes both");
    stop.asked().await;
    Ok(ExitCode::SUCCESS)
}
