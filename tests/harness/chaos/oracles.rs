//! What must hold after every run.

mod answers;
mod processes;
mod tables;

use std::fmt;

use super::run::Run;

/// Offenders shown of each broken oracle.
const SHOWN: usize = 10;

/// Something that does not hold.
#[derive(Debug, Clone)]
pub struct Broken {
    /// `O1` to `O10`, or `script` where the fault could not be carried out.
    pub oracle: &'static str,
    /// In words.
    pub what: String,
    /// How many.
    pub count: usize,
    /// The first of them.
    pub offenders: Vec<String>,
}

impl Broken {
    pub(super) fn new(oracle: &'static str, what: impl Into<String>, mut offenders: Vec<String>) -> Self {
        let count = offenders.len();
        offenders.truncate(SHOWN);
        Self { oracle, what: what.into(), count, offenders }
    }

    pub(super) fn script(error: &anyhow::Error) -> Self {
        Self::new("script", format!("{error:#}"), Vec::new())
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.oracle, self.what)?;
        if self.count > 0 {
            write!(f, " ({}): {}", self.count, self.offenders.join("; "))?;
        }
        Ok(())
    }
}

/// Looks at everything and puts what does not hold into the report.
pub(super) async fn check(run: &mut Run) -> anyhow::Result<()> {
    let mut broken = Vec::new();
    broken.extend(answers::honest(run));
    broken.extend(answers::recovered(run));
    broken.extend(processes::bounded(run));
    tables::check(run, &mut broken).await?;
    run.report.broken.extend(broken.into_iter().filter(|broken| broken.count > 0));
    Ok(())
}
