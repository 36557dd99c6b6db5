//! What must hold of nodes that give up their tasks.

use std::collections::BTreeMap;

use mason_core::record::{NodeRecord, RunRecord, TaintEffect};
use mason_core::types::NodeId;

/// How old what a leader knows of a node can be when its bind is done: it may be told late, and its
/// transaction may be late.
const LATE_MAX: u64 = 60_000;

/// Since when nodes take no new tasks.
#[derive(Debug, Default)]
pub(super) struct Closed(BTreeMap<NodeId, u64>);

impl Closed {
    pub(super) fn node(&mut self, node: &NodeId, record: &NodeRecord, now: u64) {
        match is_closed(record) {
            true => drop(self.0.entry(node.clone()).or_insert(now)),
            false => drop(self.0.remove(node)),
        }
    }

    pub(super) fn bound(&self, node: &NodeId, record: &RunRecord, now: u64) {
        let since = self.0.get(node).copied().unwrap_or(now);
        assert!(
            now - since <= LATE_MAX,
            "N1: {} is bound to {node}, which takes none since {since}",
            record.task
        );
    }
}

/// Whether nothing that bears no taint may be bound to it.
pub(super) fn is_closed(node: &NodeRecord) -> bool {
    let repels = |effect: TaintEffect| effect != TaintEffect::PreferNoSchedule;
    node.cordoned || node.drain.is_some() || node.taints.iter().any(|it| repels(it.effect))
}
