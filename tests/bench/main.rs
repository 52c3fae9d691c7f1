//! `cargo xtask bench`: what rollcall does under load, each figure beside a limit measured in the same run.
//!
//! The real release binaries on private servers, a load generator of our own, and beside each figure what
//! its parts can do alone. Timings fail nothing: the exit code is 0 unless something broke.
#![expect(clippy::print_stdout, reason = "a terminal is where its answers go")]

mod cpu;
mod deliveries;
mod figure;
mod figures;
mod latency;
mod limits;
mod load;
mod peers;
mod product;
mod stage;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use figure::Figure;
use figures::Which;
use stage::Stage;

/// Measures rollcall beside what its parts can do.
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Options {
    /// Only these figures.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Which>,
    /// How often each side is measured; medians, least and most are printed.
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u8).range(1..=20))]
    rounds: u8,
    /// Also writes the figures there, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Also measures a pipeline of FastAPI, Celery and SQLAlchemy on the same servers.
    #[arg(long)]
    peers: bool,
    /// Ten million kept events for `growth` instead of one.
    #[arg(long)]
    large: bool,
}

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(limits::bare::ARGUMENT) {
        return runtime.block_on(limits::bare::serve(&arguments.next().context("on which address?")?));
    }
    runtime.block_on(run(Options::parse()))
}

async fn run(options: Options) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    // Servers and binaries are dropped with the branch that loses, and end.
    tokio::select! {
        measured = measure(&options) => measured,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("stopped"),
        _ = terminate.recv() => anyhow::bail!("stopped"),
    }
}

async fn measure(options: &Options) -> anyhow::Result<()> {
    let began = Instant::now();
    let kept = if options.large { 10 } else { 1 };
    let stage = Stage::new(options.rounds.into(), kept, options.peers)?;
    let which = if options.only.is_empty() { Which::value_variants() } else { &options.only };
    println!("# {}", machine());
    println!("{}", table::heading());
    let mut figures: Vec<Figure> = Vec::new();
    let mut broken = Vec::new();
    for which in which {
        match which.measure(&stage).await {
            Ok(measured) => {
                measured.iter().for_each(|figure| println!("{}", table::line(figure)));
                figures.extend(measured);
            }
            Err(error) => {
                println!("{which:?} BROKE: {error:#}");
                broken.push(format!("{which:?}"));
            }
        }
    }
    println!("# took {:.0} s; at the end: {}", began.elapsed().as_secs_f64(), machine());
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&figures)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    anyhow::ensure!(broken.is_empty(), "broke: {}", broken.join(", "));
    Ok(())
}

/// What it runs on, and how busy that is with other things.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').take(3).collect::<Vec<_>>().join(" ");
    format!("{cores} cores, load average {load}")
}
