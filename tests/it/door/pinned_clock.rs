//! The door in process, at a time the test chooses. Rows S1, S16, S26; and what only a broken part shows.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use chrono::{DateTime, Utc};
use rollcall_event::clock::{self, Clock};
use rollcall_ingress::{Limits, Networks, Parts, run};
use rollcall_queue::{Options, Publisher, QueueUrl};
use rollcall_signature::{HeaderFamily, Keys, Verifier};
use rollcall_telemetry::Metrics;
use rollcall_tests::Folder;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::bed::{loopback, published};
use super::delivery::{Delivery, key};
use super::wire::{Answer, Wire};

struct Door {
    address: SocketAddr,
    queue: QueueUrl,
    stop: oneshot::Sender<()>,
    running: JoinHandle<anyhow::Result<()>>,
    _folder: Folder,
}

impl Door {
    async fn open(keys: Keys, clock: Clock, limits: Limits) -> anyhow::Result<Self> {
        let folder = Folder::new("pinned")?;
        let queue: QueueUrl = format!("sqlite://{}", folder.join("queue.db").display()).parse()?;
        let listener = TcpListener::bind(loopback(0)).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let parts = Parts {
            listener,
            ops_listener: TcpListener::bind(loopback(0)).await?,
            publisher: Publisher::start(&queue, &Options::default()).await?,
            verifier: Verifier::new(keys),
            metrics: Metrics::detached(),
            clock,
            limits,
            networks: Networks::default(),
            tls: None,
        };
        let running = tokio::spawn(run(parts, async {
            let _ = stopped.await;
        }));
        Ok(Self { address, queue, stop, running, _folder: folder })
    }

    async fn post(&self, delivery: &Delivery) -> anyhow::Result<Answer> {
        Wire::connect(self.address).await?.exchange(&delivery.request()).await
    }

    async fn close(self) -> anyhow::Result<()> {
        let _ = self.stop.send(());
        self.running.await?
    }
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("a time of this century")
}

/// S1: the values every Standard Webhooks library is tested with.
#[tokio::test]
async fn the_published_vectors_are_accepted_at_their_time() -> anyhow::Result<()> {
    let vectors: [(&str, &str, i64, &str, &str, Clock); 2] = [
        (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            || at(1_614_265_330),
        ),
        (
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            r#"{"email":"test@example.com","username":"test_user"}"#,
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            || at(1_649_367_553),
        ),
    ];
    for (secret, id, timestamp, body, signature, clock) in vectors {
        let door = Door::open(secret.parse()?, clock, Limits::default()).await?;
        let headers = [
            ("id", id.to_owned()),
            ("timestamp", timestamp.to_string()),
            ("signature", signature.to_owned()),
        ];
        let headers = headers.map(|(name, value)| (format!("webhook-{name}"), value.into_bytes()));
        let answer = door.post(&Delivery { headers: headers.to_vec(), body: body.into() }).await?;
        ensure!(
            answer.status == 201 && answer.text() == format!(r#"{{"status":"accepted","id":"{id}"}}"#),
            "{answer:?}"
        );
        ensure!(published(&door.queue).await? == 1);
        door.close().await?;
    }
    Ok(())
}

const SIGNED: i64 = 1_788_250_000;
static NOW: AtomicI64 = AtomicI64::new(SIGNED);

/// S16, S25, S26, to the second.
#[tokio::test]
async fn three_hundred_seconds_either_way_are_near_enough() -> anyhow::Result<()> {
    let door = Door::open(key().into(), || at(NOW.load(Ordering::SeqCst)), Limits::default()).await?;
    let delivery = Delivery::signed_by(&key(), HeaderFamily::Webhook, "msg_1", at(SIGNED), "{}");
    let mut accepted = 0;
    for (age, status) in
        [(0, 201), (299, 201), (300, 201), (301, 400), (-300, 201), (-301, 400), (i64::MAX / 2_000_000, 400)]
    {
        NOW.store(SIGNED + age, Ordering::SeqCst);
        let answer = door.post(&delivery).await?;
        ensure!(answer.status == status, "at {age}: {answer:?}");
        accepted += u64::from(status == 201);
    }
    ensure!(published(&door.queue).await? == accepted);
    door.close().await
}

/// The clock is the one part a test can break inside the handler.
#[tokio::test]
async fn a_defect_in_the_handler_is_a_503_and_the_connection_goes_on() -> anyhow::Result<()> {
    let door = Door::open(key().into(), || panic!("no time"), Limits::default()).await?;
    let mut wire = Wire::connect(door.address).await?;
    for _ in 0..3 {
        let answer = wire.exchange(&Delivery::ordinary("msg_1").request()).await?;
        ensure!(answer.status == 503 && answer.retry_after() == Some(10), "{answer:?}");
    }
    ensure!(wire.exchange(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await?.status == 200);
    door.close().await
}

/// S37: idle for as long as allowed and no longer. The time itself is the default the binary runs with.
#[tokio::test]
async fn a_kept_connection_may_be_idle_for_as_long_as_allowed() -> anyhow::Result<()> {
    ensure!(Limits::default().idle_time == Duration::from_secs(60));
    let idle_time = Duration::from_millis(700);
    let limits = Limits { idle_time, head_time: Duration::from_millis(200), ..Limits::default() };
    let door = Door::open(key().into(), clock::now, limits).await?;
    let mut wire = Wire::connect(door.address).await?;
    for _ in 0..3 {
        ensure!(wire.exchange(&Delivery::ordinary("msg_1").request()).await?.status == 201);
        // Longer than a head may take: idleness is another thing.
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    ensure!(wire.exchange(&Delivery::ordinary("msg_1").request()).await?.status == 201);
    let began = Instant::now();
    wire.closed(Duration::from_secs(10)).await?;
    ensure!(began.elapsed() >= idle_time, "closed after {:?}", began.elapsed());
    door.close().await
}

/// A client that asks and asks and never listens must not hold its connection for ever.
#[tokio::test]
async fn a_client_that_takes_no_answers_is_left() -> anyhow::Result<()> {
    let limits = Limits { body_time: Duration::from_millis(500), ..Limits::default() };
    let door = Door::open(key().into(), clock::now, limits).await?;
    let mut stream = tokio::net::TcpStream::connect(door.address).await?;
    let questions = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    let writing = async {
        // Ends when the door is gone: until then its answers and our questions pile up in the kernel.
        while tokio::io::AsyncWriteExt::write_all(&mut stream, &questions).await.is_ok() {}
    };
    tokio::time::timeout(Duration::from_secs(30), writing).await?;
    door.close().await
}
