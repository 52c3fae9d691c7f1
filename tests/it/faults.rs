//! The faults of every test run: short loads, the same scripts and checks as `cargo xtask chaos`.

use rollcall_tests::chaos::{Scale, Servers, find, perform};

/// Any; `cargo xtask chaos` tries others.
const SEED: u64 = 7;

async fn withstands(name: &str) -> anyhow::Result<()> {
    let fault = find(name)?;
    let servers = if fault.breaks_servers { Servers::private().await? } else { Servers::shared().await? };
    let report = perform(&fault, &servers, SEED, Scale::Short).await?;
    println!("{report}");
    anyhow::ensure!(report.holds(), "{report}");
    Ok(())
}

/// A test per fault, each with private servers where the fault breaks them.
macro_rules! withstands {
    ($($test:ident: $fault:literal),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() -> anyhow::Result<()> {
            withstands($fault).await
        })*
    };
}

withstands![
    a_worker_that_dies_before_it_begins_loses_nothing: "F16",
    a_worker_that_dies_in_a_transaction_leaves_no_half_of_it: "F17",
    a_worker_that_dies_before_acknowledging_applies_nothing_twice: "F18",
    a_restarted_database_costs_no_message_an_attempt: "F22",
];
