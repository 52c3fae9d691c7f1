//! What processes take of the machine, looked at twice a second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

const EVERY: Duration = Duration::from_millis(500);

/// The most a process was seen to take.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken {
    /// Resident memory in KiB.
    pub(super) memory: u64,
    /// Open files, sockets included.
    pub(super) files: usize,
}

/// Looks at processes until it is dropped.
pub(super) struct Watch {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    /// Names by process number.
    watched: BTreeMap<u32, String>,
    most: BTreeMap<String, Taken>,
}

impl Watch {
    pub(super) fn start() -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let looked = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                look(&mut looked.lock().unwrap_or_else(PoisonError::into_inner));
                tokio::time::sleep(EVERY).await;
            }
        });
        Self { seen, task }
    }

    /// Looks at this process too; one that has ended is passed over.
    pub(super) fn add(&self, pid: u32, name: &str) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).watched.insert(pid, name.to_owned());
    }

    /// The most each took, by name.
    pub(super) fn most(&self) -> BTreeMap<String, Taken> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).most.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn look(seen: &mut Seen) {
    for (pid, name) in &seen.watched {
        let (Some(memory), Some(files)) = (memory_of(*pid), files_of(*pid)) else { continue };
        let most = seen.most.entry(name.clone()).or_default();
        most.memory = most.memory.max(memory);
        most.files = most.files.max(files);
    }
}

fn memory_of(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn files_of(pid: u32) -> Option<usize> {
    Some(std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}
