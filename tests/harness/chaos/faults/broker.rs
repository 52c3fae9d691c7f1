//! The broker goes away, refuses, fills up, forgets.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::{Fault, fault};
use crate::chaos::run::{Run, SOON, Who};
use crate::chaos::site::Shape;
use crate::http::Client;
use crate::wait::eventually;

pub(super) fn faults() -> Vec<Fault> {
    vec![
        fault!("F4", "the broker refuses connections, at the door's start and later", refused, starts: false),
        fault!("F5", "the broker is killed with confirms in flight", killed, breaks_servers: true),
        fault!("F6", "the broker is restarted gently, again and again", restarted, breaks_servers: true,
            shape: Shape { settings: &[("PREFETCH", "20"), ("BATCH_SIZE", "10")], ..Shape::default() }),
        fault!("F7", "the broker runs out of disk", out_of_disk, breaks_servers: true),
        fault!("F8", "the broker runs out of memory", out_of_memory, breaks_servers: true),
        fault!("F9", "the queues are full", full),
        fault!("F10", "a queue is deleted, then a binding is removed", forgotten),
        fault!("F11", "packets between door and broker vanish silently", silent_door),
        fault!("F12", "the links to the broker are slow, cut anywhere and reset", bad_links),
        fault!("F30", "packets between a worker and the broker vanish silently", silent_worker),
        fault!("F32", "a handler takes longer than the broker waits", too_slow, breaks_servers: true),
    ]
}

const RATE: u32 = 60;

async fn refused(run: &mut Run) -> anyhow::Result<()> {
    run.site.door.broker.cut();
    run.site.door.launch()?;
    let status = run.site.door.status.clone();
    eventually(SOON, async || {
        let answer = Client::new(&status).get("/livez").await?;
        ensure!(answer.status == 200, "not alive: {}", answer.status);
        Ok(())
    })
    .await?;
    let cause = run.door_is_ready(false, SOON).await?;
    let since = Instant::now();
    let told = run.tell(20);
    let deliveries =
        told.iter().map(|event| crate::simulator::Delivery::of(event, format!("msg_{}", event.id)));
    let deliveries: Vec<_> = deliveries.collect();
    for delivery in &deliveries {
        let started = Instant::now();
        ensure!(!run.try_once(delivery).await, "taken while there is no broker");
        // A second is what it may take; a loaded machine may take another.
        ensure!(started.elapsed() < Duration::from_secs(2), "refused only after {:?}", started.elapsed());
    }
    run.was_silent(since);
    run.site.door.broker.restore();
    run.door_is_ready(true, SOON).await?;
    for worker in &mut run.site.workers {
        worker.start().await?;
    }
    run.flow(RATE)?;
    run.send(&deliveries).await;
    run.site.door.broker.cut();
    run.door_is_ready(false, SOON).await?;
    let since = Instant::now();
    run.last(run.scaled(Duration::from_secs(20), Duration::from_secs(3))).await;
    run.was_silent(since);
    run.site.door.broker.restore();
    run.healed();
    run.note(format!("not ready because: {}", cause.trim()));
    Ok(())
}

async fn killed(run: &mut Run) -> anyhow::Result<()> {
    run.flow(300)?;
    run.taken(100).await?;
    run.site.servers.broker.kill9().await?;
    let since = Instant::now();
    run.door_is_ready(false, SOON).await?;
    run.last(run.scaled(Duration::from_secs(10), Duration::from_secs(3))).await;
    run.was_silent(since);
    run.site.servers.broker.start_again().await?;
    run.healed();
    Ok(())
}

async fn restarted(run: &mut Run) -> anyhow::Result<()> {
    run.flow(RATE)?;
    let times = run.scaled(5, 2);
    for _ in 0..times {
        run.taken_more(20).await?;
        run.site.servers.broker.stop_gently().await?;
        run.site.servers.broker.start_again().await?;
        run.door_is_ready(true, SOON).await?;
    }
    run.healed();
    let held = most_handed_out(run).await?;
    run.note(format!("{times} restarts; {held} handed out to two workers of 20 each"));
    Ok(())
}

/// How many messages are handed out when the workers answer none. Asked until both consume at their full width:
/// what was handed out before the restart comes to them one by one.
async fn most_handed_out(run: &mut Run) -> anyhow::Result<u64> {
    let before = Instant::now();
    loop {
        run.site.workers.iter().try_for_each(|worker| worker.service()?.sigstop())?;
        run.taken_more(60).await?;
        let held = run.site.handed_out("rollcall.events").await?;
        run.site.workers.iter().try_for_each(|worker| worker.service()?.sigcont())?;
        ensure!(held <= 40, "{held} messages are handed out, allowed are twice 20");
        if held >= 30 {
            return Ok(held);
        }
        ensure!(before.elapsed() < SOON, "only {held} messages are handed out to two workers of 20 each");
        let recorded = run.recorded().await?;
        run.records_more_than(recorded, SOON).await?;
    }
}

async fn out_of_disk(run: &mut Run) -> anyhow::Result<()> {
    alarm(run, &["set_disk_free_limit", "10000GB"], &["set_disk_free_limit", "50MB"]).await
}

async fn out_of_memory(run: &mut Run) -> anyhow::Result<()> {
    let back = ["set_vm_memory_high_watermark", "absolute", "1GB"];
    alarm(run, &["set_vm_memory_high_watermark", "0.0001"], &back).await
}

/// Publishers are blocked; what is queued already still flows.
async fn alarm(run: &mut Run, raise: &[&str], clear: &[&str]) -> anyhow::Result<()> {
    run.flow(RATE)?;
    run.taken(30).await?;
    run.site.workers.iter().try_for_each(|worker| worker.service()?.sigstop())?;
    run.taken_more(60).await?;
    let recorded = run.recorded().await?;
    run.site.servers.broker.rabbitmqctl(raise).await?;
    let cause = run.door_is_ready(false, SOON).await?;
    let since = Instant::now();
    run.site.workers.iter().try_for_each(|worker| worker.service()?.sigcont())?;
    run.records_more_than(recorded, SOON).await?;
    run.last(run.scaled(Duration::from_secs(30), Duration::from_secs(8))).await;
    run.was_silent(since);
    run.site.servers.broker.rabbitmqctl(clear).await?;
    run.healed();
    run.note(format!("not ready because: {}", cause.trim()));
    Ok(())
}

async fn full(run: &mut Run) -> anyhow::Result<()> {
    let vhost = run.site.vhost().to_owned();
    let broker = run.site.servers.clone().broker;
    for worker in &mut run.site.workers {
        worker.terminate().await?;
    }
    let (name, queues, limit) = ("full", r"^rollcall\.(events|bulk|revocations)$", r#"{"max-length":30}"#);
    broker.rabbitmqctl(&["set_policy", "-p", &vhost, name, queues, limit, "--apply-to", "queues"]).await?;
    run.flow(RATE)?;
    let cause = run.door_is_ready(false, SOON).await?;
    ensure!(cause.contains("full"), "the cause is not named: {cause}");
    run.last(run.scaled(Duration::from_secs(20), Duration::from_secs(3))).await;
    for worker in &mut run.site.workers {
        worker.start().await?;
    }
    broker.rabbitmqctl(&["clear_policy", "-p", &vhost, name]).await?;
    run.healed();
    let refused = run.ledger.answers().iter().filter(|answer| answer.status == 503).count();
    run.note(format!("{refused} refusals; not ready because: {}", cause.trim()));
    Ok(())
}

/// The queue is empty when it goes: what an operator deletes is deleted.
async fn forgotten(run: &mut Run) -> anyhow::Result<()> {
    run.load(150, RATE)?;
    run.load_taken().await?;
    run.empties().await?;
    let vhost = run.site.vhost().to_owned();
    let broker = run.site.servers.clone().broker;
    broker.rabbitmqctl(&["delete_queue", "-p", &vhost, "rollcall.events"]).await?;
    let started = Instant::now();
    run.load(150, RATE)?;
    run.taken_more(50).await?;
    let queue = started.elapsed();
    run.load_taken().await?;
    run.empties().await?;
    let unbound = broker.eval(&UNBIND.replace("VHOST", &vhost)).await?;
    ensure!(unbound == "ok", "unbinding: {unbound}");
    let started = Instant::now();
    run.load(150, RATE)?;
    run.taken_more(50).await?;
    run.healed();
    let refused = run.ledger.answers().iter().filter(|answer| answer.status == 503).count();
    run.note(format!(
        "50 taken {:.1} s after the queue went, {:.1} s after the binding went; {refused} refusals",
        queue.as_secs_f64(),
        started.elapsed().as_secs_f64()
    ));
    ensure!(refused > 0, "nothing was refused, so nothing was missing");
    Ok(())
}

const UNBIND: &str = r#"
    Resource = fun(Kind, Name) -> {resource, <<"VHOST">>, Kind, Name} end,
    rabbit_binding:remove({binding, Resource(exchange, <<"rollcall">>), <<"event.#">>,
        Resource(queue, <<"rollcall.events">>), []}, fun(_, _) -> ok end, <<"test">>)."#;

async fn silent_door(run: &mut Run) -> anyhow::Result<()> {
    run.rules.recovery = Duration::from_secs(25);
    run.flow(RATE)?;
    run.taken(30).await?;
    run.site.door.broker.freeze();
    let since = Instant::now();
    run.last(run.scaled(Duration::from_secs(30), Duration::from_secs(8))).await;
    run.was_silent(since);
    run.site.door.broker.restore();
    run.healed();
    Ok(())
}

async fn bad_links(run: &mut Run) -> anyhow::Result<()> {
    use rand::Rng;
    run.flow(RATE)?;
    let short = run.scaled(Duration::from_secs(10), Duration::from_secs(2));
    for who in [Who::Door, Who::Worker(0)] {
        run.member(who).broker.delay(Duration::from_millis(500));
        run.last(short).await;
        run.member(who).broker.restore();
        run.member(who).broker.throttle(1);
        run.last(short).await;
        run.member(who).broker.restore();
        for _ in 0..run.scaled(60, 6) {
            let bytes = run.random.random_range(1..=400);
            run.member(who).broker.cut();
            run.member(who).broker.restore();
            run.member(who).broker.cut_after(bytes);
            run.last(Duration::from_millis(300)).await;
        }
        run.member(who).broker.restore();
    }
    run.healed();
    Ok(())
}

async fn silent_worker(run: &mut Run) -> anyhow::Result<()> {
    run.flow(RATE)?;
    run.taken(30).await?;
    run.site.workers[0].broker.freeze();
    run.last(run.scaled(Duration::from_secs(60), Duration::from_secs(8))).await;
    run.site.workers[0].broker.restore();
    run.healed();
    Ok(())
}

/// The broker takes back what is held too long, and closes the channel that held it.
async fn too_slow(run: &mut Run) -> anyhow::Result<()> {
    let broker = run.site.servers.clone().broker;
    broker.eval("application:set_env(rabbit, consumer_timeout, 60000).").await?;
    run.member(Who::Worker(0)).terminate().await?;
    run.member(Who::Worker(0)).launch_with_points("worker.before_begin=5*off->1*sleep(130000)")?;
    run.load(run.scaled(1500, 300), 10)?;
    run.load_taken().await?;
    run.last(Duration::from_secs(140)).await;
    broker.eval("application:set_env(rabbit, consumer_timeout, 1800000).").await?;
    run.healed();
    Ok(())
}
