//! One process of the product with the links it goes through.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;

use super::binaries::crashing;
use super::watch::Watch;
use crate::http::Client;
use crate::metrics::Samples;
use crate::process::{Service, Settings, bin};
use crate::proxy::Proxy;

/// Both are ready within a second or two where the machine is idle and the servers are up.
const READY: Duration = Duration::from_secs(60);

/// A process that is stopped, killed and started again under the same settings.
pub(super) struct Member {
    pub(super) name: String,
    package: &'static str,
    arguments: &'static [&'static str],
    pub(super) settings: Settings,
    folder: PathBuf,
    /// Where it says whether it is ready, and what it counted.
    pub(super) status: String,
    /// Its way to the broker.
    pub(super) broker: Proxy,
    /// Its way to the database.
    pub(super) database: Option<Proxy>,
    service: Option<Service>,
    watch: Arc<Watch>,
    /// Log files that were put aside are counted by this.
    pub(super) starts: usize,
}

/// What a [`Member`] is made of.
pub(super) struct Parts {
    pub(super) name: String,
    pub(super) package: &'static str,
    pub(super) arguments: &'static [&'static str],
    pub(super) settings: Settings,
    pub(super) folder: PathBuf,
    pub(super) status: String,
    pub(super) broker: Proxy,
    pub(super) database: Option<Proxy>,
    pub(super) watch: Arc<Watch>,
}

impl Member {
    pub(super) fn new(parts: Parts) -> anyhow::Result<Self> {
        let Parts { name, package, arguments, settings, folder, status, broker, database, watch } = parts;
        std::fs::create_dir_all(&folder)?;
        let service = None;
        Ok(Self {
            name,
            package,
            arguments,
            settings,
            folder,
            status,
            broker,
            database,
            service,
            watch,
            starts: 0,
        })
    }

    /// Starts it and waits until it is ready.
    pub(super) async fn start(&mut self) -> anyhow::Result<()> {
        self.launch()?;
        self.ready().await
    }

    /// Starts it without waiting.
    pub(super) fn launch(&mut self) -> anyhow::Result<()> {
        let (program, settings) = (bin(self.package)?, self.settings.clone());
        self.run(&program, &settings)
    }

    /// Starts it so that it aborts at a crash point, the `after`-th time it comes there and one more.
    pub(super) fn launch_to_crash(&mut self, point: &str, after: u32) -> anyhow::Result<()> {
        self.launch_with_points(&format!("{point}={after}*off->1*return"))
    }

    /// Starts it with crash points set, in the words of the crate `fail`.
    pub(super) fn launch_with_points(&mut self, points: &str) -> anyhow::Result<()> {
        let mut settings = self.settings.clone();
        settings.insert("FAILPOINTS".to_owned(), points.to_owned());
        self.run(&crashing(self.package)?, &settings)
    }

    fn run(&mut self, program: &Path, settings: &Settings) -> anyhow::Result<()> {
        let service = Service::start(program, self.arguments, settings, &self.folder)?;
        self.watch.add(service.pid(), &self.name);
        self.starts += 1;
        self.service = Some(service);
        Ok(())
    }

    /// Waits until it says that it can do its work.
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        self.service()?.wait_until(&self.status, "/readyz", READY).await
    }

    /// Waits until it aborts.
    pub(super) async fn crash(&mut self, within: Duration) -> anyhow::Result<()> {
        let status = self.service()?.wait(within).await.context("the crash point was not reached")?;
        let aborted = status.signal() == Some(Signal::SIGABRT as i32);
        ensure!(aborted, "{} ended with {status} instead of aborting", self.name);
        self.service = None;
        Ok(())
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&self) -> anyhow::Result<bool> {
        Ok(self.service()?.ended()?.is_some())
    }

    /// SIGKILL.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        self.service()?.sigkill().await?;
        self.service = None;
        Ok(())
    }

    /// SIGTERM; gives how long it took to end, and fails if it did not end well.
    pub(super) async fn terminate(&mut self) -> anyhow::Result<Duration> {
        // Whatever else is away: it listens as soon as it runs, however busy the machine is.
        self.service()?.listens_to_sigterm(READY).await?;
        let (status, took) = self.service()?.sigterm().await?;
        ensure!(status.success(), "{} ended with {status} after SIGTERM", self.name);
        self.service = None;
        Ok(took)
    }

    /// The process.
    pub(super) fn service(&self) -> anyhow::Result<&Service> {
        self.service.as_ref().with_context(|| format!("{} does not run", self.name))
    }

    /// Whether it was started and not ended by us since.
    pub(super) fn runs(&self) -> bool {
        self.service.is_some()
    }

    /// What `/readyz` answers: the status, and the body.
    pub(super) async fn readiness(&self) -> anyhow::Result<(u16, String)> {
        let answer = Client::new(&self.status).get("/readyz").await?;
        Ok((answer.status.as_u16(), answer.text()))
    }

    /// What it counted.
    pub(super) async fn metrics(&self) -> anyhow::Result<Samples> {
        crate::testbed::metrics(&self.status).await
    }

    /// Everything it logged, over all its starts.
    pub(super) fn log(&self) -> String {
        let bytes = std::fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Where it logs.
    pub(super) fn log_path(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.package))
    }
}
