//! A disk on the bench: what was written, and what of it cannot be read any more.

use std::collections::BTreeSet;

use drystone_raft::{
    Boot, Configuration, Entry, HardState, Index, Input, NodeId, Position, SnapshotMeta, Write,
};

/// What a member has on its disk.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    pub(crate) hard: HardState,
    pub(crate) snapshot: SnapshotMeta,
    /// What had been applied when the snapshot was made.
    pub(crate) state: Vec<Entry>,
    pub(crate) entries: Vec<Entry>,
    /// Entries whose bytes have rotted.
    pub(crate) rotten: BTreeSet<Index>,
    pub(crate) vote_rotten: bool,
    pub(crate) snapshot_rotten: bool,
}

impl Disk {
    pub(crate) fn new(members: Configuration) -> Disk {
        let snapshot = SnapshotMeta {
            last: Position::default(),
            configuration: members.into(),
            configuration_index: Index(0),
        };
        Disk {
            hard: HardState::default(),
            snapshot,
            state: Vec::new(),
            entries: Vec::new(),
            rotten: BTreeSet::new(),
            vote_rotten: false,
            snapshot_rotten: false,
        }
    }

    /// Reads the disk as a driver does when it starts.
    pub(crate) fn boot(&self, life: u64) -> Boot {
        let hard = if self.vote_rotten {
            HardState { generation: self.hard.generation, ..HardState::default() }
        } else {
            self.hard
        };
        let mut boot = Boot::after(&self.snapshot).hard(hard).life(life);
        let mut last = self.snapshot.last.index;
        let behind = |entry: &&Entry| entry.index > last && !self.rotten.contains(&entry.index);
        let sound: Vec<&Entry> = self.entries.iter().filter(behind).collect();
        for entry in sound {
            if entry.index == last.next() {
                boot.entry(entry);
            } else {
                boot.hole_before(entry);
            }
            last = entry.index;
        }
        if let Some(end) = self.entries.last().filter(|end| end.index > last) {
            boot = boot.lost_end(end.index);
        }
        if self.vote_rotten {
            boot = boot.lost_vote();
        }
        if self.snapshot_rotten {
            boot = boot.lost_snapshot();
        }
        boot
    }

    pub(crate) fn write(&mut self, write: &Write, entries: &[Entry], state: &[Entry]) {
        if let Some(hard) = write.hard {
            self.hard = hard;
            self.vote_rotten = false;
        }
        if let Some(meta) = &write.snapshot {
            self.snapshot = meta.clone();
            self.snapshot_rotten = false;
            let until = |entry: &&Entry| entry.index <= meta.last.index;
            self.state = state.iter().filter(until).cloned().collect();
            self.compact(meta.last.index);
        }
        for mended in &write.mended {
            let at = self.entries.iter().position(|entry| entry.index == mended.index).unwrap();
            self.entries[at] = mended.clone();
            self.rotten.remove(&mended.index);
        }
        let kept = self.entries.partition_point(|entry| entry.index < write.append.start);
        self.entries.truncate(kept);
        self.rotten.retain(|index| *index < write.append.start);
        self.entries.extend_from_slice(entries);
    }

    pub(crate) fn compact(&mut self, through: Index) {
        self.entries.retain(|entry| entry.index > through);
        self.rotten.retain(|index| *index > through);
    }

    /// Bytes rot where these entries stand.
    pub(crate) fn rot(&mut self, indexes: std::ops::RangeInclusive<u64>) {
        self.rotten.extend(indexes.map(Index));
    }

    /// Entries of a range, which are to be sound.
    pub(crate) fn sound(&self, from: Index, through: Index) -> Vec<Entry> {
        let inside = |entry: &&Entry| from <= entry.index && entry.index <= through;
        let found: Vec<Entry> = self.entries.iter().filter(inside).cloned().collect();
        let rotten = found.iter().find(|entry| self.rotten.contains(&entry.index));
        assert!(rotten.is_none(), "what cannot be read is used: {rotten:?}");
        found
    }

    /// Reads for [`Effect::Load`](drystone_raft::Effect::Load).
    pub(crate) fn read(&self, to: NodeId, after: Index, through: Index, max: usize) -> Input {
        let is_rotten = |index: &u64| self.rotten.contains(&Index(*index));
        let first = after.next().0;
        if is_rotten(&first) {
            let last = (first..=through.0).take_while(is_rotten).last().unwrap();
            return Input::Damaged { after, through: Index(last) };
        }
        let end = (first..=through.0).take_while(|index| !is_rotten(index)).last().unwrap();
        let mut bytes = 0;
        let fits = |entry: &Entry| {
            let first = bytes == 0;
            bytes += entry.bytes();
            first || bytes <= max
        };
        let entries = self.sound(Index(first), Index(end)).into_iter().take_while(fits).collect();
        Input::Loaded { to, after, entries }
    }
}
