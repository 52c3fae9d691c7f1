//! The door: takes deliveries over HTTP, checks their signatures, and hands them to the queue.
//!
//! A delivery is answered with 201 once the queue has confirmed it, and not before. This crate never
//! reaches the database, so deliveries are accepted while it is down.
//!
//! The way of one delivery: [`run`] accepts a connection (`server`), whose bytes are watched (`guard`,
//! `head`) before the HTTP library reads them; `door` finds out who sent it (`origin`), reads its `body`,
//! verifies and publishes it in its lane (`shares`), and answers or turns it away (`rejection`, `offenders`).

mod body;
mod door;
mod guard;
mod head;
mod offenders;
mod ops;
mod origin;
mod rejection;
mod server;
pub mod settings;
mod shares;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rollcall_event::clock::Clock;
use rollcall_queue::Publisher;
use rollcall_settings::Cidrs;
use rollcall_signature::Verifier;
use rollcall_telemetry::Metrics;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use tls::Tls;

use crate::door::Door;
use crate::guard::Patience;
use crate::offenders::Offenders;
use crate::ops::Ops;
use crate::server::Site;
use crate::shares::Shares;

/// How much and how long. The defaults are those of the settings, and of the senders' time-outs (15 s and more).
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest body, in bytes.
    pub body: usize,
    /// Most deliveries that are verified or wait for the queue at once.
    pub in_flight: usize,
    /// Most connections at once.
    pub connections: usize,
    /// For a request's head, from its first byte; on a new connection, from its start.
    pub head_time: Duration,
    /// For a body.
    pub body_time: Duration,
    /// Between two requests of a connection.
    pub idle_time: Duration,
    /// For open requests after the stop signal.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 1024 * 1024,
            in_flight: 1024,
            connections: 4096,
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(15),
            idle_time: Duration::from_secs(60),
            grace: Duration::from_secs(20),
        }
    }
}

/// Who may come, and over what. Empty lists and `false` switch a check off.
#[derive(Debug, Clone, Default)]
pub struct Networks {
    /// Clients outside are answered 404, as if there were nothing here.
    pub allowed_sources: Cidrs,
    /// Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Cidrs,
    /// Deliveries over plain HTTP are answered 400.
    pub require_https: bool,
}

/// Everything [`run`] needs, already built.
pub struct Parts {
    /// Where deliveries arrive.
    pub listener: TcpListener,
    /// Where the operator looks.
    pub ops_listener: TcpListener,
    /// Where deliveries go.
    pub publisher: Publisher,
    /// Who signs them.
    pub verifier: Verifier,
    /// Where they are counted.
    pub metrics: Metrics,
    /// What time it is, for signatures and receipts.
    pub clock: Clock,
    /// How much and how long.
    pub limits: Limits,
    /// Who may come.
    pub networks: Networks,
    /// TLS on `listener`, if we end it ourselves.
    pub tls: Option<Tls>,
}

/// Connections on the operator's address: a probe, a scraper and a few people.
const OPS_CONNECTIONS: usize = 64;

/// For confirmations still under way when the last request is answered; there is none unless the request
/// was cut.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves until `stop` is ready, finishes open requests for at most [`Limits::grace`], and closes the
/// publisher. The operator's address answers to the end, as not ready from the stop on.
///
/// # Errors
///
/// A listener without an address; nothing that happens while serving.
pub async fn run(parts: Parts, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    tracing::info!(
        address = %parts.listener.local_addr().context("the public address")?,
        ops.address = %parts.ops_listener.local_addr().context("the operator's address")?,
        tls = parts.tls.is_some(),
        "listening"
    );
    let (stopping, stopped) = (CancellationToken::new(), CancellationToken::new());
    let (publisher, grace) = (parts.publisher.clone(), parts.limits.grace);
    let (public, operators) = sites(parts, stopping.clone());
    let tls = public.tls.clone();
    let serving = async {
        server::serve(public, stopping.clone(), grace).await;
        publisher.close(DRAIN).await;
        stopped.cancel();
    };
    let signal = async {
        tokio::select! { () = stop => {}, () = stopped.cancelled() => {} }
        tracing::info!("stopping");
        stopping.cancel();
    };
    let watching = async {
        let Some(tls) = &tls else { return };
        tokio::select! { () = tls.watch() => {}, () = stopped.cancelled() => {} }
    };
    tokio::join!(
        signal,
        serving,
        watching,
        server::serve(operators, stopped.clone(), Duration::from_secs(1))
    );
    Ok(())
}

/// The public address and the operator's.
fn sites(parts: Parts, stop: CancellationToken) -> (Site, Site) {
    let Parts { listener, ops_listener, publisher, verifier, metrics, clock, limits, networks, tls } = parts;
    let patience = Patience { head: limits.head_time, idle: limits.idle_time, write: limits.body_time };
    let ops = Ops { publisher: publisher.clone(), metrics: metrics.clone(), stop };
    let (offenders, shares) = (Offenders::default(), Shares::default());
    let in_flight = Semaphore::new(limits.in_flight);
    let door = Arc::new(Door {
        verifier,
        publisher,
        metrics,
        clock,
        networks,
        limits,
        offenders,
        shares,
        in_flight,
    });
    let public = Site {
        listener,
        router: door::routes(Arc::clone(&door)),
        tls: tls.map(Arc::new),
        most_connections: limits.connections,
        patience,
        door: Some(door),
    };
    let operators = Site {
        listener: ops_listener,
        router: ops::routes(ops),
        tls: None,
        most_connections: OPS_CONNECTIONS,
        patience,
        door: None,
    };
    (public, operators)
}
