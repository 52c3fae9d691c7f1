//! How payloads differ with the identity provider behind them.

use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value, json};

/// The identity provider of one customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Never deletes: leavers are updated with `active` false.
    Okta,
    /// Says `active` only among the raw attributes, as the text `True` or `False`.
    Entra,
    /// Sends no full name, and `groups` null for nobody's groups.
    Google,
    /// Says everything, twice.
    JumpCloud,
    /// User names are no e-mail addresses; nine digits of fraction.
    OneLogin,
    /// Three digits of fraction.
    PingOne,
    /// Says only what changed: no `groups` and no `active` in an update about something else.
    Generic,
}

impl Provider {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::Okta,
        Self::Entra,
        Self::Google,
        Self::JumpCloud,
        Self::OneLogin,
        Self::PingOne,
        Self::Generic,
    ];

    /// The vendor's name for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Okta => "OKTA",
            Self::Entra => "MICROSOFT_AD",
            Self::Google => "GOOGLE",
            Self::JumpCloud => "JUMPCLOUD",
            Self::OneLogin => "ONELOGIN",
            Self::PingOne => "PING_IDENTITY",
            Self::Generic => "GENERIC",
        }
    }

    /// The smallest step of time its events tell apart, in nanoseconds.
    pub(super) fn tick(self) -> i64 {
        match self {
            Self::OneLogin | Self::Generic => 1,
            Self::Google | Self::PingOne => 1_000_000,
            Self::Okta | Self::Entra | Self::JumpCloud => 1_000,
        }
    }

    /// A time as its events write it.
    pub(super) fn write_time(self, at: i64) -> String {
        let digits = match self.tick() {
            1 => SecondsFormat::Nanos,
            1_000 => SecondsFormat::Micros,
            _ => SecondsFormat::Millis,
        };
        DateTime::from_timestamp_nanos(at).to_rfc3339_opts(digits, true)
    }

    /// Whether people who leave are deleted, or only switched off.
    pub fn deletes(self) -> bool {
        self != Self::Okta
    }

    /// Whether an update repeats what it does not change.
    pub(super) fn says_everything(self) -> bool {
        self != Self::Generic
    }

    /// Puts `active` where this provider's events have it. `None`: said nowhere.
    pub(super) fn say_active(
        self,
        data: &mut Map<String, Value>,
        raw: &mut Map<String, Value>,
        active: Option<bool>,
    ) {
        let Some(active) = active else { return };
        match self {
            Self::Entra => {
                raw.insert("active".to_owned(), json!(if active { "True" } else { "False" }));
            }
            Self::JumpCloud | Self::Okta => {
                data.insert("active".to_owned(), json!(active));
                raw.insert("active".to_owned(), json!(active));
            }
            Self::Google | Self::OneLogin | Self::PingOne | Self::Generic => {
                data.insert("active".to_owned(), json!(active));
            }
        }
    }

    /// What `groups` is for somebody in none.
    pub(super) fn no_groups(self) -> Value {
        match self {
            Self::Google | Self::Okta => Value::Null,
            _ => json!([]),
        }
    }

    /// The person's id at the provider.
    pub(super) fn id_of(self, number: u64) -> String {
        match self {
            Self::Okta => format!("00u{number:017}"),
            Self::Google => format!("1{number:020}"),
            Self::Entra => format!("{number:08x}-0000-4000-8000-{number:012x}"),
            _ => format!("p{number}"),
        }
    }

    /// SCIM's user name.
    pub(super) fn user_name(self, email: &str) -> String {
        match self {
            Self::OneLogin => email.split('@').next().unwrap_or_default().to_owned(),
            _ => email.to_owned(),
        }
    }

    /// Schemas of the raw resource.
    pub(super) fn schemas(self) -> Value {
        let core = "urn:ietf:params:scim:schemas:core:2.0:User";
        match self {
            Self::Entra => json!([core, "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"]),
            _ => json!([core]),
        }
    }
}
