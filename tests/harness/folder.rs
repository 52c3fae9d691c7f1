//! Temporary folders that leave nothing behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rand::Rng;

const PREFIX: &str = "rollcall-test";

/// A folder under the system's temporary one; removed with all it holds when dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes a new, empty folder. `label` shows in its name.
    ///
    /// Folders whose owner died before it could clean up are removed on the way.
    pub fn new(label: &str) -> anyhow::Result<Self> {
        sweep();
        let number: u32 = rand::rng().random();
        let path = std::env::temp_dir().join(format!("{PREFIX}-{}-{label}-{number:08x}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        // A server run as another user has to pass through.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path inside.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A server that was just killed may still write a last file.
        for _ in 0..20 {
            match fs::remove_dir_all(&self.0) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                _ => return,
            }
        }
    }
}

fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').nth(1));
        if owner.and_then(|pid| pid.parse::<u32>().ok()).is_some_and(|pid| !is_alive(pid)) {
            // Best effort: another process may be sweeping the same folder.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether a process of that number exists.
pub(crate) fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists() || !Path::new("/proc/self").exists()
}
