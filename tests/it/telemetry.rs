//! What leaves a process besides its answers: a collector that listens, one that hangs, a log nobody reads.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rollcall_signature::{HeaderFamily, Key, signed_headers};
use rollcall_tests::http::Client;
use rollcall_tests::process::{Settings, run};
use rollcall_tests::{Folder, Service, bin, eventually, free_port};
use tokio::net::TcpListener;

const READY: Duration = Duration::from_secs(30);
const PATH: &str = "/webhooks/scalekit";
const BODY: &str = r#"{"spec_version":"1","id":"evt_1","type":"organization.directory.user_created","organization_id":"org_1","occurred_at":"2026-09-01T09:00:00Z","data":{"id":"diruser_1","email":"ada@example.com"}}"#;

/// What a collector was sent: path, content type, body.
type Received = Arc<Mutex<Vec<(String, String, Bytes)>>>;

/// A collector that keeps everything and answers 200.
async fn collector() -> anyhow::Result<(String, Received)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let received = Received::default();
    let keep = received.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let keep = keep.clone();
            let service = service_fn(move |request| collect(request, keep.clone()));
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    Ok((url, received))
}

async fn collect(request: Request<Incoming>, keep: Received) -> hyper::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let kind = head.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if let Ok(mut received) = keep.lock() {
        received.push((head.uri.path().to_owned(), kind.to_owned(), body));
    }
    Ok(Response::new(Full::new(Bytes::new())))
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// An ingress on the embedded queue, and how to reach it.
struct Door {
    folder: Folder,
    settings: Settings,
    key: Key,
    address: String,
    ops: String,
}

impl Door {
    fn new(more: &[(&str, &str)]) -> anyhow::Result<Self> {
        let key = Key::generate([7; 32]);
        let (address, ops) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        let mut settings: Settings =
            more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        settings.insert("SCALEKIT_WEBHOOK_SECRET".to_owned(), key.reveal());
        settings.insert("LISTEN".to_owned(), address.clone());
        settings.insert("OPS_LISTEN".to_owned(), ops.clone());
        Ok(Self { folder: Folder::new("telemetry")?, settings, key, address, ops })
    }

    async fn start(&self) -> anyhow::Result<Service> {
        let service =
            Service::start(&bin("rollcall-ingress")?, &["run"], &self.settings, self.folder.path())?;
        service.wait_until(&self.ops, "/readyz", READY).await?;
        Ok(service)
    }

    async fn deliver(&self, client: &mut Client, id: &str) -> anyhow::Result<u16> {
        let body = Bytes::from_static(BODY.as_bytes());
        let now = rollcall_event::clock::now();
        let headers = signed_headers(&self.key, HeaderFamily::Webhook, id, now, &body);
        Ok(client.post(PATH, &headers, body).await?.status.as_u16())
    }
}

#[tokio::test]
async fn a_collector_receives_the_span_and_the_count_of_a_delivery_and_no_person() -> anyhow::Result<()> {
    let (url, received) = collector().await?;
    let door = Door::new(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
        ("OTEL_SERVICE_NAME", "the-front-door"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=blue"),
        // Traces do not depend on how much is logged.
        ("RUST_LOG", "error"),
    ])?;
    let service = door.start().await?;
    ensure!(door.deliver(&mut Client::new(&door.address), "msg_traced").await? == 201);
    // Well before the intervals of 5 s and 60 s: the rest is pushed at the end.
    let (status, took) = service.sigterm().await?;
    ensure!(status.success() && took < Duration::from_secs(10), "{status} after {took:?}");

    let received = received.lock().ok().context("the collector panicked")?.clone();
    for (path, text) in [
        ("/v1/traces", "receive"),
        ("/v1/traces", "msg_traced"),
        ("/v1/metrics", "rollcall.deliveries"),
        ("/v1/metrics", "rollcall.publish"),
    ] {
        let found = received.iter().any(|(at, kind, body)| {
            at == path
                && kind == "application/x-protobuf"
                && holds(body, text)
                && holds(body, "the-front-door")
                && holds(body, "blue")
        });
        ensure!(found, "no {text} at {path} among {} requests", received.len());
    }
    for (path, _, body) in &received {
        ensure!(
            !holds(body, "ada@example.com") && !holds(body, &door.key.reveal()),
            "{path} names a person or a secret"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_collector_that_never_answers_delays_neither_deliveries_nor_the_end() -> anyhow::Result<()> {
    let hanging = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", hanging.local_addr()?);
    let door = Door::new(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url), ("OTEL_METRIC_EXPORT_INTERVAL", "100")])?;
    let service = door.start().await?;
    let mut client = Client::new(&door.address);
    for number in 0..50 {
        let started = Instant::now();
        ensure!(door.deliver(&mut client, &format!("msg_{number}")).await? == 201);
        ensure!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
    drop(client);
    let (status, took) = service.sigterm().await?;
    ensure!(status.success() && took < Duration::from_secs(15), "{status} after {took:?}");
    ensure!(service.log().contains("could not be pushed"), "{}", service.last_lines(5));
    Ok(())
}

#[tokio::test]
async fn a_log_that_nobody_reads_is_dropped_and_counted_while_deliveries_are_answered() -> anyhow::Result<()>
{
    // Debug, so that each refusal is a line also when its address has been refused too often.
    let door = Door::new(&[("RUST_LOG", "debug"), ("LOG_FORMAT", "json")])?;
    let mut command = Command::new(bin("rollcall-ingress")?);
    command.arg("run").current_dir(door.folder.path()).env_clear().envs(&door.settings);
    // A pipe whose other end is held open and never read.
    let mut process =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0).spawn()?;
    let answered = flood(&door).await;
    let ended = end(&mut process).await;
    answered?;
    let (status, took) = ended?;
    ensure!(status.success() && took < Duration::from_secs(15), "{status} after {took:?}");
    Ok(())
}

/// Fills pipe and queue, then looks whether the door still works.
async fn flood(door: &Door) -> anyhow::Result<()> {
    let ready = async || {
        let answer = Client::new(&door.ops).get("/readyz").await?;
        ensure!(answer.status == 200, "{}", answer.text());
        Ok(())
    };
    eventually(READY, ready).await?;
    let mut client = Client::new(&door.address);
    eventually(Duration::from_secs(120), async || {
        for _ in 0..500 {
            let started = Instant::now();
            let status = client.post(PATH, &[], Bytes::new()).await?.status.as_u16();
            ensure!([400, 429].contains(&status), "{status}");
            ensure!(started.elapsed() < Duration::from_secs(5), "an answer took {:?}", started.elapsed());
        }
        let metrics = Client::new(&door.ops).get("/metrics").await?.text();
        let line = metrics.lines().find_map(|line| line.strip_prefix("rollcall_log_dropped_total "));
        ensure!(line.context("no counter")?.parse::<f64>()? > 0.0, "nothing is dropped yet");
        Ok(())
    })
    .await?;
    ensure!(door.deliver(&mut client, "msg_after_the_flood").await? == 201);
    Ok(())
}

/// Asks a process to stop and waits for it; kills it if it does not.
async fn end(process: &mut std::process::Child) -> anyhow::Result<(std::process::ExitStatus, Duration)> {
    let started = Instant::now();
    rollcall_tests::terminate(process.id())?;
    let ended =
        eventually(Duration::from_secs(30), async || process.try_wait()?.context("it still runs")).await;
    if ended.is_err() {
        process.kill()?;
        process.wait()?;
    }
    Ok((ended?, started.elapsed()))
}

#[tokio::test]
async fn a_collector_that_cannot_be_spoken_to_is_refused_at_the_start_without_showing_its_password()
-> anyhow::Result<()> {
    for (name, value) in
        [("OTEL_EXPORTER_OTLP_ENDPOINT", "me:hunter2@collector:4317"), ("OTEL_TRACES_EXPORTER", "zipkin")]
    {
        let door = Door::new(&[(name, value)])?;
        let finished = run(&bin("rollcall-ingress")?, &["run"], &door.settings, door.folder.path()).await?;
        ensure!(finished.code == Some(1), "{name}: {:?}", finished.code);
        ensure!(
            finished.stderr.contains(name) && !finished.stderr.contains("hunter2"),
            "{}",
            finished.stderr
        );
    }
    Ok(())
}
