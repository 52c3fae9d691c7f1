//! `cargo xtask chaos`: faults over the real processes, from a seed.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rollcall_tests::chaos::{Fault, Report, Scale, Servers, all, find, perform};

use crate::stop::Stop;

/// What to break.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// These faults, such as F24; more than one between commas
    #[arg(long, value_delimiter = ',', required_unless_present_any = ["every", "minutes", "list"])]
    fault: Vec<String>,
    /// Every fault, one after the other
    #[arg(long = "all", conflicts_with_all = ["fault", "minutes"])]
    every: bool,
    /// Faults at random for so long
    #[arg(long)]
    minutes: Option<u64>,
    /// Says which faults there are
    #[arg(long)]
    list: bool,
    /// The first seed
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// How many seeds, each one more than the one before
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Short loads and short faults, as in the tests
    #[arg(long)]
    short: bool,
}

/// Runs the faults and prints the figures of each. Exit code 1 when something did not hold.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    if options.list {
        all().iter().for_each(|fault| println!("{:<4} {}", fault.name, fault.title));
        return Ok(ExitCode::SUCCESS);
    }
    let mut stop = Stop::listen()?;
    // Servers and processes are dropped with the branch that loses, and end.
    tokio::select! {
        ended = chosen(&options) => ended,
        () = stop.asked() => {
            println!("stopped");
            Ok(ExitCode::from(130))
        }
    }
}

async fn chosen(options: &Options) -> anyhow::Result<ExitCode> {
    ensure!(options.seeds > 0, "--seeds is at least 1");
    let faults: Vec<Fault> = match options.fault.is_empty() {
        true => all(),
        false => options.fault.iter().map(|name| find(name)).collect::<Result<_, _>>()?,
    };
    println!("starting a private RabbitMQ and PostgreSQL, about ten seconds");
    let mut supervisor = Supervisor {
        servers: Servers::private().await?,
        scale: if options.short { Scale::Short } else { Scale::Full },
        reports: Vec::new(),
    };
    let until = options.minutes.map(|minutes| Instant::now() + Duration::from_secs(minutes * 60));
    for seed in options.seed.. {
        let past = match until {
            Some(until) => Instant::now() >= until,
            None => seed >= options.seed + options.seeds,
        };
        if past {
            break;
        }
        supervisor.round(&faults, seed, until).await?;
    }
    Ok(supervisor.conclude())
}

struct Supervisor {
    servers: Servers,
    scale: Scale,
    reports: Vec<Report>,
}

impl Supervisor {
    /// Every fault once with this seed; a soak starts each round at another one.
    async fn round(&mut self, faults: &[Fault], seed: u64, until: Option<Instant>) -> anyhow::Result<()> {
        let first = until.map_or(0, |_| usize::try_from(seed * 7).unwrap_or(0) % faults.len());
        for fault in faults.iter().cycle().skip(first).take(faults.len()) {
            if until.is_some_and(|until| Instant::now() >= until) {
                break;
            }
            let report = perform(fault, &self.servers, seed, self.scale).await?;
            println!("{report}");
            let broken = !report.holds();
            self.reports.push(report);
            // What a failed script left behind must not be the next fault's surprise.
            if broken && fault.breaks_servers {
                self.servers = Servers::private().await?;
            }
        }
        Ok(())
    }

    fn conclude(self) -> ExitCode {
        let sum = |of: fn(&Report) -> usize| self.reports.iter().map(of).sum::<usize>();
        let broken: Vec<_> = self.reports.iter().filter(|report| !report.holds()).collect();
        println!("==");
        println!(
            "{} runs, {} events, {} deliveries accepted: lost {}, duplicated {}, resurrected {}, wrongly dead {}",
            self.reports.len(),
            sum(|report| report.events),
            sum(|report| report.accepted),
            sum(|report| report.lost),
            sum(|report| report.duplicated),
            sum(|report| report.resurrected),
            sum(|report| report.dead_wrongly)
        );
        for report in &broken {
            println!("again: cargo xtask chaos --fault {} --seed {}", report.fault, report.seed);
        }
        if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
