//! What an operator types.

use std::io::{BufWriter, stdout};

use anyhow::Context;
use rollcall_store::{Pool, Store};

use crate::commands::{dead_letters, groups, held, organizations, queues, test_event, users, verify};
use crate::output::Format;
use crate::settings::{Checked, Settings};

/// Applies directory events from the queue to the database, and answers operators.
///
/// Every setting is an environment variable or a flag. A secret NAME can also come from a file named by NAME_FILE.
/// Exit codes: 0 done, 1 failed or found wrong, 2 usage.
#[derive(Debug, clap::Parser)]
#[command(name = "rollcall-worker", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// With what.
    #[command(flatten)]
    pub settings: Settings,
}

/// What the program can be asked to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Consume messages and serve the admin address until SIGTERM or SIGINT (the default)
    Run,
    /// Bring the database to this version, or say that it is; several at once wait for each other
    Migrate,
    /// Depth, unacked and oldest age per queue
    Queues(queues::Args),
    /// The state as NDJSON, one object per person, sorted by id: the contract for comparing states
    Export(users::ExportArgs),
    /// Fold the stored events and compare with the tables; exit 1 if anything differs
    Verify(verify::Args),
    /// Sign an event, post it to the door, and wait until it is committed
    SendTestEvent(test_event::Args),
    /// People with their access and roles
    #[command(subcommand)]
    Users(users::Command),
    /// Groups of directories
    #[command(subcommand)]
    Groups(groups::Command),
    /// Messages given up on
    #[command(subcommand)]
    DeadLetters(dead_letters::Command),
    /// Changes that wait for a person: over the removal budget, or of a paused organization
    #[command(subcommand)]
    Held(held::Command),
    /// Organizations: pause and resume
    #[command(subcommand)]
    Org(organizations::Command),
    /// Ask the running process for /livez on ADMIN_LISTEN; exit 0 if it is alive, else 1
    Healthcheck,
}

/// How a list is printed.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Listing {
    /// table, json or ndjson
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

/// Why something is changed; kept with the change.
#[derive(Debug, Clone, clap::Args)]
pub struct Why {
    /// Why, in your words; kept with the change
    #[arg(long)]
    pub reason: String,
}

impl Why {
    /// The decision as it is kept, by whoever is logged in.
    pub(crate) fn decision<'a>(&'a self, actor: &'a str) -> rollcall_store::Decision<'a> {
        rollcall_store::Decision { actor, reason: &self.reason, at: rollcall_event::clock::now() }
    }
}

/// Who runs the command, as far as the system knows.
pub(crate) fn actor() -> String {
    std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

impl Command {
    /// Runs a command that is not [`Command::Run`]; true if all is well, false if something was found wrong.
    ///
    /// # Errors
    ///
    /// It could not be done.
    pub async fn execute(self, settings: &Settings, checked: Checked) -> anyhow::Result<bool> {
        if let Self::Migrate = self {
            let steps = Store::migrate(&checked.database).await.context("DATABASE_URL")?;
            say(match steps {
                0 => "the database is at this version".to_owned(),
                steps => format!("the database is at this version now: {steps} steps applied"),
            })?;
            return Ok(true);
        }
        let store = Store::connect(&checked.database, &Pool { connections: 2, ..Pool::default() }).await?;
        let out = BufWriter::new(stdout().lock());
        match self {
            Self::Run | Self::Migrate | Self::Healthcheck => Ok(true),
            Self::Queues(args) => queues::list(&checked, args, out).await,
            Self::Export(args) => users::export(&store, args, out).await,
            Self::Verify(args) => verify::run(&store, args, out).await,
            Self::SendTestEvent(args) => test_event::send(&store, settings, args).await,
            Self::Users(command) => users::run(&store, command, out).await,
            Self::Groups(command) => groups::run(&store, command, out).await,
            Self::DeadLetters(command) => dead_letters::run(&store, &checked, command, out).await,
            Self::Held(command) => held::run(&store, command, out).await,
            Self::Org(command) => organizations::run(&store, command).await,
        }
    }
}

/// Prints one line for the operator.
pub(crate) fn say(line: impl std::fmt::Display) -> anyhow::Result<()> {
    use std::io::Write;
    writeln!(stdout(), "{line}").context("writing to standard output")
}
