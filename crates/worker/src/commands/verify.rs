//! `verify`.

use std::io::Write;

use rollcall_store::Store;

use crate::cli::Listing;
use crate::output::{Format, Printer};

/// What `verify` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    listing: Listing,
}

/// Prints every difference; false if there is one.
pub(crate) async fn run(store: &Store, args: Args, mut out: impl Write) -> anyhow::Result<bool> {
    let verification = store.verify().await?;
    let well = verification.differences.is_empty();
    if args.listing.format == Format::Table {
        let (events, rows) = (verification.events, verification.rows);
        writeln!(
            out,
            "{events} events folded, {rows} rows compared, {} differences",
            verification.differences.len()
        )?;
        if well {
            out.flush()?;
            return Ok(true);
        }
    }
    let columns = &["kind", "id", "register", "expected", "found"];
    let mut printer = Printer::new(out, args.listing.format, columns);
    verification.differences.iter().try_for_each(|difference| printer.row(difference))?;
    printer.end().map(|()| well)
}
