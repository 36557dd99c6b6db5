//! A job at every tick.

use serde::{Deserialize, Serialize};

use super::{Job, Workflow};
use crate::types::Ms;

/// When, and what. Each tick makes one job, whose name is made of the tick's time: two leaders
/// cannot make it twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cron {
    /// Five fields, as in crontab.
    pub schedule: String,
    /// By whose clock: a name of the time zone database.
    #[serde(default = "utc")]
    pub timezone: String,
    /// What becomes of ticks that passed while nobody led.
    #[serde(default)]
    pub catchup: Catchup,
    /// What happens at a tick while the last job still runs.
    #[serde(default)]
    pub overlap: Overlap,
    /// A tick that is later than this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_deadline: Option<Ms>,
    /// So many jobs that succeeded are kept.
    pub keep_succeeded: u32,
    /// So many jobs that failed are kept.
    pub keep_failed: u32,
    /// No ticks.
    #[serde(default)]
    pub suspend: bool,
    /// What each tick makes.
    pub each: CronWork,
}

/// What a tick makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CronWork {
    /// A job.
    Job(Box<Job>),
    /// A workflow.
    Workflow(Box<Workflow>),
}

fn utc() -> String {
    "UTC".to_owned()
}

/// What becomes of ticks that passed while nobody led.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Catchup {
    /// They are left out.
    None,
    /// The last of them is made up for.
    #[default]
    Last,
    /// All are made up for, a hundred at most.
    All,
}

/// What happens at a tick while the last job still runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// Both run.
    #[default]
    Allow,
    /// The tick is left out.
    Forbid,
    /// The last one is stopped.
    Replace,
}
