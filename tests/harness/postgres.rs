//! A private PostgreSQL server.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};
use rand::Rng;

use crate::child::{As, Child, bound_to_us, send};
use crate::folder::{Folder, is_alive};
use crate::ports::free_port;
use crate::rabbitmq::printed;
use crate::wait::eventually;

/// Where Debian's packages put one folder per version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Starting includes recovery after a kill.
const BOOT: Duration = Duration::from_secs(60);
const PASSWORD_FREE_USER: &str = "postgres";

/// A PostgreSQL server of our own: own port and folder, TCP on 127.0.0.1 only, every write synced as in
/// production, no passwords.
pub struct Postgres {
    programs: PathBuf,
    port: u16,
    settings: &'static [&'static str],
    databases: AtomicU32,
    server: Mutex<Option<Child>>,
    /// `None` for a server of somebody else.
    folder: Option<Folder>,
}

impl Postgres {
    /// Whether the packages are installed.
    pub fn is_installed() -> bool {
        programs().is_ok()
    }

    /// Makes a cluster, starts it and waits until it answers a query.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(&["max_connections=200", "shared_buffers=64MB", "max_wal_size=256MB"]).await
    }

    /// The same with other settings, such as `shared_buffers=1GB`.
    pub async fn start_with(settings: &'static [&'static str]) -> anyhow::Result<Self> {
        let programs = programs()?;
        let folder = Folder::new("postgres")?;
        let data = folder.join("data");
        make_cluster(&programs, &data).await?;
        let postgres = Self {
            programs,
            port: free_port(),
            settings,
            databases: AtomicU32::new(0),
            server: Mutex::new(None),
            folder: Some(folder),
        };
        postgres.start_again().await?;
        Ok(postgres)
    }

    /// Uses the running server at `url`, as another process's [`Postgres::url`] gave it. It can be asked,
    /// not stopped.
    pub fn attach(url: &str) -> anyhow::Result<Self> {
        let port = url.rsplit_once(':').and_then(|(_, rest)| rest.split('/').next());
        let port = port.and_then(|port| port.parse().ok()).context("the address names no port")?;
        Ok(Self {
            programs: programs()?,
            port,
            settings: &[],
            databases: AtomicU32::new(0),
            server: Mutex::new(None),
            folder: None,
        })
    }

    /// Where it listens, as `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The address of the maintenance database.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The address of a database by its name.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://{PASSWORD_FREE_USER}@{}/{database}", self.address())
    }

    /// Makes an empty database and gives its address. Those of processes that have ended are removed.
    pub async fn new_database(&self) -> anyhow::Result<String> {
        self.drop_leftovers().await?;
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let random: u16 = rand::rng().random();
        let name = format!("t_{}_{number}_{random:04x}", std::process::id());
        self.psql("postgres", &format!("create database {name}")).await?;
        Ok(self.url_of(&name))
    }

    /// Runs SQL in a database, named or given by its address; rows come one per line, columns between `|`.
    pub async fn psql(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        let url = if database.contains("://") { database.to_owned() } else { self.url_of(database) };
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &url, "-c", sql]);
        command.env("PGCONNECT_TIMEOUT", "10");
        printed(command).await.with_context(|| format!("psql: {sql}"))
    }

    /// One of its programs, such as `pgbench`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The number of the postmaster's process.
    pub fn pid(&self) -> anyhow::Result<u32> {
        Ok(self.server().as_ref().context("the server is stopped, or belongs to another process")?.pid())
    }

    /// SIGKILL to the postmaster; its back ends notice and end by themselves.
    pub async fn kill9_postmaster(&self) -> anyhow::Result<()> {
        self.end(Signal::SIGKILL).await
    }

    /// A fast shutdown, as an operator's restart does it: connections are cut, transactions rolled back.
    pub async fn stop_fast(&self) -> anyhow::Result<()> {
        self.end(Signal::SIGINT).await
    }

    /// [`Postgres::stop_fast`], then [`Postgres::start_again`].
    pub async fn restart_fast(&self) -> anyhow::Result<()> {
        self.stop_fast().await?;
        self.start_again().await
    }

    /// Starts the stopped server with the same port and data, and waits until it answers a query.
    pub async fn start_again(&self) -> anyhow::Result<()> {
        let folder = self.folder.as_ref().context("this server belongs to another process")?;
        ensure!(self.server().is_none(), "the server runs already");
        eventually(BOOT, async || {
            self.launch(folder)?;
            self.wait_for_boot().await.inspect_err(|_| drop(self.server().take()))
        })
        .await
        .with_context(|| fs::read_to_string(folder.join("postgres.log")).unwrap_or_default())
    }

    /// SIGSTOP to the postmaster and every back end: connections stay, nothing is answered.
    pub fn freeze(&self) -> anyhow::Result<()> {
        let postmaster = self.pid()?;
        send(postmaster, Signal::SIGSTOP)?;
        for child in children_of(postmaster)? {
            // One that ended meanwhile needs no stopping.
            let _ = send(child, Signal::SIGSTOP);
        }
        Ok(())
    }

    /// SIGCONT to all of them.
    pub fn thaw(&self) -> anyhow::Result<()> {
        let postmaster = self.pid()?;
        for child in children_of(postmaster)? {
            let _ = send(child, Signal::SIGCONT);
        }
        send(postmaster, Signal::SIGCONT)
    }

    fn launch(&self, folder: &Folder) -> anyhow::Result<()> {
        let mut command = Command::new(self.programs.join("postgres"));
        command.arg("-D").arg(folder.join("data")).args(["-p", &self.port.to_string()]);
        let private = ["listen_addresses=127.0.0.1", "unix_socket_directories="];
        for setting in private.iter().chain(self.settings) {
            command.args(["-c", setting]);
        }
        command.current_dir(folder.path());
        let log = File::options().create(true).append(true).open(folder.join("postgres.log"))?;
        *self.server() = Some(Child::start_as(&command, owner(), &log)?);
        Ok(())
    }

    /// Fails at once when the server ends: back ends of a killed postmaster may hold the data for a moment.
    async fn wait_for_boot(&self) -> anyhow::Result<()> {
        let answers = async {
            while self.psql("postgres", "select 1").await.is_err() {
                if let Some(status) = self.server().as_ref().and_then(|server| server.ended().transpose()) {
                    bail!("it ended with {}", status?);
                }
            }
            Ok(())
        };
        tokio::time::timeout(BOOT, answers).await.context("it answers no query")?
    }

    async fn end(&self, signal: Signal) -> anyhow::Result<()> {
        let server = self.server().take().context("the server is stopped, or belongs to another process")?;
        server.signal(signal)?;
        server.wait(BOOT).await?;
        Ok(())
    }

    async fn drop_leftovers(&self) -> anyhow::Result<()> {
        let names =
            self.psql("postgres", r"select datname from pg_database where datname like 't\_%'").await?;
        for name in names.lines() {
            let maker = name.split('_').nth(1).and_then(|pid| pid.parse().ok());
            if maker.is_some_and(|pid| !is_alive(pid)) {
                // Another process may be dropping the same one.
                let _ = self.psql("postgres", &format!("drop database if exists {name} with (force)")).await;
            }
        }
        Ok(())
    }

    fn server(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.server().take());
        drop(self.folder.take());
    }
}

/// The programs of the highest version installed.
fn programs() -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir(VERSIONS).map(Iterator::flatten).into_iter().flatten();
    versions
        .filter_map(|version| {
            Some((version.file_name().to_str()?.parse::<u32>().ok()?, version.path().join("bin")))
        })
        .filter(|(_, programs)| programs.join("initdb").exists())
        .max()
        .map(|(_, programs)| programs)
        .with_context(|| format!("there is no initdb under {VERSIONS}: install the package postgresql"))
}

/// PostgreSQL refuses to run as root; the package made a user for it.
fn owner() -> As<'static> {
    if geteuid().is_root() { As::User("postgres") } else { As::Ourselves }
}

async fn make_cluster(programs: &Path, data: &Path) -> anyhow::Result<()> {
    fs::create_dir(data)?;
    let mut command = Command::new(programs.join("initdb"));
    command.arg("-D").arg(data).args(["-U", PASSWORD_FREE_USER, "-A", "trust", "-E", "UTF8"]);
    // Only the making goes unsynced: a cluster half made is never used.
    command.args(["--locale=C.UTF-8", "--no-sync"]);
    if let As::User(name) = owner() {
        let user = User::from_name(name)?.with_context(|| format!("there is no user {name}"))?;
        std::os::unix::fs::chown(data, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    }
    command.current_dir(std::env::temp_dir());
    printed(bound_to_us(&command, owner())).await.context("initdb")?;
    Ok(())
}

fn children_of(parent: u32) -> anyhow::Result<Vec<u32>> {
    let threads = fs::read_dir(format!("/proc/{parent}/task"))?;
    let mut children = Vec::new();
    for thread in threads.flatten() {
        let listed = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        children.extend(listed.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(children)
}
