//! `cargo dev`: the product, here, with a company played through its front door.

mod counters;
mod place;
mod play;
mod screen;
mod story;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use rollcall_tests::process::PRODUCT;
use rollcall_tests::{TestBed, bin};

use self::place::Place;
use self::play::Show;
use crate::servers::Servers;
use crate::stop::Stop;

/// How to play.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Plays fast, compares what came of it with what should have, and ends: exit code 0 if they are equal.
    #[arg(long)]
    once: bool,
    /// On a private RabbitMQ and PostgreSQL instead of the embedded queue and database.
    #[arg(long)]
    full: bool,
    /// The door's port; the worker takes the next one and the door's own metrics the one after [default: 8080,
    /// or free ports if one is taken].
    #[arg(long)]
    port: Option<u16>,
}

/// Plays the story. Without `--once` it keeps both processes running until Ctrl-C.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    println!("building {}", PRODUCT.join(" and "));
    for name in PRODUCT {
        bin(name)?;
    }
    let place = Place::prepare(options.port)?;
    let mut stop = Stop::listen()?;
    // Held until the end: dropping them ends them.
    let (_servers, mut bed) = tokio::select! {
        begun = begin(&place, options.full) => begun?,
        () = stop.asked() => return Ok(ExitCode::SUCCESS),
    };
    place.introduce(&bed);
    let ended = tokio::select! {
        ended = show(&mut bed, &place, options.once) => ended,
        () = stop.asked() => {
            println!("\nstopping");
            Ok(ExitCode::SUCCESS)
        }
    };
    stop_both(&bed).await;
    ended
}

async fn begin(place: &Place, full: bool) -> anyhow::Result<(Option<Servers>, TestBed)> {
    let servers = if full {
        println!("starting a private RabbitMQ and PostgreSQL, about ten seconds");
        Some(Servers::start().await?)
    } else {
        None
    };
    let mut bed = match &servers {
        None => place.embedded(),
        Some(servers) => on(place, servers).await?,
    };
    bed.start_both().await.with_context(|| format!("the logs are in {}", place.folder().display()))?;
    Ok((servers, bed))
}

/// Both binaries on a new virtual host and a new database that is at this version.
async fn on(place: &Place, servers: &Servers) -> anyhow::Result<TestBed> {
    let queue = servers.broker.new_vhost().await?;
    let database = servers.postgres.new_database().await?;
    let bed = place.on(&queue, &database);
    bed.migrate().await?;
    Ok(bed)
}

/// Ends after the story when it is played once, or when it went wrong; else never.
async fn show(bed: &mut TestBed, place: &Place, once: bool) -> anyhow::Result<ExitCode> {
    let wrong = Show::new(bed, once).play().await?;
    if wrong.is_empty() {
        println!("\neverybody is as the sender told: the export equals the simulator's truth");
    } else {
        println!("\nthe state is NOT what the sender told:\n{}", wrong.join("\n"));
    }
    if once {
        return Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    place.invite(bed);
    std::future::pending().await
}

/// Both get the signal from the terminal too; what has ended needs none.
async fn stop_both(bed: &TestBed) {
    for service in [bed.ingress(), bed.worker()].into_iter().flatten() {
        let _ = tokio::time::timeout(Duration::from_secs(25), service.sigterm()).await;
    }
}
