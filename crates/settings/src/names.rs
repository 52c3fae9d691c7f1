//! The names of all settings, so that a misspelt one is an error and not a silence.

use crate::SettingError;

/// Variables that begin so are ours alone: an unknown one is a mistake.
const PREFIXES: [&str; 2] = ["ROLLCALL_", "SCALEKIT_"];

/// Every setting of the product, of both binaries, with the `_FILE` form of each secret. One binary accepts
/// the other's names in its environment, because both usually run from the same file of settings.
pub const ALL: &[&str] = &[
    "QUEUE_URL",
    "QUEUE_URL_FILE",
    "DATABASE_URL",
    "DATABASE_URL_FILE",
    "LISTEN",
    "OPS_LISTEN",
    "ADMIN_LISTEN",
    "SCALEKIT_WEBHOOK_SECRET",
    "SCALEKIT_WEBHOOK_SECRET_FILE",
    "SCALEKIT_ENVIRONMENT_ID",
    "SCALEKIT_ENVIRONMENT_URL",
    "SCALEKIT_CLIENT_ID",
    "SCALEKIT_CLIENT_SECRET",
    "SCALEKIT_CLIENT_SECRET_FILE",
    "MAX_BODY",
    "MAX_IN_FLIGHT",
    "MAX_CONNECTIONS",
    "ALLOWED_SOURCES",
    "TRUSTED_PROXIES",
    "REQUIRE_HTTPS",
    "TLS_CERT",
    "TLS_KEY",
    "BATCH_SIZE",
    "BATCH_LINGER",
    "PREFETCH",
    "RETRY_STEPS",
    "REMOVAL_BUDGET",
    "ROLLCALL_ENV",
    "RUST_LOG",
    "LOG_FORMAT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

/// The environment of this process, with bytes that are not UTF-8 replaced (`std::env::vars` panics on them).
pub fn environment_variables() -> impl Iterator<Item = (String, String)> {
    let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

/// Refuses the first variable that begins with `ROLLCALL_` or `SCALEKIT_` and is not in `known` (usually [`ALL`]).
///
/// Variables that Kubernetes adds to every pod for a service called `rollcall-…` or `scalekit-…`
/// (`ROLLCALL_INGRESS_SERVICE_HOST`, `ROLLCALL_INGRESS_PORT_8080_TCP_ADDR`, …) pass: nobody wrote them.
///
/// # Errors
///
/// [`SettingError::Unknown`] names it and the known name spelt most like it.
pub fn refuse_unknown(
    known: &[&str],
    vars: impl Iterator<Item = (String, String)>,
) -> Result<(), SettingError> {
    let ours = |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    for (name, _) in vars {
        if ours(&name) && !known.contains(&name.as_str()) && !is_service_link(&name) {
            return Err(SettingError::Unknown { nearest: nearest(known, &name), name });
        }
    }
    Ok(())
}

/// The shapes of a service link: `X_SERVICE_HOST`, `X_SERVICE_PORT[_NAME]`, `X_PORT`, `X_PORT_<number>_<protocol>[_part]`.
fn is_service_link(name: &str) -> bool {
    if name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || name.ends_with("_PORT") {
        return true;
    }
    let Some((_, rest)) = name.split_once("_PORT_") else { return false };
    let mut parts = rest.split('_');
    parts.next().is_some_and(|number| number.parse::<u16>().is_ok())
        && parts.next().is_some_and(|protocol| ["TCP", "UDP", "SCTP"].contains(&protocol))
}

fn nearest(known: &[&str], name: &str) -> String {
    known.iter().min_by_key(|candidate| distance(candidate, name)).copied().unwrap_or("none").to_owned()
}

/// Levenshtein's distance: how many letters to add, drop or change.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&str]) -> Result<(), SettingError> {
        refuse_unknown(ALL, names.iter().map(|name| ((*name).to_owned(), "value".to_owned())))
    }

    #[test]
    fn every_known_name_and_every_foreign_name_passes() {
        assert!(check(ALL).is_ok());
        assert!(check(&["PATH", "HOME", "OTEL_SERVICE_NAME", "MY_ROLLCALL_THING", "rollcall_env"]).is_ok());
    }

    #[test]
    fn a_misspelt_name_is_refused_with_the_nearest_known_one() {
        for (wrong, right) in [
            ("SCALEKIT_WEBHOK_SECRET", "SCALEKIT_WEBHOOK_SECRET"),
            ("SCALEKIT_WEBHOOK_SECRET_FIEL", "SCALEKIT_WEBHOOK_SECRET_FILE"),
            ("ROLLCALL_ENVIRONMENT", "ROLLCALL_ENV"),
            ("SCALEKIT_ENVIROMENT_ID", "SCALEKIT_ENVIRONMENT_ID"),
        ] {
            let message = check(&["PATH", wrong]).unwrap_err().to_string();
            assert_eq!(message, format!("{wrong} is not a setting; did you mean {right}?"));
        }
    }

    #[test]
    fn the_links_kubernetes_adds_for_our_own_services_pass() {
        assert!(
            check(&[
                "ROLLCALL_INGRESS_SERVICE_HOST",
                "ROLLCALL_INGRESS_SERVICE_PORT",
                "ROLLCALL_INGRESS_SERVICE_PORT_HTTP",
                "ROLLCALL_INGRESS_PORT",
                "ROLLCALL_INGRESS_PORT_8080_TCP",
                "ROLLCALL_INGRESS_PORT_8080_TCP_ADDR",
            ])
            .is_ok()
        );
        assert!(check(&["ROLLCALL_PORT_RANGE_TCP"]).is_err());
        assert!(check(&["ROLLCALL_SERVICE"]).is_err());
    }

    #[test]
    fn every_setting_is_documented_in_the_example_file() {
        let example =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.env.example")).unwrap();
        for name in ALL {
            let documented = example.lines().any(|line| {
                line.trim_start_matches(['#', ' '])
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('='))
            });
            assert!(documented, "{name} is not in .env.example");
        }
    }
}
