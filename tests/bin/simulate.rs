//! Plays a directory vendor against a running door.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use rollcall_signature::{HeaderFamily, Key};
use rollcall_tests::simulator::{Company, Delivery, Plan, Report, Sender};

/// Plays a company's directory: signs events, posts them to the door, retries what is not taken.
///
/// The same seed tells the same story. Exit code 0 when every delivery was taken, else 1.
#[derive(Parser)]
#[command(name = "rollcall-simulate", version)]
struct Options {
    /// Where deliveries go.
    #[arg(long, default_value = "http://127.0.0.1:8080/webhooks/scalekit")]
    url: String,
    /// File with the webhook secret, `whsec_…`; else the variable SCALEKIT_WEBHOOK_SECRET is read.
    #[arg(long)]
    secret_file: Option<PathBuf>,
    /// Decides the story and how it travels.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// How many people the company begins with.
    #[arg(long, default_value_t = 40)]
    people: usize,
    /// How many events are told, the founding included.
    #[arg(long, default_value_t = 500)]
    events: usize,
    /// Deliveries per second; 0 is as fast as the door takes them.
    #[arg(long, default_value_t = 20)]
    rate: u32,
    /// Connections at once.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Each event once and in order, without the duplicates and late ones a vendor makes.
    #[arg(long)]
    orderly: bool,
    /// Which headers carry the signature.
    #[arg(long, value_enum, default_value_t = Headers::Webhook)]
    headers: Headers,
    /// Waits between tries are the vendor's (5 s, 5 min, 30 min, …) times this.
    #[arg(long, default_value_t = 1.0)]
    time_factor: f64,
    /// Writes the state that must come of it, in the form of `rollcall-worker export --format ndjson`.
    #[arg(long)]
    truth: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Headers {
    Webhook,
    Svix,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let sender = sender(&options)?;
    let mut company = Company::new(options.seed, options.people);
    company.story(options.events);
    let plan = if options.orderly { Plan::orderly() } else { Plan::rough(options.seed) };
    let deliveries = company.deliveries(&plan);
    say(&format!("{} events in {} deliveries to {}", company.told().len(), deliveries.len(), options.url));
    if let Some(path) = &options.truth {
        let people = company.truth().into_values();
        let lines: Result<Vec<_>, _> = people.map(|person| serde_json::to_string(&person)).collect();
        std::fs::write(path, lines?.join("\n") + "\n")
            .with_context(|| format!("writing {}", path.display()))?;
    }
    let given_up = send(&sender, &deliveries, &options).await?;
    if given_up > 0 {
        bail!("{given_up} deliveries were not taken at any try");
    }
    Ok(())
}

fn sender(options: &Options) -> anyhow::Result<Sender> {
    let secret = match &options.secret_file {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?,
        None => std::env::var("SCALEKIT_WEBHOOK_SECRET")
            .context("give --secret-file or SCALEKIT_WEBHOOK_SECRET")?,
    };
    // Of several, for a rotation, the first: a sender signs with one.
    let secret = secret.split([',', ' ', '\n']).find(|key| !key.is_empty()).context("the secret is empty")?;
    let rest = options.url.strip_prefix("http://").context("--url begins with http://")?;
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = if address.contains(':') { address.to_owned() } else { format!("{address}:80") };
    let family = match options.headers {
        Headers::Webhook => HeaderFamily::Webhook,
        Headers::Svix => HeaderFamily::Svix,
    };
    let sender = Sender::new(address, Key::parse(secret)?).path(format!("/{path}"));
    Ok(sender.family(family).time_factor(options.time_factor))
}

/// Sends second by second, so that a rate is kept and progress shows; gives how many were given up on.
async fn send(sender: &Sender, deliveries: &[Delivery], options: &Options) -> anyhow::Result<usize> {
    let started = Instant::now();
    let (mut taken, mut given_up) = (0, 0);
    let mut answers = BTreeMap::new();
    let piece = if options.rate == 0 { 1_000 } else { options.rate as usize };
    for (second, piece) in deliveries.chunks(piece).enumerate() {
        if options.rate > 0 {
            let due = Duration::from_secs(second as u64);
            tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
        }
        let Report { accepted, given_up: lost, answers: new, .. } =
            sender.deliver_all(piece, options.connections).await?;
        taken += accepted.len();
        given_up += lost.len();
        for (answer, count) in new {
            *answers.entry(answer).or_insert(0) += count;
        }
        let each: Vec<_> = answers.iter().map(|(answer, count)| format!("{answer}: {count}")).collect();
        say(&format!("{taken} of {} taken, answers {}", deliveries.len(), each.join(", ")));
    }
    Ok(given_up)
}

fn say(line: &str) {
    // A reader who has gone does not stop the story.
    let _ = writeln!(std::io::stdout(), "{line}");
}
