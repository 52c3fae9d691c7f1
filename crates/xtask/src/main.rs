//! Developer tooling: `cargo dev`, `cargo xtask test`, `cargo xtask servers`. Never shipped.
#![expect(clippy::print_stdout, reason = "a terminal is where its answers go")]

mod bench;
mod chaos;
mod dev;
mod fuzz;
mod install;
mod servers;
mod stop;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tooling for people working on rollcall.
#[derive(Parser)]
#[command(name = "cargo xtask", version)]
struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Starts rollcall here and plays a company's directory through its front door.
    Dev(dev::Options),
    /// Checks everything: format, lints, documentation, dependencies, and every test on private servers.
    Test(test::Options),
    /// Breaks things around the running product, by a seed, and checks what must hold.
    Chaos(chaos::Options),
    /// Measures the release binaries, each figure beside a limit of the same run.
    Bench(bench::Options),
    /// Feeds random bytes to what strangers can reach.
    Fuzz(fuzz::Options),
    /// Starts a private RabbitMQ and PostgreSQL and says how tests find them, until Ctrl-C.
    Servers,
}

#[tokio::main]
async fn main() -> ExitCode {
    let ended = match Options::parse().task {
        Task::Dev(options) => dev::run(options).await,
        Task::Test(options) => test::run(options).await,
        Task::Chaos(options) => chaos::run(options).await,
        Task::Bench(options) => bench::run(options).await,
        Task::Fuzz(options) => fuzz::run(options).await,
        Task::Servers => servers::run().await,
    };
    ended.unwrap_or_else(|error| {
        println!("error: {error:#}");
        ExitCode::FAILURE
    })
}
