//! What follows an attempt.

use crate::record::Exit;
use crate::spec::Retry;
use crate::types::UnixMs;

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// It did what it was for.
    Succeeded,
    /// Another one.
    Again {
        /// Not before.
        not_before: UnixMs,
        /// So many count so far.
        counted: u32,
        /// With so many times the memory.
        memory_factor: Option<f64>,
    },
    /// The task has failed.
    Failed,
    /// The whole job has.
    FailJob,
}

/// Judges.
pub fn verdict(retry: &Retry, counted: u32, exit: &Exit, now: UnixMs, _salt: u64) -> Verdict {
    if exit.is_success() {
        return Verdict::Succeeded;
    }
    let counted = counted + u32::from(!exit.reason.is_innocent() || retry.count_interruptions);
    if counted >= retry.attempts {
        return Verdict::Failed;
    }
    Verdict::Again { not_before: now + retry.backoff.initial, counted, memory_factor: None }
}
