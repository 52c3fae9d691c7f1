//! The faults of every test run: short loads, the same scripts and checks as `cargo xtask chaos`.
//!
//! A test per way of going wrong, each with a few faults one after the other: servers are started once.

mod embedded;

use rollcall_tests::chaos::{Scale, Servers, find, perform};

/// Any; `cargo xtask chaos` tries others.
const SEED: u64 = 7;

/// Carries out these faults and fails at the end if one of them broke something.
#[expect(clippy::print_stdout, reason = "a fault's figures are worth reading when nothing broke")]
async fn withstands(names: &[&str], seeds: std::ops::Range<u64>) -> anyhow::Result<()> {
    let faults = names.iter().map(|name| find(name)).collect::<anyhow::Result<Vec<_>>>()?;
    let private = faults.iter().any(|fault| fault.breaks_servers);
    let servers = if private { Servers::private().await? } else { Servers::shared().await? };
    let mut broken = Vec::new();
    for seed in seeds {
        for fault in &faults {
            let report = perform(fault, &servers, seed, Scale::Short).await?;
            println!("{report}");
            if !report.holds() {
                broken.push(report.to_string());
            }
        }
    }
    anyhow::ensure!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}

macro_rules! withstands {
    ($($test:ident: [$($fault:literal),*]),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() -> anyhow::Result<()> {
            withstands(&[$($fault),*], SEED..SEED + 1).await
        })*
    };
}

withstands![
    // Each point three times per run, after another number of passes each time: the crash matrix.
    a_door_that_aborts_anywhere_loses_nothing_it_promised: ["F1", "F2", "F3"],
    a_worker_that_aborts_around_a_transaction_applies_everything_once: ["F16", "F17", "F18"],
    a_worker_that_aborts_between_a_copy_and_its_acknowledgement_keeps_one: ["F19", "F20"],
    a_message_that_kills_workers_ends_as_a_dead_letter_and_its_neighbours_live: ["F33"],
    a_broker_that_is_refused_killed_or_restarted_costs_nothing: ["F4", "F5", "F6"],
    a_broker_without_disk_or_memory_is_answered_with_503: ["F7", "F8"],
    a_queue_that_is_full_or_gone_is_answered_with_503: ["F9", "F10", "E2"],
    a_restarted_or_killed_database_costs_no_message_an_attempt: ["F22", "F23"],
    a_database_that_is_away_or_read_only_gives_up_on_nothing: ["E1", "F24", "F26", "F27"],
    both_binaries_can_be_stopped_at_any_time: ["F14", "F15", "E3"],
    workers_that_cross_and_repeat_end_in_one_state: ["F28", "F29", "F34", "F35"],
    no_order_revives_anybody: ["F36", "F37", "F39", "F40", "F44"],
    poison_and_wrong_clocks_end_where_they_must: ["F38", "F41"],
    a_leaver_overtakes_twenty_thousand_creations: ["E4"],
    twenty_thousand_events_end_as_told: ["E5"],
];
