//! What came of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::oracles::Broken;
use super::watch::Taken;

/// The figures of one run.
#[derive(Debug, Default)]
pub struct Report {
    /// The fault's name, `F16`.
    pub fault: &'static str,
    /// What it does.
    pub title: &'static str,
    /// Plays the run again.
    pub seed: u64,
    /// How long each phase took.
    pub phases: Vec<(&'static str, Duration)>,
    /// Events told by the company.
    pub events: usize,
    /// Requests answered 201.
    pub accepted: usize,
    /// How often the door answered what; 0 stands for no answer.
    pub answers: BTreeMap<u16, usize>,
    /// The slowest answer.
    pub slowest: Duration,
    /// Accepted and nowhere to be found.
    pub lost: usize,
    /// Counted more than once.
    pub duplicated: usize,
    /// Back after a deletion, or fallen behind.
    pub resurrected: usize,
    /// Dead letters that should not be.
    pub dead_wrongly: usize,
    /// Dead letters there are.
    pub dead: usize,
    /// From the end of the faults to the first new delivery taken.
    pub door_recovered: Option<Duration>,
    /// From the end of the faults to the first new delivery committed.
    pub recovered: Option<Duration>,
    /// The most memory (KiB) and files each process took.
    pub(super) taken: BTreeMap<String, Taken>,
    /// What the fault itself measured.
    pub notes: Vec<String>,
    /// What did not hold; empty when all did.
    pub broken: Vec<Broken>,
    /// Where the logs were kept, when something did not hold.
    pub logs: Option<PathBuf>,
}

impl Report {
    /// Whether everything held.
    pub fn holds(&self) -> bool {
        self.broken.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.holds() { "holds" } else { "BROKEN" };
        writeln!(f, "{:<4} seed {:<3} {verdict}: {}", self.fault, self.seed, self.title)?;
        let phases = self.phases.iter().map(|(name, took)| format!("{name} {:.1} s", took.as_secs_f64()));
        writeln!(f, "     {}", phases.collect::<Vec<_>>().join(", "))?;
        let answers: Vec<_> =
            self.answers.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        writeln!(
            f,
            "     {} events, {} accepted (answers {}; slowest {:.1} s); lost {}, duplicated {}, resurrected {}, \
             dead {} of which wrongly {}",
            self.events,
            self.accepted,
            answers.join(", "),
            self.slowest.as_secs_f64(),
            self.lost,
            self.duplicated,
            self.resurrected,
            self.dead,
            self.dead_wrongly
        )?;
        let seconds =
            |time: Option<Duration>| time.map_or("-".to_owned(), |it| format!("{:.1} s", it.as_secs_f64()));
        let taken =
            self.taken.iter().map(|(name, it)| format!("{name} {} MiB {} files", it.memory / 1024, it.files));
        write!(
            f,
            "     recovered: door {}, committed {}; most taken: {}",
            seconds(self.door_recovered),
            seconds(self.recovered),
            taken.collect::<Vec<_>>().join(", ")
        )?;
        self.notes.iter().try_for_each(|note| write!(f, "\n     {note}"))?;
        self.broken.iter().try_for_each(|broken| write!(f, "\n     {broken}"))?;
        match &self.logs {
            Some(logs) => write!(f, "\n     logs: {}", logs.display()),
            None => Ok(()),
        }
    }
}
