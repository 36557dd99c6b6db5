//! What a member has on its disk.

use std::collections::BTreeSet;

use drystone_raft::{
    Boot, Configuration, Entry, HardState, Index, Input, NodeId, Payload, Position, SnapshotMeta,
    Write,
};

/// What a member has on its disk.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    pub(crate) hard: HardState,
    pub(crate) snapshot: SnapshotMeta,
    /// What the snapshot's state machine had applied.
    pub(crate) state: Vec<Entry>,
    /// Entries behind the base, in order.
    pub(crate) entries: Vec<Entry>,
    /// Indexes that cannot be read.
    pub(crate) damaged: BTreeSet<u64>,
    /// The snapshot cannot be read.
    pub(crate) snapshot_damaged: bool,
    /// The end of the log was lost: up to here something may have been acknowledged.
    pub(crate) lost_end: Option<Index>,
    /// The copies of term and vote differ.
    pub(crate) lost_vote: bool,
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
            damaged: BTreeSet::new(),
            snapshot_damaged: false,
            lost_end: None,
            lost_vote: false,
        }
    }

    /// What a driver makes of it when it reads it.
    pub(crate) fn boot(&mut self, life: u64) -> Boot {
        let mut boot = Boot::after(&self.snapshot).hard(self.hard).life(life);
        let mut hole = false;
        for entry in self.entries.iter().filter(|entry| entry.index > self.snapshot.last.index) {
            if self.damaged.contains(&entry.index.0) {
                hole = true;
            } else if std::mem::take(&mut hole) {
                boot.hole_before(entry);
            } else {
                boot.entry(entry);
            }
        }
        assert!(!hole, "damage to the end of a log is a lost end, not a hole");
        if self.snapshot_damaged {
            boot = boot.lost_snapshot();
        }
        if let Some(last) = self.lost_end.take() {
            boot = boot.lost_end(last);
        }
        if std::mem::take(&mut self.lost_vote) {
            boot = boot.lost_vote();
        }
        boot
    }

    /// Makes a write durable. `state` is what comes with its snapshot.
    pub(crate) fn write(&mut self, write: &Write, entries: &[Entry], state: Option<&[Entry]>) {
        if let Some(hard) = &write.hard {
            self.hard = **hard;
        }
        if let Some(meta) = &write.snapshot {
            self.snapshot = (**meta).clone();
            self.snapshot_damaged = false;
            self.state = state.unwrap_or_default().to_vec();
            self.entries.retain(|entry| entry.index > meta.last.index);
            self.damaged.retain(|index| *index > meta.last.index.0);
        }
        for mended in &write.mended {
            let at = self.entries.iter().position(|entry| entry.index == mended.index);
            if let Some(at) = at {
                self.entries[at] = mended.clone();
            }
            self.damaged.remove(&mended.index.0);
        }
        self.entries.retain(|entry| entry.index < write.append.start);
        self.damaged.retain(|index| *index < write.append.start.0);
        self.entries.extend_from_slice(entries);
    }

    /// The entries after `after` up to `through`; none from the first that cannot be read on.
    pub(crate) fn read(&self, after: Index, through: Index) -> Vec<Entry> {
        let wanted = |entry: &&Entry| entry.index > after && entry.index <= through;
        let sound = |entry: &&Entry| !self.damaged.contains(&entry.index.0);
        self.entries.iter().filter(wanted).take_while(sound).cloned().collect()
    }

    /// What a driver answers when it is asked for these entries: as many as there is room for, up
    /// to the first that cannot be read, or that this is the first.
    pub(crate) fn load(&self, to: NodeId, after: Index, through: Index, bytes_max: usize) -> Input {
        let mut entries = self.read(after, through);
        let mut bytes = 0;
        let fits = entries.iter().take_while(|entry| {
            bytes += entry.bytes();
            bytes <= bytes_max
        });
        let count = fits.count().max(1);
        entries.truncate(count);
        if entries.is_empty() && self.damaged.contains(&after.next().0) {
            let rest = (after.next().0..).take_while(|index| self.damaged.contains(index));
            return Input::Damaged { after, through: Index(rest.last().unwrap_or(after.0)) };
        }
        Input::Loaded { to, after, entries }
    }

    /// The last entry on it.
    pub(crate) fn last(&self) -> Position {
        self.entries.last().map_or(self.snapshot.last, Entry::position)
    }

    /// A log of data entries of these terms, from 1.
    pub(crate) fn with_log(mut self, terms: &[u64]) -> Disk {
        for term in terms {
            let index = self.last().index.next();
            let data = format!("{index}@{term}").into_bytes().into();
            let term = drystone_raft::Term(*term);
            self.entries.push(Entry { term, index, payload: Payload::Data(data) });
            self.hard.term = self.hard.term.max(term);
        }
        self
    }
}
