//! The same work by the stack many teams would reach for: FastAPI, Celery and SQLAlchemy, on the same
//! RabbitMQ and PostgreSQL. The door checks the signature and enqueues; the worker writes inbox row, person
//! and memberships in one transaction per event.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use rollcall_signature::Key;
use rollcall_tests::process::{root, target_folder};
use rollcall_tests::{Child, eventually, free_port};
use tokio::net::TcpStream;

use crate::cpu::{Shares, Watch};
use crate::deliveries::{Events, signed};
use crate::figure::{Figure, Wanted};
use crate::figures::PEOPLE;
use crate::load::{Pace, send};
use crate::stage::Stage;

const PACKAGES: [&str; 5] = ["fastapi", "uvicorn", "celery", "sqlalchemy", "psycopg2-binary"];
/// Enough for a dozen seconds of its work.
const EVENTS: u64 = 3_000;

/// Ours beside theirs: as many rounds as ours has.
pub(crate) async fn measure(stage: &Stage, ours: &[f64]) -> anyhow::Result<Figure> {
    let python = environment()?;
    let (mut rates, mut shares) = (Vec::new(), None);
    for _ in ours {
        let (rate, used) = round(stage, &python).await?;
        rates.push(rate);
        shares = Some(used);
    }
    let figure = Figure::beside(
        "end-to-end",
        "ours beside a pipeline of peers",
        "/s",
        ours,
        ("FastAPI (2 processes), Celery (prefork, 2), SQLAlchemy; same servers, same events", &rates),
        Wanted::RatioAtLeast(10.0),
    );
    Ok(match &shares {
        Some(shares) => figure.using("peers", shares),
        None => figure,
    })
}

async fn round(stage: &Stage, python: &Path) -> anyhow::Result<(f64, Shares)> {
    let (queue, database) = (stage.queue().await?, stage.database(PEOPLE).await?);
    let key = Key::generate(rand::random());
    let port = free_port().to_string();
    let start = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(python);
        command.args(arguments).current_dir(root().join("tests/bench/peers"));
        command.env("BROKER_URL", &queue).env("DATABASE_URL", &database).env("WEBHOOK_SECRET", key.reveal());
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        Child::start(&command, &std::fs::File::create(stage.file(&format!("{name}.log")))?)
    };
    let worker = [
        "-m",
        "celery",
        "-A",
        "tasks",
        "worker",
        "--pool",
        "prefork",
        "--concurrency",
        "2",
        "--loglevel",
        "warning",
    ];
    let worker = start("celery", &worker)?;
    let door = ["-m", "uvicorn", "door:app", "--port", &port, "--workers", "2", "--log-level", "warning"];
    let door = start("uvicorn", &door)?;
    let measured = load(stage, &database, &key, &format!("127.0.0.1:{port}"), &door, &worker).await;
    // Killed, either would leave the processes it started behind.
    for process in [&door, &worker] {
        process.signal(Signal::SIGTERM)?;
    }
    for process in [&door, &worker] {
        process.wait(Duration::from_secs(30)).await?;
    }
    measured.with_context(|| std::fs::read_to_string(stage.file("celery.log")).unwrap_or_default())
}

async fn load(
    stage: &Stage,
    database: &str,
    key: &Key,
    address: &str,
    door: &Child,
    worker: &Child,
) -> anyhow::Result<(f64, Shares)> {
    eventually(Duration::from_secs(30), async || Ok(TcpStream::connect(address).await.map(drop)?)).await?;
    let events = Events::of("peer");
    let requests = signed(&events.updates(PEOPLE, EVENTS), key);
    let mut pids = stage.servers()?;
    pids.extend([("door", door.pid()), ("worker", worker.pid())]);
    let watch = Watch::start(&pids)?;
    let began = Instant::now();
    send(address, requests, 64, Pace::Closed, Duration::from_secs(120)).await?.all_accepted()?;
    let counted = format!(
        "SELECT count(*) FROM events WHERE source = 'scalekit' AND event_id LIKE '{}%'",
        events.prefix()
    );
    eventually(Duration::from_secs(120), async || {
        let found: u64 = stage.sql(database, &counted).await?.parse()?;
        ensure!(found == EVENTS, "{found} of {EVENTS} are in the database");
        Ok(())
    })
    .await?;
    Ok((EVENTS as f64 / began.elapsed().as_secs_f64(), watch.stop()?))
}

/// A Python of its own under `target`, made once.
fn environment() -> anyhow::Result<PathBuf> {
    let folder = target_folder()?.with_file_name("bench-peers");
    let python = folder.join("bin/python");
    if !folder.join("ready").exists() {
        done(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        done(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))?;
        std::fs::write(folder.join("ready"), "")?;
    }
    Ok(python)
}

fn done(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("running {command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}
