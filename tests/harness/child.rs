//! Child processes that cannot outlive their owner.

use std::fs::File;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A running process; dropping it kills it (SIGKILL, by its pid) and waits for the end.
#[derive(Debug)]
pub struct Child {
    process: Mutex<std::process::Child>,
    pid: u32,
}

/// As whom a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum As<'a> {
    Ourselves,
    User(&'a str),
}

impl Child {
    /// Starts `command` with nothing on its input and both outputs in `log`; should this process die,
    /// the kernel kills it. Input, outputs and `env_clear` of `command` itself are not looked at.
    pub fn start(command: &Command, log: &File) -> anyhow::Result<Self> {
        Self::start_as(command, As::Ourselves, log)
    }

    pub(crate) fn start_as(command: &Command, user: As<'_>, log: &File) -> anyhow::Result<Self> {
        let what = command.get_program().to_string_lossy().into_owned();
        let mut command = bound_to_us(command, user);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
        let process = spawn(command).with_context(|| format!("starting {what}"))?;
        Ok(Self { pid: process.id(), process: Mutex::new(process) })
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal; fails when the process has ended and was seen to end.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        // Holding the lock keeps others from reaping, after which the number could be somebody else's.
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(status) = process.try_wait()? {
            bail!("process {} has ended with {status}", self.pid);
        }
        send(self.pid, signal)
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&self) -> anyhow::Result<Option<ExitStatus>> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(process.try_wait()?)
    }

    /// Waits for its end.
    pub async fn wait(&self, within: Duration) -> anyhow::Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if started.elapsed() > within {
                bail!("process {} still runs after {within:?}", self.pid);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Fails only where it has ended already.
        let _ = process.kill();
        let _ = process.wait();
    }
}

/// Sends a signal to a process by its number.
pub(crate) fn send(pid: u32, signal: Signal) -> anyhow::Result<()> {
    let raw = i32::try_from(pid).context("a process number fits")?;
    kill(Pid::from_raw(raw), signal).with_context(|| format!("sending {signal} to {pid}"))
}

/// Asks a process to stop, by its number (SIGTERM).
pub fn terminate(pid: u32) -> anyhow::Result<()> {
    send(pid, Signal::SIGTERM)
}

/// Wraps a command so that it runs as `user` and is killed when the thread that started it ends.
/// `setpriv` becomes the command itself, so the process number stays the same.
pub(crate) fn bound_to_us(command: &Command, user: As<'_>) -> Command {
    let mut bound = Command::new("setpriv");
    if let As::User(name) = user {
        bound.args(["--reuid", name, "--regid", name, "--init-groups"]);
    }
    bound.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        bound.current_dir(folder);
    }
    bound
}

type Job = (Command, SyncSender<std::io::Result<std::process::Child>>);

/// "The parent" whose death kills a child is the thread that started it, and a test's thread ends long
/// before the process: one thread that never ends starts them all.
fn spawn(command: Command) -> anyhow::Result<std::process::Child> {
    static STARTER: OnceLock<Sender<Job>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (jobs, queue) = channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, answer) in queue {
                // The asker waits below, so it cannot have gone.
                let _ = answer.send(command.spawn());
            }
        });
        jobs
    });
    let (answer, started) = sync_channel(1);
    starter.send((command, answer)).context("the starting thread is gone")?;
    Ok(started.recv().context("the starting thread is gone")??)
}
