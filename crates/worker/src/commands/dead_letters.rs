//! `dead-letters`.

use std::io::Write;
use std::time::Duration;

use rollcall_queue::Publisher;
use rollcall_store::{DeadLetter, Filter, Settled, Store};

use super::Moment;
use crate::cli::{Listing, Why, actor, say};
use crate::output::{Format, Printer};
use crate::settings::Checked;

/// What `dead-letters` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Dead letters, oldest first
    List {
        #[command(flatten)]
        meant: Meant,
        /// open, replayed, discarded or any
        #[arg(long, default_value = "open")]
        status: String,
        /// At most so many
        #[arg(long, default_value_t = 1000)]
        limit: u64,
        #[command(flatten)]
        listing: Listing,
    },
    /// One dead letter; with --body also the bytes, which are personal data
    Show {
        /// Its number
        id: i64,
        /// Print the body, byte for byte, and nothing else
        #[arg(long)]
        body: bool,
    },
    /// Open dead letters by what they died of
    Groups {
        #[command(flatten)]
        listing: Listing,
    },
    /// Send dead letters round again; what is old by now changes nothing
    Replay {
        #[command(flatten)]
        meant: Meant,
        /// Only say what would be replayed
        #[arg(long)]
        dry_run: bool,
        /// Messages a second, at most
        #[arg(long, default_value_t = 200)]
        rate: u32,
        #[command(flatten)]
        why: Why,
    },
    /// Settle dead letters without replaying them; their bodies stay
    Discard {
        #[command(flatten)]
        meant: Meant,
        /// Only say what would be discarded
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        why: Why,
    },
}

/// Which dead letters are meant; all conditions must hold.
#[derive(Debug, Clone, clap::Args)]
pub struct Meant {
    /// These numbers
    ids: Vec<i64>,
    /// The event's type
    #[arg(long = "type")]
    kind: Option<String>,
    /// The organization
    #[arg(long)]
    org: Option<String>,
    /// The cause
    #[arg(long)]
    reason_code: Option<String>,
    /// Those that died alike
    #[arg(long)]
    fingerprint: Option<String>,
    /// Died at this time or later, or within this age
    #[arg(long)]
    since: Option<Moment>,
    /// Died before this time, or longer ago than this age
    #[arg(long)]
    until: Option<Moment>,
    /// All there are
    #[arg(long)]
    all: bool,
}

impl Meant {
    fn filter(&self, status: Option<String>) -> Filter {
        Filter {
            ids: self.ids.clone(),
            status,
            kind: self.kind.clone(),
            organization_id: self.org.clone(),
            reason_code: self.reason_code.clone(),
            fingerprint: self.fingerprint.clone(),
            since: self.since.map(|moment| moment.0),
            until: self.until.map(|moment| moment.0),
            after: 0,
        }
    }

    fn is_anything(&self) -> bool {
        let texts = [&self.kind, &self.org, &self.reason_code, &self.fingerprint];
        self.all
            || !self.ids.is_empty()
            || texts.iter().any(|text| text.is_some())
            || self.since.is_some()
            || self.until.is_some()
    }
}

const COLUMNS: &[&str] =
    &["id", "status", "reason_code", "attempts", "kind", "organization_id", "died_at", "last_error"];

/// Dead letters read at a time.
const PAGE: u64 = 200;

pub(crate) async fn run(
    store: &Store,
    checked: &Checked,
    command: Command,
    out: impl Write,
) -> anyhow::Result<bool> {
    match command {
        Command::List { meant, status, limit, listing } => {
            let mut printer = Printer::new(out, listing.format, COLUMNS);
            let letters = store.dead_letters(&meant.filter(Some(status)), limit).await?;
            letters.iter().try_for_each(|letter| printer.row(letter))?;
            printer.end().map(|()| true)
        }
        Command::Show { id, body } => show(store, id, body, out).await,
        Command::Groups { listing } => {
            let columns =
                &["fingerprint", "reason_code", "count", "first_died_at", "last_died_at", "example_error"];
            let mut printer = Printer::new(out, listing.format, columns);
            store.dead_letter_groups().await?.iter().try_for_each(|group| printer.row(group))?;
            printer.end().map(|()| true)
        }
        Command::Replay { meant, dry_run, rate, why } => {
            let sender = if dry_run { None } else { Some(publisher(checked).await?) };
            let settler =
                Settler { store, settled: Settled::Replayed, why, sender, rate: rate.max(1), dry_run };
            settler.run(meant).await
        }
        Command::Discard { meant, dry_run, why } => {
            let settler =
                Settler { store, settled: Settled::Discarded, why, sender: None, rate: u32::MAX, dry_run };
            settler.run(meant).await
        }
    }
}

async fn publisher(checked: &Checked) -> anyhow::Result<Publisher> {
    Ok(Publisher::start(&checked.queue, &checked.queue_options).await?)
}

async fn show(store: &Store, id: i64, body: bool, mut out: impl Write) -> anyhow::Result<bool> {
    if body {
        let Some((envelope, _)) = store.dead_envelope(id).await? else { return Ok(false) };
        out.write_all(&envelope.body)?;
        out.flush()?;
        return Ok(true);
    }
    let filter = Filter { ids: vec![id], status: Some("any".to_owned()), ..Filter::default() };
    let letters = store.dead_letters(&filter, 1).await?;
    let mut printer = Printer::new(out, Format::Json, COLUMNS);
    letters.iter().try_for_each(|letter| printer.row(letter))?;
    printer.end().map(|()| !letters.is_empty())
}

/// Settles dead letters one after the other, so that stopping half way leaves each either open or settled.
struct Settler<'a> {
    store: &'a Store,
    settled: Settled,
    why: Why,
    /// Sends those to be replayed.
    sender: Option<Publisher>,
    rate: u32,
    dry_run: bool,
}

impl Settler<'_> {
    async fn run(self, meant: Meant) -> anyhow::Result<bool> {
        anyhow::ensure!(meant.is_anything(), "which ones? Give numbers, a filter, or --all");
        let mut filter = meant.filter(None);
        // What dies again meanwhile has a higher number, and is not sent round without end.
        let newest =
            self.store.dead_letters(&Filter { after: 0, ..filter.clone() }, u64::from(u32::MAX)).await?;
        let Some(last) = newest.last().map(|letter| letter.id) else {
            say("0 dead letters meant")?;
            return Ok(true);
        };
        let (mut done, mut failed) = (0_u64, 0_u64);
        loop {
            let page = self.store.dead_letters(&filter, PAGE).await?;
            for letter in page.iter().filter(|letter| letter.id <= last) {
                match self.settle(letter).await {
                    Ok(()) => done += 1,
                    Err(error) => {
                        failed += 1;
                        say(format_args!("{}: {error:#}", letter.id))?;
                    }
                }
            }
            match page.last() {
                Some(letter) if letter.id < last => filter.after = letter.id,
                _ => break,
            }
        }
        if let Some(sender) = &self.sender {
            sender.close(Duration::from_secs(5)).await;
        }
        let would = if self.dry_run { "would be " } else { "" };
        say(format_args!("{done} {would}{}, {failed} failed", self.settled.as_str()))?;
        Ok(failed == 0)
    }

    /// Publishes first and marks afterwards: a crash in between leaves it open, and applying twice changes
    /// nothing.
    async fn settle(&self, letter: &DeadLetter) -> anyhow::Result<()> {
        if self.dry_run {
            return say(format_args!("{}  {}  {}", letter.id, letter.reason_code, letter.last_error));
        }
        if let Some(sender) = &self.sender {
            let envelope = self.store.dead_envelope(letter.id).await?;
            let (envelope, key) = envelope.ok_or_else(|| anyhow::anyhow!("it is gone"))?;
            sender.publish(&key, &envelope).await?;
            tokio::time::sleep(Duration::from_secs(1) / self.rate).await;
        }
        let settled =
            self.store.settle_dead_letter(letter.id, self.settled, &self.why.decision(&actor())).await?;
        anyhow::ensure!(settled, "somebody else settled it meanwhile");
        Ok(())
    }
}
