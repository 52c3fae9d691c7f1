//! `queues`.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use rollcall_settings::duration;
use serde::Serialize;

use crate::cli::Listing;
use crate::output::Printer;
use crate::settings::Checked;

/// What `queues` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    listing: Listing,
}

#[derive(Serialize)]
struct Row {
    queue: String,
    ready: u64,
    unacked: Option<u64>,
    oldest: Option<String>,
    consumers: Option<u32>,
}

/// For asking the broker about every queue.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn list(checked: &Checked, args: Args, out: impl Write) -> anyhow::Result<bool> {
    let asked = rollcall_queue::depths(&checked.queue, &checked.queue_options);
    let depths =
        tokio::time::timeout(PATIENCE, asked).await.context("the queue did not answer in time")??;
    let columns = &["queue", "ready", "unacked", "oldest", "consumers"];
    let mut printer = Printer::new(out, args.listing.format, columns);
    for depth in depths {
        printer.row(&Row {
            queue: depth.queue,
            ready: depth.ready,
            unacked: depth.unacked,
            oldest: depth.oldest_age.map(|age| duration::human(Duration::from_secs(age.as_secs()))),
            consumers: depth.consumers,
        })?;
    }
    printer.end().map(|()| true)
}
