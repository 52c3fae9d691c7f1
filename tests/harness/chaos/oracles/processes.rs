//! O9: the processes stayed within bounds and none panicked.

use super::Broken;
use crate::chaos::run::Run;

/// Twice what an unoptimised build takes under these loads.
const MEMORY: u64 = 400 * 1024;

/// O9.
pub(super) fn bounded(run: &Run) -> Vec<Broken> {
    let logs = run.site.logs();
    let panics = logs.iter().flat_map(|(name, log)| {
        log.lines().filter(|line| line.contains("panicked")).map(move |line| format!("{name}: {line}"))
    });
    let taken = run.site.taken();
    let greedy = taken.iter().filter(|(_, taken)| taken.memory > MEMORY || taken.files > run.rules.files);
    let greedy = greedy.map(|(name, it)| format!("{name}: {} MiB, {} files", it.memory / 1024, it.files));
    let dead = run.site.members().filter(|member| member.runs() && member.has_ended().unwrap_or(true));
    let dead = dead.map(|member| member.name.clone()).collect();
    vec![
        Broken::new("O9", "a panic", panics.collect()),
        Broken::new("O9", "too much memory or too many files", greedy.collect()),
        Broken::new("O9", "a process ended by itself", dead),
    ]
}
