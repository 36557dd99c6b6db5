//! What a user asks for, normalised: every short form written out, every unit one unit.
//!
//! A manifest, be it mason's own, Kubernetes' or Argo's, is read by [`crate::manifest`] and becomes
//! one of these. They are what the store holds, so all of the rest sees no surface syntax: cpu is
//! in thousandths of a core, memory in bytes, time in milliseconds.
//!
//! ```text
//!   Work ─┬─ Job ────── array of tasks that end        ┐
//!         ├─ Service ── replicas that shall not end    ├── each has one `Task` template
//!         ├─ Cron ───── a job at every tick            ┘
//!         └─ Workflow ─ templates, steps and DAGs, whose leaves are jobs
//! ```

mod cron;
mod job;
mod placement;
mod probe;
mod retry;
mod service;
mod task;
mod workflow;

use serde::{Deserialize, Serialize};

pub use cron::{Catchup, Cron, CronWork, Overlap};
pub use job::{Concurrency, Dependency, DependencyMode, DependencyWhen, Job, Ttl};
pub use placement::{
    Affinity, Constraint, Operator, Placement, Preference, PreferenceOf, Strategy, Toleration,
};
pub use probe::{Check, Probe};
pub use retry::{Backoff, Exits, Retry, RetryAction, RetryRule};
pub use service::{Service, Update};
pub use task::{
    EnvFrom, EnvSource, EnvVar, Mount, MountSource, PullPolicy, Resources, Security, Stop, Task,
};
pub use workflow::{
    Arguments, Body, Inputs, Items, Leaf, Node, OutputSource, Outputs, Parameter, Step, Template,
    Workflow,
};

/// What can be asked for and takes part in scheduling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Work {
    /// Tasks that end.
    Job(Job),
    /// Replicas that shall not end.
    Service(Service),
    /// A job at every tick.
    Cron(Cron),
    /// Jobs in an order.
    Workflow(Workflow),
}

impl Work {
    /// As a word for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Work::Job(_) => "job",
            Work::Service(_) => "service",
            Work::Cron(_) => "cron",
            Work::Workflow(_) => "workflow",
        }
    }
}
