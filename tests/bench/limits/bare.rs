//! A server that answers 201 and does nothing else: what the load generator can do at most.

use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use axum::serve::ListenerExt;
use rollcall_tests::{Child, free_port};
use tokio::net::TcpListener;

use crate::deliveries::{Events, Population, signed};
use crate::load::{Pace, send};
use crate::stage::Stage;

/// The argument with which this program is that server.
pub(crate) const ARGUMENT: &str = "bare-server";

/// Serves until it is killed.
pub(crate) async fn serve(address: &str) -> anyhow::Result<()> {
    let routes = Router::new().route("/webhooks/scalekit", post(|_: Bytes| async { StatusCode::CREATED }));
    let listener = TcpListener::bind(address).await?.tap_io(|stream| {
        // Without it a small answer may wait; a stream that refuses is gone already.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, routes).await.context("serving")
}

/// Requests a second over so many connections that the generator gets answered by that server.
pub(crate) async fn ceiling(stage: &Stage, connections: usize) -> anyhow::Result<f64> {
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.args([ARGUMENT, &address]);
    let log = std::fs::File::create(stage.file("bare.log"))?;
    let _server = Child::start(&command, &log)?;
    rollcall_tests::eventually(Duration::from_secs(5), async || {
        Ok(tokio::net::TcpStream::connect(&address).await.map(drop)?)
    })
    .await?;
    let key = rollcall_signature::Key::generate(rand::random());
    let requests = signed(&Events::of("bare").updates(Population::of(10_000), 100_000), &key);
    Ok(send(&address, requests, connections, Pace::Closed, Duration::from_secs(2))
        .await?
        .all_accepted()?
        .rate())
}
