//! Who used the processor while something was measured, from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use anyhow::Context;

/// A look at the processor's clocks, in ticks.
#[derive(Debug, Clone)]
struct Look {
    busy: u64,
    stolen: u64,
    each: BTreeMap<String, u64>,
}

/// Watches named process trees from its making on.
#[derive(Debug)]
pub(crate) struct Watch {
    named: Vec<(String, u32)>,
    began: Instant,
    first: Look,
}

/// How many cores each used on average.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub(crate) struct Shares(BTreeMap<String, f64>);

/// Ticks per second: what Linux shows in `/proc` whatever the kernel counts with.
const TICKS: f64 = 100.0;

impl Watch {
    /// Begins to watch these processes, their children included, and this one as `generator`.
    pub(crate) fn start(named: &[(&str, u32)]) -> anyhow::Result<Self> {
        let mut named: Vec<(String, u32)> =
            named.iter().map(|(name, pid)| ((*name).to_owned(), *pid)).collect();
        named.push(("generator".to_owned(), std::process::id()));
        let first = look(&named)?;
        Ok(Self { named, began: Instant::now(), first })
    }

    /// The shares since the start.
    pub(crate) fn stop(self) -> anyhow::Result<Shares> {
        let last = look(&self.named)?;
        let seconds = self.began.elapsed().as_secs_f64().max(1e-3);
        let cores = |ticks: u64| ticks as f64 / TICKS / seconds;
        let mut shares = BTreeMap::new();
        let mut ours = 0;
        for (name, ticks) in &last.each {
            let used = ticks.saturating_sub(self.first.each.get(name).copied().unwrap_or(0));
            ours += used;
            shares.insert(name.clone(), cores(used));
        }
        let busy = last.busy.saturating_sub(self.first.busy);
        shares.insert("others".to_owned(), cores(busy.saturating_sub(ours)));
        shares.insert("stolen".to_owned(), cores(last.stolen.saturating_sub(self.first.stolen)));
        Ok(Shares(shares))
    }
}

impl std::fmt::Display for Shares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = self.0.iter().filter(|(_, cores)| **cores >= 0.005);
        let shown: Vec<String> = shown.map(|(name, cores)| format!("{name} {cores:.2}")).collect();
        write!(f, "{}", shown.join(", "))
    }
}

impl Shares {
    /// Cores used by everything that was watched.
    pub(crate) fn watched(&self) -> f64 {
        let apart = |name: &str| ["others", "stolen"].contains(&name);
        self.0.iter().filter(|(name, _)| !apart(name)).map(|(_, cores)| cores).sum()
    }

    /// Cores used by anything that is not part of the measurement.
    pub(crate) fn others(&self) -> f64 {
        self.0.get("others").copied().unwrap_or(0.0)
    }
}

fn look(named: &[(String, u32)]) -> anyhow::Result<Look> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("/proc/stat is empty")?;
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal: guest times are part of user already.
    let at = |place: usize| ticks.get(place).copied().unwrap_or(0);
    let busy = at(0) + at(1) + at(2) + at(5) + at(6);
    let mut each = BTreeMap::new();
    for (name, pid) in named {
        // This process's children are watched under their own names; those it waited for are its work.
        let living = *pid != std::process::id();
        *each.entry(name.clone()).or_default() += tree(*pid, living);
    }
    Ok(Look { busy, stolen: at(7), each })
}

/// Ticks of a process and of the children it waited for; with those that live where asked.
fn tree(pid: u32, living: bool) -> u64 {
    // utime, stime, cutime and cstime stand behind the name in brackets, which may hold anything.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let own: u64 =
        fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    own + if living { children(pid).into_iter().map(|child| tree(child, true)).sum() } else { 0 }
}

fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let listed = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    listed
        .flat_map(|line| line.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// A line of `/proc/<pid>/status` such as `VmHWM` or `VmRSS`, in megabytes of 2^20 bytes.
pub(crate) fn memory_mib(pid: u32, line: &str) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let found = status.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':'));
    let kib = found.and_then(|found| found.trim().split(' ').next()?.parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).with_context(|| format!("process {pid} shows no {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_work_is_seen_as_the_generators() {
        let watch = Watch::start(&[]).unwrap();
        let began = Instant::now();
        let mut sum = 0_u64;
        while began.elapsed().as_millis() < 300 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let shares = watch.stop().unwrap();
        assert!(shares.0["generator"] > 0.3, "{shares}");
        assert!(memory_mib(std::process::id(), "VmHWM").unwrap() > 1.0);
    }
}
