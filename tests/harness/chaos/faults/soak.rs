//! Everything at random.

use std::time::{Duration, Instant};

use rand::Rng;
use rand::seq::SliceRandom;

use super::{Fault, fault};
use crate::chaos::run::{Run, Who};

pub(super) fn faults() -> Vec<Fault> {
    vec![
        fault!(
            "F21",
            "a worker stands still between reading and writing while another goes on",
            stands_still
        ),
        fault!("F49", "any of the processes and servers stop one by one and resume in another order", swizzle,
            breaks_servers: true),
    ]
}

/// Its write comes late and changes nothing that is newer; what it held was given to the other meanwhile.
async fn stands_still(run: &mut Run) -> anyhow::Result<()> {
    run.flow(60)?;
    run.taken(20).await?;
    let long = run.scaled(90, 25);
    for time in 0..run.scaled(3, 1) {
        let worker = run.member(Who::Worker(0));
        worker.terminate().await?;
        worker.launch_with_points(&format!(
            "worker.before_begin={}*off->1*sleep({})",
            3 + time,
            long * 1000
        ))?;
        worker.ready().await?;
        run.taken_more(40).await?;
        // The whole process, connections and all.
        run.site.workers[0].service()?.sigstop()?;
        run.last(Duration::from_secs(long)).await;
        run.site.workers[0].service()?.sigcont()?;
        run.last(Duration::from_secs(2)).await;
    }
    run.healed();
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Door,
    Worker(usize),
    Broker,
    Database,
}

const PARTS: [Part; 5] = [Part::Door, Part::Worker(0), Part::Worker(1), Part::Broker, Part::Database];

async fn swizzle(run: &mut Run) -> anyhow::Result<()> {
    run.rules.door_may_vanish = true;
    run.rules.recovery = Duration::from_secs(30);
    run.flow(40)?;
    let (long, started) = (run.scaled(Duration::from_secs(300), Duration::from_secs(25)), Instant::now());
    let mut stops = 0;
    while started.elapsed() < long {
        run.taken_more(10).await?;
        let mut parts = PARTS.to_vec();
        parts.shuffle(&mut run.random);
        parts.truncate(run.random.random_range(1..=PARTS.len()));
        for part in &parts {
            stop(run, *part).await?;
            let pause = run.random.random_range(0..1_000);
            run.last(Duration::from_millis(pause)).await;
        }
        stops += parts.len();
        parts.shuffle(&mut run.random);
        for part in parts {
            resume(run, part).await?;
        }
        run.site.door.ready().await?;
    }
    run.healed();
    run.note(format!("{stops} stops in {:.0} s", started.elapsed().as_secs_f64()));
    Ok(())
}

async fn stop(run: &mut Run, part: Part) -> anyhow::Result<()> {
    let gently = run.random.random_bool(0.5);
    match part {
        Part::Door | Part::Worker(_) => {
            let member = run.member(who(part));
            if gently { member.terminate().await.map(drop) } else { member.kill().await }
        }
        Part::Broker if gently => run.site.servers.broker.stop_gently().await,
        Part::Broker => run.site.servers.broker.kill9().await,
        Part::Database if gently => run.site.servers.postgres.stop_fast().await,
        Part::Database => run.site.servers.postgres.kill9_postmaster().await,
    }
}

async fn resume(run: &mut Run, part: Part) -> anyhow::Result<()> {
    match part {
        // Its servers may still be away: it is ready when they are.
        Part::Door | Part::Worker(_) => run.member(who(part)).launch(),
        Part::Broker => run.site.servers.broker.start_again().await,
        Part::Database => run.site.servers.postgres.start_again().await,
    }
}

fn who(part: Part) -> Who {
    match part {
        Part::Worker(number) => Who::Worker(number),
        _ => Who::Door,
    }
}
