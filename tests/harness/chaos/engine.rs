//! A run from the first process to the last check.

use std::time::Instant;

use anyhow::Context;
use rollcall_signature::Key;

use super::faults::Fault;
use super::oracles::{self, Broken};
use super::report::Report;
use super::run::{Run, SOON, Scale};
use super::servers::Servers;
use super::site::Site;
use crate::simulator::{Plan, deliveries};
use crate::wait::eventually;

/// Runs one fault once and checks everything.
///
/// What does not hold is in the report, with the logs' folder; so is a script that could not be carried out.
///
/// # Errors
///
/// The run could not be set up.
pub async fn perform(fault: &Fault, servers: &Servers, seed: u64, scale: Scale) -> anyhow::Result<Report> {
    let mut report = Report { fault: fault.name, title: fault.title, seed, ..Report::default() };
    let started = Instant::now();
    let key = Key::generate([seed.to_le_bytes(); 4].concat().try_into().unwrap_or([7; 32]));
    let site = Site::prepare(servers, &fault.shape, key).await.context("preparing a run")?;
    report.phases.push(("prepare", started.elapsed()));
    let mut run = Run::new(site, seed, scale, report);
    if let Err(error) = phases(fault, &mut run).await {
        run.report.broken.push(Broken::script(&error));
    }
    conclude(&mut run);
    if !run.report.holds() {
        run.report.logs = Some(run.site.keep_logs(&format!("{}-{seed}", fault.name))?);
    }
    Ok(run.report)
}

async fn phases(fault: &Fault, run: &mut Run) -> anyhow::Result<()> {
    let mut phase = Phase::begin();
    if fault.starts {
        run.site.start().await.context("starting the product")?;
    }
    phase.end(run, "start");
    (fault.script)(run).await.with_context(|| format!("the script of {}", fault.name))?;
    phase.end(run, "faults");
    run.load_taken().await?;
    phase.end(run, "load taken");
    liveness(run).await.context("liveness")?;
    phase.end(run, "liveness");
    drain(run).await.context("drain")?;
    phase.end(run, "drain");
    oracles::check(run).await.context("checking")?;
    phase.end(run, "check");
    Ok(())
}

struct Phase(Instant);

impl Phase {
    fn begin() -> Self {
        Self(Instant::now())
    }

    fn end(&mut self, run: &mut Run, name: &'static str) {
        run.report.phases.push((name, self.0.elapsed()));
        self.0 = Instant::now();
    }
}

/// A new delivery goes through the door and is committed, with nobody's help.
async fn liveness(run: &mut Run) -> anyhow::Result<()> {
    let healed = run.healed.unwrap_or_else(Instant::now);
    let told = run.tell(1);
    let sent = deliveries(&told, &Plan { seed: run.seed ^ 0xCA, ..Plan::orderly() });
    run.send(&sent).await;
    run.report.door_recovered.get_or_insert(healed.elapsed());
    let ids: Vec<_> = sent.iter().map(super::ledger::Ledger::key).map(|key| format!("'\\x{key}'")).collect();
    let there = format!(
        "select (select count(distinct body_sha256) from events where body_sha256 in ({0}))
              + (select count(distinct body_sha256) from dead_letters where body_sha256 in ({0}))",
        ids.join(", ")
    );
    eventually(SOON, async || {
        let there = run.site.number(&there).await?;
        anyhow::ensure!(there as usize == told.len(), "{there} of {} canaries are committed", told.len());
        Ok(())
    })
    .await?;
    run.report.recovered.get_or_insert(healed.elapsed());
    Ok(())
}

/// Waits until every queue is empty, what is handed out and what waits to be dead-lettered included.
async fn drain(run: &mut Run) -> anyhow::Result<()> {
    if let Err(error) = run.empties().await {
        run.report.broken.push(Broken::new("O7", "the queues do not drain", vec![format!("{error:#}")]));
    }
    Ok(())
}

fn conclude(run: &mut Run) {
    let answers = run.ledger.answers();
    run.report.events = run.ledger.tried().len();
    run.report.accepted = run.ledger.acceptances();
    run.report.slowest = answers.iter().map(|answer| answer.took).max().unwrap_or_default();
    for answer in answers {
        *run.report.answers.entry(answer.status).or_default() += 1;
    }
    run.report.taken = run.site.taken();
}
