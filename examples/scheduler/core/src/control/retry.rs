//! Whether a task is tried again after an attempt, and when.
//!
//! Two counts decide, and must not be mixed up. The *number* of an attempt only goes up and names
//! it. Those that *count* use up the budget of the spec: an attempt whose node was lost, drained or
//! interrupted is not the task's fault and is free, unless the spec says otherwise.
//!
//! ```text
//!   exit ─► success? ────────────────────────────────► Succeeded
//!        ─► first rule that fits ─ fail ─────────────► Failed
//!        │                        ─ fail-job ────────► FailJob
//!        │                        ─ ignore ──────────► Again, not counted, after a back-off
//!        └► rule says retry, or none fits
//!              ├ innocent, stopped ──────────────────► Again, not counted, at once
//!              ├ budget used up ─────────────────────► Failed
//!              └ otherwise ──────────────────────────► Again, counted, after a back-off
//! ```

use crate::control::name;
use crate::record::{Exit, Reason};
use crate::spec::{Backoff, Retry, RetryAction, RetryRule};
use crate::types::UnixMs;

/// The attempt that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The how manieth: 1-based.
    pub number: u32,
    /// So many before it counted.
    pub counted: u32,
}

/// What follows.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It did what it was for.
    Succeeded,
    /// Another attempt.
    Again {
        /// Not before.
        not_before: UnixMs,
        /// So many attempts have counted by now.
        counted: u32,
        /// With so many times the memory: finite and above 0.
        memory_factor: Option<f64>,
    },
    /// The task has failed, for good.
    Failed,
    /// The task has failed, and its job with it.
    FailJob,
}

/// What follows an attempt. `salt` should differ from task to task, so that those that failed
/// together do not come back together; the same salt gives the same answer.
///
/// A [`Reason::Stopped`] attempt is due again, at once and for free: whoever stopped a task for
/// good does not ask, and one whose job was suspended goes on later.
pub fn verdict(retry: &Retry, attempt: Attempt, exit: &Exit, now: UnixMs, salt: u64) -> Verdict {
    if exit.is_success() {
        return Verdict::Succeeded;
    }
    let rule = retry.rules.iter().find(|rule| fits(rule, exit));
    let memory_factor = rule
        .and_then(|rule| rule.memory_factor)
        .filter(|&factor| factor.is_finite() && 0.0 < factor);
    let after = |failures: u32, counted: u32| {
        let salt = salt ^ u64::from(attempt.number) << 32;
        let not_before = now.saturating_add(backoff(&retry.backoff, failures, salt));
        Verdict::Again { not_before, counted, memory_factor }
    };
    match rule.map_or(RetryAction::Retry, |rule| rule.action) {
        RetryAction::Fail => Verdict::Failed,
        RetryAction::FailJob => Verdict::FailJob,
        // It is free, but not at once: what fails without being counted could else go round
        // without a pause for ever.
        RetryAction::Ignore => after(attempt.number, attempt.counted),
        RetryAction::Retry if is_free(retry, exit.reason) => {
            Verdict::Again { not_before: now, counted: attempt.counted, memory_factor }
        }
        RetryAction::Retry => match attempt.counted.saturating_add(1) {
            counted if counted >= retry.attempts && retry.attempts < u32::MAX => Verdict::Failed,
            counted => after(counted, counted),
        },
    }
}

/// Whether such an attempt does not count.
pub fn is_free(retry: &Retry, reason: Reason) -> bool {
    reason == Reason::Stopped || reason.is_innocent() && !retry.count_interruptions
}

/// How long to wait after so many failures, in milliseconds. The jitter is drawn from `salt`.
pub fn backoff(backoff: &Backoff, failures: u32, salt: u64) -> u64 {
    let max = backoff.max as f64;
    let factor = if backoff.factor.is_finite() { backoff.factor.max(0.0) } else { 1.0 };
    let mut wait = backoff.initial as f64;
    // Multiplied in a loop, because `powi` may round differently from machine to machine. After
    // 1,100 rounds any factor has reached its limit: the largest float is below 2^1024.
    for _ in 1..failures.min(1_100) {
        if wait >= max || wait == 0.0 {
            break;
        }
        wait *= factor;
    }
    let wait = if wait.is_finite() { wait.min(max) } else { max };
    let share = if backoff.jitter.is_finite() { backoff.jitter.clamp(0.0, 1.0) } else { 0.0 };
    // 53 bits are what a float between 0 and 1 holds.
    let chance = (name::mix(salt) >> 11) as f64 / (1_u64 << 53) as f64;
    let jittered = wait * (1.0 + share * (2.0 * chance - 1.0));
    // A cast of a float saturates.
    jittered.round() as u64
}

/// So many times the memory, in bytes: at least one byte, at most all that can be written.
pub fn raise_memory(memory: u64, factor: f64) -> u64 {
    match factor.is_finite() && 0.0 < factor {
        true => ((memory as f64 * factor) as u64).max(1),
        false => memory,
    }
}

/// Whether all that a rule asks for holds of an end.
fn fits(rule: &RetryRule, exit: &Exit) -> bool {
    let exits = rule.exits.is_empty()
        || exit.code.is_some_and(|code| rule.exits.iter().any(|of| of.lo <= code && code <= of.hi));
    let signals =
        rule.signals.is_empty() || exit.signal.is_some_and(|signal| rule.signals.contains(&signal));
    let oom = rule.oom.is_none_or(|oom| oom == (exit.reason == Reason::OutOfMemory));
    let reasons = rule.reasons.is_empty() || rule.reasons.contains(&exit.reason);
    exits && signals && oom && reasons
}

#[cfg(test)]
mod tests;
