//! The real ingress on an embedded queue, a sender that signs for it, and a look at what it published.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::ensure;
use rollcall_event::{Envelope, Lane};
use rollcall_queue::{ConsumedQueue, Consumer, Options, Publisher, QueueUrl};
use rollcall_tests::http::Client;
use rollcall_tests::process::{Service, Settings, bin};
use rollcall_tests::{Folder, eventually, free_port};
use sqlx::{Connection, SqliteConnection};

use super::delivery::{Delivery, key};
use super::wire::{Answer, Wire};

/// How long the binary may take to be ready, on a machine that is busy with other tests.
const START: Duration = Duration::from_secs(30);

/// A running ingress. Dropping it kills it and removes its queue.
pub(crate) struct Bed {
    pub(crate) service: Service,
    pub(crate) address: SocketAddr,
    pub(crate) ops: SocketAddr,
    pub(crate) queue: QueueUrl,
    clients: AtomicU32,
    _folder: Folder,
}

impl Bed {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::start_with(&[]).await
    }

    /// With further settings, or other values for those the bed gives.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let bed = Self::launch(settings)?;
        bed.service.wait_until(&bed.ops.to_string(), "/readyz", START).await?;
        Ok(bed)
    }

    /// As [`Bed::start_with`], for one that will never be ready.
    pub(crate) async fn start_unready(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let bed = Self::launch(settings)?;
        bed.service.wait_until(&bed.ops.to_string(), "/livez", START).await?;
        Ok(bed)
    }

    fn launch(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let folder = Folder::new("door")?;
        let (address, ops) = (loopback(free_port()), loopback(free_port()));
        let mut all = base_settings(&folder.join("queue.db"), address, ops);
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let service = Service::start(&bin("rollcall-ingress")?, &["run"], &all, folder.path())?;
        let queue = all["QUEUE_URL"].parse()?;
        Ok(Self { service, address, ops, queue, clients: AtomicU32::new(0), _folder: folder })
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Wire> {
        Wire::connect(self.address).await
    }

    /// Sends on a connection of its own, each time as another client: a hundred failures of one address
    /// are answered otherwise.
    pub(crate) async fn post(&self, delivery: &Delivery) -> anyhow::Result<Answer> {
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        let client = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + number % 60_000);
        self.post_from(client, delivery).await
    }

    pub(crate) async fn post_from(&self, client: Ipv4Addr, delivery: &Delivery) -> anyhow::Result<Answer> {
        Wire::connect_from(client, self.address).await?.exchange(&delivery.request()).await
    }

    /// All it has logged up to now. Lines are written in their order, a little later: this one is the last.
    pub(crate) async fn log(&self) -> anyhow::Result<String> {
        let id = format!("msg_last_{}", self.clients.load(Ordering::Relaxed));
        self.post(&Delivery::ordinary(&id)).await?;
        self.service.logged(&id, START).await?;
        let log = self.service.log();
        let lines = log.lines().take_while(|line| !line.contains(&id));
        Ok(lines.flat_map(|line| [line, "\n"]).collect())
    }

    /// Waits until `MAX_IN_FLIGHT` deliveries are under way, and gives the answer that says so.
    pub(crate) async fn crowded(&self) -> anyhow::Result<Answer> {
        // A delivery that gets through would wait for the queue itself, so a bad one asks: let in, it gets 400.
        let bad = Delivery::ordinary("msg_bad").with("-signature", "v1,AAAA");
        eventually(START, async || {
            let answer = self.post(&bad).await?;
            ensure!(answer.status == 429, "{answer:?}");
            Ok(answer)
        })
        .await
    }

    /// How many messages are in the queues.
    pub(crate) async fn published(&self) -> anyhow::Result<u64> {
        published(&self.queue).await
    }

    /// Takes `count` messages out of the lanes: routing key and envelope of each, in no order across lanes.
    pub(crate) async fn take(&self, count: usize) -> anyhow::Result<Vec<(String, Envelope)>> {
        let waiting = self.published().await?;
        ensure!(waiting == count as u64, "{waiting} messages wait, not {count}");
        let options = Options::default();
        let publisher = Publisher::start(&self.queue, &options).await?;
        let mut taken = Vec::new();
        for lane in Lane::ALL {
            let queue = ConsumedQueue::Lane(lane);
            let mut consumer = Consumer::open(&self.queue, &options, queue, 1024, publisher.clone()).await?;
            let pause = Duration::from_secs(1);
            while taken.len() < count {
                let Ok(batch) = tokio::time::timeout(pause, consumer.receive(1024, Duration::ZERO)).await
                else {
                    break;
                };
                for message in batch? {
                    taken.push((
                        message.routing_key,
                        message.envelope.map_err(|foreign| anyhow::anyhow!(foreign.why))?,
                    ));
                }
            }
        }
        ensure!(taken.len() == count, "{} messages came, not {count}", taken.len());
        Ok(taken)
    }

    /// What the metrics say was counted under an outcome.
    pub(crate) async fn counted(&self, outcome: &str) -> anyhow::Result<u64> {
        let metrics = Client::new(self.ops.to_string()).get("/metrics").await?.text();
        let name = "rollcall_deliveries_total{";
        let label = format!("outcome=\"{outcome}\"");
        let line = metrics.lines().find(|line| line.starts_with(name) && line.contains(&label));
        Ok(line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0))
    }

    /// Kilobytes of memory the process has in use.
    pub(crate) fn resident_kilobytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.service.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Ok(line.and_then(|line| line.split_whitespace().next()).unwrap_or("0").parse()?)
    }
}

/// The write lock of a bed's queue file, as a long transaction of another process would hold it. Dropping it
/// releases it.
pub(crate) struct QueueLock(SqliteConnection);

impl QueueLock {
    pub(crate) async fn take(bed: &Bed) -> anyhow::Result<Self> {
        let QueueUrl::Embedded(path) = &bed.queue else { anyhow::bail!("only the embedded queue has one") };
        let mut connection = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await?;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await?;
        Ok(Self(connection))
    }

    pub(crate) async fn release(mut self) -> anyhow::Result<()> {
        sqlx::query("ROLLBACK").execute(&mut self.0).await?;
        Ok(self.0.close().await?)
    }
}

/// How many messages are in the queues behind a URL.
pub(crate) async fn published(queue: &QueueUrl) -> anyhow::Result<u64> {
    let depths = rollcall_queue::depths(queue, &Options::default()).await?;
    Ok(depths.iter().map(|depth| depth.ready + depth.unacked.unwrap_or(0)).sum())
}

pub(crate) fn base_settings(queue: &std::path::Path, address: SocketAddr, ops: SocketAddr) -> Settings {
    [
        ("QUEUE_URL", format!("sqlite://{}", queue.display())),
        ("LISTEN", address.to_string()),
        ("OPS_LISTEN", ops.to_string()),
        ("SCALEKIT_WEBHOOK_SECRET", key().reveal()),
        ("LOG_FORMAT", "json".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A file of the test's own folder.
pub(crate) fn beside(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("it/door").join(name)
}
