//! `held`.

use std::io::Write;

use rollcall_store::{Held, Store};

use crate::cli::{Listing, Why, actor, say};
use crate::output::Printer;

/// What `held` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// What waits, oldest first
    List {
        /// Only of this organization
        #[arg(long)]
        org: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 1000)]
        limit: u64,
        #[command(flatten)]
        listing: Listing,
    },
    /// Apply what waits; the order does not matter
    Release {
        #[command(flatten)]
        meant: Meant,
        #[command(flatten)]
        why: Why,
    },
    /// Let what waits go without applying it
    Reject {
        #[command(flatten)]
        meant: Meant,
        #[command(flatten)]
        why: Why,
    },
}

/// Which changes are meant.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Meant {
    /// These numbers
    ids: Vec<i64>,
    /// All of this organization
    #[arg(long)]
    org: Option<String>,
    /// All there are
    #[arg(long)]
    all: bool,
}

impl From<Meant> for Held {
    fn from(meant: Meant) -> Self {
        match meant.org {
            Some(org) => Self::Organization(org),
            None if meant.all => Self::All,
            None => Self::Ids(meant.ids),
        }
    }
}

pub(crate) async fn run(store: &Store, command: Command, out: impl Write) -> anyhow::Result<bool> {
    match command {
        Command::List { org, limit, listing } => {
            let columns = &["id", "organization_id", "subject_id", "event_id", "reason", "held_at"];
            let mut printer = Printer::new(out, listing.format, columns);
            let meant = org.map_or(Held::All, Held::Organization);
            store.held(&meant, limit).await?.iter().try_for_each(|change| printer.row(change))?;
            printer.end()?;
        }
        Command::Release { meant, why } => {
            let count = store.release(&meant.into(), &why.decision(&actor())).await?;
            say(format_args!("{count} released"))?;
        }
        Command::Reject { meant, why } => {
            let count = store.reject(&meant.into(), &why.decision(&actor())).await?;
            say(format_args!("{count} rejected"))?;
        }
    }
    Ok(true)
}
