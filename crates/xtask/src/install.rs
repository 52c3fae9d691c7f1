//! The servers' packages.

use std::process::Command;

use anyhow::{Context, ensure};
use rollcall_tests::postgres::Postgres;
use rollcall_tests::rabbitmq::Broker;

/// The packages that are missing, by Debian's names.
pub(crate) fn missing() -> Vec<&'static str> {
    let packages = [("rabbitmq-server", Broker::is_installed()), ("postgresql", Postgres::is_installed())];
    packages.into_iter().filter(|(_, installed)| !installed).map(|(package, _)| package).collect()
}

/// Whether we may install packages.
pub(crate) fn allowed() -> bool {
    let user = Command::new("id").arg("-u").output();
    user.is_ok_and(|user| user.stdout.trim_ascii() == b"0")
}

/// Installs packages with apt-get; needs root.
pub(crate) fn install(packages: &[&str]) -> anyhow::Result<()> {
    apt_get(&["update"])?;
    apt_get(&[&["install", "-y", "--no-install-recommends"], packages].concat())?;
    let still = missing();
    ensure!(still.is_empty(), "{} cannot be found after its installation", still.join(", "));
    Ok(())
}

fn apt_get(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("apt-get");
    command.arg("-q").args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    // In run level 1 the packages start no server of the machine: we start our own.
    command.env("RUNLEVEL", "1");
    let status = command.status().context("running apt-get")?;
    ensure!(status.success(), "apt-get {} failed", arguments.join(" "));
    Ok(())
}
