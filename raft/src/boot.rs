//! What a node finds on its disk when it starts.
//!
//! The core reads no disk. Who drives it reads the log once, from its beginning to its end, and
//! feeds what it finds to a [`Boot`]; what it could not read, it says. Payloads are not kept.
//!
//! ```text
//!      base            damaged                        last
//!       │    1@1 2@1 ██████████ 6@2 7@3 8@3  ▒▒▒▒▒▒
//!       │                                    lost end: up to 10 may have been acknowledged
//!       └ compacted away; a snapshot holds it
//! ```

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::configuration::{Configuration, History};
use crate::entry::{Entry, Payload};
use crate::types::{Index, NodeId, Position, Term};

/// What must be durable before a node speaks for it (Raft figure 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HardState {
    /// The latest term it has seen.
    pub term: Term,
    /// Whom it voted for in that term.
    pub vote: Option<NodeId>,
    /// How often its group was recovered by force. Members of different generations do not talk.
    pub generation: u64,
    /// The vote was lost with a part of the disk, and may be given away: see [`Boot::lost_vote`].
    pub lost_vote: bool,
    /// The end of the log was lost: the greatest position that may have been there and been
    /// acknowledged. Kept until a leader has shown what is committed.
    pub lost_end: Option<Position>,
}

/// What a snapshot holds, and where the log goes on behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The last entry whose effect is in it.
    pub last: Position,
    /// The members as of that entry.
    pub configuration: Arc<Configuration>,
    /// Where the entry that named those members stands.
    pub configuration_index: Index,
}

/// What a node finds on its disk.
#[derive(Debug, Clone)]
pub struct Boot {
    pub(crate) hard: HardState,
    /// What was found to be lost this time, beyond what `hard` says.
    pub(crate) doubt: HardState,
    pub(crate) snapshot_lost: bool,
    pub(crate) base: Position,
    pub(crate) applied: Index,
    pub(crate) life: u64,
    pub(crate) history: History,
    pub(crate) runs: Vec<(Index, Term)>,
    pub(crate) last: Position,
    pub(crate) holes: Vec<Hole>,
}

/// Entries that could not be read: those after `after` and before `anchor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) after: Index,
    pub(crate) anchor: Position,
}

impl Boot {
    /// A disk with nothing on it, of a member of a group that starts with these members. All of
    /// them must begin with the same; one that joins later begins with `Configuration::default()`.
    #[must_use]
    pub fn new(configuration: Configuration) -> Boot {
        let meta = SnapshotMeta {
            last: Position::default(),
            configuration: Arc::new(configuration),
            configuration_index: Index(0),
        };
        Boot::after(&meta)
    }

    /// A disk with this snapshot, and a log that begins behind it.
    #[must_use]
    pub fn after(snapshot: &SnapshotMeta) -> Boot {
        let configuration = Arc::clone(&snapshot.configuration);
        Boot {
            hard: HardState::default(),
            doubt: HardState::default(),
            snapshot_lost: false,
            base: snapshot.last,
            applied: snapshot.last.index,
            life: 0,
            history: History::new(snapshot.configuration_index, configuration),
            runs: Vec::new(),
            last: snapshot.last,
            holes: Vec::new(),
        }
    }

    /// The term and vote on the disk.
    #[must_use]
    pub fn hard(mut self, hard: HardState) -> Boot {
        self.hard = hard;
        self
    }

    /// The state machine on the disk has applied everything up to here.
    #[must_use]
    pub fn applied(mut self, applied: Index) -> Boot {
        self.applied = self.applied.max(applied);
        self
    }

    /// A number that is greater at each start of this member, such as the time. A leader tells by
    /// it that a member came back, and with less than it had acknowledged.
    #[must_use]
    pub fn life(mut self, life: u64) -> Boot {
        self.life = life;
        self
    }

    /// The next entry of the log.
    ///
    /// # Panics
    /// If it does not follow the last one: the caller checks what it reads.
    pub fn entry(&mut self, entry: &Entry) {
        assert_eq!(entry.index, self.last.index.next(), "entries come in order, without gaps");
        self.push(entry.position());
        if let Payload::Configuration(configuration) = &entry.payload {
            self.history.push(entry.index, Arc::clone(configuration));
        }
    }

    /// The entries from the next one to the one before `entry` could not be read; `entry` could.
    ///
    /// A configuration that stood in the hole comes to light when it is mended; until then
    /// the node does not stand for election.
    ///
    /// # Panics
    /// If `entry` does not lie behind the last one.
    pub fn hole_before(&mut self, entry: &Entry) {
        assert!(entry.index > self.last.index.next(), "a hole has a width");
        self.holes.push(Hole { after: self.last.index, anchor: entry.position() });
        // The terms in the hole are not known: the run is a filler, and nothing is matched against
        // it before the hole is mended.
        self.push(Position::new(entry.term, self.last.index.next()));
        self.last.index = entry.index.prev();
        self.entry(entry);
    }

    /// The end of the log could not be read, and entries up to this place may have been there and
    /// acknowledged. An end that is proven torn, never acknowledged, is simply left out instead.
    #[must_use]
    pub fn lost_end(mut self, last: Index) -> Boot {
        self.doubt.lost_end = Some(Position::new(self.hard.term, last));
        self
    }

    /// The term and vote could not be read, or copies differ: they were at least what
    /// [`Boot::hard`] says.
    #[must_use]
    pub fn lost_vote(mut self) -> Boot {
        self.doubt.lost_vote = true;
        self
    }

    /// The log behind the snapshot is sound, but the snapshot cannot be read: another is to be
    /// fetched.
    #[must_use]
    pub fn lost_snapshot(mut self) -> Boot {
        self.snapshot_lost = true;
        self
    }

    /// Recovers a group whose quorum is gone for good, on one survivor, by decree: from now on its
    /// members are `voters`, in a new generation, and whoever still speaks for the old one is
    /// refused. The entry that says so is returned; make it durable behind the log, together with
    /// the term, before the node is started.
    ///
    /// What the survivor does not have is lost, acknowledged or not. No protocol can know how much
    /// that is; take the survivor whose log is the longest.
    pub fn force(&mut self, voters: &[NodeId]) -> (HardState, Entry) {
        let configuration = Arc::new(Configuration::voters(voters.iter().copied()));
        let term = self.hard.term.max(self.last.term).next();
        let generation = self.hard.generation + 1;
        self.hard = HardState { term, generation, ..HardState::default() };
        let index = self.last.index.next();
        let entry =
            Entry { term: self.hard.term, index, payload: Payload::Configuration(configuration) };
        self.doubt = HardState::default();
        self.entry(&entry);
        (self.hard, entry)
    }

    fn push(&mut self, position: Position) {
        assert!(position.term >= self.last.term, "terms do not fall along a log");
        if self.runs.last().is_none_or(|(_, term)| *term < position.term) {
            self.runs.push((position.index, position.term));
        }
        self.last = position;
    }
}
