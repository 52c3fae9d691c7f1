//! Being asked to stop.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

/// Ends when this process is asked to stop, by Ctrl-C, SIGTERM or a closed terminal.
///
/// From its first call on these no longer end the process by themselves.
pub(crate) async fn asked() -> anyhow::Result<()> {
    let listen = |kind| signal(kind).context("listening for signals");
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
