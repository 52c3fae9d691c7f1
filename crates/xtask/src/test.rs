//! `cargo xtask test`: everything that must hold before a change is done.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::ValueEnum;
use rollcall_tests::chaos::{CRASHING, build_crashing};
use rollcall_tests::process::{BINARIES, PRODUCT, root, target_folder};
use tokio::process::Command;

use crate::install;
use crate::servers::Servers;
use crate::stop::Stop;

/// What to check.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these steps, in their order.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Step>,
    /// Passed on to the test runner: names of tests, options of `cargo nextest run`.
    #[arg(last = true)]
    filter: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Every file is formatted.
    Fmt,
    /// No lint warns.
    Clippy,
    /// The documentation builds without a warning.
    Doc,
    /// Licences, sources, bans and known weaknesses of dependencies.
    Deny,
    /// The two binaries.
    Build,
    /// Every test, on private servers.
    Tests,
}

type Environment = BTreeMap<&'static str, String>;

/// What a step came to.
enum Ended {
    Passed,
    Failed(String),
}

/// Runs the steps, all of them even if one fails. Exit code 0 if all passed, 1 if one failed, 2 if something
/// is missing that we may not install.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let steps = if options.only.is_empty() { Step::value_variants().to_vec() } else { options.only.clone() };
    if steps.contains(&Step::Tests) {
        let missing = install::missing();
        if !missing.is_empty() && !install::allowed() {
            println!("missing: {}; install it and try again", missing.join(", "));
            return Ok(ExitCode::from(2));
        }
        if !missing.is_empty() {
            install::install(&missing)?;
        }
    }
    let mut stop = Stop::listen()?;
    // Servers and the running step are dropped with the branch that loses, and end.
    tokio::select! {
        ended = all(&steps, &options.filter) => ended,
        () = stop.asked() => {
            println!("stopped");
            Ok(ExitCode::from(130))
        }
    }
}

async fn all(steps: &[Step], filter: &[String]) -> anyhow::Result<ExitCode> {
    let mut results = Vec::new();
    for step in steps {
        let name = format!("{step:?}").to_lowercase();
        println!("== {name}");
        let started = Instant::now();
        let ended = take(*step, filter).await.unwrap_or_else(|error| Ended::Failed(format!("{error:#}")));
        let line = match &ended {
            Ended::Passed => format!("{name:<7} ok     {:>6.1} s", started.elapsed().as_secs_f64()),
            Ended::Failed(why) => {
                format!("{name:<7} FAILED {:>6.1} s  {why}", started.elapsed().as_secs_f64())
            }
        };
        println!("{line}");
        results.push((line, ended));
    }
    println!("==");
    for (line, _) in &results {
        println!("{line}");
    }
    let passed = results.iter().all(|(_, ended)| matches!(ended, Ended::Passed));
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn take(step: Step, filter: &[String]) -> anyhow::Result<Ended> {
    let plain = Environment::new();
    match step {
        Step::Fmt => cargo("fmt --all --check", &plain).await,
        Step::Clippy => cargo("clippy --workspace --all-targets -- -D warnings", &plain).await,
        Step::Doc => {
            let strict = Environment::from([("RUSTDOCFLAGS", "-D warnings".to_owned())]);
            cargo("doc --workspace --no-deps", &strict).await
        }
        Step::Deny => deny().await,
        Step::Build => build().await,
        Step::Tests => tests(filter).await,
    }
}

async fn build() -> anyhow::Result<Ended> {
    cargo(&format!("build --package {} --package {}", PRODUCT[0], PRODUCT[1]), &Environment::new()).await
}

async fn tests(filter: &[String]) -> anyhow::Result<Ended> {
    if let Ended::Failed(why) = build().await? {
        return Ok(Ended::Failed(why));
    }
    let crashing =
        tokio::task::spawn_blocking(build_crashing).await?.context("building with crash points")?;
    let servers = Servers::start().await.context("starting the private servers")?;
    let mut environment = Environment::from(servers.environment()?);
    environment.insert(BINARIES, target_folder()?.display().to_string());
    environment.insert(CRASHING, crashing.display().to_string());
    let nextest = Command::new("cargo").args(["nextest", "--version"]).output().await;
    let runner = if nextest.is_ok_and(|output| output.status.success()) {
        "nextest run --workspace"
    } else {
        "test --workspace"
    };
    let mut arguments: Vec<&str> = runner.split(' ').collect();
    arguments.extend(filter.iter().map(String::as_str));
    cargo_with(&arguments, &environment).await
}

/// cargo-deny, into `target/tools` where it is not installed. The database of known weaknesses lies on the
/// internet; without it that part is named as not checked, everything else still counts.
async fn deny() -> anyhow::Result<Ended> {
    let tools = root().join("target/tools");
    let installed = Command::new("cargo-deny").arg("--version").output().await.is_ok();
    let program = if installed { "cargo-deny".into() } else { tools.join("bin/cargo-deny") };
    if !installed && !program.exists() {
        let into = tools.display().to_string();
        let arguments = ["install", "--quiet", "cargo-deny", "--locked", "--root", &into];
        if let Ended::Failed(why) = cargo_with(&arguments, &Environment::new()).await? {
            return Ok(Ended::Failed(why));
        }
    }
    let deny = |arguments: &str| {
        let mut command = Command::new(&program);
        command.args(["--all-features", "--config", ".deny.toml", "check"]).args(arguments.split(' '));
        command.current_dir(root());
        command
    };
    let offline = finish(deny("bans licenses sources")).await?;
    let mut fetch = Command::new(&program);
    fetch.args(["--config", ".deny.toml", "fetch", "db"]).current_dir(root());
    let fetched = tokio::time::timeout(Duration::from_secs(120), finish(fetch)).await;
    if !matches!(fetched, Ok(Ok(Ended::Passed))) {
        println!("note: known weaknesses were NOT checked: their database could not be fetched");
        return Ok(offline);
    }
    let known = finish(deny("advisories")).await?;
    Ok(if matches!(offline, Ended::Passed) { known } else { offline })
}

async fn cargo(arguments: &str, environment: &Environment) -> anyhow::Result<Ended> {
    cargo_with(&arguments.split(' ').collect::<Vec<_>>(), environment).await
}

/// `-D warnings` and what follows `--` go to the tool behind cargo as single words.
async fn cargo_with(arguments: &[&str], environment: &Environment) -> anyhow::Result<Ended> {
    let mut command = Command::new("cargo");
    command.args(arguments).envs(environment).current_dir(root());
    finish(command).await
}

/// Runs a command to its end. Dropped before that, the command is asked to stop, so that a test runner can
/// end its tests.
async fn finish(mut command: Command) -> anyhow::Result<Ended> {
    let what = format!("{:?}", command.as_std());
    let mut child =
        command.stdin(std::process::Stdio::null()).spawn().with_context(|| format!("running {what}"))?;
    let Some(pid) = child.id() else { bail!("{what} ended before it began") };
    let guard = Asked(Some(pid));
    let status = child.wait().await?;
    guard.ended();
    Ok(if status.success() { Ended::Passed } else { Ended::Failed(format!("{what}: {status}")) })
}

struct Asked(Option<u32>);

impl Asked {
    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // It may have ended this moment.
            let _ = rollcall_tests::terminate(pid);
        }
    }
}
