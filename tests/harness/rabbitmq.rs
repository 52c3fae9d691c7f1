//! A private RabbitMQ node.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::sys::signal::Signal;
use rand::Rng;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::child::Child;
use crate::folder::Folder;
use crate::ports::free_port;
use crate::wait::eventually;

/// Where the packages put the scripts; not those in /usr/sbin, which change user and read /etc.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";
/// A node boots in 8 to 12 s on two idle cores, in 30 where they are busy compiling.
const BOOT: Duration = Duration::from_secs(120);
/// Longest a command line tool may take: each starts an Erlang machine of its own.
const TOOL: Duration = Duration::from_secs(60);

/// A RabbitMQ node of our own: own ports, own name server (epmd), own folder, no plugins.
pub struct Broker {
    node: Node,
    home: PathBuf,
    vhosts: AtomicU32,
    server: Mutex<Option<Child>>,
    // In this order: processes end before their folder goes. Both are `None` for a node of somebody else.
    names: Option<Child>,
    folder: Option<Folder>,
}

/// What another process must know to use the node; lies as `node.json` in the node's folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Node {
    name: String,
    port: u16,
    distribution_port: u16,
    names_port: u16,
    cookie: String,
}

impl Broker {
    /// Whether the packages are installed.
    pub fn is_installed() -> bool {
        Path::new(SCRIPTS).join("rabbitmq-server").exists()
    }

    /// Starts a node and waits until it takes AMQP connections.
    pub async fn start() -> anyhow::Result<Self> {
        ensure!(
            Self::is_installed(),
            "there is no {SCRIPTS}/rabbitmq-server: install the package rabbitmq-server"
        );
        let folder = Folder::new("rabbitmq")?;
        let node = Node::invent();
        node.prepare(folder.path())?;
        let home = folder.path().to_owned();
        let names = node.start_names(&home)?;
        let broker = Self {
            node,
            home,
            vhosts: AtomicU32::new(0),
            server: Mutex::new(None),
            names: Some(names),
            folder: Some(folder),
        };
        broker.start_again().await?;
        Ok(broker)
    }

    /// Uses the running node whose folder is `home`. It can be asked, not stopped.
    pub fn attach(home: &Path) -> anyhow::Result<Self> {
        let text =
            fs::read(home.join("node.json")).with_context(|| format!("no node in {}", home.display()))?;
        Ok(Self {
            node: serde_json::from_slice(&text)?,
            home: home.to_owned(),
            vhosts: AtomicU32::new(0),
            server: Mutex::new(None),
            names: None,
            folder: None,
        })
    }

    /// Its folder, for [`Broker::attach`].
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Where it listens, as `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.node.port)
    }

    /// The address of the default virtual host.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@{}", self.address())
    }

    /// The address of a virtual host by its name.
    pub fn url_of(&self, vhost: &str) -> String {
        format!("{}/{vhost}", self.url())
    }

    /// Makes an empty virtual host and gives its address. Those of processes that have ended are removed.
    pub async fn new_vhost(&self) -> anyhow::Result<String> {
        let number = self.vhosts.fetch_add(1, Ordering::Relaxed);
        let random: u16 = rand::rng().random();
        let vhost = format!("t-{}-{number}-{random:04x}", std::process::id());
        let made = self.eval(&MAKE_VHOST.replace("VHOST", &vhost)).await?;
        ensure!(made == "ok", "making a virtual host: {made}");
        Ok(self.url_of(&vhost))
    }

    /// The number of the node's process.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.with_server(|server| Ok(server.pid()))
    }

    /// SIGKILL: what it had not synced is lost. The names of its queues are not among that: it writes them half a
    /// second after their declaration, and one killed before that forgets its newest queues, with all that they held.
    pub async fn kill9(&self) -> anyhow::Result<()> {
        let written = self.eval(WRITE_NAMES).await?;
        ensure!(written == "ok", "writing names: {written}");
        let server = self.take_server()?;
        server.signal(Signal::SIGKILL)?;
        server.wait(Duration::from_secs(10)).await?;
        Ok(())
    }

    /// SIGTERM: connections are closed with `CONNECTION_FORCED`, queues written.
    pub async fn stop_gently(&self) -> anyhow::Result<()> {
        let server = self.take_server()?;
        server.signal(Signal::SIGTERM)?;
        server.wait(BOOT).await?;
        Ok(())
    }

    /// Starts the stopped node with the same ports and data, and waits until it takes connections.
    pub async fn start_again(&self) -> anyhow::Result<()> {
        ensure!(self.folder.is_some(), "this node belongs to another process");
        ensure!(self.server().is_none(), "the node runs already");
        let mut command = Command::new(Path::new(SCRIPTS).join("rabbitmq-server"));
        self.node.describe(&mut command, &self.home);
        let log = File::options().create(true).append(true).open(self.home.join("console.log"))?;
        *self.server() = Some(Child::start(&command, &log)?);
        self.wait_for_boot().await.with_context(|| format!("the node did not start: {}", self.last_words()))
    }

    /// SIGSTOP: it holds its connections and answers nothing.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.with_server(|server| server.signal(Signal::SIGSTOP))
    }

    /// SIGCONT.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.with_server(|server| server.signal(Signal::SIGCONT))
    }

    /// Runs `rabbitmqctl` (half a second at least) and gives what it printed.
    pub async fn rabbitmqctl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(Path::new(SCRIPTS).join("rabbitmqctl"));
        command.arg("--quiet").args(arguments);
        self.node.describe(&mut command, &self.home);
        printed(command).await.with_context(|| format!("rabbitmqctl {}", arguments.join(" ")))
    }

    /// Evaluates Erlang in the node, ended by a full stop, and gives the value as printed. Twice as quick
    /// as `rabbitmqctl eval`.
    pub async fn eval(&self, expression: &str) -> anyhow::Result<String> {
        let number: u32 = rand::rng().random();
        let mut command = Command::new("erl");
        command.args(["-noinput", "-hidden", "-start_epmd", "false"]);
        command.args(["-kernel", "inet_dist_use_interface", "{127,0,0,1}"]);
        command.args(["-setcookie", &self.node.cookie, "-sname", &format!("asks{number:08x}@localhost")]);
        command.args(["-eval", EVALUATE]);
        self.node.describe(&mut command, &self.home);
        command.env("ASKED_NODE", &self.node.name).env("ASKED", expression);
        printed(command).await.context("asking the node")
    }

    async fn wait_for_boot(&self) -> anyhow::Result<()> {
        eventually(BOOT, async || {
            if let Some(status) = self.with_server(Child::ended)? {
                bail!("it ended with {status}");
            }
            greets(&self.address()).await
        })
        .await?;
        // The port opens a moment before the last boot steps are done.
        eventually(BOOT, async || {
            let running = self.eval("rabbit:is_running().").await?;
            ensure!(running == "true", "is_running: {running}");
            Ok(())
        })
        .await
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.home.join("console.log")).unwrap_or_default();
        log.lines().rev().take(20).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn server(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_server<T>(&self, act: impl FnOnce(&Child) -> anyhow::Result<T>) -> anyhow::Result<T> {
        act(self.server().as_ref().context("the node is stopped, or belongs to another process")?)
    }

    fn take_server(&self) -> anyhow::Result<Child> {
        self.server().take().context("the node is stopped, or belongs to another process")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.server().take());
        drop(self.names.take());
        drop(self.folder.take());
    }
}

/// Asks the node named in the environment to evaluate the expression in the environment: no quoting.
const EVALUATE: &str = r#"
    {ok, Tokens, _} = erl_scan:string(os:getenv("ASKED")),
    {ok, Parsed} = erl_parse:parse_exprs(Tokens),
    case rpc:call(list_to_atom(os:getenv("ASKED_NODE")), erl_eval, exprs, [Parsed, []], 55000) of
        {value, Value, _} -> io:format("~tp~n", [Value]), halt(0);
        Other -> io:format("~tp~n", [Other]), halt(1)
    end."#;

/// Writes the names of quorum queues to disk.
const WRITE_NAMES: &str =
    "dets:sync(maps:get(directory_rev, maps:get(names, ra_system:fetch(quorum_queues)))).";

/// Makes the virtual host, and removes in the background those whose maker has ended.
const MAKE_VHOST: &str = r#"
    Ended = fun(Name) ->
        case binary:split(Name, <<"-">>, [global]) of
            [<<"t">>, Maker | _] -> not filelib:is_dir(<<"/proc/", Maker/binary>>);
            _ -> false
        end
    end,
    spawn(fun() -> [catch rabbit_vhost:delete(Name, <<"test">>) || Name <- rabbit_vhost:list_names(), Ended(Name)] end),
    rabbit_vhost:add(<<"VHOST">>, <<"test">>),
    rabbit_auth_backend_internal:set_permissions(
        <<"guest">>, <<"VHOST">>, <<".*">>, <<".*">>, <<".*">>, <<"test">>)."#;

impl Node {
    fn invent() -> Self {
        let number: u32 = rand::rng().random();
        let cookie: u128 = rand::rng().random();
        Self {
            name: format!("rc-{number:08x}@localhost"),
            port: free_port(),
            distribution_port: free_port(),
            names_port: free_port(),
            cookie: format!("{cookie:032x}"),
        }
    }

    fn prepare(&self, home: &Path) -> anyhow::Result<()> {
        let cookie = home.join(".erlang.cookie");
        fs::write(&cookie, &self.cookie)?;
        // Erlang refuses a cookie that others may read.
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400))?;
        fs::write(home.join("plugins"), "[].")?;
        fs::write(home.join("rabbitmq.conf"), self.configuration())?;
        fs::write(home.join("node.json"), serde_json::to_vec(self)?)?;
        Ok(())
    }

    /// Little memory and disk: a test's node holds thousands of messages, not millions.
    fn configuration(&self) -> String {
        format!(
            "listeners.tcp.1 = 127.0.0.1:{}\n\
             vm_memory_high_watermark.absolute = 1GB\n\
             disk_free_limit.absolute = 50MB\n\
             raft.wal_max_size_bytes = 67108864\n\
             log.file.level = info\n",
            self.port
        )
    }

    /// The name server. Ours, so that the machine's own is neither used nor started.
    fn start_names(&self, home: &Path) -> anyhow::Result<Child> {
        let mut command = Command::new("epmd");
        command.args(["-port", &self.names_port.to_string(), "-address", "127.0.0.1"]);
        Child::start(&command, &File::create(home.join("epmd.log"))?)
    }

    /// The environment in which the server and its tools see this node and no other.
    fn describe(&self, command: &mut Command, home: &Path) {
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("RABBITMQ_") || name.starts_with("ERL_")) {
                command.env_remove(name);
            }
        }
        let erlang = "+S 2:2 +sbwt none -start_epmd false -kernel inet_dist_use_interface {127,0,0,1}";
        command
            .env("HOME", home)
            .env("RABBITMQ_NODENAME", &self.name)
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("RABBITMQ_CONFIG_FILE", home.join("rabbitmq"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_MNESIA_BASE", home.join("data"))
            .env("RABBITMQ_LOG_BASE", home.join("log"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", home.join("plugins"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", erlang)
            .env("ERL_EPMD_PORT", self.names_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            // Makes the script become the server instead of standing between it and our signals.
            .env("RUNNING_UNDER_SYSTEMD", "true");
    }
}

/// Says hello in AMQP 0-9-1 and waits for the answer, `Connection.Start`.
async fn greets(address: &str) -> anyhow::Result<()> {
    let hello = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
        let mut frame = [0; 11];
        stream.read_exact(&mut frame).await?;
        ensure!(frame[0] == 1 && frame[7..] == [0, 10, 0, 10], "no Connection.Start but {frame:?}");
        Ok(())
    };
    tokio::time::timeout(Duration::from_secs(5), hello).await.context("no greeting")?
}

/// Runs a command to its end and gives its output without the last line end.
pub(crate) async fn printed(command: Command) -> anyhow::Result<String> {
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true).stdin(std::process::Stdio::null());
    let output = tokio::time::timeout(TOOL, command.output()).await.context("it takes too long")??;
    let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    if !output.status.success() {
        bail!("{}: {text} {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}
