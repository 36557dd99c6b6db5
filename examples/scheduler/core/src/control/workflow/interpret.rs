//! From templates and children to nodes: one walk over the whole tree.
//!
//! Nothing of the tree is remembered. Each walk begins at the entry and finds out anew how far each
//! node is, from the jobs that are there; where it comes to a leaf that has none and may begin, it
//! makes one. All conditions and values depend on nothing but jobs that have ended, so every walk
//! finds the same, and one more.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::Value;

use super::graph::Graph;
use super::items;
use super::node::{NodePhase, NodeSeen, Scope, begun, overspent, spend};
use super::{ChildJob, ChildSeen, WorkflowProgress, child_name, key, leaf, text, when};
use crate::spec::{Body, Leaf, Node, OutputSource, Template, Workflow};
use crate::types::UnixMs;

/// So many nodes a workflow may come to.
pub const NODES_MAX: usize = 5_000;

/// So deep templates may nest: recursion that has no end is stopped here.
pub const DEPTH_MAX: usize = 100;

/// So many jobs are made by one step at most, so that they fit into one transaction.
pub const CREATES_MAX: usize = 40;

/// So many nodes may wait by the clock at a time.
pub const CLOCKS_MAX: usize = 500;

/// One walk.
pub(super) struct Walk<'a> {
    pub(super) workflow: &'a Workflow,
    pub(super) name: &'a str,
    pub(super) templates: BTreeMap<&'a str, &'a Template>,
    pub(super) globals: Rc<BTreeMap<String, String>>,
    pub(super) children: BTreeMap<&'a str, &'a ChildSeen>,
    pub(super) progress: &'a mut WorkflowProgress,
    pub(super) now: UnixMs,
    /// Something new may begin.
    pub(super) open: bool,
    /// What has begun shall end.
    pub(super) killing: bool,
    /// So many more jobs may be under way.
    pub(super) seats: usize,
    /// Nodes under way before this walk, by path, if bounds of templates ask for them.
    pub(super) active: BTreeSet<String>,
    /// Names of nodes whose `outputs.result` somebody names.
    pub(super) asked: BTreeSet<String>,
    pub(super) nodes: usize,
    /// On values and conditions.
    pub(super) spent: Rc<Cell<u64>>,
    pub(super) create: Vec<ChildJob>,
    pub(super) stop: BTreeSet<String>,
    pub(super) wake_at: Option<UnixMs>,
    /// A bound of the whole was hit.
    pub(super) fatal: Option<String>,
}

/// What is called, and where.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) name: &'a str,
    pub(super) path: &'a str,
    depth: usize,
    /// Somebody asks for what it prints.
    is_asked: bool,
}

impl<'a> Walk<'a> {
    /// The tree from a template that is called by nobody.
    pub(super) fn root(&mut self, path: &str, template: &str) -> NodeSeen {
        let arguments = &self.workflow.arguments.parameters;
        let arguments = arguments
            .iter()
            .filter_map(|it| Some((it.name.clone(), it.value.clone().or(it.default.clone())?)))
            .collect();
        let call = Call { name: template, path, depth: 0, is_asked: false };
        self.call(call, template, arguments)
    }

    /// The bound of the whole that was hit, if one was.
    pub(super) fn why_fatal(&mut self) -> Option<String> {
        self.fatal.take().or_else(|| overspent(&self.spent))
    }

    /// Counts a node that is come to, whatever becomes of it: what is skipped, or waits, takes up
    /// room as well.
    fn count(&mut self) -> Result<(), String> {
        self.nodes += 1;
        if self.fatal.is_none() && self.nodes > NODES_MAX {
            self.fatal = Some(format!("more than {NODES_MAX} nodes"));
        }
        if self.fatal.is_none() {
            self.fatal = overspent(&self.spent);
        }
        self.fatal.clone().map_or(Ok(()), Err)
    }

    pub(super) fn wake(&mut self, at: UnixMs) {
        self.wake_at = Some(self.wake_at.map_or(at, |before| before.min(at)));
    }

    fn call(
        &mut self,
        call: Call<'_>,
        template: &str,
        arguments: BTreeMap<String, String>,
    ) -> NodeSeen {
        let error = |message| NodeSeen::error(call.name, call.path, message);
        if call.depth > DEPTH_MAX {
            return error(format!("templates nest deeper than {DEPTH_MAX}"));
        }
        let Some(template) = self.templates.get(template).copied() else {
            return error(format!("there is no template `{template}`"));
        };
        let inputs = match bind(template, arguments) {
            Ok(inputs) => inputs,
            Err(message) => return error(message),
        };
        let mut node = match &template.body {
            Body::Task(leaf) => self.leaf(call, template, leaf, &inputs),
            Body::Suspend { duration } => self.suspend(call, *duration),
            Body::Steps(_) | Body::Dag(_) => self.timed(call, template, &inputs),
        };
        node.template = Some(template.name.clone());
        if node.phase == NodePhase::Running {
            self.active.insert(call.path.to_owned());
        }
        node
    }

    fn leaf(
        &mut self,
        call: Call<'_>,
        template: &Template,
        leaf: &Leaf,
        inputs: &BTreeMap<String, String>,
    ) -> NodeSeen {
        let child = child_name(self.name, call.path);
        if let Some(seen) = self.children.get(child.as_str()) {
            self.progress.made.insert(key(call.path));
            let node = leaf::seen(call.name, call.path, template, seen);
            if self.killing && !node.phase.is_final() && !seen.is_stopping() {
                self.stop.insert(child);
            }
            return node;
        }
        if self.progress.made.contains(&key(call.path)) {
            let message = "its job was removed".to_owned();
            return NodeSeen::error(call.name, call.path, message);
        }
        let mut node = NodeSeen::new(call.name, call.path, NodePhase::Waiting);
        if !self.open || self.killing || self.seats == 0 {
            return node;
        }
        if self.create.len() == CREATES_MAX {
            self.wake(self.now);
            return node;
        }
        let mut scope = Scope::new(&self.globals, inputs, &self.spent);
        scope.child = Some(&child);
        match leaf::job(self.workflow, template, leaf, &scope, call.is_asked) {
            Err(message) => NodeSeen::error(call.name, call.path, message),
            Ok(job) => {
                self.seats -= 1;
                self.progress.made.insert(key(call.path));
                let node_path = call.path.to_owned();
                self.create.push(ChildJob { name: child.clone(), job, node: node_path });
                (node.phase, node.child) = (NodePhase::Running, Some(child));
                node
            }
        }
    }

    pub(super) fn inner(
        &mut self,
        call: Call<'_>,
        template: &Template,
        inputs: &BTreeMap<String, String>,
    ) -> NodeSeen {
        let mut room = Room::new(self, template, call.path);
        let (globals, spent) = (Rc::clone(&self.globals), Rc::clone(&self.spent));
        let mut scope = Scope::new(&globals, inputs, &spent);
        let mut node = NodeSeen::new(call.name, call.path, NodePhase::Waiting);
        match &template.body {
            Body::Steps(groups) => {
                scope.kind = "steps";
                self.steps(call, groups, &mut scope, &mut room, &mut node);
            }
            Body::Dag(nodes) => {
                scope.kind = "tasks";
                self.dag(call, nodes, &mut scope, &mut room, &mut node);
            }
            Body::Task(_) | Body::Suspend { .. } => {}
        }
        if node.phase == NodePhase::Succeeded {
            for (name, source) in &template.outputs.parameters {
                let OutputSource::Text(value) = source else { continue };
                let rendered = text::render(value, &|tag| scope.lookup(None, tag));
                // Kept until the walk is over, so a text without a tag is paid for as well.
                let paid = rendered.and_then(|it| spend(&spent, it.len() as u64).map(|()| it));
                match paid {
                    Ok(value) => drop(node.told.parameters.insert(name.clone(), value)),
                    Err(message) => {
                        node.phase = NodePhase::Errored;
                        node.message = format!("outputs.parameters.{name}: {message}");
                    }
                }
            }
        }
        node.span();
        node
    }

    fn steps<'s>(
        &mut self,
        call: Call<'_>,
        groups: &'s [Vec<Node>],
        scope: &mut Scope<'s>,
        room: &mut Room,
        into: &mut NodeSeen,
    ) {
        for (number, group) in groups.iter().enumerate() {
            let seen: Vec<NodeSeen> = group
                .iter()
                .map(|node| {
                    let path = format!("{}[{number}].{}", call.path, node.name);
                    self.node(node, scope, &path, call.depth, room)
                })
                .collect();
            let over = seen.iter().all(|node| node.phase.is_final());
            let bad = seen
                .iter()
                .zip(group)
                .find(|(seen, node)| seen.phase.is_bad() && !node.continue_on_failed)
                .map(|(seen, _)| (seen.phase, format!("{}: {}", seen.name, seen.message)));
            for (seen, node) in seen.iter().zip(group) {
                scope.siblings.insert(&node.name, (seen.phase, seen.told.clone()));
            }
            into.children.extend(seen);
            if !over {
                into.phase = begun(&into.children);
                return;
            }
            if let Some((phase, message)) = bad {
                (into.phase, into.message) = (phase, message);
                return;
            }
        }
        into.phase = NodePhase::Succeeded;
    }

    fn dag<'s>(
        &mut self,
        call: Call<'_>,
        nodes: &'s [Node],
        scope: &mut Scope<'s>,
        room: &mut Room,
        into: &mut NodeSeen,
    ) {
        let graph = match Graph::new(nodes) {
            Ok(graph) => graph,
            Err(message) => {
                (into.phase, into.message) = (NodePhase::Errored, message);
                return;
            }
        };
        let mut seen: Vec<Option<NodeSeen>> = vec![None; nodes.len()];
        for &at in &graph.order {
            let node = &nodes[at];
            let path = format!("{}.{}", call.path, node.name);
            let phase = graph.gate(nodes, at, &seen);
            let found = match phase {
                NodePhase::Running => {
                    // Only what it waited for: what else has ended by now is chance.
                    scope.siblings = graph.ancestors[at]
                        .iter()
                        .filter_map(|&of| Some((of, seen[of].as_ref()?)))
                        .map(|(of, seen)| (&*nodes[of].name, (seen.phase, seen.told.clone())))
                        .collect();
                    self.node(node, scope, &path, call.depth, room)
                }
                phase => match self.count() {
                    Ok(()) => NodeSeen::new(&node.name, &path, phase),
                    Err(message) => NodeSeen::error(&node.name, &path, message),
                },
            };
            seen[at] = Some(found);
        }
        let seen: Vec<NodeSeen> = seen.into_iter().flatten().collect();
        scope.siblings = nodes
            .iter()
            .zip(&seen)
            .map(|(node, it)| (&*node.name, (it.phase, it.told.clone())))
            .collect();
        into.phase = match seen.iter().all(|node| node.phase.is_final()) {
            false => begun(&seen),
            true => match graph.failed(nodes, &seen) {
                None => NodePhase::Succeeded,
                Some(at) => {
                    into.message = format!("{}: {}", seen[at].name, seen[at].message);
                    seen[at].phase
                }
            },
        };
        into.children = seen;
    }

    /// One use of a template, or one for each of several items.
    fn node(
        &mut self,
        node: &Node,
        scope: &Scope<'_>,
        path: &str,
        depth: usize,
        room: &mut Room,
    ) -> NodeSeen {
        if let Some(message) = self.fatal.clone() {
            return NodeSeen::error(&node.name, path, message);
        }
        let Some(items) = &node.items else {
            return self.instance(node, scope, None, path, depth, room);
        };
        let items = match items::expand(items, &|tag| scope.lookup(None, tag)) {
            Ok(items) => items,
            Err(message) => return NodeSeen::error(&node.name, path, format!("items: {message}")),
        };
        if items.is_empty() {
            let message = "there are no items".to_owned();
            return NodeSeen { message, ..NodeSeen::new(&node.name, path, NodePhase::Skipped) };
        }
        let mut children = Vec::new();
        for (number, item) in items.iter().enumerate() {
            let path = format!("{path}({number})");
            children.push(self.instance(node, scope, Some(item), &path, depth, room));
            // Templates within templates may each have a thousand more to come to.
            if self.fatal.is_some() {
                break;
            }
        }
        NodeSeen::fan(&node.name, path, children)
    }

    /// One use of a template.
    fn instance(
        &mut self,
        node: &Node,
        scope: &Scope<'_>,
        item: Option<&Value>,
        path: &str,
        depth: usize,
        room: &mut Room,
    ) -> NodeSeen {
        let name = match item {
            None => node.name.clone(),
            Some(item) => {
                let number =
                    path.rsplit_once('(').map_or("", |(_, rest)| rest.trim_end_matches(')'));
                let shown: String = text::plain(item).chars().take(40).collect();
                format!("{}({number}:{shown})", node.name)
            }
        };
        if let Err(message) = self.count() {
            return NodeSeen::error(&name, path, message);
        }
        let lookup = |tag: &str| scope.lookup(item, tag);
        match node.when.as_deref().map(|when| when::holds(when, &lookup, scope.spent)) {
            None | Some(Ok(true)) => {}
            Some(Ok(false)) => {
                let message = "its condition does not hold".to_owned();
                return NodeSeen { message, ..NodeSeen::new(&name, path, NodePhase::Skipped) };
            }
            Some(Err(message)) => return NodeSeen::error(&name, path, format!("when: {message}")),
        }
        let mut arguments = BTreeMap::new();
        for parameter in &node.arguments.parameters {
            let Some(value) = parameter.value.as_ref().or(parameter.default.as_ref()) else {
                continue;
            };
            match text::render(value, &lookup) {
                Ok(value) => drop(arguments.insert(parameter.name.clone(), value)),
                Err(message) => {
                    let message = format!("arguments.parameters.{}: {message}", parameter.name);
                    return NodeSeen::error(&name, path, message);
                }
            }
        }
        let was_active = self.active.contains(path);
        let open = self.open;
        self.open = open && (was_active || room.left != Some(0));
        let is_asked = self.asked.contains(&node.name);
        let call = Call { name: &name, path, depth: depth + 1, is_asked };
        let seen = self.call(call, &node.template, arguments);
        self.open = open;
        if seen.phase == NodePhase::Running && !was_active {
            room.left = room.left.map(|left| left.saturating_sub(1));
        }
        seen
    }
}

/// How many more nodes of a template may begin.
struct Room {
    left: Option<usize>,
}

impl Room {
    fn new(walk: &Walk<'_>, template: &Template, path: &str) -> Room {
        if template.parallelism == 0 {
            return Room { left: None };
        }
        let max = usize::try_from(template.parallelism).expect("32 bits fit");
        let within = walk.active.range(path.to_owned()..).take_while(|it| it.starts_with(path));
        let active = within.filter(|it| is_child(&it[path.len()..])).count();
        Room { left: Some(max.saturating_sub(active)) }
    }
}

/// Whether what follows a node's path leads to a node right in it.
fn is_child(rest: &str) -> bool {
    let name = match rest.strip_prefix('[') {
        Some(group) => group.split_once("].").map(|(_, name)| name),
        None => rest.strip_prefix('.'),
    };
    name.is_some_and(|name| !name.contains(['.', '[']))
}

/// The inputs of a template, from what it is told and what it has itself.
fn bind(
    template: &Template,
    mut arguments: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, String> {
    let mut inputs = BTreeMap::new();
    for parameter in &template.inputs.parameters {
        let own = || parameter.value.clone().or_else(|| parameter.default.clone());
        let Some(value) = arguments.remove(&parameter.name).or_else(own) else {
            return Err(format!("inputs.parameters.{} is given no value", parameter.name));
        };
        if !parameter.choices.is_empty() && !parameter.choices.contains(&value) {
            return Err(format!("inputs.parameters.{}: `{value}` is no choice", parameter.name));
        }
        inputs.insert(parameter.name.clone(), value);
    }
    Ok(inputs)
}
