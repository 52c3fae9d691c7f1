//! What every body must be before anybody reads its fields: JSON in UTF-8, not nested without end, and
//! free of characters that no database text can hold.

use crate::ReasonCode;

/// Deepest nesting accepted. Directory payloads nest about five levels.
const DEEPEST: usize = 64;

/// Why a body is no directory event. Each says its [`ReasonCode`]; none can pass by itself.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Empty, not UTF-8, or broken JSON.
    #[error("the body is not JSON")]
    Json(#[source] serde_json::Error),
    /// Not UTF-8.
    #[error("the body is not UTF-8")]
    Utf8(#[source] std::str::Utf8Error),
    /// Arrays and objects inside each other more than 64 levels deep.
    #[error("the body nests deeper than {DEEPEST} levels")]
    TooDeep,
    /// A key that decides something stands twice in one object.
    #[error("the key `{0}` stands twice")]
    DuplicateKey(String),
    /// `\u0000` or half a surrogate pair.
    #[error("the body holds {0}, which no database text can hold")]
    Unstorable(&'static str),
    /// A field has another shape than documented.
    #[error("the field `{field}` {problem}")]
    Invalid {
        /// Path of the field.
        field: &'static str,
        /// What is wrong with it, without its value.
        problem: String,
    },
    /// An identifier is absent, null or empty.
    #[error("the field `{0}` is missing")]
    MissingId(&'static str),
    /// A payload format that came later.
    #[error("spec_version is not \"1\"")]
    SpecVersion,
    /// Envelope and data name two organizations.
    #[error("organization_id and data.organization_id differ")]
    OrganizationMismatch,
}

impl Unreadable {
    /// The short name of the cause.
    pub fn reason(&self) -> ReasonCode {
        match self {
            Self::Json(_) | Self::Utf8(_) => ReasonCode::ParseError,
            Self::TooDeep => ReasonCode::TooDeep,
            Self::DuplicateKey(_) => ReasonCode::DuplicateKey,
            Self::Unstorable(_) => ReasonCode::UnstorableText,
            Self::Invalid { .. } => ReasonCode::InvalidField,
            Self::MissingId(_) => ReasonCode::MissingId,
            Self::SpecVersion => ReasonCode::UnsupportedSpecVersion,
            Self::OrganizationMismatch => ReasonCode::OrganizationMismatch,
        }
    }
}

/// Checks encoding, depth and characters in one pass without recursion, so that no body, however
/// nested, can exhaust the stack. Says nothing about whether the JSON is well formed.
pub(crate) fn scan(body: &[u8]) -> Result<&str, Unreadable> {
    let text = std::str::from_utf8(body).map_err(Unreadable::Utf8)?;
    let mut depth = 0_usize;
    let mut position = 0;
    while position < body.len() {
        match body[position] {
            b'{' | b'[' => {
                depth += 1;
                if depth > DEEPEST {
                    return Err(Unreadable::TooDeep);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => position = string_end(body, position + 1)?,
            _ => {}
        }
        position += 1;
    }
    Ok(text)
}

/// The position of the quote that closes the string whose first character stands at `position`, or the
/// body's end.
fn string_end(body: &[u8], mut position: usize) -> Result<usize, Unreadable> {
    while position < body.len() {
        match body[position] {
            b'"' => return Ok(position),
            b'\\' if body.get(position + 1) == Some(&b'u') => {
                position = after_unicode_escape(body, position)?;
                continue;
            }
            b'\\' => position += 1,
            _ => {}
        }
        position += 1;
    }
    Ok(position)
}

fn after_unicode_escape(body: &[u8], position: usize) -> Result<usize, Unreadable> {
    let Some(unit) = code_unit(body, position) else {
        // Not four hexadecimal digits: the JSON parser will say so.
        return Ok(position + 2);
    };
    match unit {
        0 => Err(Unreadable::Unstorable("a NUL character")),
        0xD800..=0xDBFF => match code_unit(body, position + 6) {
            Some(0xDC00..=0xDFFF) => Ok(position + 12),
            _ => Err(Unreadable::Unstorable("half a surrogate pair")),
        },
        0xDC00..=0xDFFF => Err(Unreadable::Unstorable("half a surrogate pair")),
        _ => Ok(position + 6),
    }
}

/// The value of `\uXXXX` at `position`.
fn code_unit(body: &[u8], position: usize) -> Option<u16> {
    let escape = body.get(position..position + 6)?;
    let digits = std::str::from_utf8(escape.strip_prefix(b"\\u")?).ok()?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(body: impl AsRef<[u8]>) -> Option<ReasonCode> {
        scan(body.as_ref()).err().map(|unreadable| unreadable.reason())
    }

    #[test]
    fn depth_is_counted_outside_strings_only() {
        assert_eq!(reason("[".repeat(64) + &"]".repeat(64)), None);
        assert_eq!(reason("[".repeat(65)), Some(ReasonCode::TooDeep));
        assert_eq!(reason("[".repeat(1_000_000)), Some(ReasonCode::TooDeep));
        assert_eq!(reason(format!("\"{}\\\"[\"", "[".repeat(100))), None);
        assert_eq!(reason("[]".repeat(100)), None);
    }

    #[test]
    fn characters_no_database_holds_are_found() {
        assert_eq!(reason(r#""\u0000""#), Some(ReasonCode::UnstorableText));
        assert_eq!(reason(r#""\ud83d""#), Some(ReasonCode::UnstorableText));
        assert_eq!(reason(r#""\ude00""#), Some(ReasonCode::UnstorableText));
        assert_eq!(reason(r#""\ud83d\u0041""#), Some(ReasonCode::UnstorableText));
        assert_eq!(reason(r#""\ud83d\ude00""#), None);
        assert_eq!(reason(r#""\\u0000""#), None);
        assert_eq!(reason(r#""\u00e4\n\u+123""#), None);
    }

    #[test]
    fn bytes_that_are_no_text_are_no_json() {
        assert_eq!(reason([b'"', 0xFF, b'"']), Some(ReasonCode::ParseError));
        assert_eq!(reason([b'"', b'\\']), None);
        assert_eq!(reason(b"\"\\u12"), None);
    }
}
