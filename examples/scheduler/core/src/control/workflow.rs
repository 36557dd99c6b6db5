//! Which nodes of a workflow run, and with which values.
//!
//! # Problem
//! A workflow is a program: it calls templates, compares what came back, loops and recurses. It runs
//! for hours, on machines that fail, under leaders that come and go. The usual way is to write down
//! where each of its nodes stands; then the table must fit into the store, and every change of it
//! must be made in step with the work itself.
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
//! out, too. A workflow that succeeded and whose exit handler does not has failed.
//!
//! # As in Argo, and not
//! Names of tags, what `depends` and `when` mean and how a graph ends are Argo's; see the modules for
//! what a condition may say. Different on purpose: what a tag becomes inside a condition is one
//! value; a skipped node after a failure that was to be gone past does not fail the graph. Left out:
//! `{{=…}}` expressions, `{{retries}}`, artifacts, daemons, hooks other than the exit handler, and
//! retries of whole steps or graphs; [`check`] refuses what it can see of them.

mod check;
mod depends;
mod graph;
mod interpret;
mod items;
mod leaf;
mod node;
mod set;
mod text;
mod tree;
mod when;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::control::{self, BadProgress, name};
use crate::record::{Exit, Phase};
use crate::spec::{Job, Workflow};
use crate::types::UnixMs;
pub use check::check;
use interpret::Walk;
pub use interpret::{CLOCKS_MAX, CREATES_MAX, DEPTH_MAX, NODES_MAX};
pub use items::FANOUT_MAX;
pub use leaf::{PRINTED, SCRIPT_PATH};
pub use node::{NodePhase, NodeSeen, Told};
use set::Keys;
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

/// What a workflow should do now.
pub fn step(
    workflow: &Workflow,
    who: Who<'_>,
    progress: &WorkflowProgress,
    children: &[ChildSeen],
    now: UnixMs,
) -> WorkflowStep {
    let mut progress = progress.clone();
    let deadline = workflow.deadline.map(|deadline| who.created_at.saturating_add(deadline));
    if progress.main.is_none() && deadline.is_some_and(|deadline| deadline <= now) {
        progress.halt.get_or_insert(Halt::Deadline);
    }
    let running: Vec<&ChildSeen> =
        children.iter().filter(|child| !child.phase.is_final()).collect();
    let mut step = main_part(workflow, who, &mut progress, children, now);
    if let Some(deadline) = deadline.filter(|_| progress.main.is_none()) {
        step.wake_at = Some(step.wake_at.map_or(deadline, |at| at.min(deadline)));
    }
    if progress.main.is_some() {
        let terminated = progress.halt == Some(Halt::Terminate);
        let ends = progress.whole.is_some() || terminated || !progress.exit;
        if ends && !running.is_empty() {
            // The main part is over, whatever of it still runs.
            let running = running.iter().filter(|child| !child.is_stopping());
            step.stop.extend(running.map(|child| child.name.clone()));
            step.phase = Phase::Stopping;
        } else if terminated || workflow.on_exit.is_none() {
            let cut_short = terminated && progress.exit;
            let ended = progress.main.clone().map(|main| match cut_short {
                true => Outcome { phase: NodePhase::Failed, message: "terminated".into(), at: now },
                false => main,
            });
            progress.whole = progress.whole.take().or(ended);
        } else {
            exit_part(workflow, who, &mut progress, children, now, &mut step);
        }
    }
    conclude(workflow, &progress, running.is_empty(), &mut step);
    step.stop.sort();
    step.stop.dedup();
    step.progress = progress;
    step
}

/// The nodes of a workflow, as far as they are, for people: nothing of it is to be done.
pub fn look(
    workflow: &Workflow,
    who: Who<'_>,
    progress: &WorkflowProgress,
    children: &[ChildSeen],
    now: UnixMs,
) -> Vec<NodeSeen> {
    let mut progress = progress.clone();
    let mut walk = Walk::new(workflow, who, &mut progress, children, now);
    walk.open = false;
    let mut nodes = vec![walk.root("main", &workflow.entrypoint)];
    if let Some(exit) = workflow.on_exit.as_deref().filter(|_| walk.progress.exit) {
        nodes.push(walk.root("exit", exit));
    }
    nodes
}

fn main_part(
    workflow: &Workflow,
    who: Who<'_>,
    progress: &mut WorkflowProgress,
    children: &[ChildSeen],
    now: UnixMs,
) -> WorkflowStep {
    let over = progress.main.is_some() || progress.halt.is_some();
    let mut walk = Walk::new(workflow, who, progress, children, now);
    (walk.open, walk.killing) = (!over && !workflow.suspend, over);
    let node = walk.bounded_root("main", &workflow.entrypoint);
    let fatal = walk.fatal.take();
    let (create, stop, wake_at) = walk.carry();
    let fatal = fatal.or_else(|| too_large(progress));
    let ended =
        |phase, message: &str| Some(Outcome { phase, message: message.to_owned(), at: now });
    if progress.main.is_none() {
        progress.main = match (progress.halt, fatal) {
            (Some(Halt::Stop), _) => ended(NodePhase::Failed, "stopped"),
            (Some(Halt::Terminate), _) => ended(NodePhase::Failed, "terminated"),
            (Some(Halt::Deadline), _) => ended(NodePhase::Failed, "past its deadline"),
            (None, Some(fatal)) => ended(NodePhase::Errored, &fatal),
            (None, None) if node.phase == NodePhase::Skipped => ended(NodePhase::Succeeded, ""),
            (None, None) if node.phase.is_final() => ended(node.phase, &node.message),
            (None, None) => None,
        };
    }
    // What was to be made when the end came is not made.
    let ended = progress.main.is_some();
    if ended {
        for child in &create {
            progress.made.remove(key(&child.node));
        }
        progress.clocks.clear();
    }
    let create = if ended { Vec::new() } else { create };
    WorkflowStep {
        progress: WorkflowProgress::default(),
        create,
        stop,
        phase: Phase::Active,
        message: String::new(),
        wake_at: wake_at.filter(|_| !ended),
        nodes: vec![node],
    }
}

fn too_large(progress: &WorkflowProgress) -> Option<String> {
    let bytes = progress.write().to_string().len();
    (bytes > PROGRESS_BYTES_MAX).then(|| format!("{bytes} bytes of progress cannot be kept"))
}

/// The exit handler, after all else.
fn exit_part(
    workflow: &Workflow,
    who: Who<'_>,
    progress: &mut WorkflowProgress,
    children: &[ChildSeen],
    now: UnixMs,
    step: &mut WorkflowStep,
) {
    let Some(template) = &workflow.on_exit else { return };
    progress.exit = true;
    let open = progress.whole.is_none();
    let mut walk = Walk::new(workflow, who, progress, children, now);
    walk.open = open;
    let node = walk.bounded_root("exit", template);
    let fatal = walk.fatal.take();
    let (create, stop, wake_at) = walk.carry();
    let fatal = fatal.or_else(|| too_large(progress));
    let create = if fatal.is_none() { create } else { Vec::new() };
    step.create.extend(create);
    step.stop.extend(stop);
    step.wake_at = wake_at;
    let main = progress.main.clone().expect("the exit handler comes after the main part");
    if progress.whole.is_none() && (node.phase.is_final() || fatal.is_some()) {
        let message = fatal.clone().unwrap_or_else(|| node.message.clone());
        let bad = node.phase.is_bad() || fatal.is_some();
        let failed = bad && main.phase == NodePhase::Succeeded;
        progress.whole = Some(match failed {
            true => {
                let phase = if fatal.is_some() { NodePhase::Errored } else { node.phase };
                Outcome { phase, message: format!("exit: {message}"), at: now }
            }
            false => Outcome { at: now, ..main },
        });
        progress.clocks.clear();
    }
    step.nodes.push(node);
}

/// Where it stands, in a word and a line.
fn conclude(workflow: &Workflow, progress: &WorkflowProgress, idle: bool, step: &mut WorkflowStep) {
    let outcome = progress.whole.as_ref().or(progress.main.as_ref());
    if let Some(outcome) = outcome {
        step.message.clone_from(&outcome.message);
    }
    if let Some(whole) = &progress.whole {
        let succeeded = whole.phase == NodePhase::Succeeded;
        step.phase = if succeeded { Phase::Succeeded } else { Phase::Failed };
        (step.wake_at, step.stop) = (None, if idle { Vec::new() } else { step.stop.clone() });
        if !idle {
            step.phase = Phase::Stopping;
        }
    } else if step.phase == Phase::Stopping {
        step.message += "; what runs is being stopped";
    } else if progress.main.is_some() {
        step.message = format!("exit handler; {}", step.message).trim_end_matches("; ").to_owned();
    } else if workflow.suspend {
        step.phase = if idle { Phase::Suspended } else { Phase::Active };
        "suspended: nothing new starts".clone_into(&mut step.message);
    } else {
        step.message = count(&step.nodes);
        let waiting: Vec<&str> = progress.waiting().take(3).collect();
        if !waiting.is_empty() {
            step.message += &format!("; to be resumed: {}", waiting.join(", "));
        }
    }
}

/// How many leaves are how far.
fn count(nodes: &[NodeSeen]) -> String {
    let leaves: Vec<&NodeSeen> =
        nodes.iter().flat_map(NodeSeen::walk).filter(|node| node.child.is_some()).collect();
    let over = leaves.iter().filter(|leaf| leaf.phase.is_final()).count();
    format!("{over} of {} tasks done so far", leaves.len())
}

impl<'a> Walk<'a> {
    fn new(
        workflow: &'a Workflow,
        who: Who<'a>,
        progress: &'a mut WorkflowProgress,
        children: &'a [ChildSeen],
        now: UnixMs,
    ) -> Walk<'a> {
        let running = children.iter().filter(|child| !child.phase.is_final()).count();
        let seats = match usize::try_from(workflow.parallelism).expect("32 bits fit") {
            0 => usize::MAX,
            max => max.saturating_sub(running),
        };
        Walk {
            workflow,
            name: who.name,
            templates: workflow.templates.iter().map(|it| (it.name.as_str(), it)).collect(),
            globals: Rc::new(globals(workflow, who, progress)),
            children: children.iter().map(|child| (child.name.as_str(), child)).collect(),
            progress,
            now,
            open: true,
            killing: false,
            seats,
            active: BTreeSet::new(),
            asked: check::asked(workflow),
            nodes: 0,
            create: Vec::new(),
            stop: BTreeSet::new(),
            wake_at: None,
            fatal: None,
        }
    }

    /// A walk, before which another looks what is under way if a template bounds that.
    fn bounded_root(&mut self, path: &str, template: &str) -> NodeSeen {
        if self.workflow.templates.iter().any(|template| template.parallelism > 0) {
            let open = std::mem::replace(&mut self.open, false);
            self.root(path, template);
            (self.open, self.nodes, self.fatal) = (open, 0, None);
        }
        self.root(path, template)
    }

    fn carry(self) -> (Vec<ChildJob>, Vec<String>, Option<UnixMs>) {
        (self.create, self.stop.into_iter().collect(), self.wake_at)
    }
}

/// `workflow.…`, by what follows.
fn globals(
    workflow: &Workflow,
    who: Who<'_>,
    progress: &WorkflowProgress,
) -> BTreeMap<String, String> {
    let mut globals = BTreeMap::from([
        ("name".to_owned(), who.name.to_owned()),
        ("namespace".to_owned(), who.namespace.to_owned()),
        ("uid".to_owned(), who.uid.to_owned()),
    ]);
    let mut list = Vec::new();
    for parameter in &workflow.arguments.parameters {
        if let Some(value) = parameter.value.as_ref().or(parameter.default.as_ref()) {
            globals.insert(format!("parameters.{}", parameter.name), value.clone());
            list.push(serde_json::json!({"name": parameter.name, "value": value}));
        }
    }
    globals.insert("parameters".to_owned(), serde_json::Value::Array(list).to_string());
    if let Some(main) = &progress.main {
        globals.insert("status".to_owned(), main.phase.word().to_owned());
        let seconds = main.at.saturating_sub(who.created_at) as f64 / 1_000.0;
        globals.insert("duration".to_owned(), format!("{seconds:.3}"));
    }
    globals
}

#[cfg(test)]
mod tests;
