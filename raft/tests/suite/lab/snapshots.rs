//! The drivers' part in snapshots: opening, carrying and compacting.

use std::sync::Arc;

use drystone_raft::{Entry, Index, Input, NodeId, Payload, SnapshotMeta};

use super::Lab;

/// What a member's driver has to do with snapshots.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    /// How many ticks a transfer to this member takes; `None` while none arrives.
    pub(crate) ticks: Option<u64>,
    /// Nobody carries snapshots to this member at all: its driver has hung.
    pub(crate) stuck: bool,
    under_way: Option<(u64, NodeId, SnapshotMeta)>,
    /// What the last snapshot that arrived holds.
    pub(crate) fetched: Vec<Entry>,
    /// For whom one was asked for.
    pub(crate) asked: Vec<NodeId>,
    /// From whom one was fetched.
    pub(crate) sources: Vec<NodeId>,
}

impl Snapshots {
    /// The process is gone, and what it was about to do.
    pub(crate) fn forget(&mut self) {
        self.under_way = None;
        self.fetched.clear();
    }
}

impl Lab {
    /// A snapshot for `to` is asked for.
    pub(crate) fn open(&mut self, id: NodeId, to: NodeId, next: &mut Vec<Input>) {
        let seat = self.seats.get_mut(&id).unwrap();
        seat.snapshots.asked.push(to);
        next.push(if seat.disk.snapshot_rotten {
            Input::SnapshotUnsound { to }
        } else {
            Input::SnapshotOpen { to, meta: seat.disk.snapshot.clone() }
        });
    }

    pub(crate) fn fetch(&mut self, id: NodeId, from: NodeId, meta: SnapshotMeta) {
        let snapshots = &mut self.seats.get_mut(&id).unwrap().snapshots;
        snapshots.sources.push(from);
        let due = self.now + snapshots.ticks.unwrap_or(1);
        snapshots.under_way = Some((due, from, meta));
    }

    /// Snapshots arrive that are due, or are known not to come.
    pub(crate) fn carry(&mut self) {
        for id in self.seats.keys().copied().collect::<Vec<_>>() {
            let now = self.now;
            let seat = self.seats.get_mut(&id).unwrap();
            if !seat.up || seat.snapshots.stuck {
                continue;
            }
            let due = |(due, ..): &mut (u64, NodeId, SnapshotMeta)| *due <= now;
            let Some((_, from, meta)) = seat.snapshots.under_way.take_if(due) else { continue };
            let cut = self.cut.contains(&(from, id));
            let source = &self.seats[&from];
            let there = source.up && !cut && !source.disk.snapshot_rotten;
            let state = source.disk.state.clone();
            // The source may have made a newer one since, and kept the old one open.
            let until = |entry: &Entry| entry.index <= meta.last.index;
            let state = state.into_iter().filter(until).collect();
            let fetched = there.then_some(meta);
            self.seats.get_mut(&id).unwrap().snapshots.fetched = state;
            self.step(id, vec![Input::SnapshotFetched(fetched)]);
        }
    }

    /// The member's driver makes a snapshot of all that is applied.
    pub(crate) fn snapshot(&mut self, id: NodeId) -> SnapshotMeta {
        let seat = self.seats.get_mut(&id).unwrap();
        let last = seat.applied.last().expect("something is applied").position();
        let mut meta = SnapshotMeta { last, ..seat.disk.snapshot.clone() };
        for entry in &seat.applied {
            if let Payload::Configuration(members) = &entry.payload {
                meta.configuration = Arc::clone(members);
                meta.configuration_index = entry.index;
            }
        }
        seat.disk.snapshot = meta.clone();
        seat.disk.state = seat.applied.clone();
        meta
    }

    /// It makes a snapshot and lets go of the log behind it, and of what is before `must` anyway.
    pub(crate) fn compact(&mut self, id: NodeId, must: Index) {
        let through = self.snapshot(id).last.index;
        self.step(id, vec![Input::Compact { through, must }]);
    }
}
