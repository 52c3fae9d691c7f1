//! The whole product, as an operator runs it, for one test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use rollcall_signature::Key;

use crate::folder::Folder;
use crate::http::{Client, Response};
use crate::metrics::Samples;
use crate::ports::free_port;
use crate::process::{Finished, Service, Settings, bin, run};
use crate::shared;
use crate::simulator::{Delivery, Exported, Sender, differences, parse_export};
use crate::wait::eventually;

/// How long a binary may take until it is ready: both are in a second where the machine is idle.
const READY: Duration = Duration::from_secs(30);

/// Both binaries with a folder, a key and addresses of their own. Dropping it kills them.
pub struct TestBed {
    /// What both binaries are started with; changes count from the next start.
    pub settings: Settings,
    /// The key deliveries are signed with.
    pub key: Key,
    /// Where deliveries go, as `127.0.0.1:port`.
    pub door: String,
    /// The door's `/livez`, `/readyz`, `/metrics`.
    pub ops: String,
    /// The worker's.
    pub admin: String,
    ingress: Option<Service>,
    worker: Option<Service>,
    // Last: the processes end before their folder goes.
    place: Place,
}

enum Place {
    Temporary(Folder),
    Kept(PathBuf),
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(path) => path,
        }
    }
}

impl TestBed {
    /// Both binaries on the embedded queue and database.
    pub async fn start() -> anyhow::Result<Self> {
        let mut bed = Self::embedded()?;
        bed.start_both().await?;
        Ok(bed)
    }

    /// Both binaries on the shared RabbitMQ and PostgreSQL, with a virtual host and a database of their own.
    pub async fn start_full() -> anyhow::Result<Self> {
        let queue = shared::broker().await?.new_vhost().await?;
        let database = shared::postgres().await?.new_database().await?;
        let mut bed = Self::on(&queue, &database)?;
        bed.migrate().await?;
        bed.start_both().await?;
        Ok(bed)
    }

    /// The embedded queue and database in a new folder; nothing runs yet.
    pub fn embedded() -> anyhow::Result<Self> {
        let folder = Folder::new("bed")?;
        let at = |name: &str| format!("sqlite://{}", folder.join("data").join(name).display());
        let (queue, database) = (at("queue.db"), at("rollcall.db"));
        Ok(Self::in_place(
            Place::Temporary(folder),
            Key::generate(rand::random()),
            free_ports(),
            &queue,
            &database,
        ))
    }

    /// This queue and this database, by their addresses; nothing runs yet.
    ///
    /// The removal budget is lifted, or a simulated year of leavers within one hour would be held.
    pub fn on(queue: &str, database: &str) -> anyhow::Result<Self> {
        let place = Place::Temporary(Folder::new("bed")?);
        Ok(Self::in_place(place, Key::generate(rand::random()), free_ports(), queue, database))
    }

    /// In a folder that exists and stays, with a key and ports (door, ops, admin) of the caller's.
    pub fn kept(folder: PathBuf, key: Key, ports: [u16; 3], queue: &str, database: &str) -> Self {
        Self::in_place(Place::Kept(folder), key, ports, queue, database)
    }

    fn in_place(place: Place, key: Key, ports: [u16; 3], queue: &str, database: &str) -> Self {
        let [door, ops, admin] = ports.map(|port| format!("127.0.0.1:{port}"));
        let settings = [
            ("QUEUE_URL", queue),
            ("DATABASE_URL", database),
            ("LISTEN", &door),
            ("OPS_LISTEN", &ops),
            ("ADMIN_LISTEN", &admin),
            ("SCALEKIT_WEBHOOK_SECRET", &key.reveal()),
            ("REMOVAL_BUDGET", "off"),
            ("LOG_FORMAT", "text"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { settings: Settings::from(settings), key, door, ops, admin, ingress: None, worker: None, place }
    }

    /// The same with another setting, before anything is started.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.settings.insert(name.to_owned(), value.into());
        self
    }

    /// Brings the database to this version.
    pub async fn migrate(&self) -> anyhow::Result<()> {
        self.command(&["migrate"]).await?.success().map(drop)
    }

    /// Starts both and waits until they are ready.
    pub async fn start_both(&mut self) -> anyhow::Result<()> {
        self.launch_ingress()?;
        self.launch_worker()?;
        self.ingress()?.wait_until(&self.ops, "/readyz", READY).await?;
        self.worker()?.wait_until(&self.admin, "/readyz", READY).await
    }

    /// Starts the door and waits until it is ready.
    pub async fn start_ingress(&mut self) -> anyhow::Result<()> {
        self.launch_ingress()?;
        self.ingress()?.wait_until(&self.ops, "/readyz", READY).await
    }

    /// Starts the worker and waits until it is ready.
    pub async fn start_worker(&mut self) -> anyhow::Result<()> {
        self.launch_worker()?;
        self.worker()?.wait_until(&self.admin, "/readyz", READY).await
    }

    /// Starts the door without waiting: for tests in which it is not to become ready.
    pub fn launch_ingress(&mut self) -> anyhow::Result<()> {
        let program = bin("rollcall-ingress")?;
        self.ingress = Some(Service::start(&program, &[], &self.settings, self.place.path())?);
        Ok(())
    }

    /// Starts the worker without waiting.
    pub fn launch_worker(&mut self) -> anyhow::Result<()> {
        let program = bin("rollcall-worker")?;
        self.worker = Some(Service::start(&program, &["run"], &self.settings, self.place.path())?);
        Ok(())
    }

    /// The door's process.
    pub fn ingress(&self) -> anyhow::Result<&Service> {
        self.ingress.as_ref().context("the door was not started")
    }

    /// The worker's process.
    pub fn worker(&self) -> anyhow::Result<&Service> {
        self.worker.as_ref().context("the worker was not started")
    }

    /// Where both keep their files.
    pub fn folder(&self) -> PathBuf {
        self.place.path().to_owned()
    }

    /// A sender with this bed's key, retrying a thousand times as quickly as the vendor does.
    pub fn sender(&self) -> Sender {
        Sender::new(&self.door, self.key.clone()).time_factor(0.001)
    }

    /// Posts one delivery once, on a connection of its own.
    pub async fn deliver(&self, delivery: &Delivery) -> anyhow::Result<Response> {
        self.sender().deliver(&mut Client::new(&self.door), delivery).await
    }

    /// Runs `rollcall-worker` with these arguments and this bed's settings.
    pub async fn command(&self, arguments: &[&str]) -> anyhow::Result<Finished> {
        run(&bin("rollcall-worker")?, arguments, &self.settings, self.place.path()).await
    }

    /// Everybody, by id, as `export` prints them.
    pub async fn export(&self) -> anyhow::Result<BTreeMap<String, Exported>> {
        parse_export(&self.command(&["export", "--format", "ndjson"]).await?.success()?)
    }

    /// Everybody as `users list` prints them.
    pub async fn users(&self) -> anyhow::Result<serde_json::Value> {
        let printed = self.command(&["users", "list", "--format", "json"]).await?.success()?;
        serde_json::from_str(&printed).with_context(|| format!("no JSON: {printed}"))
    }

    /// Waits until the export is exactly this; the error names the first differences.
    pub async fn becomes(
        &self,
        expected: &BTreeMap<String, Exported>,
        within: Duration,
    ) -> anyhow::Result<()> {
        eventually(within, async || {
            let wrong = differences(expected, &self.export().await?);
            let first = &wrong[..wrong.len().min(5)];
            ensure!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), expected.len(), first.join("\n"));
            Ok(())
        })
        .await
    }

    /// The door's metrics.
    pub async fn ingress_metrics(&self) -> anyhow::Result<Samples> {
        metrics(&self.ops).await
    }

    /// The worker's metrics.
    pub async fn worker_metrics(&self) -> anyhow::Result<Samples> {
        metrics(&self.admin).await
    }
}

fn free_ports() -> [u16; 3] {
    [(); 3].map(|()| free_port())
}

/// What `/metrics` says at this address.
pub async fn metrics(address: &str) -> anyhow::Result<Samples> {
    let page = Client::new(address).get("/metrics").await?;
    ensure!(page.status == 200, "/metrics answers {}", page.status);
    Ok(Samples::parse(&page.text()))
}
