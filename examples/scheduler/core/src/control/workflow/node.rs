//! Nodes: how far each is, and what it told.

use std::cell::Cell;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::text;
use crate::types::{UnixMs, start_of};

/// How far a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodePhase {
    /// It has not begun.
    Waiting,
    /// It, or something in it, has begun.
    Running,
    /// It did what it was for.
    Succeeded,
    /// It did not.
    Failed,
    /// It could not even be tried: a value is missing, a bound was hit.
    Errored,
    /// Its condition did not hold.
    Skipped,
    /// What it depends on ended in another way.
    Omitted,
}

impl NodePhase {
    /// Whether nothing more will happen to it.
    pub fn is_final(self) -> bool {
        !matches!(self, NodePhase::Waiting | NodePhase::Running)
    }

    /// Whether it ended badly.
    pub fn is_bad(self) -> bool {
        matches!(self, NodePhase::Failed | NodePhase::Errored)
    }

    /// As conditions and people know it; Argo says `Error`.
    pub fn word(self) -> &'static str {
        match self {
            NodePhase::Waiting => "Pending",
            NodePhase::Running => "Running",
            NodePhase::Succeeded => "Succeeded",
            NodePhase::Failed => "Failed",
            NodePhase::Errored => "Error",
            NodePhase::Skipped => "Skipped",
            NodePhase::Omitted => "Omitted",
        }
    }
}

/// What a node tells those after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What it printed last.
    pub result: Option<String>,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// Its outputs by name.
    pub parameters: BTreeMap<String, String>,
}

/// A node, and those in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSeen {
    /// Its name among its siblings, with the item if it is one of several.
    pub name: String,
    /// From the root: `main[0].hello(2)`.
    pub path: String,
    /// Its template; none of a fan-out, and of one that was never come to.
    pub template: Option<String>,
    /// How far it is.
    pub phase: NodePhase,
    /// Why, if there is something to say.
    pub message: String,
    /// The job that does it, of a leaf.
    pub child: Option<String>,
    /// Where that ran.
    pub node: Option<String>,
    /// When that was started.
    pub started_at: Option<UnixMs>,
    /// When that was over.
    pub finished_at: Option<UnixMs>,
    /// What it tells.
    pub told: Told,
    /// Of a fan-out: once for each item.
    pub fanned: bool,
    /// Those in it, in the order of the manifest.
    pub children: Vec<NodeSeen>,
}

impl NodeSeen {
    pub(super) fn new(name: &str, path: &str, phase: NodePhase) -> NodeSeen {
        NodeSeen {
            name: name.to_owned(),
            path: path.to_owned(),
            template: None,
            phase,
            message: String::new(),
            child: None,
            node: None,
            started_at: None,
            finished_at: None,
            told: Told::default(),
            fanned: false,
            children: Vec::new(),
        }
    }

    /// What is said of it may quote a value, which can be long; thousands of nodes may say it.
    pub(super) fn error(name: &str, path: &str, mut message: String) -> NodeSeen {
        if message.len() > MESSAGE_BYTES_MAX {
            message.truncate(start_of(&message, MESSAGE_BYTES_MAX).len());
            message.push('…');
        }
        NodeSeen { message, ..NodeSeen::new(name, path, NodePhase::Errored) }
    }

    /// Itself and all in it, parents first.
    pub fn walk(&self) -> Vec<&NodeSeen> {
        let mut all = vec![self];
        let mut at = 0;
        while at < all.len() {
            let node = all[at];
            all.extend(&node.children);
            at += 1;
        }
        all
    }

    /// One node of several that are done for an item each.
    pub(super) fn fan(name: &str, path: &str, children: Vec<NodeSeen>) -> NodeSeen {
        let mut fan = NodeSeen::new(name, path, NodePhase::Waiting);
        fan.phase = gathered(&children);
        if let Some(bad) = children.iter().find(|child| child.phase.is_bad()) {
            fan.message = format!("{}: {}", bad.name, bad.message);
        }
        fan.told = together(&children);
        (fan.fanned, fan.children) = (true, children);
        fan.span();
        fan
    }

    /// It took as long as those in it.
    pub(super) fn span(&mut self) {
        let children = &self.children;
        self.started_at = children.iter().filter_map(|child| child.started_at).min();
        if self.phase.is_final() {
            self.finished_at = children.iter().filter_map(|child| child.finished_at).max();
        }
    }

    /// How one of several ended, for those that ask whether any or all did.
    pub(super) fn any_succeeded(&self) -> bool {
        let parts = if self.fanned { &self.children[..] } else { std::slice::from_ref(self) };
        parts.iter().any(|part| part.phase == NodePhase::Succeeded)
    }

    pub(super) fn all_failed(&self) -> bool {
        let parts = if self.fanned { &self.children[..] } else { std::slice::from_ref(self) };
        !parts.is_empty() && parts.iter().all(|part| part.phase.is_bad())
    }
}

/// How far several are together.
fn gathered(children: &[NodeSeen]) -> NodePhase {
    let any = |phase| children.iter().any(|child| child.phase == phase);
    let all_final = children.iter().all(|child| child.phase.is_final());
    match () {
        () if !all_final => begun(children),
        () if any(NodePhase::Errored) => NodePhase::Errored,
        () if any(NodePhase::Failed) => NodePhase::Failed,
        () if children.iter().all(|child| child.phase == NodePhase::Skipped) => NodePhase::Skipped,
        () => NodePhase::Succeeded,
    }
}

/// Whether any of several has begun.
pub(super) fn begun(children: &[NodeSeen]) -> NodePhase {
    let begun = |child: &NodeSeen| {
        !matches!(child.phase, NodePhase::Waiting | NodePhase::Skipped | NodePhase::Omitted)
    };
    if children.iter().any(begun) { NodePhase::Running } else { NodePhase::Waiting }
}

/// What several tell: JSON lists of what each does.
fn together(children: &[NodeSeen]) -> Told {
    // What was skipped has nothing to say and no place in the lists.
    let ended: Vec<&NodeSeen> = children
        .iter()
        .filter(|child| child.phase.is_final() && child.phase != NodePhase::Skipped)
        .collect();
    let results: Vec<Value> = ended
        .iter()
        .filter_map(|child| child.told.result.as_ref())
        // A list of numbers should be one that can be counted with.
        .map(|result| match serde_json::from_str::<Value>(result) {
            Ok(value @ (Value::Number(_) | Value::Object(_) | Value::Array(_))) => value,
            _ => Value::from(result.as_str()),
        })
        .collect();
    let mut names: Vec<&String> =
        ended.iter().flat_map(|child| child.told.parameters.keys()).collect();
    names.sort();
    names.dedup();
    let parameters = names
        .into_iter()
        .map(|name| {
            let values = ended.iter().filter_map(|child| child.told.parameters.get(name));
            let list: Vec<Value> = values.map(|value| Value::from(value.as_str())).collect();
            (name.clone(), Value::Array(list).to_string())
        })
        .collect();
    let result = (!ended.is_empty()).then(|| Value::Array(results).to_string());
    Told { result, exit_code: None, parameters }
}

/// What is said of a node, bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 10;

/// So much may be spent on one walk, in bytes of values that are handed on, and in steps of
/// conditions, which take about as long. Nodes are counted, too; but a few kilobytes of manifest
/// can ask for megabytes at each.
pub(super) const SPENT_MAX: u64 = 64 << 20;

/// Spends, if there is so much left.
///
/// # Errors
/// Says that there is not.
pub(super) fn spend(spent: &Cell<u64>, more: u64) -> Result<(), String> {
    spent.set(spent.get().saturating_add(more));
    match overspent(spent) {
        None => Ok(()),
        Some(why) => Err(why),
    }
}

/// Why a walk cannot go on, if it has spent too much.
pub(super) fn overspent(spent: &Cell<u64>) -> Option<String> {
    let most = SPENT_MAX >> 20;
    let why = || format!("its values and conditions are more than {most} MiB of work");
    (spent.get() > SPENT_MAX).then(why)
}

/// Values that a text may name, from one place in a workflow.
pub(super) struct Scope<'a> {
    /// `workflow.…`, by what follows.
    pub(super) globals: &'a BTreeMap<String, String>,
    /// `inputs.parameters.…`.
    pub(super) inputs: &'a BTreeMap<String, String>,
    /// `steps` or `tasks`.
    pub(super) kind: &'static str,
    /// Siblings that have ended, by name.
    pub(super) siblings: BTreeMap<&'a str, (NodePhase, Told)>,
    /// `pod.name`.
    pub(super) child: Option<&'a str>,
    /// Each value that is handed out is paid for here.
    pub(super) spent: &'a Cell<u64>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(
        globals: &'a BTreeMap<String, String>,
        inputs: &'a BTreeMap<String, String>,
        spent: &'a Cell<u64>,
    ) -> Scope<'a> {
        let (kind, siblings) = ("", BTreeMap::new());
        Scope { globals, inputs, kind, siblings, child: None, spent }
    }

    /// The value of a tag, perhaps for one of several items; none once too much was spent, which
    /// ends the walk.
    pub(super) fn lookup(&self, item: Option<&Value>, tag: &str) -> Option<String> {
        let value = self.value(item, tag)?;
        spend(self.spent, value.len() as u64).is_ok().then_some(value)
    }

    fn value(&self, item: Option<&Value>, tag: &str) -> Option<String> {
        if tag == "item" {
            return item.map(text::plain);
        }
        if tag == "pod.name" {
            return self.child.map(str::to_owned);
        }
        let (root, rest) = tag.split_once('.')?;
        match root {
            "workflow" => self.globals.get(rest).cloned(),
            "inputs" => self.inputs.get(rest.strip_prefix("parameters.")?).cloned(),
            "item" => item?.get(rest).map(text::plain),
            kind if kind == self.kind => {
                let (name, what) = rest.split_once('.')?;
                let (phase, told) = self.siblings.get(name)?;
                told.lookup(*phase, what)
            }
            _ => None,
        }
    }
}

impl Told {
    fn lookup(&self, phase: NodePhase, what: &str) -> Option<String> {
        match what {
            "status" => Some(phase.word().to_owned()),
            "exitCode" | "outputs.exitCode" => self.exit_code.map(|code| code.to_string()),
            "outputs.result" => self.result.clone(),
            _ => self.parameters.get(what.strip_prefix("outputs.parameters.")?).cloned(),
        }
    }
}
