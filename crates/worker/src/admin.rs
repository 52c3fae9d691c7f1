//! The operator's address: whether the worker lives, whether it can work, and its numbers.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Shared;

/// Connections at once: a probe, a scraper and a few people.
const CONNECTIONS: usize = 64;

/// For a request's head, and between two requests.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// Serves until aborted. Plain `axum::serve` would keep slow and idle connections for ever.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let router = Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(shared);
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, usually: accepting at once again would only spin.
                tracing::warn!(%error, "an operator's connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            let _permit = permit;
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .serve_connection(TokioIo::new(stream), service);
            // How a client ends its connection is its own business.
            let _ = connection.await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    match shared.condition.causes() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(causes) => (StatusCode::SERVICE_UNAVAILABLE, causes),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, rollcall_telemetry::TEXT)], shared.metrics.render())
}
