//! The door's settings: a flag and an environment variable each, and `--help` from the same lines.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;

use anyhow::Context;
use rollcall_queue::{Publisher, QueueUrl};
use rollcall_settings::{Cidrs, Environment, SettingError, resolve, resolve_text};
use rollcall_signature::{Keys, Verifier};
use rollcall_telemetry::{LogFormat, Metrics};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::{Limits, Networks, Parts, Tls, run};

const SECRET: &str = "SCALEKIT_WEBHOOK_SECRET";
const QUEUE_URL: &str = "QUEUE_URL";

/// Takes signed webhooks and hands them to the queue.
///
/// Every setting is an environment variable or a flag. A secret NAME can also come from a file named by NAME_FILE.
#[derive(Debug, clap::Parser)]
#[command(name = "rollcall-ingress", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// With what.
    #[command(flatten)]
    pub settings: Settings,
}

/// What the process can be asked to do.
#[derive(Debug, Clone, Copy, clap::Subcommand)]
pub enum Command {
    /// Take deliveries until SIGTERM or SIGINT (the default)
    Run,
    /// Ask the running process for /livez on LISTEN (OPS_LISTEN if it ends TLS itself); exit 0 if it is alive, else 1
    Healthcheck,
}

/// The settings as given, each readable on its own; [`Settings::check`] judges what clap must not see or
/// cannot know.
#[derive(Debug, clap::Args)]
pub struct Settings {
    /// Where the queue is: sqlite://path, amqp://… or amqps://… [default: sqlite://data/queue.db] [file: QUEUE_URL_FILE]
    #[arg(long, env = QUEUE_URL, hide_env_values = true, global = true)]
    pub queue_url: Option<String>,
    /// Address for webhooks and /livez
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:8080", global = true)]
    pub listen: SocketAddr,
    /// Address for /livez, /readyz and /metrics
    #[arg(long, env = "OPS_LISTEN", default_value = "127.0.0.1:8082", global = true)]
    pub ops_listen: SocketAddr,
    /// Signing secrets, whsec_…, separated by white space or commas; several while one is being rotated out (required) [file: SCALEKIT_WEBHOOK_SECRET_FILE]
    #[arg(long, env = SECRET, hide_env_values = true, global = true)]
    pub scalekit_webhook_secret: Option<String>,
    /// Longest body; a longer one is answered 413
    #[arg(long, env = "MAX_BODY", default_value = "1MiB", value_parser = rollcall_settings::size::parse, global = true)]
    pub max_body: usize,
    /// Deliveries verified or waiting for the queue at once; more are answered 429
    #[arg(long, env = "MAX_IN_FLIGHT", default_value = "1024", value_parser = at_least_one, global = true)]
    pub max_in_flight: usize,
    /// Connections at once; more wait to be accepted
    #[arg(long, env = "MAX_CONNECTIONS", default_value = "4096", value_parser = at_least_one, global = true)]
    pub max_connections: usize,
    /// Networks that may send webhooks, such as 192.0.2.0/24,2001:db8::/32; others are answered 404 [default: all]
    #[arg(long, env = "ALLOWED_SOURCES", default_value = "", hide_default_value = true, global = true)]
    pub allowed_sources: Cidrs,
    /// Proxies whose X-Forwarded-For and X-Forwarded-Proto count [default: none]
    #[arg(long, env = "TRUSTED_PROXIES", default_value = "", hide_default_value = true, global = true)]
    pub trusted_proxies: Cidrs,
    /// Answer 400 to webhooks over plain HTTP: neither our own TLS nor X-Forwarded-Proto: https of a trusted proxy [default: false]
    #[arg(long, env = "REQUIRE_HTTPS", default_value = "false", hide_default_value = true, num_args = 0..=1,
          default_missing_value = "true", value_parser = switch, global = true)]
    pub require_https: bool,
    /// Chain of certificates in PEM; together with TLS_KEY this switches TLS on. Read again when it changes
    #[arg(long, env = "TLS_CERT", global = true)]
    pub tls_cert: Option<PathBuf>,
    /// Private key in PEM
    #[arg(long, env = "TLS_KEY", global = true)]
    pub tls_key: Option<PathBuf>,
    /// development or production; production refuses values that are printed in the documentation
    #[arg(long, env = "ROLLCALL_ENV", default_value = "development", global = true)]
    pub rollcall_env: Environment,
    /// text, json, or text on a terminal and json elsewhere (auto)
    #[arg(long, env = "LOG_FORMAT", default_value = "auto", global = true)]
    pub log_format: LogFormat,
    /// What to log, such as info or rollcall_ingress=debug,info [default: info]
    #[arg(long, env = "RUST_LOG", global = true)]
    pub rust_log: Option<String>,
}

/// Settings that were judged together.
#[derive(Debug)]
pub struct Checked {
    /// Where the queue is.
    pub queue: QueueUrl,
    /// Who signs deliveries.
    pub keys: Keys,
    /// How much and how long.
    pub limits: Limits,
    /// Who may come.
    pub networks: Networks,
    /// TLS on the public address.
    pub tls: Option<Tls>,
}

impl Settings {
    /// Reads secrets and files and judges everything together. Unknown variables with our prefixes and
    /// development-only values in production are refused.
    ///
    /// # Errors
    ///
    /// Names the setting and what is accepted; never shows a secret.
    pub fn check(&self) -> anyhow::Result<Checked> {
        rollcall_settings::refuse_unknown(
            rollcall_settings::ALL,
            rollcall_settings::environment_variables(),
        )?;
        let secret = resolve(SECRET, self.scalekit_webhook_secret.clone())?.with_context(|| {
            format!("{SECRET} is not set; accepted: whsec_… from the vendor's dashboard, here or in the file named by {SECRET}_FILE")
        })?;
        let queue = resolve_text(QUEUE_URL, self.queue_url.clone())?;
        let queue = queue.unwrap_or_else(|| "sqlite://data/queue.db".to_owned());
        let guarded = [(SECRET, secret.expose()), (QUEUE_URL, queue.as_str())];
        rollcall_settings::refuse_development_values(self.rollcall_env, guarded)?;
        Ok(Checked {
            queue: queue.parse().context(QUEUE_URL)?,
            keys: secret.expose().parse().context(SECRET)?,
            limits: Limits {
                body: self.max_body,
                in_flight: self.max_in_flight,
                connections: self.max_connections,
                ..Limits::default()
            },
            networks: Networks {
                allowed_sources: self.allowed_sources.clone(),
                trusted_proxies: self.trusted_proxies.clone(),
                require_https: self.require_https,
            },
            tls: self.tls()?,
        })
    }

    /// Binds the addresses, connects to the queue, and serves until SIGTERM or SIGINT.
    ///
    /// # Errors
    ///
    /// An address that cannot be bound, or a queue that can never be used. One that is merely down is no
    /// error: deliveries are answered 503 until it is back.
    pub async fn serve(&self, checked: Checked, metrics: Metrics) -> anyhow::Result<()> {
        let mut stop = pin!(stop()?);
        let parts = tokio::select! {
            parts = self.parts(checked, metrics) => parts?,
            () = &mut stop => return Ok(()),
        };
        run(parts, stop).await
    }

    async fn parts(&self, checked: Checked, metrics: Metrics) -> anyhow::Result<Parts> {
        let Checked { queue, keys, limits, networks, tls } = checked;
        let listener = bind("LISTEN", self.listen).await?;
        let ops_listener = bind("OPS_LISTEN", self.ops_listen).await?;
        let publisher =
            Publisher::start(&queue, &rollcall_queue::Options::default()).await.context(QUEUE_URL)?;
        let (verifier, clock) = (Verifier::new(keys), rollcall_event::clock::now);
        Ok(Parts { listener, ops_listener, publisher, verifier, metrics, clock, limits, networks, tls })
    }

    /// The address that answers plain HTTP to a health check.
    pub fn health_address(&self) -> SocketAddr {
        if given(self.tls_cert.as_ref()).is_some() { self.ops_listen } else { self.listen }
    }

    fn tls(&self) -> anyhow::Result<Option<Tls>> {
        match (given(self.tls_cert.as_ref()), given(self.tls_key.as_ref())) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => {
                Tls::load(certificate.clone(), key.clone()).map(Some).context("TLS_CERT and TLS_KEY")
            }
            (Some(_), None) => anyhow::bail!("TLS_CERT is set and TLS_KEY is not; accepted: both or none"),
            (None, Some(_)) => anyhow::bail!("TLS_KEY is set and TLS_CERT is not; accepted: both or none"),
        }
    }
}

/// Ready at SIGTERM or SIGINT. Asked for first of all: a stop may come while everything else still starts, and the first
/// process of a container is not ended by a signal it does not listen to.
fn stop() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    })
}

async fn bind(name: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{name}: cannot listen on {address}"))
}

/// An empty variable, as compose files leave behind, is one that is not set.
fn given(path: Option<&PathBuf>) -> Option<&PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

fn at_least_one(text: &str) -> Result<usize, SettingError> {
    // More permits than this is no limit, and a semaphore does not take them all.
    let read = text.trim().parse().ok().filter(|number| (1..=1_000_000).contains(number));
    read.ok_or_else(|| unreadable(text, "a whole number from 1 to 1000000"))
}

fn switch(text: &str) -> Result<bool, SettingError> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" | "" => Ok(false),
        _ => Err(unreadable(text, "true or false")),
    }
}

fn unreadable(text: &str, accepted: &str) -> SettingError {
    SettingError::Unreadable { value: text.to_owned(), accepted: accepted.to_owned() }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[test]
    fn flags_are_taken_before_and_after_the_command() {
        Cli::command().debug_assert();
        for line in [
            "rollcall-ingress --listen 127.0.0.1:1 --require-https",
            "rollcall-ingress run --listen 127.0.0.1:1 --require-https true",
            "rollcall-ingress --listen 127.0.0.1:1 run --require-https",
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(cli.settings.listen.port(), 1, "{line}");
            assert!(cli.settings.require_https, "{line}");
        }
    }

    #[test]
    fn a_wrong_value_names_its_setting_what_it_was_read_as_and_what_is_accepted() {
        for (flag, value) in [
            ("--max-body", "1MB"),
            ("--max-in-flight", "0"),
            ("--max-connections", "many"),
            ("--allowed-sources", "10.0.0.5/8"),
            ("--require-https", "perhaps"),
            ("--rollcall-env", "prod"),
        ] {
            let error = Cli::try_parse_from(["rollcall-ingress", flag, value]).unwrap_err().to_string();
            for part in [flag, value, "accepted: "] {
                assert!(error.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn help_names_every_setting_and_shows_no_secret() {
        let help = Cli::command().render_long_help().to_string();
        for name in [
            QUEUE_URL,
            SECRET,
            "LISTEN",
            "OPS_LISTEN",
            "MAX_BODY",
            "MAX_IN_FLIGHT",
            "MAX_CONNECTIONS",
            "ALLOWED_SOURCES",
            "TRUSTED_PROXIES",
            "REQUIRE_HTTPS",
            "TLS_CERT",
            "TLS_KEY",
            "ROLLCALL_ENV",
            "LOG_FORMAT",
            "RUST_LOG",
        ] {
            assert!(help.contains(&format!("[env: {name}")), "{name}");
        }
    }
}
