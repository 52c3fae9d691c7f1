//! The protocol between sender, door, queue, two workers and the database, small enough to try every
//! interleaving of crashes, duplicates and reordering.
//!
//! One person, three events; the sender repeats what was not confirmed; the queue is a bag, so any order can
//! happen; door and workers may crash within a bound. Checked in every reachable state, or where nothing is
//! under way any more:
//!
//! - O1: every event answered 201 is recorded.
//! - O3: no event is recorded twice.
//! - O4: the person is as the fold of all events by version says.
//! - O5: the version in the database never falls, and nobody is active after a newer deletion.
//!
//! It does not run our code; it documents the rules our code follows, and each test below takes one of
//! them out and shows what then breaks.

mod protocol;

use protocol::{Bound, Protocol, Rules};
use stateright::{Checker, Model};

const PROPERTIES: [&str; 4] = ["O1", "O3", "O4", "O5"];

/// The door and a worker crash once each.
const CRASHES: Bound = Bound { door_crashes: 1, worker_crashes: 1, failures: 0 };

/// A worker crashes and an attempt fails.
const RETRIES: Bound = Bound { door_crashes: 0, worker_crashes: 1, failures: 1 };

/// The properties that some reachable state breaks.
fn broken(rules: Rules) -> Vec<&'static str> {
    let found = |bound| {
        let checker = Protocol { rules, bound }.checker().spawn_bfs().join();
        PROPERTIES.map(|property| checker.discovery(property).is_some())
    };
    let (crashes, retries) = (found(CRASHES), found(RETRIES));
    let either = (0..PROPERTIES.len()).filter(|&at| crashes[at] || retries[at]);
    either.map(|at| PROPERTIES[at]).collect()
}

#[test]
fn every_interleaving_within_the_bound_keeps_every_promise() {
    for bound in [CRASHES, RETRIES] {
        let checker = Protocol { rules: Rules::ALL, bound }.checker().spawn_bfs().join();
        checker.assert_properties();
        println!("{bound:?}: {} distinct states", checker.unique_state_count());
        // A bound that lets nothing happen would keep every promise too.
        assert!(checker.unique_state_count() > 10_000, "{}", checker.unique_state_count());
    }
}

#[test]
fn answering_before_the_confirm_loses_events() {
    assert_eq!(broken(Rules { answer_after_confirm: false, ..Rules::ALL }), ["O1"]);
}

#[test]
fn remembering_deliveries_at_the_door_loses_events() {
    assert_eq!(broken(Rules { dedupe_in_the_database: false, ..Rules::ALL }), ["O1"]);
}

#[test]
fn acknowledging_before_the_commit_loses_events() {
    assert_eq!(broken(Rules { acknowledge_after_commit: false, ..Rules::ALL }), ["O1"]);
}

#[test]
fn acknowledging_before_the_retry_is_stored_loses_events() {
    assert_eq!(broken(Rules { store_retry_before_acknowledging: false, ..Rules::ALL }), ["O1"]);
}

#[test]
fn recording_without_a_unique_key_records_twice() {
    assert_eq!(broken(Rules { record_once: false, ..Rules::ALL }), ["O3"]);
}

#[test]
fn reading_before_writing_goes_back() {
    assert_eq!(broken(Rules { conditional_write: false, ..Rules::ALL }), ["O4", "O5"]);
}

#[test]
fn removing_the_row_of_a_leaver_revives_them() {
    assert_eq!(broken(Rules { keep_tombstones: false, ..Rules::ALL }), ["O4", "O5"]);
}

#[test]
fn a_tie_that_arrival_decides_depends_on_the_order() {
    assert!(broken(Rules { total_order: false, ..Rules::ALL }).contains(&"O4"));
}
