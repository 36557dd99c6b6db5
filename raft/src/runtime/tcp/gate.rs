//! Who is let in: how many connections there are from whom.
//!
//! Connections that have not shown who they are share a small room of their own: when it is full,
//! the oldest goes, so a flood of strangers pushes out strangers. Peers that are known always find
//! a place, one for messages and a few for snapshots each; nodes that are not known share another
//! small room.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;

use crate::runtime::tcp::config::Limits;
use crate::runtime::tcp::handshake::Purpose;
use crate::types::NodeId;

/// Tells a connection to end.
pub(super) type Kick = Arc<Notify>;

/// Who is in.
#[derive(Debug, Default)]
pub(super) struct Gate {
    entered: u64,
    /// Those that have not shown who they are, oldest first.
    waiting: VecDeque<(u64, Kick)>,
    /// By sender, its one connection for messages.
    talking: BTreeMap<NodeId, (u64, Kick)>,
    /// By sender, how many snapshots it fetches.
    fetching: BTreeMap<NodeId, usize>,
}

impl Gate {
    /// A new connection, of which nothing is known. The one that has to go for it, if any.
    pub(super) fn enter(&mut self, limits: &Limits) -> (u64, Kick, Option<Kick>) {
        self.entered += 1;
        let kick = Kick::default();
        self.waiting.push_back((self.entered, Arc::clone(&kick)));
        let full = self.waiting.len() > limits.handshakes_max.max(1);
        let oldest = if full { self.waiting.pop_front() } else { None };
        (self.entered, kick, oldest.map(|(_, kick)| kick))
    }

    /// It has shown who it is, or failed to.
    pub(super) fn leave_waiting(&mut self, id: u64) {
        self.waiting.retain(|(waiting, _)| *waiting != id);
    }

    /// Whether there is a place for a connection of this kind.
    pub(super) fn has_room(
        &self,
        from: NodeId,
        purpose: Purpose,
        limits: &Limits,
        known: impl Fn(NodeId) -> bool,
    ) -> bool {
        let fetches = self.fetching.get(&from).copied().unwrap_or(0);
        if purpose == Purpose::Snapshot && fetches >= limits.fetches_max {
            return false;
        }
        let inside: BTreeSet<NodeId> =
            self.talking.keys().chain(self.fetching.keys()).copied().collect();
        let strangers = inside.iter().filter(|id| !known(**id)).count();
        known(from) || inside.contains(&from) || strangers < limits.strangers_max
    }

    /// Takes the place for messages from a node. Whoever had it has to go: a peer that comes anew
    /// has lost its old connection, whether or not we have noticed.
    pub(super) fn talk(&mut self, from: NodeId, id: u64, kick: Kick) -> Option<Kick> {
        self.talking.insert(from, (id, kick)).map(|(_, kick)| kick)
    }

    pub(super) fn leave_talking(&mut self, from: NodeId, id: u64) {
        if self.talking.get(&from).is_some_and(|(talking, _)| *talking == id) {
            self.talking.remove(&from);
        }
    }

    pub(super) fn fetch(&mut self, from: NodeId) {
        *self.fetching.entry(from).or_default() += 1;
    }

    pub(super) fn leave_fetching(&mut self, from: NodeId) {
        let count = self.fetching.get_mut(&from).expect("who fetches was counted");
        *count -= 1;
        if *count == 0 {
            self.fetching.remove(&from);
        }
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        (self.waiting.len(), self.talking.len(), self.fetching.values().sum())
    }
}
