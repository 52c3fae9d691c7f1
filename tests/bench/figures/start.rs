//! From the start of a process until it says that it is ready.

use std::time::{Duration, Instant};

use anyhow::ensure;
use rollcall_tests::TestBed;

use crate::deliveries::Population;
use crate::figure::{Figure, Wanted};
use crate::load::Connection;
use crate::stage::Stage;

const NAME: &str = "start";
const READY: &[u8] = b"GET /readyz HTTP/1.1\r\nhost: rollcall\r\n\r\n";

pub(crate) async fn measure(stage: &Stage) -> anyhow::Result<Vec<Figure>> {
    let (queue, database) = (stage.queue().await?, stage.database(Population::of(100)).await?);
    let (mut doors, mut workers) = (Vec::new(), Vec::new());
    for _ in 0..stage.rounds + 2 {
        let mut bed = TestBed::on(&queue, &database)?;
        let began = Instant::now();
        bed.launch_ingress()?;
        doors.push(ready(&bed.ops, began).await?);
        let began = Instant::now();
        bed.launch_worker()?;
        workers.push(ready(&bed.admin, began).await?);
    }
    let wanted = Wanted::AtMost(300.0);
    Ok(vec![
        Figure::alone(NAME, "rollcall-ingress, start to ready", "ms", &doors, wanted),
        Figure::alone(NAME, "rollcall-worker, start to ready", "ms", &workers, wanted),
    ])
}

/// Milliseconds since `began` when `/readyz` first answers 200.
async fn ready(address: &str, began: Instant) -> anyhow::Result<f64> {
    while began.elapsed() < Duration::from_secs(30) {
        if let Ok(mut connection) = Connection::open(address).await
            && let Ok(answer) = connection.exchange(READY).await
            && answer.status == 200
        {
            return Ok(began.elapsed().as_secs_f64() * 1000.0);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    ensure!(false, "not ready within 30 s");
    Ok(f64::NAN)
}
