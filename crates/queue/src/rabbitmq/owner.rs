//! The task that owns the publishing connection: connect, declare, publish until the first sign of trouble,
//! close, wait, again. Callers are answered at once whatever state it is in.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection, Event};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::connection::{answered, close, connect};
use super::flight::{Flight, Job, Landed};
use super::repairs::Repairs;
use super::topology::declare_on;
use crate::backoff::Delays;
use crate::error::chain;
use crate::health::Pulse;
use crate::{Options, PublishError, QueueError};

pub(super) struct Owner {
    pub(super) url: String,
    pub(super) options: Options,
    pub(super) jobs: mpsc::Receiver<Job>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) closing: CancellationToken,
    /// Told how the first attempt to connect went.
    pub(super) first: Option<oneshot::Sender<Result<(), QueueError>>>,
}

struct Link {
    connection: Connection,
    channel: Channel,
}

/// After so many confirm time-outs without any confirm a connection is given up.
const STALLED: u32 = 3;

/// Why serving a connection ended.
enum End {
    /// The connection is of no use any more.
    Lost(String),
    /// No job will come any more, and none is in flight.
    Drained,
}

impl Owner {
    pub(super) async fn run(mut self) {
        let mut delays = Delays::new();
        let mut cause = "connecting".to_owned();
        loop {
            let (url, options) = (self.url.clone(), self.options.clone());
            let Some(linked) = self.refusing(&cause, open(&url, &options)).await else { return };
            match linked {
                Ok(link) => {
                    delays.connected();
                    self.pulse.up();
                    self.tell_first(Ok(()));
                    let end = self.serve(&link).await;
                    self.refusing("closing", close(&link.connection)).await;
                    let End::Lost(why) = end else { return };
                    tracing::warn!(cause = %why, "the publishing connection was lost");
                    cause = why;
                }
                Err(error) => {
                    cause = chain(&error);
                    tracing::warn!(cause = %cause, "the broker cannot be published to");
                    self.tell_first(Err(error));
                }
            }
            self.pulse.down(cause.clone());
            let delay = delays.next();
            if self.refusing(&cause, tokio::time::sleep(delay)).await.is_none() {
                return;
            }
        }
    }

    fn tell_first(&mut self, result: Result<(), QueueError>) {
        if let Some(first) = self.first.take() {
            // The starter may have stopped waiting.
            let _ = first.send(result);
        }
    }

    /// Does something while telling every caller that there is no connection; `None` when closing.
    async fn refusing<T>(&mut self, cause: &str, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            tokio::select! { biased;
                done = &mut work => return Some(done),
                job = self.jobs.recv() => {
                    job?.refuse(PublishError::Disconnected(cause.to_owned()));
                }
                () = self.closing.cancelled(), if !self.jobs.is_closed() => self.jobs.close(),
            }
        }
    }

    async fn serve(&mut self, link: &Link) -> End {
        let mut flight = Flight::default();
        let end = self.publish_on(link, &mut flight).await;
        if let End::Lost(cause) = &end {
            self.pulse.down(cause.clone());
            flight.fail_waiters(&PublishError::Disconnected(cause.clone()));
        }
        end
    }

    async fn publish_on(&mut self, link: &Link, flight: &mut Flight) -> End {
        let prefix = format!("{:016x}", rand::random::<u64>());
        let options = self.options.clone();
        let mut events = pin!(link.connection.events_listener());
        let mut blocked = link.connection.status().blocked().then(|| "since before".to_owned());
        let mut repairs = Repairs::new(&link.connection, &options);
        let mut watch = interval(Duration::from_secs(1));
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.blocked(blocked.as_deref(), flight);
        loop {
            let window = self.options.window.max(1);
            let open = !self.jobs.is_closed() || !self.jobs.is_empty();
            if !open && flight.len() == 0 {
                return End::Drained;
            }
            tokio::select! { biased;
                landed = flight.landed(), if flight.len() > 0 => match landed {
                    Ok(landed) => self.note(landed, &mut repairs),
                    Err(error) => return End::Lost(error.to_string()),
                },
                event = events.next() => {
                    if let Some(cause) = self.hear(event, &mut blocked, flight) {
                        return End::Lost(cause);
                    }
                }
                () = repairs.run() => {}
                _ = watch.tick() => {
                    if !link.connection.status().connected() || !link.channel.status().connected() {
                        return End::Lost("the connection or its channel ended".to_owned());
                    }
                    // Bytes may trickle, so that no heartbeat is missed, and still nothing gets through.
                    let stalled = flight.stalled();
                    if blocked.is_none() && stalled > STALLED * options.confirm_timeout {
                        return End::Lost(format!("nothing was confirmed for {} s", stalled.as_secs()));
                    }
                }
                () = self.closing.cancelled(), if !self.jobs.is_closed() => self.jobs.close(),
                job = self.jobs.recv(), if open && (flight.len() < window || blocked.is_some()) => {
                    match (job, &blocked) {
                        (None, _) => {}
                        (Some(job), Some(reason)) => job.refuse(PublishError::Blocked(reason.clone())),
                        (Some(job), None) => flight.launch(&link.channel, &prefix, job),
                    }
                }
            }
        }
    }

    /// Takes in what lapin says of the connection; the cause, if it is of no use any more.
    fn hear(
        &self,
        event: Option<Event>,
        blocked: &mut Option<String>,
        flight: &mut Flight,
    ) -> Option<String> {
        match event {
            Some(Event::ConnectionBlocked(reason)) => {
                tracing::warn!(%reason, "the broker blocks publishers");
                *blocked = Some(reason);
                self.blocked(blocked.as_deref(), flight);
            }
            Some(Event::ConnectionUnblocked) => {
                *blocked = None;
                flight.forgive();
                self.blocked(None, flight);
            }
            Some(Event::Error(error)) => return Some(error.to_string()),
            Some(_) => {}
            None => return Some("the connection ended".to_owned()),
        }
        None
    }

    fn blocked(&self, reason: Option<&str>, flight: &mut Flight) {
        match reason {
            Some(reason) => {
                let error = PublishError::Blocked(reason.to_owned());
                self.pulse.down(error.to_string());
                flight.fail_waiters(&error);
            }
            None => self.pulse.up(),
        }
    }

    fn note(&self, landed: Vec<Landed>, repairs: &mut Repairs<'_>) {
        for one in landed {
            if !one.canary {
                self.pulse.note(&one.verdict);
            }
            if matches!(one.verdict, Err(PublishError::Unroutable)) {
                repairs.want();
            }
            one.tell();
        }
    }
}

async fn open(url: &str, options: &Options) -> Result<Link, QueueError> {
    let connection = connect(url, options, "rollcall publisher").await?;
    let ready = async {
        declare_on(&connection, options).await?;
        let channel = answered("open a channel", connection.create_channel()).await?;
        answered("switch confirms on", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(channel)
    };
    match ready.await {
        Ok(channel) => Ok(Link { connection, channel }),
        Err(error) => {
            close(&connection).await;
            Err(error)
        }
    }
}
