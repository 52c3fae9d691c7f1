//! The one error of this crate.

use std::path::PathBuf;

/// Why a setting was refused.
///
/// Every message says which setting, what it was read as (never for a secret) and what is accepted, so
/// that it can be printed as it is.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// A text that is not a value of its kind. Parsers do not know which setting they read for: clap puts
    /// the name in front, or [`SettingError::named`] does.
    #[error("read as {value:?}; accepted: {accepted}")]
    Unreadable {
        /// The text as it was given, cut to 80 characters.
        value: String,
        /// What would have been accepted.
        accepted: String,
    },
    /// As [`SettingError::Unreadable`], for a setting known by name.
    #[error("{name}: read as {value:?}; accepted: {accepted}")]
    Invalid {
        /// The setting.
        name: String,
        /// The text as it was given, cut to 80 characters.
        value: String,
        /// What would have been accepted.
        accepted: String,
    },
    /// The secret was given directly and as a file.
    #[error("{name} and {name}_FILE are both set; accepted: one of the two")]
    GivenTwice {
        /// The setting, without `_FILE`.
        name: String,
    },
    /// The file named by `<NAME>_FILE` cannot be read.
    #[error("{name}_FILE: cannot read {}; accepted: a text file of at most 64 KiB", path.display())]
    File {
        /// The setting, without `_FILE`.
        name: String,
        /// The path it names.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The file named by `<NAME>_FILE` holds nothing.
    #[error("{name}_FILE: {} is empty; accepted: a file that holds the value", path.display())]
    EmptyFile {
        /// The setting, without `_FILE`.
        name: String,
        /// The path it names.
        path: PathBuf,
    },
    /// A variable with one of our prefixes that no part of the product reads.
    #[error("{name} is not a setting; did you mean {nearest}?")]
    Unknown {
        /// The variable.
        name: String,
        /// The known name that is spelt most like it.
        nearest: String,
    },
    /// A value that everybody can look up, where only private ones are allowed.
    #[error(
        "{name} holds a development-only value, which ROLLCALL_ENV=production refuses; accepted: a value of your own"
    )]
    DevelopmentOnly {
        /// The setting.
        name: String,
    },
}

impl SettingError {
    /// A value of the setting `name` that is not accepted. Not for secrets: the message shows `value`.
    pub fn invalid(name: &str, value: &str, accepted: impl Into<String>) -> Self {
        Self::Invalid { name: name.into(), value: shown(value), accepted: accepted.into() }
    }

    /// Says which setting was read, where the parser could not; other errors stay as they are.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        match self {
            Self::Unreadable { value, accepted } => Self::Invalid { name: name.into(), value, accepted },
            other => other,
        }
    }

    /// A text that is no value of its kind, for a parser that does not know which setting it reads for.
    pub fn unreadable(value: &str, accepted: impl Into<String>) -> Self {
        Self::Unreadable { value: shown(value), accepted: accepted.into() }
    }
}

fn shown(value: &str) -> String {
    value.chars().take(80).collect()
}
