//! Which nodes of a workflow run, and with which values.
//!
//! # Problem
//! A workflow is a program: it calls templates, compares what came back, loops and recurses. It
//! runs for hours, on machines that fail, under leaders that come and go. The usual way is to write
//! down where each of its nodes stands; then the table must fit into the store, and every change of
//! it must be made in step with the work itself.
//!
//! # Idea
//! The work is its own table. Each leaf is a job, whose name is made of the leaf's path; a job that
//! has ended keeps how, and what it told. So a step walks the whole program from the start, as if
//! for the first time, and at each leaf looks for its job:
//!
//! ```text
//!   walk ─► leaf ─┬─ its job has ended      ─► go on with what it told
//!                 ├─ its job is under way   ─► wait
//!                 ├─ none, and never was    ─► make it
//!                 └─ none, though it was    ─► it was removed: an error
//! ```
//!
//! Conditions and values depend on jobs that have ended and on nothing else, so every walk goes the
//! same way, and one step further.
//!
//! # What is kept
//! Progress is what jobs cannot tell: that a leaf's job was made (six bytes each, so that one which
//! somebody removes is not made again), that a node which waits by the clock began or is over, how
//! the main part ended, and whether somebody stopped it. At [`NODES_MAX`] nodes that is 40 KB; a
//! workflow whose progress would exceed [`PROGRESS_BYTES_MAX`] fails.
//!
//! # Ends
//! Deadline and [`stop`] end all that runs, then the exit handler runs; [`terminate`] leaves that
//! out, too. A workflow that succeeded and whose exit handler does not has failed. One that failed
//! can be tried again ([`retry()`]): what did well stays, the rest is done anew.
//!
//! # As in Argo, and not
//! Names of tags, what `depends` and `when` mean and how a graph ends are Argo's; see the modules
//! for what a condition may say. Different on purpose: what a tag becomes inside a condition is one
//! value; a skipped node after a failure that was to be gone past does not fail the graph. Left
//! out: `{{=…}}` expressions, `{{retries}}`, artifacts, daemons, hooks other than the exit handler,
//! and retries of whole steps or graphs; [`check()`] refuses what it can see of them.

mod check;
mod clock;
mod depends;
mod graph;
mod interpret;
mod items;
mod leaf;
mod node;
mod retry;
mod set;
mod step;
mod text;
mod tree;
mod when;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::control::{self, BadProgress, name};
pub use crate::record::PRINTED;
use crate::record::{Asks, Ending, Exit, Phase};
use crate::spec::Job;
use crate::types::UnixMs;
pub use check::check;
pub use interpret::{CLOCKS_MAX, CREATES_MAX, DEPTH_MAX, NODES_MAX};
pub use items::FANOUT_MAX;
pub use leaf::SCRIPT_PATH;
pub use node::{NodePhase, NodeSeen, Told};
pub use retry::retry;
use set::Keys;
pub use step::{look, step};
pub use tree::show;

/// So large progress may get, in bytes: the rest of a value is its phase and conditions.
pub const PROGRESS_BYTES_MAX: usize = 56 << 10;

/// Which workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Tells it from an older one of the same name.
    pub uid: &'a str,
    /// When it was made.
    pub created_at: UnixMs,
}

/// How far a workflow is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowProgress {
    /// Leaves whose jobs were made.
    #[serde(default, skip_serializing_if = "Keys::is_empty")]
    made: Keys,
    /// Nodes that wait by the clock and are over: resumed, or out of time.
    #[serde(default, skip_serializing_if = "Keys::is_empty")]
    done: Keys,
    /// Nodes that wait by the clock, by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    clocks: BTreeMap<String, Clock>,
    /// It shall end, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    halt: Option<Halt>,
    /// How the main part ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    main: Option<Outcome>,
    /// How all of it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    whole: Option<Outcome>,
    /// The exit handler has begun.
    #[serde(default)]
    exit: bool,
    /// So many wishes to resume were obeyed.
    #[serde(default)]
    resumes: usize,
    /// So many wishes to try it again were obeyed.
    #[serde(default)]
    retries: u32,
}

/// A node that waits by the clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Clock {
    since: UnixMs,
    /// Somebody can resume it.
    #[serde(default)]
    resumes: bool,
}

/// Why a workflow shall end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Halt {
    Stop,
    Terminate,
    Deadline,
}

/// How a part of a workflow ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Outcome {
    phase: NodePhase,
    #[serde(default)]
    message: String,
    at: UnixMs,
}

impl WorkflowProgress {
    /// As the store holds it; null is a beginning.
    ///
    /// # Errors
    /// Names the field that does not read.
    pub fn read(value: &serde_json::Value) -> Result<WorkflowProgress, BadProgress> {
        control::read("workflow", value)
    }

    /// For the store.
    pub fn write(&self) -> serde_json::Value {
        control::write(self)
    }

    /// So many wishes to try it again were obeyed.
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// A job that a step asked for was not made after all: a later step asks again.
    pub fn was_not_made(&mut self, child: &ChildJob) {
        self.made.remove(key(&child.node));
    }

    /// Paths of the nodes that wait to be resumed.
    pub fn waiting(&self) -> impl Iterator<Item = &str> {
        self.clocks.iter().filter(|(_, clock)| clock.resumes).map(|(path, _)| path.as_str())
    }
}

/// A job of a workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct ChildSeen {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub phase: Phase,
    /// It is on its way out: deleted.
    pub deleted: bool,
    /// When its run was started, if it has one.
    pub started_at: Option<UnixMs>,
    /// How far each of its tasks is; leaves have one.
    pub tasks: Vec<TaskSeen>,
}

/// A task of a job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskSeen {
    /// Where its last attempt is, or was.
    pub node: Option<String>,
    /// How its last attempt ended.
    pub exit: Option<Exit>,
}

impl ChildSeen {
    fn is_stopping(&self) -> bool {
        self.deleted || self.phase == Phase::Stopping
    }
}

/// A job to make, unless there is one of its name.
#[derive(Clone, Debug, PartialEq)]
pub struct ChildJob {
    /// Its name.
    pub name: String,
    /// What it does.
    pub job: Job,
    /// The path of its node.
    pub node: String,
}

/// What should change.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkflowStep {
    /// To be written together with `create`, or after it; never before, or a job that was not made
    /// would count as removed.
    pub progress: WorkflowProgress,
    /// Jobs to make.
    pub create: Vec<ChildJob>,
    /// Jobs to stop.
    pub stop: Vec<String>,
    /// Where the workflow stands.
    pub phase: Phase,
    /// For people.
    pub message: String,
    /// When to look again, if nothing happens before.
    pub wake_at: Option<UnixMs>,
    /// The main part, and the exit handler once it has begun.
    pub nodes: Vec<NodeSeen>,
}

/// The name of a leaf's job.
pub fn child_name(workflow: &str, path: &str) -> String {
    name::join(workflow, &name::short(&format!("{workflow}/{path}")))
}

/// A path in six bytes.
fn key(path: &str) -> u64 {
    name::mix(name::hash(path)) >> 16
}

/// Nodes that wait to be resumed go on: that of this path or name, or all. Says whether there was
/// one.
pub fn resume(progress: &mut WorkflowProgress, node: Option<&str>) -> bool {
    let fits = |path: &str| {
        let last = path.rsplit(['.', ']']).next().unwrap_or(path);
        node.is_none_or(|node| path == node || last == node)
    };
    let paths: Vec<String> =
        progress.waiting().filter(|path| fits(path)).map(str::to_owned).collect();
    for path in &paths {
        progress.clocks.remove(path);
        progress.done.insert(key(path));
    }
    !paths.is_empty()
}

/// All that runs shall end; then the exit handler runs.
pub fn stop(progress: &mut WorkflowProgress) {
    progress.halt.get_or_insert(Halt::Stop);
}

/// All that runs shall end, the exit handler too.
pub fn terminate(progress: &mut WorkflowProgress) {
    progress.halt = Some(Halt::Terminate);
}

/// Takes in what was asked since the last time.
pub fn obey(progress: &mut WorkflowProgress, asks: &Asks) {
    match asks.end {
        Some(Ending::Stop) => stop(progress),
        Some(Ending::Terminate) => terminate(progress),
        None => {}
    }
    for node in asks.resume.iter().skip(progress.resumes) {
        resume(progress, node.as_deref());
    }
    progress.resumes = asks.resume.len();
}

#[cfg(test)]
mod tests;
