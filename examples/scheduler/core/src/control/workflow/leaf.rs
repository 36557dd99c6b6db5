//! Leaves: the jobs that do the work.

use std::collections::BTreeMap;

use super::node::{NodePhase, NodeSeen, Scope, Told};
use super::{ChildSeen, text};
use crate::record::{self, Exit, PRINTED, Phase, Reason};
use crate::spec::{
    Job, Leaf, Mount, MountSource, OutputSource, Placement, Strategy, Task, Template, Workflow,
};

/// So much of what a task printed is kept, if others ask for it.
const PRINTED_BYTES: u32 = 16 << 10;

/// So much of what a task printed is kept for people.
const SHOWN_BYTES: u32 = 256;

/// So long the job of a leaf may be, as the store holds it: its record has a little more, and must
/// fit into a value.
const JOB_BYTES_MAX: usize = record::VALUE_BYTES_MAX - (4 << 10);

/// Where a script is, in its container.
pub const SCRIPT_PATH: &str = "/mason/script";

/// The job that does a leaf, all values filled in.
///
/// # Errors
/// Names a tag that has no value, or a field that is no longer one with it filled in; or all of it
/// is too long to be kept.
pub(super) fn job(
    workflow: &Workflow,
    template: &Template,
    leaf: &Leaf,
    scope: &Scope<'_>,
    is_asked: bool,
) -> Result<Job, String> {
    let lookup = |tag: &str| scope.lookup(None, tag);
    let mut value = serde_json::to_value(&leaf.task).expect("a task is JSON");
    text::render_all(&mut value, &lookup)?;
    let read: Result<Task, _> = serde_path_to_error::deserialize(value);
    let mut task = read.map_err(|error| format!("task.{}: {}", error.path(), error.inner()))?;
    for (name, source) in &template.outputs.parameters {
        if let OutputSource::Path { path, .. } = source {
            task.outputs.insert(name.clone(), text::render(path, &lookup)?);
        }
    }
    if task.capture_bytes == 0 {
        let asked = is_asked || leaf.script.is_some();
        task.capture_bytes = if asked { PRINTED_BYTES } else { SHOWN_BYTES };
    }
    if let Some(script) = &leaf.script {
        let source = MountSource::Text { text: text::render(script, &lookup)? };
        task.mounts.push(Mount { at: SCRIPT_PATH.to_owned(), read_only: true, source });
        task.args.push(SCRIPT_PATH.to_owned());
    }
    let mut job = Job::single(task);
    job.retry.clone_from(&template.retry);
    job.deadline = template.timeout;
    job.placement = both(&workflow.placement, &template.placement);
    match record::encode(&job).len() {
        bytes if bytes > JOB_BYTES_MAX => {
            Err(format!("its job is {bytes} bytes long, and may be {JOB_BYTES_MAX}"))
        }
        _ => Ok(job),
    }
}

/// What a workflow and one of its templates ask of a place.
fn both(whole: &Placement, part: &Placement) -> Placement {
    let mut both = part.clone();
    if both.strategy == Strategy::default() {
        both.strategy.clone_from(&whole.strategy);
    }
    both.require.extend_from_slice(&whole.require);
    both.prefer.extend_from_slice(&whole.prefer);
    both.near.extend_from_slice(&whole.near);
    both.avoid.extend_from_slice(&whole.avoid);
    both.tolerate.extend_from_slice(&whole.tolerate);
    for (name, value) in &whole.labels {
        both.labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    both
}

/// A leaf whose job is there.
pub(super) fn seen(name: &str, path: &str, template: &Template, child: &ChildSeen) -> NodeSeen {
    let task = child.tasks.first();
    let exit = task.and_then(|task| task.exit.as_ref());
    let phase = match child.phase {
        Phase::Succeeded => NodePhase::Succeeded,
        Phase::Failed | Phase::Skipped => NodePhase::Failed,
        Phase::Waiting | Phase::Active | Phase::Suspended | Phase::Stopping => NodePhase::Running,
    };
    let mut node = NodeSeen::new(name, path, phase);
    node.template = Some(template.name.clone());
    node.child = Some(child.name.clone());
    node.node = task.and_then(|task| task.node.clone());
    node.started_at = exit.and_then(|exit| exit.started_at).or(child.started_at);
    if phase.is_final() {
        node.finished_at = exit.map(|exit| exit.finished_at);
        node.told = told(template, exit);
    }
    if phase == NodePhase::Failed {
        node.message = exit.map_or_else(|| "it never ran".to_owned(), why);
    }
    node
}

fn why(exit: &Exit) -> String {
    match (exit.reason, exit.code) {
        (Reason::Exited, Some(code)) => format!("exit code {code}"),
        (Reason::Exited, None) => "it ended, and nobody knows how".to_owned(),
        (reason, _) => {
            let word = serde_json::to_value(reason).expect("a reason is a word");
            let word = text::plain(&word);
            if exit.message.is_empty() { word } else { format!("{word}: {}", exit.message) }
        }
    }
}

fn told(template: &Template, exit: Option<&Exit>) -> Told {
    let none = BTreeMap::new();
    let outputs = exit.map_or(&none, |exit| &exit.outputs);
    // What a shell prints ends in a line end that nobody means.
    let trimmed = |name: &str| outputs.get(name).map(|text| text.trim_end_matches('\n').to_owned());
    let mut told = Told {
        result: trimmed(PRINTED),
        exit_code: exit.and_then(|exit| exit.code),
        parameters: BTreeMap::new(),
    };
    for (name, source) in &template.outputs.parameters {
        if let OutputSource::Path { default, .. } = source
            && let Some(value) = trimmed(name).or_else(|| default.clone())
        {
            told.parameters.insert(name.clone(), value);
        }
    }
    told
}
