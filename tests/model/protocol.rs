//! States, steps and properties.

use stateright::{Model, Property};

/// What keeps the promises. Each can be taken out alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// The door answers 201 only once the queue has confirmed.
    pub(crate) answer_after_confirm: bool,
    /// Repeats are known by the database, not by what the door remembers having seen.
    pub(crate) dedupe_in_the_database: bool,
    /// A message is acknowledged only after the commit.
    pub(crate) acknowledge_after_commit: bool,
    /// A retry is stored before the original is acknowledged.
    pub(crate) store_retry_before_acknowledging: bool,
    /// The record of an event has a unique key, in the same transaction.
    pub(crate) record_once: bool,
    /// Version check and write are one statement.
    pub(crate) conditional_write: bool,
    /// A deletion is a status, not a missing row.
    pub(crate) keep_tombstones: bool,
    /// Two events of one instant have an order: a removal is the higher.
    pub(crate) total_order: bool,
}

impl Rules {
    pub(crate) const ALL: Self = Self {
        answer_after_confirm: true,
        dedupe_in_the_database: true,
        acknowledge_after_commit: true,
        store_retry_before_acknowledging: true,
        record_once: true,
        conditional_write: true,
        keep_tombstones: true,
        total_order: true,
    };
}

const EVENTS: usize = 3;
const WORKERS: usize = 2;

/// An event: instant and whether it takes access away. The last two share an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Version(u8, bool);

const VERSIONS: [Version; EVENTS] = [Version(1, false), Version(2, false), Version(2, true)];

/// A request at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Request {
    Received,
    Stored,
}

/// A worker's place in its work; the number is the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Worker {
    Idle,
    Holding(usize),
    /// Only without the rule of one statement: it has read a version and will write by it.
    Read(usize, Option<Version>),
    /// Only without the rule of acknowledging last: the broker has forgotten the message already.
    Acknowledged(usize),
    Committed(usize),
    /// A retry is stored; the original is still to be acknowledged.
    RetryStored(usize),
    /// Only without the rule of storing first: acknowledged, the retry still to be stored.
    RetryOwed(usize),
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    answered: [bool; EVENTS],
    /// How often the sender may still send each.
    sends: [u8; EVENTS],
    door: [Option<Request>; EVENTS],
    remembered: [bool; EVENTS],
    queue: [u8; EVENTS],
    workers: [Worker; WORKERS],
    /// The person's row: its version; `None` while there is none.
    row: Option<Version>,
    recorded: [u8; EVENTS],
    door_crashes: u8,
    worker_crashes: u8,
    failures: u8,
    /// Set for ever once a write lowered the version or revived a leaver.
    went_back: bool,
    /// The highest version ever written, whatever became of the row.
    highest: Option<Version>,
}

/// One step of one party.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Send(usize),
    Store(usize),
    Answer(usize),
    CrashDoor,
    Take(usize, usize),
    Work(usize),
    /// The attempt meets something that may pass.
    Fail(usize),
    CrashWorker(usize),
}

/// How much may go wrong in one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) door_crashes: u8,
    pub(crate) worker_crashes: u8,
    /// Attempts that meet something that may pass.
    pub(crate) failures: u8,
}

pub(crate) struct Protocol {
    pub(crate) rules: Rules,
    pub(crate) bound: Bound,
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            answered: [false; EVENTS],
            sends: [2; EVENTS],
            door: [None; EVENTS],
            remembered: [false; EVENTS],
            queue: [0; EVENTS],
            workers: [Worker::Idle; WORKERS],
            row: None,
            recorded: [0; EVENTS],
            door_crashes: self.bound.door_crashes,
            worker_crashes: self.bound.worker_crashes,
            failures: self.bound.failures,
            went_back: false,
            highest: None,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for event in 0..EVENTS {
            // One request of an event at a time, and none after the answer: a repeat after it is a repeat
            // whose answer was lost, which the crash of the door stands for.
            if !state.answered[event] && state.sends[event] > 0 && state.door[event].is_none() {
                steps.push(Step::Send(event));
            }
        }
        for (event, request) in state.door.iter().enumerate() {
            match request {
                Some(Request::Received) => steps.push(Step::Store(event)),
                Some(Request::Stored) => steps.push(Step::Answer(event)),
                None => {}
            }
        }
        if state.door_crashes > 0 && state.door.iter().any(Option::is_some) {
            steps.push(Step::CrashDoor);
        }
        for (worker, doing) in state.workers.iter().enumerate() {
            if *doing == Worker::Idle {
                let waiting = (0..EVENTS).filter(|&event| state.queue[event] > 0);
                steps.extend(waiting.map(|event| Step::Take(worker, event)));
                continue;
            }
            steps.push(Step::Work(worker));
            if matches!(doing, Worker::Holding(_)) && state.failures > 0 {
                steps.push(Step::Fail(worker));
            }
            if state.worker_crashes > 0 {
                steps.push(Step::CrashWorker(worker));
            }
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = before.clone();
        match step {
            Step::Send(event) => self.receive(&mut state, event),
            Step::Store(event) => self.store(&mut state, event),
            Step::Answer(event) => {
                state.door[event] = None;
                state.answered[event] = true;
            }
            Step::CrashDoor => {
                state.door_crashes -= 1;
                state.door = [None; EVENTS];
            }
            Step::Take(worker, event) => {
                state.queue[event] -= 1;
                state.workers[worker] = Worker::Holding(event);
            }
            Step::Work(worker) => self.work(&mut state, worker),
            Step::Fail(worker) => self.fail(&mut state, worker),
            Step::CrashWorker(worker) => {
                state.worker_crashes -= 1;
                // What was not acknowledged comes again.
                if let Worker::Holding(event)
                | Worker::Read(event, _)
                | Worker::Committed(event)
                | Worker::RetryStored(event) = state.workers[worker]
                {
                    state.queue[event] += 1;
                }
                state.workers[worker] = Worker::Idle;
            }
        }
        // The workers are alike: which of them does what makes no other state.
        state.workers.sort_unstable();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("O1", |_, state: &State| {
                !state.is_at_rest()
                    || (0..EVENTS).all(|event| !state.answered[event] || state.recorded[event] > 0)
            }),
            Property::always("O3", |_, state: &State| state.recorded.iter().all(|&times| times <= 1)),
            Property::always("O4", |_, state: &State| {
                let recorded = (0..EVENTS).filter(|&event| state.recorded[event] > 0);
                !state.is_at_rest() || state.row == recorded.map(|event| VERSIONS[event]).max()
            }),
            Property::always("O5", |_, state: &State| !state.went_back),
            // Else the promises that only count at rest would be kept by never resting.
            Property::sometimes("done", |_, state: &State| {
                state.is_at_rest() && state.recorded == [1; EVENTS]
            }),
        ]
    }
}

impl Protocol {
    fn receive(&self, state: &mut State, event: usize) {
        state.sends[event] -= 1;
        if !self.rules.dedupe_in_the_database && state.remembered[event] {
            state.answered[event] = true;
            return;
        }
        state.remembered[event] = true;
        if !self.rules.answer_after_confirm {
            state.answered[event] = true;
        }
        state.door[event] = Some(Request::Received);
    }

    fn store(&self, state: &mut State, event: usize) {
        state.queue[event] += 1;
        state.door[event] = Some(Request::Stored);
    }

    fn work(&self, state: &mut State, worker: usize) {
        state.workers[worker] = match state.workers[worker] {
            Worker::Holding(event) if !self.rules.acknowledge_after_commit => Worker::Acknowledged(event),
            Worker::Holding(event) if !self.rules.conditional_write => Worker::Read(event, state.row),
            Worker::Holding(event) => {
                let row = state.row;
                self.commit(state, event, row);
                Worker::Committed(event)
            }
            Worker::Read(event, seen) => {
                self.commit(state, event, seen);
                Worker::Committed(event)
            }
            Worker::Acknowledged(event) => {
                let row = state.row;
                self.commit(state, event, row);
                Worker::Idle
            }
            Worker::RetryOwed(event) => {
                state.queue[event] += 1;
                Worker::Idle
            }
            Worker::Committed(_) | Worker::RetryStored(_) | Worker::Idle => Worker::Idle,
        };
    }

    fn fail(&self, state: &mut State, worker: usize) {
        let Worker::Holding(event) = state.workers[worker] else { return };
        state.failures -= 1;
        state.workers[worker] = if self.rules.store_retry_before_acknowledging {
            state.queue[event] += 1;
            Worker::RetryStored(event)
        } else {
            Worker::RetryOwed(event)
        };
    }

    /// One transaction: the record, and the row if the event is newer than what was `seen`.
    fn commit(&self, state: &mut State, event: usize, seen: Option<Version>) {
        if self.rules.record_once && state.recorded[event] > 0 {
            return;
        }
        state.recorded[event] += 1;
        let version = VERSIONS[event];
        let newer = if self.rules.total_order {
            seen.is_none_or(|seen| version > seen)
        } else {
            seen.is_none_or(|seen| version.0 >= seen.0)
        };
        if !newer {
            return;
        }
        state.went_back |= state.highest.is_some_and(|highest| version < highest);
        state.highest = state.highest.max(Some(version));
        state.row = if version.1 && !self.rules.keep_tombstones { None } else { Some(version) };
    }
}

impl State {
    /// Nothing is under way: no request, no message, no worker at work.
    fn is_at_rest(&self) -> bool {
        self.door == [None; EVENTS]
            && self.queue == [0; EVENTS]
            && self.workers.iter().all(|doing| *doing == Worker::Idle)
    }
}
