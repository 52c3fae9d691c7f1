//! The same promises on the embedded queue and database.

use std::time::Duration;

use anyhow::ensure;
use rollcall_tests::TestBed;
use rollcall_tests::simulator::{Company, Plan};

const SEED: u64 = 7;

/// Long enough for a loaded machine; a deadline, not a wait.
const DONE: Duration = Duration::from_secs(200);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_events_end_as_told_on_the_embedded_queue() -> anyhow::Result<()> {
    let bed = TestBed::start().await?;
    let mut company = Company::new(SEED, 100);
    company.story(20_000);
    let plan = Plan { seed: SEED, duplicates: 0.2, renumbered: 0.0, late: 0.2, window: 40 };
    let deliveries = company.deliveries(&plan);
    let report = bed.sender().deliver_all(&deliveries, 16).await?;
    ensure!(report.given_up.is_empty(), "{} deliveries were not taken", report.given_up.len());
    println!("{} deliveries taken, slowest {:.1?}", report.accepted.len(), report.slowest);
    bed.becomes(&company.truth(), DONE).await?;
    bed.command(&["verify"]).await?.success().map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_binaries_killed_under_load_lose_nothing_on_the_embedded_queue() -> anyhow::Result<()> {
    let mut bed = TestBed::start().await?;
    let mut company = Company::new(SEED, 40);
    company.story(1_500);
    let deliveries = company.deliveries(&Plan::rough(SEED));
    let sender = bed.sender().schedule(vec![Duration::from_millis(200); 300]);
    let sending = tokio::spawn(async move { sender.deliver_all(&deliveries, 8).await });
    for _ in 0..3 {
        let before = bed.export().await?.len();
        rollcall_tests::eventually(DONE, async || {
            let now = bed.export().await?.len();
            ensure!(now > before || sending.is_finished(), "{now} people, as before");
            Ok(())
        })
        .await?;
        bed.worker()?.sigkill().await?;
        bed.ingress()?.sigkill().await?;
        bed.start_both().await?;
    }
    let report = sending.await??;
    ensure!(report.given_up.is_empty(), "{} deliveries were not taken", report.given_up.len());
    println!("answers {:?}", report.answers);
    bed.becomes(&company.truth(), DONE).await?;
    bed.command(&["verify"]).await?.success().map(drop)
}
