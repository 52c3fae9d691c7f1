//! `groups`.

use std::io::Write;

use rollcall_store::Store;

use super::PAGE;
use crate::cli::Listing;
use crate::output::Printer;

/// What `groups` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Every group, sorted by id; one without a name was only mentioned by its members
    List {
        /// Only groups of this organization
        #[arg(long)]
        org: Option<String>,
        #[command(flatten)]
        listing: Listing,
    },
}

pub(crate) async fn run(store: &Store, command: Command, out: impl Write) -> anyhow::Result<bool> {
    let Command::List { org, listing } = command;
    let columns = &["id", "organization_id", "name", "status", "members"];
    let mut printer = Printer::new(out, listing.format, columns);
    let mut after = String::new();
    loop {
        let page = store.groups(org.as_deref(), &after, PAGE).await?;
        page.iter().try_for_each(|group| printer.row(group))?;
        match page.into_iter().last() {
            Some(last) => after = last.id,
            None => return printer.end().map(|()| true),
        }
    }
}
