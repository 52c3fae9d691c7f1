//! The real binaries, run as an operator would.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::Signal;

use crate::child::{As, Child, bound_to_us};
use crate::http::Client;
use crate::wait::eventually;

/// Names a folder with ready binaries; nothing is built then.
pub const BINARIES: &str = "ROLLCALL_BIN_DIR";
/// The two binaries that are the product.
pub const PRODUCT: [&str; 2] = ["rollcall-ingress", "rollcall-worker"];

/// What of our own environment a binary must not see: only what a test gives it counts.
const OURS: [&str; 3] = ["ROLLCALL_", "SCALEKIT_", "OTEL_"];
const SETTINGS: [&str; 22] = [
    "QUEUE_URL",
    "DATABASE_URL",
    "LISTEN",
    "OPS_LISTEN",
    "ADMIN_LISTEN",
    "MAX_BODY",
    "MAX_IN_FLIGHT",
    "MAX_CONNECTIONS",
    "ALLOWED_SOURCES",
    "TRUSTED_PROXIES",
    "REQUIRE_HTTPS",
    "TLS_CERT",
    "TLS_KEY",
    "BATCH_SIZE",
    "BATCH_LINGER",
    "PREFETCH",
    "RETRY_STEPS",
    "REMOVAL_BUDGET",
    "RUST_LOG",
    "LOG_FORMAT",
    "QUEUE_URL_FILE",
    "DATABASE_URL_FILE",
];

/// Settings for a binary, by name.
pub type Settings = BTreeMap<String, String>;

/// The path of one of our binaries, built from the present sources; once per process.
///
/// With `ROLLCALL_BIN_DIR` set it is taken from there, as it is.
pub fn bin(name: &str) -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os(BINARIES) {
        let path = PathBuf::from(folder).join(name);
        ensure!(path.exists(), "{BINARIES} has no {name}");
        return Ok(path);
    }
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let target = target_folder()?;
    let mut built = BUILT.lock().ok().context("building failed before")?;
    if !built.contains_key(name) {
        // Together, as `cargo xtask test` builds them: one set of features, one build.
        if build(&PRODUCT).is_ok() {
            built.extend(PRODUCT.map(|name| (name.to_owned(), target.join(name))));
        } else {
            build(&[name])?;
            built.insert(name.to_owned(), target.join(name));
        }
    }
    built.get(name).cloned().with_context(|| format!("{name} is none of our binaries"))
}

/// Builds packages of the workspace into the folder this program was built into.
fn build(packages: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet"]).current_dir(root());
    if target_folder()?.ends_with("release") {
        command.arg("--release");
    }
    for package in packages {
        command.args(["--package", package]);
    }
    let status = bound_to_us(&command, As::Ourselves).status().context("running cargo")?;
    ensure!(status.success(), "cargo build of {} failed", packages.join(" and "));
    Ok(())
}

/// The folder of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in a folder of the workspace")
}

/// The folder this program was built into, such as `target/debug`; a test lies in its `deps`.
pub fn target_folder() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent().context("a program lies in a folder")?;
    Ok(if folder.ends_with("deps") { folder.parent().context("so do deps")? } else { folder }.to_owned())
}

/// One running binary with its log. Dropping it kills it.
pub struct Service {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Service {
    /// Starts `program` in `folder`, its log in `<folder>/<name>.log` (appended to).
    ///
    /// It sees our environment without any setting of rollcall's, then `settings`.
    pub fn start(
        program: &Path,
        arguments: &[&str],
        settings: &Settings,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let name = program.file_name().context("a program has a name")?.to_string_lossy().into_owned();
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let command = command(program, arguments, settings, folder);
        Ok(Self { name, child: Child::start(&command, &file)?, log })
    }

    /// Waits until `GET http://<address><path>` answers 200; fails at once when the process ends.
    pub async fn wait_until(&self, address: &str, path: &str, within: Duration) -> anyhow::Result<()> {
        let answers = eventually(within, async || {
            if let Some(status) = self.child.ended()? {
                return Ok(Err(anyhow::anyhow!("{} ended with {status}", self.name)));
            }
            let answer = Client::new(address).get(path).await?;
            ensure!(answer.status == 200, "{} {path}: {} {}", self.name, answer.status, answer.text());
            Ok(Ok(()))
        });
        answers.await.flatten().with_context(|| format!("its log:\n{}", self.last_lines(30)))
    }

    /// Everything it logged so far.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// The end of its log.
    pub fn last_lines(&self, count: usize) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// Waits until its log holds `text`.
    pub async fn logged(&self, text: &str, within: Duration) -> anyhow::Result<()> {
        eventually(within, async || {
            ensure!(self.log().contains(text), "{} has not logged {text:?}", self.name);
            Ok(())
        })
        .await
        .with_context(|| format!("its log:\n{}", self.last_lines(30)))
    }

    /// Waits until it listens to SIGTERM: before, the signal would end it like any other program.
    pub async fn listens_to_sigterm(&self, within: Duration) -> anyhow::Result<()> {
        const SIGTERM: u32 = 15;
        eventually(within, async || {
            let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            let caught = u64::from_str_radix(caught.context("no SigCgt")?.trim(), 16)?;
            ensure!(caught >> (SIGTERM - 1) & 1 == 1, "{} does not listen to SIGTERM", self.name);
            Ok(())
        })
        .await
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.ended()
    }

    /// Waits for its end.
    pub async fn wait(&self, within: Duration) -> anyhow::Result<ExitStatus> {
        self.child.wait(within).await.with_context(|| format!("{}:\n{}", self.name, self.last_lines(30)))
    }

    /// Asks it to stop and waits for that, a minute at most; gives how it ended and how long that took.
    pub async fn sigterm(&self) -> anyhow::Result<(ExitStatus, Duration)> {
        let started = Instant::now();
        self.child.signal(Signal::SIGTERM)?;
        let status = self.wait(Duration::from_secs(60)).await?;
        Ok((status, started.elapsed()))
    }

    /// Kills it and waits for its end.
    pub async fn sigkill(&self) -> anyhow::Result<()> {
        self.child.signal(Signal::SIGKILL)?;
        self.wait(Duration::from_secs(10)).await.map(drop)
    }

    /// Stops it where it stands.
    pub fn sigstop(&self) -> anyhow::Result<()> {
        self.child.signal(Signal::SIGSTOP)
    }

    /// Lets it go on.
    pub fn sigcont(&self) -> anyhow::Result<()> {
        self.child.signal(Signal::SIGCONT)
    }

    /// Sends it any other signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.child.signal(signal)
    }
}

/// What a command that runs to its end gave back.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said about it.
    pub stderr: String,
}

impl Finished {
    /// The output, where it ended well.
    pub fn success(self) -> anyhow::Result<String> {
        if self.code != Some(0) {
            bail!("exit code {:?}: {} {}", self.code, self.stderr, self.stdout);
        }
        Ok(self.stdout)
    }
}

/// Runs `program` to its end, two minutes at most.
pub async fn run(
    program: &Path,
    arguments: &[&str],
    settings: &Settings,
    folder: &Path,
) -> anyhow::Result<Finished> {
    let command = bound_to_us(&command(program, arguments, settings, folder), As::Ourselves);
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true).stdin(std::process::Stdio::null());
    let output = tokio::time::timeout(Duration::from_secs(120), command.output());
    let output =
        output.await.with_context(|| format!("{} {arguments:?} does not end", program.display()))??;
    Ok(Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn command(program: &Path, arguments: &[&str], settings: &Settings, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder);
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        if OURS.iter().any(|prefix| name.starts_with(prefix)) || SETTINGS.contains(&name) {
            command.env_remove(name);
        }
    }
    command.envs(settings);
    command
}
