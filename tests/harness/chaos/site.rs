//! Everything of one run: a virtual host, a database, and the product's processes behind links of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use rollcall_signature::Key;

use super::history;
use super::member::{Member, Parts};
use super::servers::Servers;
use super::watch::{Taken, Watch};
use crate::folder::Folder;
use crate::ports::free_port;
use crate::process::{Finished, Settings, bin, run};
use crate::proxy::Proxy;
use crate::simulator::Sender;

/// Short, so that a retry is seen within a test; enough of them that an ordinary fault exhausts none.
const RETRY_STEPS: &str = "200ms,500ms,1s,1s,2s,2s,2s,5s,5s,5s";

/// How a run's processes are set up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) workers: usize,
    /// Settings of both binaries besides the usual ones.
    pub(super) settings: &'static [(&'static str, &'static str)],
}

impl Default for Shape {
    fn default() -> Self {
        Self { workers: 2, settings: &[] }
    }
}

/// See the module. Dropping it kills its processes and removes its folder.
pub(super) struct Site {
    pub(super) servers: Servers,
    /// The virtual host, straight.
    pub(super) queue: String,
    /// The database, straight.
    pub(super) database: String,
    /// Where deliveries go.
    pub(super) door_address: String,
    pub(super) door: Member,
    pub(super) workers: Vec<Member>,
    key: Key,
    watch: Arc<Watch>,
    // Last: the processes end before their folder goes.
    folder: Folder,
}

impl Site {
    /// A new virtual host and a migrated database; no process runs yet.
    pub(super) async fn prepare(servers: &Servers, shape: &Shape, key: Key) -> anyhow::Result<Self> {
        let folder = Folder::new("chaos")?;
        let queue = servers.broker.new_vhost().await?;
        let database = servers.postgres.new_database().await?;
        let watch = Arc::new(Watch::start());
        let door_address = format!("127.0.0.1:{}", free_port());
        let plan = Plan { servers, shape, key: &key, queue: &queue, database: &database, watch: &watch };
        let door = plan.door(folder.path(), &door_address).await?;
        let mut workers = Vec::new();
        for number in 0..shape.workers {
            workers.push(plan.worker(folder.path(), number).await?);
        }
        let site = Self {
            servers: servers.clone(),
            queue,
            database,
            door_address,
            door,
            workers,
            key,
            watch,
            folder,
        };
        site.command(&["migrate"]).await?.success()?;
        site.sql(history::CREATE).await?;
        Ok(site)
    }

    /// Starts every process and waits until all are ready.
    pub(super) async fn start(&mut self) -> anyhow::Result<()> {
        self.members_mut().try_for_each(Member::launch)?;
        for member in self.members() {
            member.ready().await?;
        }
        Ok(())
    }

    /// The door, then the workers.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        std::iter::once(&self.door).chain(&self.workers)
    }

    /// The same, to act on.
    pub(super) fn members_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        std::iter::once(&mut self.door).chain(&mut self.workers)
    }

    /// Somebody who posts to the door.
    pub(super) fn sender(&self) -> Sender {
        Sender::new(&self.door_address, self.key.clone())
    }

    /// What the door's deliveries are signed with.
    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// Runs an operator's command, straight to the servers.
    pub(super) async fn command(&self, arguments: &[&str]) -> anyhow::Result<Finished> {
        let mut settings = self.workers[0].settings.clone();
        settings.insert("QUEUE_URL".to_owned(), self.queue.clone());
        settings.insert("DATABASE_URL".to_owned(), self.database.clone());
        run(&bin("rollcall-worker")?, arguments, &settings, self.folder.path()).await
    }

    /// Runs SQL in the run's database; rows come one per line, columns between `|`.
    pub(super) async fn sql(&self, sql: &str) -> anyhow::Result<String> {
        self.servers.postgres.psql(&self.database, sql).await
    }

    /// The rows of a query, each with its columns.
    pub(super) async fn rows(&self, sql: &str) -> anyhow::Result<Vec<Vec<String>>> {
        let printed = self.sql(sql).await?;
        Ok(printed.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect())
    }

    /// The one number a query gives.
    pub(super) async fn number(&self, sql: &str) -> anyhow::Result<u64> {
        let printed = self.sql(sql).await?;
        printed.trim().parse().with_context(|| format!("no number: {printed:?} from {sql}"))
    }

    /// The name of the virtual host.
    pub(super) fn vhost(&self) -> &str {
        self.queue.rsplit_once('/').map_or("/", |(_, vhost)| vhost)
    }

    /// How many messages all queues hold, handed out or not, retained for dead-lettering or not: asked of
    /// the queues' own logs, as the counters of the broker's tools are up to five seconds old and leave the
    /// last out.
    pub(super) async fn waiting(&self) -> anyhow::Result<u64> {
        let printed = self.servers.broker.eval(&WAITING.replace("VHOST", self.vhost())).await?;
        printed.parse().with_context(|| format!("no number: {printed}"))
    }

    /// How many messages of a queue are handed out and not answered.
    pub(super) async fn handed_out(&self, queue: &str) -> anyhow::Result<u64> {
        let asked = HANDED_OUT.replace("VHOST", self.vhost()).replace("QUEUE", queue);
        let printed = self.servers.broker.eval(&asked).await?;
        printed.parse().with_context(|| format!("no number: {printed}"))
    }

    /// Everybody's log, by member.
    pub(super) fn logs(&self) -> Vec<(String, String)> {
        self.members().map(|member| (member.name.clone(), member.log())).collect()
    }

    /// The most each process took of the machine.
    pub(super) fn taken(&self) -> std::collections::BTreeMap<String, Taken> {
        self.watch.most()
    }

    /// Copies the logs of processes and servers to a folder that stays, and names it.
    pub(super) fn keep_logs(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = crate::process::target_folder()?.join("chaos").join(name);
        fs::create_dir_all(&folder)?;
        for member in self.members() {
            copy(&member.log_path(), &folder.join(format!("{}.log", member.name)))?;
        }
        copy(&self.servers.broker.home().join("console.log"), &folder.join("rabbitmq.log"))?;
        Ok(folder)
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    // One that never logged has no log.
    if from.exists() {
        fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    }
    Ok(())
}

const WAITING: &str = r#"
    lists:sum([begin
        {ok, {_, Count}, _} = ra:leader_query(amqqueue:get_pid(Queue), fun rabbit_fifo:query_messages_total/1, 20000),
        Count
    end || Queue <- rabbit_amqqueue:list(<<"VHOST">>)])."#;

const HANDED_OUT: &str = r#"
    {ok, Queue} = rabbit_amqqueue:lookup({resource, <<"VHOST">>, queue, <<"QUEUE">>}),
    {ok, {_, Count}, _} = ra:leader_query(amqqueue:get_pid(Queue), fun rabbit_fifo:query_messages_checked_out/1, 20000),
    Count."#;

struct Plan<'a> {
    servers: &'a Servers,
    shape: &'a Shape,
    key: &'a Key,
    queue: &'a str,
    database: &'a str,
    watch: &'a Arc<Watch>,
}

impl Plan<'_> {
    async fn door(&self, folder: &Path, address: &str) -> anyhow::Result<Member> {
        let broker = Proxy::start(self.servers.broker.address()).await?;
        let status = format!("127.0.0.1:{}", free_port());
        let mut settings = self.settings(&broker)?;
        settings.insert("LISTEN".to_owned(), address.to_owned());
        settings.insert("OPS_LISTEN".to_owned(), status.clone());
        settings.insert("SCALEKIT_WEBHOOK_SECRET".to_owned(), self.key.reveal());
        let (name, package, watch) = ("door".to_owned(), "rollcall-ingress", self.watch.clone());
        let folder = folder.join(&name);
        let arguments = &[];
        Member::new(Parts {
            name,
            package,
            arguments,
            settings,
            folder,
            status,
            broker,
            database: None,
            watch,
        })
    }

    async fn worker(&self, folder: &Path, number: usize) -> anyhow::Result<Member> {
        let broker = Proxy::start(self.servers.broker.address()).await?;
        let database = Proxy::start(self.servers.postgres.address()).await?;
        let status = format!("127.0.0.1:{}", free_port());
        let mut settings = self.settings(&broker)?;
        settings.insert("DATABASE_URL".to_owned(), database.url(self.database)?);
        settings.insert("ADMIN_LISTEN".to_owned(), status.clone());
        let (name, package, watch) = (format!("worker-{number}"), "rollcall-worker", self.watch.clone());
        let folder = folder.join(&name);
        let (arguments, database) = (&["run"], Some(database));
        Member::new(Parts { name, package, arguments, settings, folder, status, broker, database, watch })
    }

    fn settings(&self, broker: &Proxy) -> anyhow::Result<Settings> {
        let mut settings = Settings::new();
        let queue = broker.url(self.queue)?;
        let usual = [
            ("QUEUE_URL", queue.as_str()),
            ("RETRY_STEPS", RETRY_STEPS),
            ("REMOVAL_BUDGET", "off"),
            ("LOG_FORMAT", "text"),
            ("RUST_LOG", "info"),
        ];
        for (name, value) in usual.into_iter().chain(self.shape.settings.iter().copied()) {
            settings.insert(name.to_owned(), value.to_owned());
        }
        ensure!(self.shape.workers > 0, "a run has a worker");
        Ok(settings)
    }
}
