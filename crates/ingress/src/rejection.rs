//! Every way to say no, and the one place where it becomes an answer.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rollcall_queue::PublishError;
use rollcall_signature::VerifyError;

/// Why a delivery is not accepted. The answer tells a stranger no more than the status; the cause goes to
/// the log line and the counter.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Rejection {
    /// Another path, or one written differently.
    #[error("no such path")]
    NotFound,
    /// Another method than the path's.
    #[error("method not allowed")]
    Method {
        /// The methods that are.
        allow: &'static str,
    },
    /// The client is not in `ALLOWED_SOURCES`; it sees what it would see on a path that does not exist.
    #[error("the client's address is not among the allowed sources")]
    Source,
    /// `REQUIRE_HTTPS` is set and the client spoke plain HTTP.
    #[error("the request did not come over https")]
    Plain,
    /// There is a `Content-Encoding`, whatever it says: nothing is ever unpacked here.
    #[error("the body has a content encoding")]
    Encoding,
    /// More than `MAX_BODY` bytes, declared or sent.
    #[error("the body is too large")]
    TooLarge,
    /// The body was not there in time.
    #[error("the body came too slowly")]
    Slow,
    /// The client hung up, or its chunks are malformed.
    #[error("the body broke off")]
    Broken,
    /// As many requests as `MAX_IN_FLIGHT` allows wait for the queue.
    #[error("too many requests are waiting")]
    Crowded,
    /// Signature, id or time are wrong.
    #[error(transparent)]
    Unverified(#[from] VerifyError),
    /// As [`Rejection::Unverified`], from an address that has failed too often.
    #[error("{why}, and the address keeps failing")]
    Offender {
        /// What was wrong this time.
        why: VerifyError,
        /// Whole seconds after which it is judged afresh.
        retry_after: u64,
    },
    /// The queue did not confirm it.
    #[error("the queue did not confirm it")]
    Unconfirmed(#[from] PublishError),
    /// We are at fault.
    #[error("the request could not be handled")]
    Panicked,
}

/// Whole seconds a sender waits after 503 and a crowded 429; design: 5 to 60.
const RETRY_AFTER: u64 = 10;

impl Rejection {
    /// The cause as a log field and metric label; one of a fixed set.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Method { .. } => "method_not_allowed",
            Self::Source => "source_not_allowed",
            Self::Plain => "https_required",
            Self::Encoding => "content_encoding",
            Self::TooLarge => "too_large",
            Self::Slow => "slow_body",
            Self::Broken => "broken_body",
            Self::Crowded => "too_many_waiting",
            Self::Unverified(why) => why.as_str(),
            Self::Offender { .. } => "too_many_failures",
            Self::Unconfirmed(_) => "not_confirmed",
            Self::Panicked => "panicked",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::Source => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Plain | Self::Broken | Self::Unverified(_) => StatusCode::BAD_REQUEST,
            Self::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Crowded | Self::Offender { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unconfirmed(_) | Self::Panicked => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// One fixed body for each status.
    fn body(&self) -> &'static str {
        match self.status() {
            StatusCode::NOT_FOUND => "not found",
            StatusCode::METHOD_NOT_ALLOWED => "method not allowed",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "content encodings are not accepted",
            StatusCode::PAYLOAD_TOO_LARGE => "body too large",
            StatusCode::REQUEST_TIMEOUT => "request too slow",
            StatusCode::TOO_MANY_REQUESTS => "too many requests",
            StatusCode::SERVICE_UNAVAILABLE => "try again later",
            _ => "request refused",
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Offender { retry_after, .. } => Some(*retry_after),
            Self::Crowded | Self::Unconfirmed(_) | Self::Panicked => Some(RETRY_AFTER),
            _ => None,
        }
    }

    /// Whether the rest of the body is not worth reading.
    fn hangs_up(&self) -> bool {
        matches!(self, Self::TooLarge | Self::Slow | Self::Broken)
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(serde_json::json!({ "error": self.body() }))).into_response();
        let headers = response.headers_mut();
        if let Self::Method { allow } = self {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.hangs_up() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
