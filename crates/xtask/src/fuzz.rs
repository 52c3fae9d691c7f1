//! `cargo xtask fuzz`: what strangers and broken senders can reach, with random bytes, for a while.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use rollcall_tests::process::root;
use tokio::process::Command;

/// How long, and which.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only these targets.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Target>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    /// Bodies, from the fixtures.
    Event,
    /// Signature headers.
    Signature,
    /// Message headers.
    Envelope,
}

/// Runs the targets one after the other. Exit code 1 if one found something; its input is kept in
/// `tests/fuzz/artifacts`.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let tools = root().join("target/tools");
    let program = tools.join("bin/cargo-fuzz");
    if !program.exists() {
        let mut install = Command::new("cargo");
        install.args(["install", "--quiet", "cargo-fuzz", "--locked", "--root"]).arg(&tools);
        let status = install.status().await.context("running cargo install")?;
        ensure!(status.success(), "cargo-fuzz could not be installed");
    }
    let targets = if options.only.is_empty() { Target::value_variants().to_vec() } else { options.only };
    let mut found = Vec::new();
    for target in targets {
        let name = format!("{target:?}").to_lowercase();
        println!("== {name}, {} s", options.seconds);
        let corpus = root().join("tests/fuzz/corpus").join(&name);
        std::fs::create_dir_all(&corpus).with_context(|| format!("making {}", corpus.display()))?;
        let mut fuzz = Command::new(&program);
        fuzz.current_dir(root()).args(["fuzz", "run", "--fuzz-dir", "tests/fuzz", &name]).arg(corpus);
        fuzz.args(seeds(target)?).arg("--").arg(format!("-max_total_time={}", options.seconds));
        // Coverage needs compiler options that are not stable yet; the code under test is the same.
        fuzz.env("RUSTC_BOOTSTRAP", "1");
        if !fuzz.status().await.context("running cargo fuzz")?.success() {
            found.push(name);
        }
    }
    println!(
        "{}",
        if found.is_empty() { "nothing found".to_owned() } else { format!("found: {}", found.join(", ")) }
    );
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Folders of inputs to begin with.
fn seeds(target: Target) -> anyhow::Result<Vec<PathBuf>> {
    if target != Target::Event {
        return Ok(Vec::new());
    }
    let fixtures = std::fs::read_dir(root().join("crates/event/fixtures")).context("reading the fixtures")?;
    Ok(fixtures.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
}
