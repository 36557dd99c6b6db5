//! Waiting for something only so long.
//!
//! ```text
//!   within(1 s, job) ──► a thread does it ──┬─ done in time: its outcome
//!                                           └─ not: nothing, and nobody looks at it any more
//! ```
//!
//! A job that is given up goes on until it is done or the process ends, whichever comes first. So
//! it must be one that may end anywhere, as it would in a crash.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Does `job`, and waits for it no longer than `limit`; `None` if that was not enough, or the job
/// panicked.
///
/// # Errors
///
/// If the system cannot start a thread.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    job: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let (done, outcome) = mpsc::channel();
    let run = move || {
        // Nobody waits any more, if it took too long.
        drop(done.send(job()));
    };
    thread::Builder::new().name("patience".to_owned()).spawn(run)?;
    Ok(outcome.recv_timeout(limit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    // A stop that waits for a disk that hangs is killed by its supervisor.
    #[test]
    fn nobody_waits_for_what_takes_too_long() {
        let (gate, closed) = mpsc::channel::<()>();
        let stuck = within(Duration::from_millis(10), move || closed.recv());
        assert!(stuck.unwrap().is_none());
        drop(gate);
        assert_eq!(within(Duration::from_secs(60), || 7).unwrap(), Some(7));
    }
}
