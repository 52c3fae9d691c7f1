//! The operator's address: is it alive, can it do its work, what has it done.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use rollcall_queue::{Health, Publisher};
use rollcall_telemetry::Metrics;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longest look at the queue: more than a publish may take, less than an orchestrator waits.
const LOOK: Duration = Duration::from_secs(6);

/// What the operator's routes look at.
#[derive(Clone)]
pub(crate) struct Ops {
    pub(crate) publisher: Publisher,
    pub(crate) metrics: Metrics,
    pub(crate) stop: CancellationToken,
}

/// `/livez`, `/readyz` and `/metrics`.
pub(crate) fn routes(ops: Ops) -> Router {
    Router::new()
        .route("/livez", get(async || "live\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(ops)
}

/// 200 only while a publish could be confirmed now; otherwise 503, and the body names the cause.
async fn ready(State(ops): State<Ops>) -> (StatusCode, String) {
    let cause = if ops.stop.is_cancelled() {
        "stopping".to_owned()
    } else {
        match timeout(LOOK, ops.publisher.probe()).await {
            Ok(Health::Ready) => return (StatusCode::OK, "ready\n".to_owned()),
            Ok(Health::NotReady(cause)) => cause,
            Err(_) => "the queue does not answer".to_owned(),
        }
    };
    (StatusCode::SERVICE_UNAVAILABLE, format!("{cause}\n"))
}

async fn metrics(State(ops): State<Ops>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], ops.metrics.render())
}
