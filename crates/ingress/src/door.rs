//! `POST /webhooks/scalekit`: parse, verify, publish, answer.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use rollcall_event::clock::Clock;
use rollcall_event::{DeliveryId, Envelope, Lane, Peek, RoutingKey, Source};
use rollcall_queue::Publisher;
use rollcall_signature::{Verified, Verifier, VerifyError};
use rollcall_telemetry::Metrics;
use serde::Serialize;
use tokio::sync::Semaphore;
use tracing::Instrument;

use crate::offenders::{Offenders, Standing};
use crate::origin::{self, Origin, Peer};
use crate::rejection::Rejection;
use crate::shares::Shares;
use crate::{Limits, Networks, body};

const SOURCE: Source = Source::Scalekit;

/// What a delivery meets on its way from the socket to the queue.
pub(crate) struct Door {
    pub(crate) verifier: Verifier,
    pub(crate) publisher: Publisher,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    pub(crate) networks: Networks,
    pub(crate) limits: Limits,
    pub(crate) offenders: Offenders,
    pub(crate) shares: Shares,
    /// One permit for each delivery that is being verified or waits for the queue. Taken only once the
    /// body is here: a slow sender occupies its connection and nothing else.
    pub(crate) in_flight: Semaphore,
}

/// The routes of the public address. Paths are compared as they were sent, so that a path written with
/// `%2e`, a doubled or a trailing slash is another one.
pub(crate) fn routes(door: Arc<Door>) -> Router {
    Router::new()
        .route("/webhooks/scalekit", post(receive).fallback(|| refuse_method("POST")))
        .route("/livez", get(async || "live\n").fallback(|| refuse_method("GET, HEAD")))
        .fallback(async || Rejection::NotFound)
        .with_state(door)
}

/// The answer a sender wants.
#[derive(Serialize)]
struct Accepted {
    status: &'static str,
    id: DeliveryId,
}

async fn refuse_method(allow: &'static str) -> Rejection {
    Rejection::Method { allow }
}

async fn receive(
    State(door): State<Arc<Door>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let span = tracing::info_span!(
        "receive",
        otel.kind = "server",
        delivery.id = tracing::field::Empty,
        outcome = tracing::field::Empty
    );
    async {
        let origin = origin::of(peer, request.headers(), &door.networks.trusted_proxies);
        let mut genuine = None;
        let result = contain_panic(door.accept(origin, request, &mut genuine)).await;
        door.tell(origin.address, genuine.as_ref(), &result);
        match result {
            Ok(id) => (StatusCode::CREATED, Json(Accepted { status: "accepted", id })).into_response(),
            Err(rejection) => rejection.into_response(),
        }
    }
    .instrument(span)
    .await
}

impl Door {
    /// Leaves the delivery's id in `genuine` once its signature was right, whatever happens after that.
    async fn accept(
        &self,
        origin: Origin,
        request: Request,
        genuine: &mut Option<DeliveryId>,
    ) -> Result<DeliveryId, Rejection> {
        let (parts, body) = request.into_parts();
        self.admit(origin, &parts.headers)?;
        let body = body::read(body, &parts.headers, &self.limits).await?;
        let _permit = self.in_flight.try_acquire().map_err(|_| Rejection::Crowded)?;

        let received_at = (self.clock)();
        let headers = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let verified = self.verifier.verify(headers, body, received_at);
        let Verified { delivery_id, body, .. } =
            verified.map_err(|why| self.reproach(origin.address, why))?;
        tracing::Span::current().record("delivery.id", delivery_id.as_str());
        *genuine = Some(delivery_id.clone());
        fail::fail_point!("ingress.after_verify", |_| std::process::abort());

        let key = self.key(&body);
        let mut envelope = Envelope::new(SOURCE, delivery_id, received_at, body);
        envelope.traceparent = rollcall_telemetry::current_traceparent();
        let began = Instant::now();
        self.publisher.publish(&key, &envelope).await?;
        fail::fail_point!("ingress.after_confirm", |_| std::process::abort());
        self.metrics.publish_seconds(began.elapsed());
        Ok(envelope.delivery_id)
    }

    /// What can be said without the body.
    fn admit(&self, origin: Origin, headers: &HeaderMap) -> Result<(), Rejection> {
        let networks = &self.networks;
        if !networks.allowed_sources.is_empty() && !networks.allowed_sources.contains(origin.address) {
            return Err(Rejection::Source);
        }
        if networks.require_https && !origin.https {
            return Err(Rejection::Plain);
        }
        if headers.contains_key(header::CONTENT_ENCODING) {
            return Err(Rejection::Encoding);
        }
        Ok(())
    }

    /// The lane of a body; that of bulk where its organization has used up its share of the events lane.
    fn key(&self, body: &[u8]) -> RoutingKey {
        let Peek { key, organization_id } = Peek::at(body);
        match organization_id {
            Some(organization)
                if key.lane() == Some(Lane::Events) && !self.shares.take(&organization, Instant::now()) =>
            {
                key.in_bulk()
            }
            _ => key,
        }
    }

    fn reproach(&self, address: IpAddr, why: VerifyError) -> Rejection {
        if why.is_clock() {
            self.metrics.clock_skew();
        }
        match self.offenders.count(address, Instant::now()) {
            Standing::Tolerated => Rejection::Unverified(why),
            Standing::Exceeded(retry_after) => {
                tracing::warn!(client.address = %address, "address keeps failing verification; it gets 429 and no more log lines for now");
                Rejection::Offender { why, retry_after }
            }
            Standing::StillExceeded(retry_after) => Rejection::Offender { why, retry_after },
        }
    }

    /// The same for a request that was refused before it was one. Who sends those is an offender, too: what
    /// they are not told, the log is spared.
    pub(crate) fn tell_malformed(&self, address: IpAddr, why: &str) {
        self.metrics.delivery(SOURCE.as_str(), "malformed");
        if self.offenders.count(address, Instant::now()) == Standing::Tolerated {
            tracing::warn!(outcome = "malformed", client.address = %address, "request refused: {why}");
        }
    }

    /// One counter and one log line for each delivery, whatever became of it. Never what a stranger wrote:
    /// the id is there only once its signature was right.
    fn tell(&self, address: IpAddr, id: Option<&DeliveryId>, result: &Result<DeliveryId, Rejection>) {
        let id = id.map(DeliveryId::as_str);
        let outcome = result.as_ref().map_or_else(Rejection::outcome, |_| "accepted");
        tracing::Span::current().record("outcome", outcome);
        self.metrics.delivery(SOURCE.as_str(), outcome);
        match result {
            Ok(_) => tracing::info!(delivery.id = id, outcome, "delivery accepted"),
            Err(rejection @ Rejection::Panicked) => {
                tracing::error!(delivery.id = id, outcome, "delivery failed: {rejection}");
            }
            // A flood must not become a flood of lines; the counter has them all.
            Err(Rejection::Offender { .. } | Rejection::Crowded) => {
                tracing::debug!(outcome, client.address = %address, "delivery refused");
            }
            Err(rejection) => {
                let why = chain(rejection);
                tracing::warn!(delivery.id = id, outcome, client.address = %address, "delivery refused: {why}");
            }
        }
    }
}

/// The error and its causes, as anyhow's `{:#}` writes them.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Answers for a handler that panicked: the connection and the process go on.
async fn contain_panic<T>(handling: impl Future<Output = Result<T, Rejection>>) -> Result<T, Rejection> {
    let mut handling = pin!(handling);
    std::future::poll_fn(|cx| {
        // Nothing of the handling is used after a panic but what its locks hold, and they never stay
        // locked over a statement that can panic.
        catch_unwind(AssertUnwindSafe(|| handling.as_mut().poll(cx)))
            .unwrap_or(Poll::Ready(Err(Rejection::Panicked)))
    })
    .await
}
