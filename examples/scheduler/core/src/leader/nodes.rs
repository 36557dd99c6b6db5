//! Nodes: which may take tasks, and what becomes of the runs of one that fell silent or is drained.
//!
//! That a node is lost is said by its lease alone: its `alive` key is gone, and every transaction
//! that declares one of its runs lost asks for that. Gossip's suspicion ([`Leader::suspect`]) keeps
//! new tasks away, and nothing else.

use super::Leader;
use super::flights::Flight;
use super::places::placement;
use crate::keys::Key;
use crate::mirror::{Entry, Mirror};
use crate::protocol::{self, Bound};
use crate::record::{Drain, Exit, NodeRecord, Reason, ResultRecord, RunRecord, TaintEffect, Wish};
use crate::spec::Toleration;
use crate::txn::Txn;
use crate::types::{NodeId, RunId, UnixMs};

/// Why runs must leave a node.
#[derive(Clone, Copy, Debug)]
enum Cause {
    /// Nobody renews its lease.
    Silent,
    /// An operator swore that it is off: by the node's key, changed at this revision.
    Buried(i64),
    Drained(Drain),
}

/// Runs that are declared lost by one transaction: each has three comparisons of its own.
const LOST_MAX: usize = 30;

impl Leader {
    pub(super) fn look_at_nodes(&mut self, mirror: &Mirror, now: UnixMs) {
        while let Some((_, id)) = self.node_alarms.first().filter(|(at, _)| *at <= now).cloned() {
            self.node_alarms.pop_first();
            self.dirty_nodes.insert(id);
        }
        for id in std::mem::take(&mut self.dirty_nodes) {
            let Some(node) = mirror.node(&id) else {
                self.places.remove_node(&id);
                continue;
            };
            self.places.set_node(&id, node);
            self.room = true;
            let record = node.record.as_ref();
            let buried = record.filter(|it| it.value.confirmed_dead).map(|it| it.changed);
            let drain = record.and_then(|it| it.value.drain);
            match (buried, &node.alive, drain) {
                (Some(changed), _, _) => self.declare(mirror, &id, Cause::Buried(changed), now),
                (None, None, _) => self.declare(mirror, &id, Cause::Silent, now),
                (None, Some(_), Some(drain)) => self.evict(mirror, &id, Cause::Drained(drain), now),
                (None, Some(_), None) => {
                    if let Some(record) = record {
                        self.evict_untolerant(mirror, &id, record, now);
                    }
                }
            }
        }
    }

    /// Its runs are over, as far as anybody can know.
    fn declare(&mut self, mirror: &Mirror, id: &NodeId, cause: Cause, now: UnixMs) {
        let (mut txn, mut flight) = (Txn::new(), Flight::default());
        for run in &mirror.node(id).expect("looked up").runs {
            let Some((bound, _)) = unended(mirror, run) else { continue };
            let lock = Key::Run(id.clone(), run.clone());
            if !self.flights.is_free(&lock) {
                continue;
            }
            if flight.locks.len() == LOST_MAX || !self.has_wings() {
                self.dirty_nodes.insert(id.clone());
                break;
            }
            let result = lost_result(&bound, cause, now);
            txn.merge(match cause {
                Cause::Buried(changed) => {
                    protocol::buried(&self.keys, &self.office, &bound, changed, &result)
                }
                _ => protocol::lost(&self.keys, &self.office, &bound, &result),
            });
            flight.locks.push(lock);
        }
        if !flight.locks.is_empty() {
            self.send(txn, flight);
        }
    }

    /// Its runs shall go, in the time that is left.
    fn evict(&mut self, mirror: &Mirror, id: &NodeId, cause: Cause, now: UnixMs) {
        self.evict_those(mirror, id, cause, now, |_| true);
    }

    /// Runs that do not bear a taint of the node that throws out.
    fn evict_untolerant(
        &mut self,
        mirror: &Mirror,
        id: &NodeId,
        node: &Entry<NodeRecord>,
        now: UnixMs,
    ) {
        let taints = node.value.taints.iter();
        let taints: Vec<_> = taints.filter(|it| it.effect == TaintEffect::NoExecute).collect();
        if taints.is_empty() {
            return;
        }
        let until = now + crate::record::NOTICE;
        let cause = Cause::Drained(Drain { until, interrupted: false });
        self.evict_those(mirror, id, cause, now, |run| {
            let record = mirror.job(&run.task.job).and_then(|job| job.record.as_ref());
            let placement = record.and_then(|it| placement(&it.value.work));
            let bears = |toleration: &Toleration, taint: &crate::record::Taint| {
                (toleration.key.is_empty() || toleration.key == taint.key)
                    && toleration.value.as_ref().is_none_or(|value| *value == taint.value)
                    && toleration.effect.is_none_or(|effect| effect == taint.effect)
            };
            placement.is_some_and(|placement| {
                let tolerate = &placement.tolerate;
                taints.iter().any(|taint| !tolerate.iter().any(|it| bears(it, taint)))
            })
        });
    }

    fn evict_those(
        &mut self,
        mirror: &Mirror,
        id: &NodeId,
        cause: Cause,
        now: UnixMs,
        goes: impl Fn(&RunRecord) -> bool,
    ) {
        let Cause::Drained(drain) = cause else { return };
        let why = if drain.interrupted { Reason::Interrupted } else { Reason::Drained };
        let (mut txn, mut flight) = (Txn::new(), Flight::default());
        for run in &mirror.node(id).expect("looked up").runs {
            let Some((bound, record)) = unended(mirror, run) else { continue };
            if record.wish != Wish::Run || !goes(record) {
                continue;
            }
            let lock = Key::Run(id.clone(), run.clone());
            if !self.flights.is_free(&lock) {
                continue;
            }
            if flight.locks.len() == self.config.binds_max || !self.has_wings() {
                self.dirty_nodes.insert(id.clone());
                break;
            }
            let wish = Wish::Stop { grace: Some(drain.until.saturating_sub(now)), why };
            let told = RunRecord { wish, ..record.clone() };
            txn.merge(protocol::wish(&self.keys, &self.office, &bound, &told));
            flight.locks.push(lock);
        }
        if !flight.locks.is_empty() {
            self.send(txn, flight);
        }
    }
}

/// A run that has no result yet, with all revisions.
fn unended<'a>(mirror: &'a Mirror, id: &RunId) -> Option<(Bound, &'a RunRecord)> {
    let run = mirror.run(id)?;
    if run.result.is_some() {
        return None;
    }
    let (node, entry) = run.record.as_ref()?;
    let task = &entry.value.task;
    let task_changed = mirror.job(&task.job)?.tasks.get(&task.index)?.changed;
    let bound = Bound {
        task: task.clone(),
        task_changed,
        node: node.clone(),
        run: id.clone(),
        run_made: entry.made,
    };
    Some((bound, &entry.value))
}

fn lost_result(bound: &Bound, cause: Cause, now: UnixMs) -> ResultRecord {
    let message = match cause {
        Cause::Buried(_) => format!("an operator confirmed that {} is dead", bound.node),
        _ => format!("{} fell silent: its lease expired", bound.node),
    };
    let exit = Exit::without_code(Reason::Lost, message, now);
    ResultRecord { task: bound.task.clone(), node: bound.node.clone(), exit }
}
