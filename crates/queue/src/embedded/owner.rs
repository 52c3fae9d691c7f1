//! The task that owns the connection: gathers what waits, does it in one transaction, answers.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use super::file::now_ms;
use super::leases::{self, Lease, Leased};
use super::settle::{self, Release, Settle};
use super::{Order, Publish, file, publishes};
use crate::error::{FileError, chain};
use crate::health::Pulse;
use crate::{Options, PublishError, QueueError};

/// How often an idle owner asks whether another process changed the file: at first, and at most.
const POLL: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(25));

pub(super) struct Owner {
    path: PathBuf,
    options: Options,
    file: Option<SqliteConnection>,
    publishes: mpsc::Receiver<Publish>,
    orders: mpsc::UnboundedReceiver<Order>,
    pulse: Arc<Pulse>,
    /// Consumers that wait until something is ready.
    waiting: Vec<Lease>,
    /// Consumers that may hold something.
    holders: HashSet<i64>,
    renew_at: Instant,
    /// The file's version when it was last looked through for ready messages.
    seen: i64,
    next_due: Option<i64>,
    poll: Duration,
    /// Whether commits are synced to disk at present.
    durable: bool,
}

/// What goes into one transaction.
#[derive(Default)]
struct Work {
    publishes: Vec<Publish>,
    settles: Vec<Settle>,
    releases: Vec<Release>,
    probes: Vec<oneshot::Sender<Result<(), PublishError>>>,
    flushes: Vec<oneshot::Sender<()>>,
    /// Whether messages may have become ready.
    look: bool,
    renew: bool,
}

impl Work {
    /// Whoever stopped waiting was told "not stored": storing it now would only make a duplicate.
    fn forget_given_up(&mut self) {
        self.publishes.retain(|publish| !publish.answer.is_closed());
    }
}

/// What a transaction came to, to be told after its commit.
#[derive(Default)]
struct Outcome {
    held: Vec<Vec<bool>>,
    leased: Vec<Vec<Leased>>,
}

impl Owner {
    pub(super) fn new(
        path: &Path,
        options: &Options,
        file: SqliteConnection,
        publishes: mpsc::Receiver<Publish>,
        orders: mpsc::UnboundedReceiver<Order>,
        pulse: Arc<Pulse>,
    ) -> Self {
        Self {
            path: path.to_owned(),
            options: options.clone(),
            file: Some(file),
            publishes,
            orders,
            pulse,
            waiting: Vec::new(),
            holders: HashSet::new(),
            renew_at: Instant::now() + options.lease / 3,
            seen: -1,
            next_due: None,
            poll: POLL.0,
            durable: true,
        }
    }

    /// Runs until every handle is gone.
    pub(super) async fn run(mut self) {
        while let Some(mut work) = self.next().await {
            self.gather(&mut work);
            let outcome = self.transact(&mut work).await;
            self.answer(work, outcome);
            // Lets those just answered publish again, so that the next transaction gathers more, and other
            // processes a moment without the write lock.
            tokio::task::yield_now().await;
        }
        if let Some(file) = self.file.take()
            && let Err(error) = file.close().await
        {
            tracing::debug!(error = %error, "closing the queue file");
        }
    }

    /// Waits for something to do; `None` when every handle is gone.
    async fn next(&mut self) -> Option<Work> {
        loop {
            let mut work = Work::default();
            tokio::select! { biased;
                order = self.orders.recv() => {
                    self.sort(order?, &mut work);
                    return Some(work);
                }
                publish = self.publishes.recv() => {
                    work.publishes.push(publish?);
                    return Some(work);
                }
                () = sleep_until(self.renew_at), if !self.holders.is_empty() => {
                    work.renew = true;
                    return Some(work);
                }
                () = sleep(self.poll), if !self.waiting.is_empty() => {
                    self.waiting.retain(|lease| !lease.answer.is_closed());
                    if self.something_changed().await {
                        work.look = true;
                        return Some(work);
                    }
                    self.poll = (self.poll * 2).min(POLL.1);
                }
            }
        }
    }

    async fn something_changed(&mut self) -> bool {
        if self.next_due.is_some_and(|due| leases::is_due(due, &self.options)) {
            return true;
        }
        match self.file.as_mut() {
            // A file that cannot even be asked is looked through, which reports the error.
            Some(file) => version(file).await.map_or(true, |version| version != self.seen),
            None => true,
        }
    }

    fn sort(&mut self, order: Order, work: &mut Work) {
        match order {
            Order::Lease(lease) => {
                self.waiting.push(lease);
                work.look = true;
            }
            Order::Settle(settle) => work.settles.push(settle),
            Order::Release(release) => {
                // Or what it had asked for would be handed to nobody, and renewed for ever.
                self.waiting.retain(|lease| lease.holder != release.holder);
                work.releases.push(release);
            }
            Order::Probe(answer) => work.probes.push(answer),
            Order::Flush(answer) => work.flushes.push(answer),
        }
    }

    /// Takes what else is waiting already: one sync to disk then serves all of it.
    fn gather(&mut self, work: &mut Work) {
        while let Ok(order) = self.orders.try_recv() {
            self.sort(order, work);
        }
        // A flush promises everything accepted before it.
        let window = if work.flushes.is_empty() { self.options.window.max(1) } else { usize::MAX };
        while work.publishes.len() < window
            && let Ok(publish) = self.publishes.try_recv()
        {
            work.publishes.push(publish);
        }
        work.forget_given_up();
        self.waiting.retain(|lease| !lease.answer.is_closed());
        work.renew |= !self.holders.is_empty() && Instant::now() >= self.renew_at;
    }

    async fn transact(&mut self, work: &mut Work) -> Result<Outcome, QueueError> {
        if self.file.is_none() {
            self.file = Some(file::open(&self.path).await?);
            (self.seen, self.durable) = (-1, true);
        }
        // Losing the end of a lease or of an acknowledgement in a power cut only makes messages come
        // again; losing a publish would break the promise. Only the latter waits for the disk.
        self.sync(!work.publishes.is_empty() || !work.probes.is_empty()).await?;
        self.begin().await?;
        work.forget_given_up();
        let done = self.apply(work).await;
        let file = self.file.as_mut().ok_or(QueueError::Closed)?;
        let ended = match done {
            Ok(outcome) => sqlx::query("COMMIT").execute(&mut *file).await.map(|_| outcome),
            Err(error) => Err(error),
        };
        if ended.is_err() {
            // Fails when SQLite rolled back by itself; the connection is given up in either case.
            let _ = sqlx::query("ROLLBACK").execute(file).await;
            self.file = None;
        }
        Ok(ended?)
    }

    async fn sync(&mut self, durable: bool) -> Result<(), QueueError> {
        if durable != self.durable
            && let Some(file) = self.file.as_mut()
        {
            let pragma = if durable { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" };
            sqlx::query(pragma).execute(file).await?;
            self.durable = durable;
        }
        Ok(())
    }

    /// Takes the write lock, trying for as long as a publisher waits at most.
    async fn begin(&mut self) -> Result<(), QueueError> {
        let deadline = Instant::now() + self.options.confirm_timeout;
        loop {
            let file = self.file.as_mut().ok_or(QueueError::Closed)?;
            let Err(error) = sqlx::query("BEGIN IMMEDIATE").execute(file).await else { return Ok(()) };
            let error = FileError::from(error);
            if !error.is_busy() || Instant::now() >= deadline {
                if !error.is_busy() {
                    self.file = None;
                }
                return Err(QueueError::File(error));
            }
        }
    }

    async fn apply(&mut self, work: &mut Work) -> Result<Outcome, sqlx::Error> {
        let mut outcome = Outcome::default();
        let Some(file) = self.file.as_mut() else { return Ok(outcome) };
        for settle in &work.settles {
            outcome.held.push(settle::settle(file, settle).await?);
        }
        for release in &work.releases {
            settle::release(file, release, self.options.delivery_limit).await?;
        }
        if !work.publishes.is_empty() {
            publishes::insert(file, &mut work.publishes).await?;
        }
        if !work.probes.is_empty() {
            let canary = "INSERT OR REPLACE INTO canary (id, at) VALUES (1, ?)";
            sqlx::query(canary).bind(now_ms()).execute(&mut *file).await?;
        }
        if work.renew {
            for holder in &self.holders {
                leases::renew(file, *holder, self.options.lease).await?;
            }
        }
        if !self.waiting.is_empty() {
            outcome.leased = self.look().await?;
        }
        Ok(outcome)
    }

    /// Looks for messages for everybody who waits.
    async fn look(&mut self) -> Result<Vec<Vec<Leased>>, sqlx::Error> {
        let mut leased = Vec::new();
        let Some(file) = self.file.as_mut() else { return Ok(leased) };
        // Read inside the transaction: what others commit later has another version.
        self.seen = version(file).await?;
        if leases::next_due(file).await?.is_some_and(|due| leases::is_due(due, &self.options)) {
            leases::surface(file, &self.options).await?;
        }
        for lease in &self.waiting {
            leased.push(leases::take(file, lease, self.options.lease).await?);
        }
        self.next_due = leases::next_due(file).await?;
        Ok(leased)
    }

    fn answer(&mut self, work: Work, outcome: Result<Outcome, QueueError>) {
        match outcome {
            Ok(outcome) => self.succeed(work, outcome),
            Err(error) => self.fail(work, &error),
        }
    }

    // Every send below may fail because the caller stopped waiting. Only leases must not be lost with it.
    fn succeed(&mut self, work: Work, outcome: Outcome) {
        self.pulse.up();
        for publish in work.publishes {
            self.pulse.note(&Ok(()));
            let _ = publish.answer.send(Ok(()));
        }
        for (settle, held) in work.settles.into_iter().zip(outcome.held) {
            let _ = settle.answer.send(Ok(held));
        }
        for release in work.releases {
            self.holders.remove(&release.holder);
            release.answer.map(|answer| answer.send(()));
        }
        for answer in work.probes {
            let _ = answer.send(Ok(()));
        }
        for answer in work.flushes {
            let _ = answer.send(());
        }
        if work.renew {
            self.renew_at = Instant::now() + self.options.lease / 3;
        }
        self.hand_out(outcome.leased);
    }

    fn hand_out(&mut self, leased: Vec<Vec<Leased>>) {
        if leased.is_empty() {
            return;
        }
        for (lease, messages) in std::mem::take(&mut self.waiting).into_iter().zip(leased) {
            if messages.is_empty() && lease.patient {
                self.waiting.push(lease);
                continue;
            }
            self.poll = POLL.0;
            if self.holders.is_empty() {
                self.renew_at = Instant::now() + self.options.lease / 3;
            }
            // A consumer dropped meanwhile has sent its release, which comes after this lease.
            if lease.answer.send(Ok(messages)).is_ok() {
                self.holders.insert(lease.holder);
            }
        }
    }

    fn fail(&mut self, work: Work, error: &QueueError) {
        tracing::warn!(error = chain(error), "the queue file cannot be written");
        self.pulse.down(chain(error));
        self.next_due = None;
        let refusal = || match error {
            QueueError::File(error) => PublishError::Embedded(error.clone()),
            other => PublishError::Disconnected(chain(other)),
        };
        for answer in work.publishes.into_iter().map(|publish| publish.answer).chain(work.probes) {
            let _ = answer.send(Err(refusal()));
        }
        for settle in work.settles {
            let _ = settle.answer.send(Err(error.clone()));
        }
        for lease in self.waiting.drain(..) {
            let _ = lease.answer.send(Err(error.clone()));
        }
        // A release that failed is made up for by its leases running out.
        for release in work.releases {
            self.holders.remove(&release.holder);
        }
        self.renew_at = Instant::now() + self.options.lease / 3;
    }
}

async fn version(file: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("PRAGMA data_version").fetch_one(file).await
}
