//! One step: the main part, then the exit handler, then what to say about it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::interpret::Walk;
use super::node::{NodePhase, NodeSeen};
use super::{
    ChildJob, ChildSeen, Halt, Outcome, PROGRESS_BYTES_MAX, Who, WorkflowProgress, WorkflowStep,
    check, key,
};
use crate::record::Phase;
use crate::spec::Workflow;
use crate::types::UnixMs;

/// What a workflow should do now.
pub fn step(
    workflow: &Workflow,
    who: Who<'_>,
    progress: &WorkflowProgress,
    children: &[ChildSeen],
    now: UnixMs,
) -> WorkflowStep {
    let mut progress = progress.clone();
    // Only a clock that was set makes a node wait since a time to come.
    progress.clocks.values_mut().for_each(|clock| clock.since = clock.since.min(now));
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
    let fatal = walk.why_fatal();
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
    let fatal = walk.why_fatal();
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
    pub(super) fn new(
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
            spent: Rc::default(),
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
            self.spent.set(0);
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
