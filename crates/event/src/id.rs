//! Identifiers. The vendor's ids are opaque text with a prefix; rollcall never takes them apart.

use std::fmt;

/// Longest identifier accepted, in bytes. The vendor states 32 to 37; an index entry may hold 2,700.
const LONGEST: usize = 255;

/// Why a text cannot be an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// There is nothing there.
    #[error("is empty")]
    Empty,
    /// More bytes than any vendor uses, and more than a database index takes.
    #[error("is longer than {LONGEST} bytes")]
    TooLong,
    /// A control character: no vendor uses one, and logs and terminals would obey it.
    #[error("holds a control character")]
    Control,
}

fn check(text: &str) -> Result<(), InvalidId> {
    match text {
        "" => Err(InvalidId::Empty),
        long if long.len() > LONGEST => Err(InvalidId::TooLong),
        odd if odd.chars().any(char::is_control) => Err(InvalidId::Control),
        _ => Ok(()),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes a text of 1 to 255 bytes without control characters; compared bytewise.
            pub fn parse(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                check(&text).map(|()| Self(text))
            }

            /// The text as the vendor wrote it.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text, given away.
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// One webhook as the sender knows it (`msg_…`); the same when the sender repeats it.
    DeliveryId
);
id!(
    /// One event (`evt_…`), named in the body. Part of the dedupe key, never all of it.
    EventId
);
id!(
    /// The vendor's environment (`env_…`).
    EnvironmentId
);
id!(
    /// A customer (`org_…`).
    OrganizationId
);
id!(
    /// A person in a directory (`diruser_…`): the stable key, unlike the e-mail.
    UserId
);
id!(
    /// A group in a directory (`dirgroup_…`).
    GroupId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_short_text_that_no_terminal_obeys() {
        assert_eq!(UserId::parse("diruser_1").unwrap().as_str(), "diruser_1");
        assert_eq!(UserId::parse(""), Err(InvalidId::Empty));
        assert_eq!(UserId::parse("x".repeat(256)), Err(InvalidId::TooLong));
        assert_eq!(UserId::parse("a\u{1b}[31m"), Err(InvalidId::Control));
        assert_eq!(UserId::parse("a\0"), Err(InvalidId::Control));
    }
}
