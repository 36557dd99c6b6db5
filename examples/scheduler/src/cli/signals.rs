//! The signals that ask a process to end.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT and SIGTERM, heard from when this was made.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn listen() -> Result<Signals> {
        let hear = |kind, name| signal(kind).with_context(|| format!("listen for {name}"));
        Ok(Signals {
            interrupt: hear(SignalKind::interrupt(), "SIGINT")?,
            terminate: hear(SignalKind::terminate(), "SIGTERM")?,
        })
    }

    /// Resolves when the next arrives; its name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
