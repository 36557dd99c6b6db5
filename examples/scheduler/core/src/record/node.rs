//! Nodes: what they are, and that they live.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::spec::Resources;
use crate::types::{Ms, UnixMs};

/// What a node is. Its agent writes it at its start and keeps what operators have set: taints,
/// `cordoned`, labels with a `/` in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// What tasks may use of it: what it has, less what its agent sets aside for the system.
    pub capacity: Resources,
    /// At most so many tasks; 0 is no bound.
    #[serde(default)]
    pub tasks_max: u32,
    /// `zone`, `rack`, `arch`, `os`, and whatever its operator says.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What keeps tasks away.
    #[serde(default)]
    pub taints: Vec<Taint>,
    /// No new tasks.
    #[serde(default)]
    pub cordoned: bool,
    /// Its tasks shall be gone by then: those that run are told to stop, and go elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// It can be taken away with a short notice.
    #[serde(default)]
    pub interruptible: bool,
    /// The runtimes it has, the usual one first.
    #[serde(default)]
    pub runtimes: Vec<String>,
    /// Tells one start of the machine from the next.
    #[serde(default)]
    pub boot_id: String,
    /// An operator swears that it is off: what ran there can be started elsewhere at once.
    #[serde(default)]
    pub confirmed_dead: bool,
}

/// Why and until when a node gives up its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// What is not gone by then is killed.
    pub until: UnixMs,
    /// The notice of an interruption: what it ends does not use up attempts.
    #[serde(default)]
    pub interrupted: bool,
}

/// How long before an interruption a notice comes, as clouds have it.
pub const NOTICE: Ms = 120_000;

/// What keeps tasks away, except those that tolerate it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Taint {
    /// Its name.
    pub key: String,
    /// A value that a toleration may ask for.
    #[serde(default)]
    pub value: String,
    /// What it does.
    pub effect: TaintEffect,
}

/// What a taint does to tasks that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaintEffect {
    /// No new ones.
    NoSchedule,
    /// New ones if there is no other place.
    PreferNoSchedule,
    /// No new ones, and those that are there go.
    NoExecute,
}

/// A node lives: the key is bound to its agent's lease and goes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliveRecord {
    /// Counts the starts of its agent.
    pub epoch: u64,
    /// Where its agent answers: `host:port`.
    pub address: String,
    /// Where it gossips, if it does: `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gossip: Option<String>,
    /// When it was written, by the agent's clock.
    pub since: UnixMs,
    /// Images that it has, the largest first, as many as are worth telling.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageAt>,
}

/// An image that a node has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageAt {
    /// By its full name.
    pub name: String,
    /// What would have to be fetched elsewhere.
    pub bytes: u64,
}
