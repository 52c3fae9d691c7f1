//! The door's judgement of one delivery.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use rollcall_event::DeliveryId;

use crate::headers::SignatureHeaders;
use crate::{Keys, mac};

/// How far a timestamp may lie from now in either direction, in whole seconds (Standard Webhooks).
const TOLERANCE_SECONDS: i64 = 300;

/// Longest delivery id; the sender's have about 31 characters.
const LONGEST_ID: usize = 128;

/// Longest signature header, in bytes, and most entries in it: bounds on work before trust.
const LONGEST_SIGNATURE_HEADER: usize = 4096;
const MOST_ENTRIES: usize = 16;

/// Characters of 32 bytes in padded base64.
const ENCODED_TAG: usize = 44;

/// A delivery whose signature and age were right. Only [`Verifier::verify`] makes one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Verified {
    /// The sender's id of the delivery: 1 to 128 characters of `[A-Za-z0-9_-]`.
    pub delivery_id: DeliveryId,
    /// When this attempt was signed, in whole seconds.
    pub timestamp: DateTime<Utc>,
    /// The body, byte for byte as it was signed.
    pub body: Bytes,
}

/// Why a delivery was refused: one variant for each cause. Holds nothing the sender wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// None of the two header sets is complete.
    #[error("a signature header is missing")]
    MissingHeader,
    /// One of the headers stands twice.
    #[error("a signature header is repeated")]
    RepeatedHeader,
    /// Headers of both families.
    #[error("headers of two signature families are mixed")]
    MixedFamilies,
    /// Empty, longer than 128, or anything but `[A-Za-z0-9_-]`; a full stop would let two different
    /// deliveries share a signature.
    #[error("the delivery id is malformed")]
    InvalidId,
    /// Anything but decimal digits without a leading zero, or too large.
    #[error("the timestamp is malformed")]
    InvalidTimestamp,
    /// Over 4 KiB or over 16 entries.
    #[error("the signature header is too long")]
    SignatureHeaderTooLong,
    /// No entry is a well-formed `v1,<base64 of 32 bytes>`.
    #[error("the signature header holds no v1 signature")]
    NoSignature,
    /// Well-formed, but of another key, id, time or body.
    #[error("no signature matches")]
    WrongSignature,
    /// Rightly signed, more than 300 s ago. A repetition of an old request, or a clock that is wrong.
    #[error("the timestamp is too old")]
    TooOld,
    /// Rightly signed, more than 300 s ahead: a clock is wrong.
    #[error("the timestamp is too new")]
    TooNew,
}

impl VerifyError {
    /// The cause as a log field and metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingHeader => "missing_header",
            Self::RepeatedHeader => "repeated_header",
            Self::MixedFamilies => "mixed_families",
            Self::InvalidId => "invalid_id",
            Self::InvalidTimestamp => "invalid_timestamp",
            Self::SignatureHeaderTooLong => "signature_header_too_long",
            Self::NoSignature => "no_signature",
            Self::WrongSignature => "wrong_signature",
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
        }
    }

    /// Whether only the clocks disagree: the delivery was signed with one of our keys.
    pub fn is_clock(self) -> bool {
        matches!(self, Self::TooOld | Self::TooNew)
    }
}

/// Judges deliveries under one or several keys. Keeps no memory: the same delivery verifies again until
/// it is too old, and recognising repetitions is the worker's part.
#[derive(Debug, Clone)]
pub struct Verifier {
    keys: Keys,
}

impl Verifier {
    /// A verifier that accepts a signature by any of `keys`.
    pub fn new(keys: Keys) -> Self {
        Self { keys }
    }

    /// Checks one delivery: `headers` in any order (names in any case), the untouched `body`, and `now`.
    ///
    /// # Errors
    ///
    /// The first cause found. The age is judged last, so that [`VerifyError::TooOld`] and
    /// [`VerifyError::TooNew`] speak of a genuine sender and a stranger cannot fake trouble with clocks.
    pub fn verify<'h>(
        &self,
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
        body: Bytes,
        now: DateTime<Utc>,
    ) -> Result<Verified, VerifyError> {
        let found = SignatureHeaders::find(headers)?;
        let delivery_id = delivery_id(found.id)?;
        let seconds = timestamp(found.timestamp)?;
        let tags = tags(found.signature)?;
        if !self.any_matches(&found, &tags, &body) {
            return Err(VerifyError::WrongSignature);
        }
        check_age(seconds, now)?;
        let timestamp = DateTime::from_timestamp(seconds, 0).ok_or(VerifyError::InvalidTimestamp)?;
        Ok(Verified { delivery_id, timestamp, body })
    }

    /// One pass over the body for each key, however many entries there are.
    fn any_matches(&self, found: &SignatureHeaders<'_>, tags: &[Vec<u8>], body: &[u8]) -> bool {
        self.keys.iter().any(|key| {
            let fed = mac::over_delivery(key.bytes(), found.id, found.timestamp, body);
            tags.iter().any(|tag| mac::matches(&fed, tag))
        })
    }
}

fn delivery_id(raw: &[u8]) -> Result<DeliveryId, VerifyError> {
    let plain = raw.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if !plain || raw.len() > LONGEST_ID {
        return Err(VerifyError::InvalidId);
    }
    let text = std::str::from_utf8(raw).map_err(|_| VerifyError::InvalidId)?;
    DeliveryId::parse(text).map_err(|_| VerifyError::InvalidId)
}

/// `str::parse` alone would take a sign and leading zeros, which a second reader may read differently.
fn timestamp(raw: &[u8]) -> Result<i64, VerifyError> {
    let canonical = !raw.is_empty() && raw.iter().all(u8::is_ascii_digit) && (raw[0] != b'0' || raw == b"0");
    let text = std::str::from_utf8(raw).ok().filter(|_| canonical).ok_or(VerifyError::InvalidTimestamp)?;
    text.parse().map_err(|_| VerifyError::InvalidTimestamp)
}

/// The well-formed v1 entries. Everything else in the list is passed over: one entry that we cannot read
/// must not spoil a valid one beside it.
fn tags(raw: &[u8]) -> Result<Vec<Vec<u8>>, VerifyError> {
    if raw.len() > LONGEST_SIGNATURE_HEADER || raw.split(|&byte| byte == b' ').count() > MOST_ENTRIES {
        return Err(VerifyError::SignatureHeaderTooLong);
    }
    let tags: Vec<Vec<u8>> = raw
        .split(|&byte| byte == b' ')
        .filter_map(|entry| entry.strip_prefix(b"v1,"))
        .filter(|encoded| encoded.len() == ENCODED_TAG)
        .filter_map(|encoded| STANDARD.decode(encoded).ok())
        .filter(|tag| tag.len() == mac::TAG_BYTES)
        .collect();
    if tags.is_empty() { Err(VerifyError::NoSignature) } else { Ok(tags) }
}

fn check_age(seconds: i64, now: DateTime<Utc>) -> Result<(), VerifyError> {
    let now = now.timestamp();
    if now.saturating_sub(seconds) > TOLERANCE_SECONDS {
        Err(VerifyError::TooOld)
    } else if seconds.saturating_sub(now) > TOLERANCE_SECONDS {
        Err(VerifyError::TooNew)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
