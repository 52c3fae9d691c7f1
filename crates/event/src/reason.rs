//! Why a message was given up on.

use std::fmt;

/// The short name of the cause in a dead letter: stable, for filters, metrics and alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReasonCode {
    /// Not JSON, not UTF-8, empty, or not an object.
    ParseError,
    /// Nested deeper than any directory nests.
    TooDeep,
    /// A field that rollcall reads stands twice: two readers would see two events.
    DuplicateKey,
    /// A character no database text can hold: `\u0000` or half a surrogate pair.
    UnstorableText,
    /// A field that rollcall reads has another shape than documented.
    InvalidField,
    /// An id that identifies the event or what it is about is absent.
    MissingId,
    /// A later payload format than the one rollcall reads.
    UnsupportedSpecVersion,
    /// Envelope and data name two organizations.
    OrganizationMismatch,
    /// Another environment's event.
    WrongEnvironment,
    /// `occurred_at` is more than five minutes after the receipt.
    OccurredAtInFuture,
    /// Every retry step was used up.
    RetriesExhausted,
    /// The message was handed out too often without an answer: it probably kills the worker.
    DeliveryLimit,
    /// The database refused the values, and will again.
    RefusedByDatabase,
    /// The message on the queue is not one of ours: headers are missing or unreadable.
    ForeignMessage,
}

impl ReasonCode {
    /// Every code, in the order they are documented.
    pub const ALL: [Self; 14] = [
        Self::ParseError,
        Self::TooDeep,
        Self::DuplicateKey,
        Self::UnstorableText,
        Self::InvalidField,
        Self::MissingId,
        Self::UnsupportedSpecVersion,
        Self::OrganizationMismatch,
        Self::WrongEnvironment,
        Self::OccurredAtInFuture,
        Self::RetriesExhausted,
        Self::DeliveryLimit,
        Self::RefusedByDatabase,
        Self::ForeignMessage,
    ];

    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ParseError => "parse_error",
            Self::TooDeep => "too_deep",
            Self::DuplicateKey => "duplicate_key",
            Self::UnstorableText => "unstorable_text",
            Self::InvalidField => "invalid_field",
            Self::MissingId => "missing_id",
            Self::UnsupportedSpecVersion => "unsupported_spec_version",
            Self::OrganizationMismatch => "organization_mismatch",
            Self::WrongEnvironment => "wrong_environment",
            Self::OccurredAtInFuture => "occurred_at_in_future",
            Self::RetriesExhausted => "retries_exhausted",
            Self::DeliveryLimit => "delivery_limit",
            Self::RefusedByDatabase => "refused_by_database",
            Self::ForeignMessage => "foreign_message",
        }
    }

    /// The inverse of [`ReasonCode::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
