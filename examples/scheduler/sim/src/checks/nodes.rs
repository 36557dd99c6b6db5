//! What must hold of nodes that give up their tasks.

use std::collections::BTreeMap;

use mason_core::keys::Key;
use mason_core::mirror::Mirror;
use mason_core::record::{NodeRecord, RunRecord, TaintEffect, TaskRecord};
use mason_core::txn::{Op, Txn};
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
fn is_closed(node: &NodeRecord) -> bool {
    let repels = |effect: TaintEffect| effect != TaintEffect::PreferNoSchedule;
    node.cordoned || node.drain.is_some() || node.taints.iter().any(|it| repels(it.effect))
}

/// No leader decides to bind anything to a node that its own copy shows as closed.
pub fn look_at_order(mirror: &Mirror, txn: &Txn) {
    for op in &txn.then {
        let Op::Put { key, .. } = op else { continue };
        let Some(Key::Run(node, run)) = mirror.keys().parse(key) else { continue };
        let is_bound = mirror.run(&run).is_some_and(|it| it.record.is_some());
        let record = mirror.node(&node).and_then(|it| it.record.as_ref());
        let is_closed = record.is_some_and(|it| is_closed(&it.value));
        assert!(is_bound || !is_closed, "N1: {run} is bound to {node}, which takes none");
    }
}

/// What no task can help uses up none of its attempts.
pub(super) fn look_at_next(old: &TaskRecord, new: &TaskRecord) {
    // What counts of a service's replicas begins anew with each version.
    let is_replica = old.revision != 0;
    if is_replica || old.uid != new.uid || new.attempt != old.attempt.saturating_add(1) {
        return;
    }
    if new.last.as_ref().is_some_and(|last| last.reason().is_innocent()) {
        assert_eq!(new.counted, old.counted, "N2: {:?} counts", new.last);
    }
}
