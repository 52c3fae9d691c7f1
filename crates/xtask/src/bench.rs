//! `cargo xtask bench`: builds what ships, and has `rollcall-bench` measure it.

use std::process::ExitCode;

use anyhow::{Context, ensure};
use rollcall_tests::process::{BINARIES, PRODUCT, root};
use tokio::process::Command;

use crate::install;
use crate::stop::Stop;

/// What to measure, and how.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Passed on: `--only door-rabbit,apply`, `--rounds 5`, `--json file`, `--peers`, `--large`; `--help` lists all.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Builds in release and measures. Exit code 0 unless something broke: a timing fails nothing.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let missing = install::missing();
    ensure!(missing.is_empty(), "install {} first: `cargo xtask test` does, as root", missing.join(", "));
    let mut stop = Stop::listen()?;
    tokio::select! {
        measured = measure(&options.rest) => measured,
        () = stop.asked() => Ok(ExitCode::from(130)),
    }
}

async fn measure(arguments: &[String]) -> anyhow::Result<ExitCode> {
    // The product by itself: built together with the benchmark it would share its features.
    cargo(&["--package", PRODUCT[0], "--package", PRODUCT[1]]).await?;
    cargo(&["--package", "rollcall-tests", "--bin", "rollcall-bench", "--features", "bench"]).await?;
    let folder = root().join("target/release");
    let mut bench = Command::new(folder.join("rollcall-bench"));
    bench.args(arguments).env(BINARIES, &folder).kill_on_drop(true);
    let status = bench.status().await.context("running rollcall-bench")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--quiet"]).args(arguments).current_dir(root()).kill_on_drop(true);
    let status = build.status().await.context("running cargo")?;
    ensure!(status.success(), "the release build failed");
    Ok(())
}
