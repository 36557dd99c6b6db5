//! A member that has the process to itself: it ends by signals, and tells the world on its own.

use std::io;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::notify;
use crate::server::{End, Host, Serving};

/// How much longer a stop may take for the sake of the next start.
const SAVE_MAX: Duration = Duration::from_secs(1);

/// The process of `drystone-etcd`.
pub(crate) struct Process;

impl Host for Process {
    fn fds(&self) -> u64 {
        raise_fds()
    }

    /// Waits for SIGTERM or SIGINT.
    fn end(&mut self) -> io::Result<impl Future<Output = End> + use<>> {
        let signalled = terminated()?;
        Ok(async move { End::Signal(signalled.await) })
    }

    /// Tells systemd. Nothing is printed: who reads both streams of etcd's expects a log.
    fn serves(&mut self, _: &Serving<'_>) {
        notify::ready();
    }

    fn save_max(&self) -> Option<Duration> {
        Some(SAVE_MAX)
    }
}

/// Raises the limit on file descriptors as far as we may; returns where it stands.
pub(crate) fn raise_fds() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit on open files");
            limit.current
        }
    };
    // No limit at all is written as none.
    now.unwrap_or(u64::MAX)
}

/// Waits for SIGTERM or SIGINT, which are heard from when this returns.
pub(crate) fn terminated() -> io::Result<impl Future<Output = Signal> + use<>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => Signal::TERM,
            _ = interrupt.recv() => Signal::INT,
        }
    })
}
