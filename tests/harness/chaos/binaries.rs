//! Binaries with crash points in them.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, ensure};

use crate::process::{PRODUCT, root, target_folder};

/// Names a folder with binaries that have crash points; nothing is built then.
pub const CRASHING: &str = "ROLLCALL_CRASH_BIN_DIR";

/// The path of one of our binaries with crash points.
pub(super) fn crashing(name: &str) -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os(CRASHING) {
        let path = PathBuf::from(folder).join(name);
        ensure!(path.exists(), "{CRASHING} has no {name}");
        return Ok(path);
    }
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT.lock().ok().context("building failed before")?;
    let folder = match built.take() {
        Some(folder) => folder,
        None => build_crashing()?,
    };
    Ok(built.insert(folder).join(name))
}

/// Builds both binaries with crash points and gives the folder they lie in.
///
/// Cargo has one place for a binary whatever its features, so they are built there, copied aside, and the
/// plain ones put back: all but the last link is kept for both.
pub fn build_crashing() -> anyhow::Result<PathBuf> {
    let target = target_folder()?;
    let folder = target.join("crash-points");
    fs::create_dir_all(&folder)?;
    // Test processes run side by side: one at a time may have the wrong binaries in cargo's place.
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?;
    let features = PRODUCT.map(|package| format!("{package}/crash-points")).join(",");
    cargo(&["--features", &features])?;
    for name in PRODUCT {
        let (from, aside) = (target.join(name), folder.join(format!("{name}.new")));
        fs::copy(&from, &aside).with_context(|| format!("copying {name}"))?;
        // One that runs at this moment keeps its file.
        fs::rename(&aside, folder.join(name))?;
    }
    cargo(&[])?;
    Ok(folder)
}

fn cargo(more: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet"]).current_dir(root());
    if target_folder()?.ends_with("release") {
        command.arg("--release");
    }
    for package in PRODUCT {
        command.args(["--package", package]);
    }
    let status = command.args(more).status().context("running cargo")?;
    ensure!(status.success(), "cargo build {} failed", more.join(" "));
    Ok(())
}
