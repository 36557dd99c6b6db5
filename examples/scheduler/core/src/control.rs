//! What becomes of a job as things happen to it: retries, and the controllers of services, crons
//! and workflows.
//!
//! # Problem
//! Each kind of work is a loop that never ends: look at what there is, compare it with what was
//! asked for, do the next thing. Loops like that go wrong in one way above all: they act on what
//! they remember having done, and what they remember is not what happened.
//!
//! # Idea
//! A controller here remembers nothing and does nothing. It is one function: what was asked for,
//! what it noted the last time (its *progress*, a value in the store), what can be seen now, and
//! the time; it returns new progress and what should be different. Whoever calls does it, in one
//! transaction with the progress, or not at all; the next call sees which.
//!
//! ```text
//!   spec ─────┐
//!   progress ─┼─► step ─┬─► progress      written together with
//!   seen ─────┤         ├─► what to make, stop, forget
//!   now ──────┘         └─► phase, message, when to call again
//! ```
//!
//! # Promises
//! - **Deterministic**: the same four give the same answer, on every leader.
//! - **Total**: any progress that reads gives an answer; one that does not read gives a
//!   [`BadProgress`] that names the field.
//! - **Idempotent**: called again after its answer was carried out, with nothing else changed, it
//!   asks for nothing.
//!
//! | module | decides |
//! |---|---|
//! | [`retry`] | whether a task is tried again, and when |
//! | [`service`] | which replicas there are, and of which version |
//! | [`cron`] | which ticks become jobs |
//! | [`workflow`] | which nodes run, with which values |

pub mod retry;

pub mod service;

pub mod cron;

pub mod workflow;

mod name;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::spec::Work;

/// Progress in the store that does not read: its controller cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("the progress of a {kind} does not read at `{field}`")]
pub struct BadProgress {
    /// `service`, `cron` or `workflow`.
    pub kind: &'static str,
    /// Where in it.
    pub field: String,
    /// What is wrong there.
    #[source]
    pub source: serde_json::Error,
}

/// Something in a spec that no controller could carry out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Problem {
    /// The field, as `templates[1].steps[0][2].when`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

/// What of it no controller could carry out; to be asked before it is taken in.
pub fn check(work: &Work) -> Vec<Problem> {
    match work {
        Work::Job(_) => Vec::new(),
        Work::Service(service) => service::check(service),
        Work::Cron(cron) => cron::check(cron).err().unwrap_or_default(),
        Work::Workflow(workflow) => workflow::check(workflow),
    }
}

/// Progress as its controller wrote it; nothing yet is a beginning.
fn read<T: DeserializeOwned + Default>(
    kind: &'static str,
    value: &serde_json::Value,
) -> Result<T, BadProgress> {
    if value.is_null() {
        return Ok(T::default());
    }
    serde_path_to_error::deserialize(value).map_err(|error| BadProgress {
        kind,
        field: error.path().to_string(),
        source: error.into_inner(),
    })
}

/// Progress as the store holds it.
fn write<T: Serialize>(progress: &T) -> serde_json::Value {
    serde_json::to_value(progress).expect("progress has no maps with keys that are not text")
}
