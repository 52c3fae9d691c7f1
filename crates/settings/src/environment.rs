//! Development and production.

use std::fmt;
use std::str::FromStr;

use crate::SettingError;

/// What `ROLLCALL_ENV` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Environment {
    /// The default: development-only values are accepted.
    #[default]
    Development,
    /// Development-only values are refused. The embedded queue and database are not: they are what a
    /// single machine runs on.
    Production,
}

impl FromStr for Environment {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        match text {
            "development" => Ok(Self::Development),
            "production" => Ok(Self::Production),
            other => Err(SettingError::unreadable(other, "development or production")),
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Development => "development",
            Self::Production => "production",
        })
    }
}

/// Values that are printed in this repository or in a server's own manual, and therefore known to
/// everybody: the secrets of `.env.example` and `docker-compose.yml`, and the servers' factory accounts.
pub const DEVELOPMENT_ONLY: &[&str] = &[
    "whsec_cm9sbGNhbGwtZGV2ZWxvcG1lbnQtb25seS1zZWNyZXQ=",
    "development-only-broker",
    "development-only-database",
    "guest:guest@",
    "postgres:postgres@",
];

/// Refuses any of the settings, given as (name, value), that contains one of [`DEVELOPMENT_ONLY`].
/// In development everything passes.
///
/// # Errors
///
/// [`SettingError::DevelopmentOnly`] names the first such setting, never its value.
pub fn refuse_development_values<'a>(
    environment: Environment,
    settings: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), SettingError> {
    if environment == Environment::Development {
        return Ok(());
    }
    let known = |value: &str| DEVELOPMENT_ONLY.iter().any(|public| value.contains(public));
    match settings.into_iter().find(|(_, value)| known(value)) {
        Some((name, _)) => Err(SettingError::DevelopmentOnly { name: name.to_owned() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_one_of_two_words() {
        assert_eq!("production".parse::<Environment>().unwrap(), Environment::Production);
        assert_eq!(
            Environment::default().to_string().parse::<Environment>().unwrap(),
            Environment::Development
        );
        for text in ["", "prod", "Production", "staging"] {
            let message = text.parse::<Environment>().unwrap_err().named("ROLLCALL_ENV").to_string();
            assert_eq!(
                message,
                format!("ROLLCALL_ENV: read as {text:?}; accepted: development or production")
            );
        }
    }

    #[test]
    fn production_refuses_every_development_value_wherever_it_stands() {
        for public in DEVELOPMENT_ONLY {
            let value = format!("before {public} after");
            let settings = [("A", "private"), ("B", value.as_str())];
            let error = refuse_development_values(Environment::Production, settings).unwrap_err().to_string();
            assert!(
                error.starts_with("B holds a development-only value") && !error.contains(public),
                "{error}"
            );
            assert!(refuse_development_values(Environment::Development, settings).is_ok());
        }
    }

    #[test]
    fn production_accepts_private_values_and_the_embedded_files() {
        let settings = [
            ("QUEUE_URL", "sqlite://data/queue.db"),
            ("DATABASE_URL", "postgres://rollcall:Zk3-9f@db/rollcall"),
            ("SCALEKIT_WEBHOOK_SECRET", "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="),
        ];
        assert!(refuse_development_values(Environment::Production, settings).is_ok());
    }

    #[test]
    fn the_files_an_operator_copies_hold_no_other_secret_than_the_listed_ones() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        for file in [".env.example", "docker-compose.yml"] {
            let text = std::fs::read_to_string(format!("{root}/{file}")).unwrap();
            assert!(DEVELOPMENT_ONLY.iter().any(|public| text.contains(public)), "{file}");
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"_+/=-".contains(c));
            for secret in words.filter(|word| word.len() > 30 && word.contains("whsec_")) {
                assert!(DEVELOPMENT_ONLY.iter().any(|public| secret.contains(public)), "{file}: {secret}");
            }
        }
    }
}
