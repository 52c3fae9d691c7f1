//! `org`.

use rollcall_store::Store;

use crate::cli::{Why, actor, say};

/// What `org` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Hold everything of one organization from now on: nobody of it gains or loses anything
    Pause {
        /// The vendor's id, org_…
        id: String,
        #[command(flatten)]
        why: Why,
    },
    /// Apply what was held while it was paused, in whatever order, and go on
    Resume {
        /// The vendor's id, org_…
        id: String,
        #[command(flatten)]
        why: Why,
    },
}

pub(crate) async fn run(store: &Store, command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Pause { id, why } => {
            let changed = store.pause(&id, &why.decision(&actor())).await?;
            say(if changed { "paused" } else { "was paused already" })?;
        }
        Command::Resume { id, why } => {
            let released = store.resume(&id, &why.decision(&actor())).await?;
            say(format_args!("resumed; {released} held changes released"))?;
        }
    }
    Ok(true)
}
