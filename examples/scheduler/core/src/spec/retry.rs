//! What happens after an attempt has failed: the first rule that fits decides.

use serde::{Deserialize, Serialize};

use crate::record::Reason;
use crate::types::Ms;

/// How often a task is tried again, and after what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// So many attempts in all. Those that end by no fault of the task (its node was lost, or
    /// interrupted) do not count.
    pub attempts: u32,
    /// How long until the next.
    pub backoff: Backoff,
    /// The first that fits decides; none fits: try again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RetryRule>,
    /// Lost and interrupted attempts count like any other.
    #[serde(default)]
    pub count_interruptions: bool,
}

impl Default for Retry {
    /// One attempt.
    fn default() -> Retry {
        let (backoff, rules) = (Backoff::default(), Vec::new());
        Retry { attempts: 1, backoff, rules, count_interruptions: false }
    }
}

/// How long until the next attempt: `initial * factor^(n-1)`, at most `max`, give or take `jitter`
/// of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// After the first failure.
    pub initial: Ms,
    /// Each is so many times the one before.
    pub factor: f64,
    /// At most.
    pub max: Ms,
    /// A share of 0 to 1 of it, by chance more or less, so that they do not all come at once.
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { initial: 1_000, factor: 2.0, max: 300_000, jitter: 0.1 }
    }
}

/// All that is given must fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryRule {
    /// It ended with one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exits: Vec<Exits>,
    /// It was ended by one of these signals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<i32>,
    /// It ran out of memory, or did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom: Option<bool>,
    /// It ended for one of these reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// Then this.
    pub action: RetryAction,
    /// The next attempt is given so many times the memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_factor: Option<f64>,
}

/// Exit codes, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exits {
    /// The first.
    pub lo: i32,
    /// The last.
    pub hi: i32,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryAction {
    /// Try again, if attempts are left.
    Retry,
    /// Try again, and do not count this one.
    Ignore,
    /// This task has failed; the others go on.
    Fail,
    /// The whole job has failed.
    FailJob,
}
