//! `send-test-event`: the whole way, door to database, with an event of our own.

use std::time::{Duration, Instant};

use anyhow::Context;
use rollcall_event::{Source, clock};
use rollcall_settings::resolve;
use rollcall_signature::{HeaderFamily, Keys, signed_headers};
use rollcall_store::Store;
use serde_json::json;

use crate::cli::say;
use crate::settings::Settings;

const SECRET: &str = "SCALEKIT_WEBHOOK_SECRET";

/// What `send-test-event` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The door
    #[arg(long, default_value = "http://127.0.0.1:8080/webhooks/scalekit")]
    url: String,
    /// The event's type; the default is only recorded and touches nobody
    #[arg(long = "type", default_value = "rollcall.test")]
    kind: String,
    /// The organization
    #[arg(long, default_value = "org_rollcall_test")]
    org: String,
    /// The person, for user events
    #[arg(long, default_value = "diruser_rollcall_test")]
    user: String,
    /// The person's e-mail, for user events
    #[arg(long, default_value = "test@rollcall.invalid")]
    email: String,
    /// Post it and do not wait for the database
    #[arg(long)]
    no_wait: bool,
    /// The signing secret, whsec_…; the first is used [file: SCALEKIT_WEBHOOK_SECRET_FILE]
    #[arg(long, env = SECRET, hide_env_values = true)]
    scalekit_webhook_secret: Option<String>,
}

/// For the door's answer, and then for the commit.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends the event and waits for its commit; false if the door refused it or no commit came in time.
pub(crate) async fn send(store: &Store, settings: &Settings, args: Args) -> anyhow::Result<bool> {
    let secret = resolve(SECRET, args.scalekit_webhook_secret.clone())?;
    let secret = secret.with_context(|| {
        format!("{SECRET} is not set; accepted: whsec_…, here or in the file named by {SECRET}_FILE")
    })?;
    let keys: Keys = secret.expose().parse().context(SECRET)?;
    let key = keys.iter().next().context(SECRET)?;
    let now = clock::now();
    let id = format!("evt_test_{}", now.timestamp_nanos_opt().unwrap_or_default());
    let body = body(settings, &args, &id, now.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true));
    let delivery = id.replacen("evt_", "msg_", 1);
    let headers = signed_headers(key, HeaderFamily::Webhook, &delivery, now, body.as_bytes());
    let mut request = http_client()?.post(&args.url).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let started = Instant::now();
    let answer = request.body(body).send().await.with_context(|| format!("posting to {}", args.url))?;
    let (status, took) = (answer.status(), started.elapsed());
    say(format_args!("{id}: the door answered {status} after {} ms", took.as_millis()))?;
    if status != 201 || args.no_wait {
        return Ok(status == 201);
    }
    let deadline = started + PATIENCE;
    while Instant::now() < deadline {
        if let Some(outcome) = store.event_outcome(Source::Scalekit, &id).await? {
            say(format_args!("{id}: {outcome}, committed after {} ms", started.elapsed().as_millis()))?;
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    say(format_args!("{id}: not committed within {} s; is the worker running?", PATIENCE.as_secs()))?;
    Ok(false)
}

fn http_client() -> anyhow::Result<reqwest::Client> {
    // The default only where nothing else was chosen: an error means that it was.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none());
    client.build().context("making an HTTP client")
}

fn body(settings: &Settings, args: &Args, id: &str, occurred_at: String) -> String {
    let environment = settings.scalekit_environment_id.clone().filter(|id| !id.is_empty());
    let mut data = json!({ "organization_id": args.org });
    if args.kind.starts_with("organization.directory.user_") {
        data["id"] = json!(args.user);
        data["email"] = json!(args.email);
    }
    if matches!(
        args.kind.as_str(),
        "organization.directory.user_created" | "organization.directory.user_updated"
    ) {
        data["active"] = json!(true);
        data["name"] = json!("Rollcall Test");
        data["groups"] = json!([]);
    }
    let event = json!({
        "spec_version": "1",
        "id": id,
        "type": args.kind,
        "occurred_at": occurred_at,
        "environment_id": environment.unwrap_or_else(|| "env_rollcall_test".to_owned()),
        "organization_id": args.org,
        "object": "DirectoryUser",
        "data": data,
    });
    event.to_string()
}
