//! Tasks that end.

use serde::{Deserialize, Serialize};

use super::{Placement, Retry, Task};
use crate::types::Ms;

/// An array of tasks; a single one is an array of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// What each of them runs. `MASON_INDEX` and `MASON_COUNT` tell them apart.
    pub task: Task,
    /// How many: their indexes are 0 to one less.
    pub count: u32,
    /// At most so many at once; 0 is no bound.
    #[serde(default)]
    pub parallelism: u32,
    /// With more than so many failed tasks, the job has failed and the rest is stopped.
    #[serde(default)]
    pub failures_max: u32,
    /// What must have ended before it begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Dependency>,
    /// What follows a failed attempt.
    #[serde(default)]
    pub retry: Retry,
    /// What is promised about two copies at a time.
    #[serde(default)]
    pub concurrency: Concurrency,
    /// Where its tasks may go, and where best.
    #[serde(default)]
    pub placement: Placement,
    /// Higher ones are placed first.
    #[serde(default)]
    pub priority: i32,
    /// How long the whole may take, from when it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Ms>,
    /// When it is forgotten after its end.
    #[serde(default)]
    pub ttl: Ttl,
    /// Nothing of it starts, and what runs is stopped.
    #[serde(default)]
    pub suspend: bool,
}

impl Job {
    /// One task, tried once.
    pub fn single(task: Task) -> Job {
        Job {
            task,
            count: 1,
            parallelism: 0,
            failures_max: 0,
            depends_on: Vec::new(),
            retry: Retry::default(),
            concurrency: Concurrency::default(),
            placement: Placement::default(),
            priority: 0,
            deadline: None,
            ttl: Ttl::default(),
            suspend: false,
        }
    }
}

/// What is promised about two copies of a task at a time, when the agent that has the first falls
/// silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Concurrency {
    /// Never two: an agent that cannot reach the store kills its copy before its lease can expire.
    #[default]
    Strict,
    /// Rather two than none: a copy that is cut off runs on, and is stopped when it can be told.
    Available,
}

/// Another job of the namespace that must have ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// Its name.
    pub job: String,
    /// How it must have ended. If it ends in another way, this job never begins: it is skipped.
    #[serde(default)]
    pub when: DependencyWhen,
    /// All of it, or index by index.
    #[serde(default)]
    pub mode: DependencyMode,
}

/// How a job that is waited for must end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DependencyWhen {
    /// All its tasks succeeded.
    #[default]
    Succeeded,
    /// It failed.
    Failed,
    /// In any way.
    Finished,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DependencyMode {
    /// The whole job.
    #[default]
    Whole,
    /// Task n waits for task n of the other, which has as many.
    Index,
}

/// When a job that has ended is forgotten, with all that is known of it; never if none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ttl {
    /// After it has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<Ms>,
    /// After it has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Ms>,
}
