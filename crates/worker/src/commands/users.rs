//! `users` and `export`.

use std::io::Write;

use rollcall_store::Store;

use super::PAGE;
use crate::cli::Listing;
use crate::output::{Format, Printer};

/// What `users` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Everybody, sorted by id
    List {
        /// Only people of this organization
        #[arg(long)]
        org: Option<String>,
        #[command(flatten)]
        listing: Listing,
    },
    /// One person
    Show {
        /// The vendor's id, diruser_…
        id: String,
        /// table, json or ndjson
        #[arg(long, value_enum, default_value = "json")]
        format: Format,
    },
}

/// What `export` takes.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// table, json or ndjson
    #[arg(long, value_enum, default_value = "ndjson")]
    format: Format,
    /// Only people of this organization
    #[arg(long)]
    org: Option<String>,
}

const COLUMNS: &[&str] = &["id", "organization_id", "email", "name", "status", "access", "groups", "roles"];

pub(crate) async fn run(store: &Store, command: Command, out: impl Write) -> anyhow::Result<bool> {
    match command {
        Command::List { org, listing } => all(store, org, listing.format, out).await,
        Command::Show { id, format } => {
            let mut printer = Printer::new(out, format, COLUMNS);
            let person = store.person(&id).await?;
            let found = person.is_some();
            person.iter().try_for_each(|person| printer.row(person))?;
            printer.end().map(|()| found)
        }
    }
}

pub(crate) async fn export(store: &Store, args: ExportArgs, out: impl Write) -> anyhow::Result<bool> {
    all(store, args.org, args.format, out).await
}

async fn all(store: &Store, org: Option<String>, format: Format, out: impl Write) -> anyhow::Result<bool> {
    let mut printer = Printer::new(out, format, COLUMNS);
    let mut after = String::new();
    loop {
        let page = store.people(org.as_deref(), &after, PAGE).await?;
        page.iter().try_for_each(|person| printer.row(person))?;
        match page.into_iter().last() {
            Some(last) => after = last.id,
            None => return printer.end().map(|()| true),
        }
    }
}
