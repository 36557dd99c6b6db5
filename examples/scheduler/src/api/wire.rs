//! What clients, servers and agents say to each other over HTTP: paths, bodies, frames.
//!
//! All bodies are JSON. Whoever sends a field that is not known here gets an error that names it;
//! whoever reads skips what it does not know, so that a client can be older than its server.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET  /v1/health` | | [`Health`] |
//! | `POST /v1/apply` | [`Apply`] | [`Applied`] |
//! | `POST /v1/plan` | [`Apply`] | [`Planned`] |
//! | `GET  /v1/objects?namespace=&kind=&owner=&label=` | | list of [`Summary`] |
//! | `GET  /v1/objects/{ns}/{name}?after=` | | [`Detail`]; with `after`, when newer than that |
//! | `POST /v1/objects/{ns}/{name}/{verb}` | [`Change`] | [`Changed`] |
//! | `GET  /v1/objects/{ns}/{name}/explain?index=` | | list of [`Explained`] |
//! | `GET  /v1/events?namespace=&name=&after=&follow=` | | lines of [`Event`] |
//! | `GET  /v1/configs`, `/v1/secrets` `?namespace=` | | list of [`Text`] |
//! | `PUT  /v1/secrets/{ns}/{name}` | [`NewSecret`] | [`Changed`] |
//! | `DELETE /v1/configs/{ns}/{name}`, `/v1/secrets/…` | | [`Changed`] |
//! | `GET  /v1/nodes`, `/v1/nodes/{id}` | | list of [`NodeView`], one |
//! | `POST /v1/nodes/{id}/{verb}` | [`NodeChange`] | [`Changed`] |
//!
//! What lies on a node is asked of its agent. A server passes such a request on to it as it is:
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET  /v1/runs/{run}/logs?from=&tail=&since=&follow=` | | lines of [`LogEvent`] |
//! | `POST /v1/runs/{run}/exec` | [`Exec`] | an upgrade to [`UPGRADE`]: frames, both ways |
//! | `GET  /v1/nodes/{id}/images` | | list of [`ImageView`] |
//! | `POST /v1/nodes/{id}/images?name=` | an OCI layout or `docker save` | list of [`ImageView`] |
//! | `POST /v1/nodes/{id}/images/pull` | [`PullImage`] | [`ImageView`] |
//! | `DELETE /v1/nodes/{id}/images?name=` | | [`Changed`] |
//!
//! Every request carries `Authorization: Bearer <token>`, if its receiver was given one. What is
//! refused is answered with a status of 4xx or 5xx and a [`Refusal`].

use std::collections::BTreeMap;

use mason_core::place::Explanation;
use mason_core::record::{
    AliveRecord, Counts, JobRecord, Mark, NodeRecord, PastRecord, Phase, RunRecord, SeenRecord,
    StateRecord, TaintEffect, TaskRecord,
};
use mason_core::types::{JobKey, Ms, NodeId, Revision, RunId, UnixMs};
use serde::{Deserialize, Serialize};

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// In a sentence.
    pub error: String,
    /// Each thing that is wrong with what was sent, by its path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// How a server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// It leads.
    pub leads: bool,
    /// Who does, by what it tells the others of itself; none for the moment.
    pub leader: Option<String>,
    /// How far its copy of the store is.
    pub revision: Revision,
    /// Its version.
    pub version: String,
    /// Why the store does not answer, if it does not: what is shown then is what was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// Keys whose value does not read, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bad: BTreeMap<String, String>,
}

/// Manifests to take in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// YAML or JSON, of one or several documents, in any dialect.
    pub text: String,
    /// For objects that do not name theirs.
    pub namespace: String,
    /// What is not supported is ignored, with a warning.
    #[serde(default)]
    pub lenient: bool,
}

/// What became of manifests. Objects are taken in one after another: after an error, those before
/// it are in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Each, as in the text.
    pub objects: Vec<AppliedObject>,
    /// The store has them from this revision on.
    pub revision: Revision,
}

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedObject {
    /// `job`, `service`, `cron`, `workflow`, `config`, `secret` or `namespace`.
    pub kind: String,
    /// Where; a generated name is written out.
    pub key: JobKey,
    /// What.
    pub outcome: Outcome,
    /// What its user may not expect, each with its path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What a manifest does to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was not there.
    Created,
    /// It was, and was another.
    Changed,
    /// It was there, and is the same.
    Unchanged,
}

/// What an apply would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Each, as in the text.
    pub objects: Vec<PlannedObject>,
}

/// What an apply would do to an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedObject {
    /// As it would be told.
    pub object: AppliedObject,
    /// What of it would be another.
    pub changes: Vec<Difference>,
    /// Where its first tasks would go as the cluster is now, one each for tasks that differ.
    pub placements: Vec<Placement>,
    /// Why the first that finds no place would wait.
    pub waits: Option<Explanation>,
}

/// A field that would be another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `task.env[2].value`.
    pub path: String,
    /// As JSON; none if it is not there.
    pub before: Option<String>,
    /// As JSON; none if it is not there.
    pub after: Option<String>,
}

/// So many tasks would go there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Where.
    pub node: NodeId,
    /// How many.
    pub count: u32,
}

/// An object in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Which.
    pub key: JobKey,
    /// `job`, `service`, `cron` or `workflow`.
    pub kind: String,
    /// Where it stands; none if nobody has looked at it yet.
    pub phase: Option<Phase>,
    /// Why, if there is something to say.
    pub message: String,
    /// What it wants: tasks, replicas.
    pub wanted: u32,
    /// Tasks with a run that is ready.
    pub ready: u32,
    /// Tasks with a run.
    pub bound: u32,
    /// Tasks that wait for a place, or for their time.
    pub due: u32,
    /// How those that ended did.
    pub counts: Counts,
    /// What made it.
    pub owner: Option<JobKey>,
    /// Which node of a workflow it does, as `main[0].hello`; only told with the workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// For people and selectors.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: UnixMs,
}

/// All that is known of an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// In short.
    pub summary: Summary,
    /// What was asked for.
    pub record: JobRecord,
    /// As a manifest.
    pub manifest: String,
    /// How far it is.
    pub state: Option<StateRecord>,
    /// Its tasks: under way first, then those that ended, by index; [`TASKS_MAX`] at most.
    pub tasks: Vec<TaskView>,
    /// How many tasks were left out.
    pub tasks_left_out: u32,
    /// Of a workflow, its nodes as a tree, a line each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
    /// What it made; of a workflow, in the order of its nodes.
    pub children: Vec<Summary>,
    /// The copy that this is of: to be given as `after`.
    pub revision: Revision,
}

/// Tasks of a [`Detail`] at most.
pub const TASKS_MAX: usize = 1000;

/// A task of an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskView {
    /// Which.
    pub index: u32,
    /// The attempt under way or due.
    pub task: Option<TaskRecord>,
    /// Its run, if it has one.
    pub run: Option<RunRecord>,
    /// How far that is.
    pub seen: Option<SeenRecord>,
    /// How it ended for good, or how its last attempt did.
    pub past: Option<PastRecord>,
    /// How it ended for good, as a word; none if it did not.
    pub mark: Option<String>,
}

/// A mark, as a word.
pub fn word_of(mark: Mark) -> Option<String> {
    let word = match mark {
        Mark::None => return None,
        Mark::Succeeded => "succeeded",
        Mark::Failed => "failed",
        Mark::Cancelled => "cancelled",
    };
    Some(word.to_owned())
}

/// A change of an object, by the verb of its path: `delete`, `stop`, `terminate`, `suspend`,
/// `resume`, `retry`, `restart`, `scale`, `rollback`, `image`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Change {
    /// `scale`: how many replicas.
    pub replicas: Option<u32>,
    /// `rollback`: to which revision; the one before if none.
    pub revision: Option<u64>,
    /// `image`: which.
    pub image: Option<String>,
}

/// What was asked for is in the store from this revision on. It takes its time to come true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Of the store; 0 if it was so already.
    pub revision: Revision,
    /// What there is to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Why a task is where it is, or why it waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// Tasks for which the same can be said, as `0-3,7`.
    pub indexes: String,
    /// What they do, in a sentence: `runs on n01 since …`, `waits for its retry until …`.
    pub state: String,
    /// What there is to say of places.
    pub placement: Option<Explanation>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// In the store; 0 of the time before this server's memory.
    pub revision: Revision,
    /// When, by whoever wrote it.
    pub at: UnixMs,
    /// To which object; none if to a node.
    pub job: Option<JobKey>,
    /// To which of its tasks.
    pub index: Option<u32>,
    /// Which run it is of.
    pub run: Option<RunId>,
    /// On which node, or to it.
    pub node: Option<NodeId>,
    /// What, in a word: `created`, `bound`, `running`, `exited`, `lost`, …
    pub what: String,
    /// What, in a sentence.
    pub message: String,
}

/// A config map or a secret: the names of its keys, never their values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// Which.
    pub key: JobKey,
    /// `Opaque`, or a type of Kubernetes', of a secret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The names of its keys.
    pub keys: Vec<String>,
}

/// A secret to be sealed. It is not printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSecret {
    /// `Opaque`, or a type of Kubernetes'.
    pub kind: String,
    /// Key to bytes, in base64.
    pub data: BTreeMap<String, String>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    /// Which.
    pub id: NodeId,
    /// What it is.
    pub record: Option<NodeRecord>,
    /// That it lives; none if it does not.
    pub alive: Option<AliveRecord>,
    /// Gossip suspects it: nothing new is placed there.
    pub suspected: bool,
    /// What its runs ask for: thousandths of a core, bytes.
    pub used: mason_core::spec::Resources,
    /// Its runs.
    pub runs: Vec<(RunId, RunRecord, Option<SeenRecord>)>,
}

/// A change of a node, by the verb of its path: `cordon`, `uncordon`, `drain`, `undrain`,
/// `interrupt`, `taint`, `untaint`, `label`, `confirm-dead`, `forget`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeChange {
    /// `drain`, `interrupt`: how long tasks may take to be gone.
    pub within: Option<Ms>,
    /// `taint`, `untaint`, `label`: which.
    pub key: String,
    /// `taint`, `label`: its value; a label without one is removed.
    pub value: Option<String>,
    /// `taint`: what it does; `untaint`: this effect alone.
    pub effect: Option<TaintEffect>,
}

/// What comes next in a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogEvent {
    /// Some output.
    Output {
        /// Where it begins.
        offset: u64,
        /// It was printed as an error.
        stderr: bool,
        /// When.
        time: UnixMs,
        /// What, in base64.
        bytes: String,
    },
    /// So many bytes from there on were rotated away, or are damaged.
    Gone {
        /// From here.
        offset: u64,
        /// So many bytes of the log.
        bytes: u64,
        /// Why.
        why: String,
    },
    /// There is no more.
    End {
        /// Where the log ends, or where to go on.
        offset: u64,
    },
}

/// Something to run in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// The words of the command.
    pub command: Vec<String>,
}

/// What a connection becomes that runs something in a container: frames of one byte that says of
/// what kind, four of length, big-endian, and what it holds.
pub const UPGRADE: &str = "mason-exec";

/// Longest frame, bytes.
pub const FRAME_BYTES_MAX: u32 = 64 << 10;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// To the process: what it reads; nothing at the end.
    Stdin = 0,
    /// From it: what it prints.
    Stdout = 1,
    /// From it: what it complains.
    Stderr = 2,
    /// From it, at last: an [`ExecEnd`].
    End = 3,
}

/// How something ended that ran in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecEnd {
    /// Its exit code; 128 and the signal, if one ended it.
    pub code: Option<i32>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// An image to fetch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullImage {
    /// By its name.
    pub name: String,
}

/// An image on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageView {
    /// By its full name.
    pub name: String,
    /// Of its manifest.
    pub digest: String,
    /// What it takes.
    pub bytes: u64,
}
