//! Processes that abort at the worst moment.

use std::time::Duration;

use anyhow::{bail, ensure};

use super::{Fault, fault};
use crate::chaos::run::{Run, SOON, Who};
use crate::simulator::Delivery;
use crate::wait::eventually;

pub(super) fn faults() -> Vec<Fault> {
    vec![
        fault!("F1", "the door aborts after verifying, before publishing", after_verify),
        fault!("F2", "the door aborts after publishing, before the confirm", before_confirm),
        fault!("F3", "the door aborts after the confirm, before its answer", after_confirm),
        fault!("F16", "a worker aborts before it begins a transaction", before_begin),
        fault!("F17", "a worker aborts in the middle of a transaction", mid_transaction),
        fault!("F18", "a worker aborts after its commit, before its acknowledgement", after_commit),
        fault!(
            "F19",
            "a worker aborts after storing a retry, before acknowledging the original",
            after_retry
        ),
        fault!("F20", "a worker aborts after storing a dead letter, before acknowledging", after_dead),
        fault!("F33", "a message kills every worker that reads it", killer),
    ]
}

/// How often each point is met in one run, each time after another number of passes.
const TIMES: usize = 3;
/// Deliveries a second meanwhile.
const RATE: u32 = 60;

async fn after_verify(run: &mut Run) -> anyhow::Result<()> {
    crash(run, Who::Door, &["ingress.after_verify"]).await
}

async fn before_confirm(run: &mut Run) -> anyhow::Result<()> {
    crash(run, Who::Door, &["queue.after_publish_before_confirm"]).await
}

async fn after_confirm(run: &mut Run) -> anyhow::Result<()> {
    crash(run, Who::Door, &["ingress.after_confirm"]).await
}

async fn before_begin(run: &mut Run) -> anyhow::Result<()> {
    crash(run, Who::Worker(0), &["worker.before_begin"]).await
}

async fn after_commit(run: &mut Run) -> anyhow::Result<()> {
    crash(run, Who::Worker(0), &["worker.after_commit"]).await
}

async fn crash(run: &mut Run, who: Who, points: &[&str]) -> anyhow::Result<()> {
    run.rules.door_may_vanish = matches!(who, Who::Door);
    run.flow(RATE)?;
    run.taken(20).await?;
    for point in points {
        run.crash(who, point, TIMES).await?;
    }
    run.healed();
    run.note(format!("{} crashes at {}", TIMES * points.len(), points.join(", ")));
    Ok(())
}

/// Meanwhile a reader compares the tables with the recorded events, in one snapshot each time: half a
/// transaction would show as a difference.
async fn mid_transaction(run: &mut Run) -> anyhow::Result<()> {
    run.flow(RATE)?;
    run.taken(20).await?;
    let mut looks = 0;
    for point in ["store.between_user_and_memberships", "store.before_commit"] {
        for time in 0..TIMES {
            let worker = run.member(Who::Worker(0));
            worker.terminate().await?;
            worker.launch_to_crash(point, u32::try_from(time)? * 3)?;
            looks += look_until_crash(run, point).await?;
            run.member(Who::Worker(0)).start().await?;
        }
    }
    run.healed();
    run.note(format!("{} crashes; {looks} looks at the tables meanwhile, none half done", 2 * TIMES));
    Ok(())
}

async fn look_until_crash(run: &mut Run, point: &str) -> anyhow::Result<usize> {
    let deadline = tokio::time::Instant::now() + SOON;
    let mut looks = 0;
    loop {
        let verified = run.site.command(&["verify"]).await?;
        ensure!(verified.code == Some(0), "half a transaction is visible: {}", verified.stdout);
        looks += 1;
        if run.site.workers[0].has_ended()? {
            run.member(Who::Worker(0)).crash(Duration::from_secs(1)).await?;
            return Ok(looks);
        }
        if tokio::time::Instant::now() > deadline {
            bail!("{point} was not reached");
        }
    }
}

/// Every fourth event breaks a rule of the tables the first time, which is tried again later.
const FAIL_ONCE: &str = r#"
    create function chaos_fail_once() returns trigger language plpgsql as $$
    begin
        if new.attempt = 1 and hashtext(new.event_id) % 4 = 0 then
            raise exception 'provoked' using errcode = 'unique_violation';
        end if;
        return new;
    end $$;
    create trigger chaos_fail_once before insert on events for each row execute function chaos_fail_once();"#;

async fn after_retry(run: &mut Run) -> anyhow::Result<()> {
    run.site.sql(FAIL_ONCE).await?;
    crash(run, Who::Worker(0), &["queue.after_retry_published"]).await?;
    run.load_taken().await?;
    eventually(SOON, async || {
        let retried = run.site.number("select count(*) from events where attempt > 1").await?;
        ensure!(retried > 0, "nothing was tried again");
        Ok(())
    })
    .await?;
    let reset = "select count(*) from events where attempt < 2 and hashtext(event_id) % 4 = 0";
    ensure!(run.site.number(reset).await? == 0, "an attempt was not counted");
    let retried = run.site.number("select count(*) from events where attempt > 1").await?;
    run.note(format!("{retried} events needed a second attempt"));
    Ok(())
}

/// Unreadable bodies come by beside the load.
async fn after_dead(run: &mut Run) -> anyhow::Result<()> {
    run.flow(RATE)?;
    for point in ["queue.after_dead_published", "worker.after_bury"] {
        for time in 0..TIMES {
            let worker = run.member(Who::Worker(0));
            if worker.runs() {
                worker.terminate().await?;
            }
            worker.launch_to_crash(point, 1)?;
            let mut number = 0;
            // The other worker takes its share of them.
            while !run.site.workers[0].has_ended()? {
                let body = format!("{{\"unreadable\": \"{point} {time} {number}\"");
                let delivery = Delivery::raw(format!("msg_{point}_{time}_{number}").replace('.', "_"), body);
                run.doomed.insert(crate::chaos::ledger::Ledger::key(&delivery), Some("parse_error"));
                run.send(&[delivery]).await;
                number += 1;
                ensure!(number < 2_000, "{point} was not reached");
            }
            run.member(Who::Worker(0)).crash(Duration::from_secs(1)).await?;
        }
        run.member(Who::Worker(0)).start().await?;
    }
    run.healed();
    run.note(format!("{} unreadable bodies, {} crashes", run.doomed.len(), 2 * TIMES));
    Ok(())
}

/// A message is handed out 21 times at most; then it is dead, and nothing beside it is.
const MOST_CRASHES: usize = 21;

/// Both workers abort whenever they read it, and are started again by whoever runs them.
async fn killer(run: &mut Run) -> anyhow::Result<()> {
    for worker in [0, 1] {
        run.member(Who::Worker(worker)).terminate().await?;
    }
    run.flow(RATE)?;
    let killer =
        Delivery::raw("msg_killer", r#"{"id": "evt_killer", "type": "x", "about": "killer-message"}"#);
    let key = crate::chaos::ledger::Ledger::key(&killer);
    run.taken(30).await?;
    run.doomed.insert(key.clone(), Some("delivery_limit"));
    run.send(&[killer]).await;
    let crashes = supervise(run, &key).await?;
    run.healed();
    ensure!(crashes <= MOST_CRASHES, "{crashes} crashes of at most {MOST_CRASHES}");
    run.note(format!("{crashes} crashes until the killer was dead, at most {MOST_CRASHES}"));
    Ok(())
}

/// Starts workers whenever they end, until the message of this body is dead. Gives how often one ended.
async fn supervise(run: &mut Run, key: &str) -> anyhow::Result<usize> {
    let dead = format!("select count(*) from dead_letters where body_sha256 = '\\x{key}'");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(150);
    let mut crashes = 0;
    loop {
        // Asked first: whoever it killed last had ended by then, and is started below.
        let is_dead = run.site.number(&dead).await? > 0;
        for number in [0, 1] {
            let worker = run.member(Who::Worker(number));
            if worker.runs() && !worker.has_ended()? {
                continue;
            }
            if worker.runs() {
                worker.crash(Duration::from_secs(1)).await?;
                crashes += 1;
            }
            worker.launch_with_points("worker.killer_message=return")?;
        }
        if is_dead {
            return Ok(crashes);
        }
        ensure!(tokio::time::Instant::now() < deadline, "the killer lives after {crashes} crashes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
