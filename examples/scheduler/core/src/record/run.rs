//! Runs: one attempt at a task, from the binding to the result.
//!
//! ```text
//!   bound ─► claimed ─► pulling ─► created ─► running ⇄ ready ─► stopping ─► result
//!     │         └──────────────┴───────┴─────────┴────────────────────────────▲
//!     └──────────────── lost: the node's lease is gone ────────────────────────┘
//! ```
//!
//! A run never goes back and never moves to another node; another attempt is another run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::spec::Concurrency;
use crate::types::{Ms, SpecHash, TaskKey, Uid, UnixMs};

/// A task bound to a node, and what it shall do there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Of which task.
    pub task: TaskKey,
    /// Of which object of that name.
    pub uid: Uid,
    /// The how manieth attempt: 1-based.
    pub attempt: u32,
    /// What it runs.
    pub spec: SpecHash,
    /// What it shall do.
    #[serde(default)]
    pub wish: Wish,
    /// What is promised about two copies.
    #[serde(default)]
    pub concurrency: Concurrency,
    /// How many tasks its job has: `MASON_COUNT`.
    pub count: u32,
    /// Its group, under partition placement: `MASON_PARTITION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// Memory in the place of the template's, after a rule of its retries raised it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// When it was bound, by the leader's clock.
    pub bound_at: UnixMs,
}

/// What a run shall do. It only ever goes down this list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// Run.
    #[default]
    Run,
    /// End: the stop signal, then the grace of its spec.
    Stop {
        /// Less than that grace, when there is less time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace: Option<Ms>,
        /// Why, for its result.
        why: Reason,
    },
}

/// How far a run is, by its agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenRecord {
    /// The start of the agent that claimed it.
    pub epoch: u64,
    /// How far.
    pub phase: RunPhase,
    /// Whether its probe is content; without one, that it runs.
    #[serde(default)]
    pub ready: bool,
    /// When it came to this phase or verdict, by the agent's clock.
    pub since: UnixMs,
    /// When the container was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<UnixMs>,
    /// What it is waiting for, if for something.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// How far a run is. It only ever goes down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunPhase {
    /// Its agent has it in its journal.
    Claimed,
    /// Its image is fetched.
    Pulling,
    /// Its container is made.
    Created,
    /// Its container runs.
    Running,
    /// It was told to end.
    Stopping,
}

/// How a run ended. This key is the ledger: it is written once, by whoever is first, and nothing
/// else decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultRecord {
    /// Of which task.
    pub task: TaskKey,
    /// Where it was.
    pub node: crate::types::NodeId,
    /// How it ended.
    pub exit: Exit,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Why.
    pub reason: Reason,
    /// Its exit code; 128 and the signal, if one ended it; none if it never ran or nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// What went wrong, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When its container was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<UnixMs>,
    /// When it was over.
    pub finished_at: UnixMs,
    /// What it printed last, and files that it left, as far as its spec asks for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
}

impl Exit {
    /// Of something that ended without a code: it never ran, or nobody saw it.
    pub fn without_code(reason: Reason, message: impl Into<String>, at: UnixMs) -> Exit {
        Exit {
            reason,
            code: None,
            signal: None,
            message: message.into(),
            started_at: None,
            finished_at: at,
            outputs: BTreeMap::new(),
        }
    }

    /// It did what it was for.
    pub fn is_success(&self) -> bool {
        self.reason == Reason::Exited && self.code == Some(0)
    }
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// By itself, with a code.
    Exited,
    /// By a signal that we did not send.
    Signalled,
    /// It asked for more memory than it may have.
    OutOfMemory,
    /// It took longer than its spec allows.
    Timeout,
    /// Its image cannot be had.
    ImagePull,
    /// Something that its spec names is not there: a config map, a secret, a key of it.
    Config,
    /// Its container could not be made or started.
    Start,
    /// Its probe found it dead.
    Unhealthy,
    /// Somebody stopped it: its job was deleted, suspended, has failed or is over its deadline.
    Stopped,
    /// A newer version took its place.
    Replaced,
    /// Its node was drained.
    Drained,
    /// Its node was taken away with a notice.
    Interrupted,
    /// Its agent could not reach the store, and two copies must not run.
    Fenced,
    /// Its keeper was killed, or the machine restarted: nobody saw how it ended.
    Unknown,
    /// Its node fell silent.
    Lost,
}

impl Reason {
    /// No fault of the task: such an attempt is not counted.
    pub fn is_innocent(self) -> bool {
        matches!(
            self,
            Reason::Drained
                | Reason::Interrupted
                | Reason::Fenced
                | Reason::Lost
                | Reason::Replaced
        )
    }
}
