//! Where figures are taken: private servers, made when first asked for, and what is in them.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use rollcall_event::{DeliveryId, Envelope, RoutingKey, Source, clock};
use rollcall_queue::{Options, Publisher, QueueUrl};
use rollcall_tests::postgres::Postgres;
use rollcall_tests::rabbitmq::Broker;
use rollcall_tests::{Folder, TestBed};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use crate::deliveries::{Event, Population};

/// What somebody sets who runs PostgreSQL for this, on a machine it shares. Durability is not touched.
const SETTINGS: &[&str] = &[
    "max_connections=100",
    "shared_buffers=1GB",
    "max_wal_size=4GB",
    "checkpoint_timeout=15min",
    "shared_preload_libraries=pg_stat_statements",
];

/// The servers and how much to do with them.
pub(crate) struct Stage {
    /// How often each side is measured.
    pub(crate) rounds: usize,
    /// Kept events for each person in the large mirror of `growth`.
    pub(crate) kept: u64,
    /// Whether the peer pipeline is measured too.
    pub(crate) peers: bool,
    broker: OnceCell<Broker>,
    postgres: OnceCell<Postgres>,
    folder: Folder,
}

impl Stage {
    pub(crate) fn new(rounds: usize, kept: u64, peers: bool) -> anyhow::Result<Self> {
        let folder = Folder::new("bench")?;
        Ok(Self { rounds, kept, peers, broker: OnceCell::new(), postgres: OnceCell::new(), folder })
    }

    /// The broker.
    pub(crate) async fn broker(&self) -> anyhow::Result<&Broker> {
        self.broker.get_or_try_init(Broker::start).await
    }

    /// The database server.
    pub(crate) async fn postgres(&self) -> anyhow::Result<&Postgres> {
        self.postgres.get_or_try_init(|| Postgres::start_with(SETTINGS)).await
    }

    /// A place for files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Process numbers to watch, of the servers that run.
    pub(crate) fn servers(&self) -> anyhow::Result<Vec<(&'static str, u32)>> {
        let mut pids = Vec::new();
        if let Some(broker) = self.broker.get() {
            pids.push(("broker", broker.pid()?));
        }
        if let Some(postgres) = self.postgres.get() {
            pids.push(("postgres", postgres.pid()?));
        }
        Ok(pids)
    }

    /// An empty queue on the broker.
    pub(crate) async fn queue(&self) -> anyhow::Result<String> {
        self.broker().await?.new_vhost().await
    }

    /// A database of this version with these people in it, and a kept event for each.
    pub(crate) async fn database(&self, people: Population) -> anyhow::Result<String> {
        self.database_with(people, 1).await
    }

    /// The same with so many kept events for each.
    pub(crate) async fn database_with(&self, people: Population, kept: u64) -> anyhow::Result<String> {
        let postgres = self.postgres().await?;
        let url = postgres.new_database().await?;
        TestBed::on("sqlite://unused.db", &url)?.migrate().await?;
        seed(postgres, &url, people, kept).await?;
        Ok(url)
    }

    /// Runs SQL and gives the first column of what comes back, one row per line.
    pub(crate) async fn sql(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        self.postgres().await?.psql(database, sql).await
    }

    /// Writes everything out, so that no round pays for the one before.
    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        if let Some(postgres) = self.postgres.get() {
            postgres.psql("postgres", "checkpoint").await?;
        }
        Ok(())
    }
}

/// Rows per seeding statement: each stays far below a minute.
const CHUNK: u64 = 500_000;

/// SQL for the id of somebody's organization.
pub(crate) fn organization_sql(people: Population) -> String {
    format!("'org_' || lpad((n % {})::text, 17, '0')", people.organizations)
}

/// The columns that SQL here fills, in its order.
pub(crate) const EVENT_COLUMNS: &str =
    "source, event_id, body_sha256, kind, organization_id, subject_id, version,
    delivery_id, attempt, received_at, recorded_at, traceparent, outcome, body";

/// People with a profile, two groups and so many kept events each.
async fn seed(postgres: &Postgres, url: &str, people: Population, kept: u64) -> anyhow::Result<()> {
    let organization = organization_sql(people);
    let groups = people.organizations * people.groups_each;
    let each = people.groups_each;
    let organizations = format!(
        "INSERT INTO organizations (id) SELECT {organization} FROM generate_series(0, {} - 1) n;
         INSERT INTO groups (id, organization_id, name, name_version)
         SELECT 'dirgroup_' || lpad(g::text, 17, '0'), 'org_' || lpad((g / {each})::text, 17, '0'), 'Group ' || g, '0'
         FROM generate_series(0, {groups} - 1) g",
        people.organizations
    );
    postgres.psql(url, &organizations).await?;
    let mut from = 0;
    while from < people.users {
        let to = (from + CHUNK).min(people.users) - 1;
        let series = format!("generate_series({from}, {to}) n");
        let user = "'diruser_' || lpad(n::text, 17, '0')";
        let statements = [
            format!(
                "INSERT INTO users (id, organization_id, organization_version, email, name, given_name, family_name,
                    user_name, dp_id, profile_version, groups_version, status_version)
                 SELECT {user}, {organization}, '0', 'person' || n || '@example.com', 'Person ' || n, 'Person',
                    'Number ' || n, 'person' || n || '@example.com', '00u' || n, '0', '0', '0' FROM {series}"
            ),
            format!(
                "INSERT INTO memberships (user_id, group_id) SELECT {user}, 'dirgroup_' || lpad(((n % {}) * {each} + g)::text, 17, '0')
                 FROM {series}, (VALUES (0), (1)) AS two(g)",
                people.organizations
            ),
            format!(
                "INSERT INTO events ({EVENT_COLUMNS}) SELECT 'scalekit', 'evt_seed' || k || '_' || n, sha256(n::text::bytea),
                    'organization.directory.user_created', {organization}, {user}, '0', 'msg_seed' || n, 1,
                    now() - interval '1 day', now() - interval '1 day', NULL, 'applied', '{{}}'
                 FROM generate_series(1, {kept}) k, {series}"
            ),
        ];
        for statement in statements {
            postgres.psql(url, &statement).await?;
        }
        from = to + 1;
    }
    postgres.psql(url, "VACUUM ANALYZE").await?;
    Ok(())
}

/// Publishers at work at once while a queue is filled.
const FILLERS: usize = 256;

/// Puts events into a queue as the door would, without a door.
pub(crate) async fn fill(queue: &str, events: Vec<Event>) -> anyhow::Result<()> {
    let url: QueueUrl = queue.parse().ok().context("no address of a queue")?;
    let publisher = Publisher::start(&url, &Options::default()).await?;
    let events: Arc<[Event]> = events.into();
    let mut tasks = JoinSet::new();
    for first in 0..FILLERS {
        let (publisher, events) = (publisher.clone(), events.clone());
        tasks.spawn(async move {
            for event in events.iter().skip(first).step_by(FILLERS) {
                let id = DeliveryId::parse(event.id.replace("evt_", "msg_"))?;
                let envelope = Envelope::new(Source::Scalekit, id, clock::now(), event.body.clone());
                publisher.publish(&RoutingKey::for_body(&event.body), &envelope).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    publisher.close(std::time::Duration::from_secs(5)).await;
    Ok(())
}
