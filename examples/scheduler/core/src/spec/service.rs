//! Replicas that shall not end.

use serde::{Deserialize, Serialize};

use super::{Concurrency, Placement, Retry, Task};
use crate::types::Ms;

/// So many copies of a task, started again when they end, replaced bit by bit when it changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// What each of them runs.
    pub task: Task,
    /// How many.
    pub replicas: u32,
    /// How a new version takes the place of the old.
    #[serde(default)]
    pub update: Update,
    /// How long until one that ended is started again; attempts are not counted.
    #[serde(default)]
    pub restart: Retry,
    /// What is promised about two copies at a time.
    pub concurrency: Concurrency,
    /// Where they may go, and where best.
    #[serde(default)]
    pub placement: Placement,
    /// Higher ones are placed first.
    #[serde(default)]
    pub priority: i32,
    /// Nothing of it runs.
    #[serde(default)]
    pub suspend: bool,
    /// An update that was begun stands still.
    #[serde(default)]
    pub paused: bool,
}

/// How a new version takes the place of the old.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// So many more than `replicas` may be there meanwhile.
    pub surge_max: u32,
    /// So many fewer than `replicas` may be ready meanwhile.
    pub unavailable_max: u32,
    /// One counts as available when it has been ready for so long.
    pub ready_min: Ms,
    /// Without progress for so long, the update has failed.
    pub progress_deadline: Ms,
    /// An update that has failed is taken back, to the last version that was whole.
    pub rollback: bool,
    /// So many old versions are kept.
    pub revisions_max: u32,
}

impl Default for Update {
    fn default() -> Update {
        Update {
            surge_max: 1,
            unavailable_max: 0,
            ready_min: 0,
            progress_deadline: 600_000,
            rollback: true,
            revisions_max: 10,
        }
    }
}
