//! Nodes that wait for each other: in which order they are come to, and how the whole ends.

use std::collections::{BTreeMap, BTreeSet};

use super::depends::{Depends, Ended};
use super::node::{NodePhase, NodeSeen};
use crate::spec::Node;

/// The nodes of a graph, by their places in the manifest.
pub(super) struct Graph {
    depends: Vec<Option<Depends>>,
    /// Whom each waits for.
    parents: Vec<Vec<usize>>,
    /// Whom each waits for, and whom those wait for, and so on.
    pub(super) ancestors: Vec<BTreeSet<usize>>,
    /// Each after all that it waits for.
    pub(super) order: Vec<usize>,
}

impl Graph {
    /// Reads it.
    ///
    /// # Errors
    /// Names a node that does not read, that is not there, that is there twice, or that waits for
    /// itself.
    pub(super) fn new(nodes: &[Node]) -> Result<Graph, String> {
        let mut places = BTreeMap::new();
        for (at, node) in nodes.iter().enumerate() {
            if places.insert(node.name.as_str(), at).is_some() {
                return Err(format!("there are two nodes `{}`", node.name));
            }
        }
        let (mut depends, mut parents) = (Vec::new(), Vec::new());
        for node in nodes {
            let text = node.depends.as_deref().filter(|text| !text.trim().is_empty());
            let parsed = text.map(Depends::parse).transpose();
            let parsed = parsed.map_err(|error| format!("{}.depends: {error}", node.name))?;
            let mut named = BTreeSet::new();
            for name in parsed.iter().flat_map(Depends::names) {
                let at = places.get(name);
                named.insert(
                    *at.ok_or_else(|| format!("{}.depends: there is no node `{name}`", node.name))?,
                );
            }
            depends.push(parsed);
            parents.push(named.into_iter().collect::<Vec<_>>());
        }
        let order = order(nodes, &parents)?;
        let mut ancestors: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); nodes.len()];
        for &at in &order {
            let mut all: BTreeSet<usize> = parents[at].iter().copied().collect();
            for &parent in &parents[at] {
                all.extend(&ancestors[parent]);
            }
            ancestors[at] = all;
        }
        Ok(Graph { depends, parents, ancestors, order })
    }

    /// Whether a node may begin: `Running` if so, `Waiting` if not yet, `Omitted` if never.
    pub(super) fn gate(&self, nodes: &[Node], at: usize, seen: &[Option<NodeSeen>]) -> NodePhase {
        let Some(depends) = &self.depends[at] else { return NodePhase::Running };
        let over = |of: &usize| seen[*of].as_ref().is_some_and(|it| it.phase.is_final());
        if !self.parents[at].iter().all(over) {
            return NodePhase::Waiting;
        }
        let ended = |name: &str| {
            let of = self.parents[at].iter().find(|&&of| nodes[of].name == name);
            let of = *of.expect("names were looked up when the graph was read");
            let it = seen[of].as_ref().expect("it is over");
            Ended {
                phase: it.phase,
                continue_on_failed: nodes[of].continue_on_failed,
                any_succeeded: it.any_succeeded(),
                all_failed: it.all_failed(),
            }
        };
        if depends.holds(&ended) { NodePhase::Running } else { NodePhase::Omitted }
    }

    /// Which node is to blame if the whole has failed; all have ended.
    ///
    /// As in Argo, the ends of the graph decide, the nodes that nobody waits for. One that ran
    /// ended as it did; one that was skipped or omitted passes on how those before it ended. So a
    /// failure that something waited for, and answered with success, is none of the whole.
    pub(super) fn failed(&self, nodes: &[Node], seen: &[NodeSeen]) -> Option<usize> {
        let mut blame: Vec<Option<usize>> = vec![None; nodes.len()];
        for &at in &self.order {
            blame[at] = match seen[at].phase {
                NodePhase::Skipped | NodePhase::Omitted => {
                    self.parents[at].iter().find_map(|&parent| blame[parent])
                }
                phase if phase.is_bad() && !nodes[at].continue_on_failed => Some(at),
                _ => None,
            };
        }
        let waited_for: BTreeSet<usize> = self.parents.iter().flatten().copied().collect();
        (0..nodes.len()).filter(|at| !waited_for.contains(at)).find_map(|at| blame[at])
    }
}

/// Each after all that it waits for, and else as in the manifest.
fn order(nodes: &[Node], parents: &[Vec<usize>]) -> Result<Vec<usize>, String> {
    let mut missing: Vec<usize> = parents.iter().map(Vec::len).collect();
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (at, parents) in parents.iter().enumerate() {
        parents.iter().for_each(|&parent| children[parent].push(at));
    }
    let mut ready: BTreeSet<usize> = (0..nodes.len()).filter(|&at| missing[at] == 0).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(at) = ready.pop_first() {
        order.push(at);
        for &child in &children[at] {
            missing[child] -= 1;
            if missing[child] == 0 {
                ready.insert(child);
            }
        }
    }
    match (0..nodes.len()).find(|&at| missing[at] > 0) {
        None => Ok(order),
        Some(at) => {
            Err(format!("{}.depends: it waits for itself, by way of others", nodes[at].name))
        }
    }
}
