//! Trying a workflow again that has failed.
//!
//! What did well is kept, with what it told; everything else is forgotten, and then the walk goes
//! on as if it had never come further. That is all: a workflow's memory is its jobs.

use super::interpret::Walk;
use super::node::NodePhase;
use super::set::Keys;
use super::{ChildSeen, Who, WorkflowProgress, key};
use crate::record::Phase;
use crate::spec::Workflow;
use crate::types::UnixMs;

/// The progress of a workflow that has ended and shall be tried again, for the `asked`-th time, and
/// the jobs that must be gone before it is written: those that failed, those that were run because
/// of that, and those of the exit handler.
///
/// Nodes that somebody resumed stay so; all other clocks begin anew. A deadline of the whole counts
/// from when the workflow was made, so one that is past its own fails again.
pub fn retry(
    workflow: &Workflow,
    who: Who<'_>,
    progress: &WorkflowProgress,
    children: &[ChildSeen],
    asked: u32,
    now: UnixMs,
) -> (WorkflowProgress, Vec<String>) {
    let did_well = |child: &&ChildSeen| child.phase == Phase::Succeeded && !child.deleted;
    let kept: Vec<ChildSeen> = children.iter().filter(did_well).cloned().collect();
    let mut fresh = WorkflowProgress {
        done: progress.done.clone(),
        resumes: progress.resumes,
        retries: asked,
        ..WorkflowProgress::default()
    };
    // The walk notes which jobs it comes by.
    let mut walk = Walk::new(workflow, who, &mut fresh, &kept, now);
    walk.open = false;
    let tree = walk.root("main", &workflow.entrypoint);
    let nodes = tree.walk();
    let mut done = Keys::default();
    for node in nodes.iter().filter(|node| node.phase == NodePhase::Succeeded) {
        let waits_by_itself = node.child.is_none() && node.children.is_empty();
        if waits_by_itself && fresh.done.contains(&key(&node.path)) {
            done.insert(key(&node.path));
        }
    }
    (fresh.done, fresh.clocks) = (done, Default::default());
    let is_met = |name: &String| nodes.iter().any(|node| node.child.as_ref() == Some(name));
    let names = children.iter().map(|child| child.name.clone());
    (fresh, names.filter(|name| !is_met(name)).collect())
}
