//! One run: what a fault's script acts on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::ledger::Ledger;
use super::load::{Load, once, until_taken};
use super::report::Report;
use super::site::Site;
use crate::simulator::{Company, Delivery, Plan, SimEvent, deliveries};
use crate::wait::eventually;

/// How long a run may take its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Seconds of fault, hundreds of events: part of every test run.
    Short,
    /// What the fault's description says.
    Full,
}

/// Connections of the load.
const CONNECTIONS: usize = 16;
/// For waits on what a healthy site does in a second.
pub(super) const SOON: Duration = Duration::from_secs(60);

/// For a backlog of twenty thousand, and retries with the longest step.
const DRAIN: Duration = Duration::from_secs(150);

/// What a run must keep besides what every run must.
#[derive(Debug)]
pub(super) struct Rules {
    /// The door is killed or cut off: a request may stay without an answer.
    pub(super) door_may_vanish: bool,
    /// Answers allowed besides 201 and 503.
    pub(super) also: Vec<u16>,
    /// From the end of the faults until a new delivery is committed.
    pub(super) recovery: Duration,
    /// From when to when the broker could confirm nothing: no 201 may lie between.
    pub(super) silences: Vec<(Instant, Instant)>,
    /// Nothing met anything that is counted against a message.
    pub(super) first_attempts_only: bool,
    /// Files each process may have open.
    pub(super) files: usize,
    /// The truth does not follow from rule L over everything accepted: the script checks the state itself.
    pub(super) own_truth: bool,
}

/// See the module.
pub(super) struct Run {
    pub(super) seed: u64,
    pub(super) random: StdRng,
    pub(super) scale: Scale,
    pub(super) site: Site,
    pub(super) company: Company,
    /// Events told by nobody in the company.
    pub(super) extra: Vec<SimEvent>,
    pub(super) ledger: Arc<Ledger>,
    /// Bodies that must end as dead letters, with the reason where it is known.
    pub(super) doomed: BTreeMap<String, Option<&'static str>>,
    pub(super) rules: Rules,
    pub(super) report: Report,
    pub(super) healed: Option<Instant>,
    load: Option<Load>,
    flowing: bool,
}

impl Run {
    pub(super) fn new(site: Site, seed: u64, scale: Scale, report: Report) -> Self {
        Self {
            seed,
            random: StdRng::seed_from_u64(seed),
            scale,
            site,
            company: Company::new(seed, 40),
            extra: Vec::new(),
            ledger: Arc::new(Ledger::default()),
            doomed: BTreeMap::new(),
            rules: Rules {
                door_may_vanish: false,
                also: Vec::new(),
                recovery: Duration::from_secs(15),
                silences: Vec::new(),
                first_attempts_only: false,
                files: 300,
                own_truth: false,
            },
            report,
            healed: None,
            load: None,
            flowing: false,
        }
    }

    /// `full` in a long run, else `short`.
    pub(super) fn scaled<T>(&self, full: T, short: T) -> T {
        if self.scale == Scale::Full { full } else { short }
    }

    /// Begins to send so many events of the company's life, so many deliveries a second, travelling badly.
    pub(super) fn load(&mut self, events: usize, rate: u32) -> anyhow::Result<()> {
        let plan = Plan::rough(self.seed + self.company.told().len() as u64);
        let told = self.tell(events);
        self.send_in_background(deliveries(&told, &plan), rate)
    }

    /// Begins to send the company's life without an end, so many deliveries a second; what was not begun
    /// when the script ends is never sent.
    pub(super) fn flow(&mut self, rate: u32) -> anyhow::Result<()> {
        self.flow_over(rate, CONNECTIONS)
    }

    /// The same over so many connections.
    pub(super) fn flow_over(&mut self, rate: u32, connections: usize) -> anyhow::Result<()> {
        self.flowing = true;
        let plan = Plan::rough(self.seed);
        let told = self.tell(self.scaled(30_000, 8_000));
        self.send_over(deliveries(&told, &plan), rate, connections)
    }

    /// Begins to send these.
    pub(super) fn send_in_background(&mut self, sent: Vec<Delivery>, rate: u32) -> anyhow::Result<()> {
        self.send_over(sent, rate, CONNECTIONS)
    }

    fn send_over(&mut self, sent: Vec<Delivery>, rate: u32, connections: usize) -> anyhow::Result<()> {
        ensure!(self.load.is_none(), "a load is under way");
        self.load = Some(Load::start(&self.site.sender(), &self.ledger, sent, rate, connections));
        Ok(())
    }

    /// Sends these as fast as the door takes them, and waits until it has.
    pub(super) async fn send_fast(&mut self, sent: Vec<Delivery>) -> anyhow::Result<()> {
        self.send_in_background(sent, 100_000)?;
        self.load_taken().await
    }

    /// Waits until everything of the load was taken.
    pub(super) async fn load_taken(&mut self) -> anyhow::Result<()> {
        let Some(load) = self.load.take() else { return Ok(()) };
        if std::mem::take(&mut self.flowing) {
            load.stop();
        }
        load.finish().await
    }

    /// The next events of the company; what is unreadable of them is expected among the dead letters.
    pub(super) fn tell(&mut self, events: usize) -> Vec<SimEvent> {
        let told = self.company.story(events);
        let unreadable =
            told.iter().map(|event| Delivery::of(event, "")).filter(|delivery| delivery.unreadable);
        self.doomed.extend(unreadable.map(|delivery| (Ledger::key(&delivery), None)));
        told
    }

    /// Counts these among what the end state follows from, and gives them as deliveries under `plan`.
    pub(super) fn add(&mut self, events: Vec<SimEvent>, plan: &Plan) -> Vec<Delivery> {
        let sent = deliveries(&events, plan);
        self.extra.extend(events);
        sent
    }

    /// What the company has told and nobody has heard, each once and in order.
    pub(super) fn news(&mut self) -> Vec<Delivery> {
        let told = self.tell(0);
        deliveries(&told, &Plan { seed: self.seed, ..Plan::orderly() })
    }

    /// Sends each until it is taken, in this order.
    pub(super) async fn send(&self, sent: &[Delivery]) {
        let sender = self.site.sender();
        let mut client = sender.client();
        for delivery in sent {
            until_taken(&sender, &mut client, &self.ledger, delivery).await;
        }
    }

    /// Sends one once; says whether it was taken.
    pub(super) async fn try_once(&self, delivery: &Delivery) -> bool {
        let sender = self.site.sender();
        once(&sender, &mut sender.client(), &self.ledger, delivery, &Ledger::key(delivery)).await
    }

    /// Waits until so many requests were answered 201.
    pub(super) async fn taken(&self, count: usize) -> anyhow::Result<()> {
        eventually(SOON, async || {
            let taken = self.ledger.acceptances();
            ensure!(taken >= count, "{taken} of {count} deliveries are taken");
            Ok(())
        })
        .await
    }

    /// Waits until so many more requests were answered 201 than now.
    pub(super) async fn taken_more(&self, count: usize) -> anyhow::Result<()> {
        self.taken(self.ledger.acceptances() + count).await
    }

    /// How many events are recorded.
    pub(super) async fn recorded(&self) -> anyhow::Result<u64> {
        self.site.number("select count(*) from events").await
    }

    /// Waits until more events are recorded than `before`.
    pub(super) async fn records_more_than(&self, before: u64, within: Duration) -> anyhow::Result<()> {
        eventually(within, async || {
            let recorded = self.recorded().await?;
            ensure!(recorded > before, "no event is recorded beyond the {before} there were");
            Ok(())
        })
        .await
    }

    /// Lets time pass while the fault lasts.
    pub(super) async fn last(&self, how_long: Duration) {
        tokio::time::sleep(how_long).await;
    }

    /// Waits until every queue is empty, retries and what is handed out included.
    ///
    /// Queues are asked one after the other, and a message may go from one not yet asked to one asked
    /// already: two looks in a row must find nothing.
    pub(super) async fn empties(&self) -> anyhow::Result<()> {
        eventually(DRAIN, async || {
            for _ in 0..2 {
                let waiting = self.site.waiting().await?;
                ensure!(waiting == 0, "{waiting} messages are in the queues");
            }
            Ok(())
        })
        .await
    }

    /// Waits until every accepted body is recorded or dead: cheaper to ask than the broker.
    pub(super) async fn all_recorded(&self) -> anyhow::Result<()> {
        let accepted = u64::try_from(self.ledger.accepted().len())?;
        eventually(SOON, async || {
            let both = "select (select count(*) from events) + (select count(*) from dead_letters)";
            let there = self.site.number(both).await?;
            ensure!(there >= accepted, "{there} of {accepted} bodies are recorded");
            Ok(())
        })
        .await
    }

    /// Ends every connection of the workers to the database, as an operator does.
    pub(super) async fn disconnect_workers(&self) -> anyhow::Result<()> {
        let workers = "datname = current_database() and application_name = 'rollcall'";
        self.site
            .sql(&format!("select pg_terminate_backend(pid) from pg_stat_activity where {workers}"))
            .await?;
        Ok(())
    }

    /// The broker could confirm nothing from `since` until now.
    pub(super) fn was_silent(&mut self, since: Instant) {
        self.rules.silences.push((since, Instant::now()));
    }

    /// From now on nothing is wrong any more.
    pub(super) fn healed(&mut self) {
        self.healed = Some(Instant::now());
    }

    /// Kills a process at a crash point `times` times while the load runs, and starts it again each time.
    pub(super) async fn crash(&mut self, who: Who, point: &str, times: usize) -> anyhow::Result<()> {
        use rand::Rng;
        for time in 0..times {
            let after = self.random.random_range(0..12);
            let member = self.member(who);
            if member.runs() {
                member.terminate().await?;
            }
            member.launch_to_crash(point, after)?;
            member.crash(SOON).await.with_context(|| format!("{point}, time {time}"))?;
        }
        self.member(who).start().await
    }

    /// A member.
    pub(super) fn member(&mut self, who: Who) -> &mut super::member::Member {
        match who {
            Who::Door => &mut self.site.door,
            Who::Worker(number) => &mut self.site.workers[number],
        }
    }

    /// Notes a figure.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.report.notes.push(note.into());
    }

    /// Waits until the door says this about itself.
    pub(super) async fn door_is_ready(&self, ready: bool, within: Duration) -> anyhow::Result<String> {
        eventually(within, async || {
            let (status, body) = self.site.door.readiness().await?;
            if (status == 200) != ready {
                bail!("the door's readiness is {status}: {body}");
            }
            Ok(body)
        })
        .await
    }
}

/// A process.
#[derive(Debug, Clone, Copy)]
pub(super) enum Who {
    Door,
    Worker(usize),
}
