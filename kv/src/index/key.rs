//! The history of one key: which revisions wrote it, and which of them it was deleted by.
//!
//! A history is a list of revisions in ascending order. Everything that a write must answer (when
//! the present generation began, how many puts it saw, whose lease it carries) is kept for the
//! newest revision alone, because the records of older ones hold their own. Most keys have nothing
//! but a newest revision, so that one lies inline and the rest behind a pointer:
//!
//! ```text
//!   KeyHistory, 48 bytes                                  older, 12 bytes each, ascending
//!   main  sub  created  version  lease  older ──────────► [main|tombstone, sub] ...
//!   └ newest; version 0 marks a tombstone ┘
//! ```
//!
//! A key *turns* when it is created (a put on a dead or unknown key) and when it is deleted. The
//! counts in [`super::history`] are made of turns; a put on a live key is none.

use crate::types::{LeaseId, Revision};

use super::history::Turn;

/// Main revisions stay below this, so that an older revision has a bit free for "tombstone". etcd's
/// revisions are signed 64-bit numbers on the wire: no valid one is refused.
pub(super) const MAIN_MAX: u64 = i64::MAX as u64;

/// A live key as its newest revision left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Latest {
    /// The put that wrote the present value.
    pub(crate) modified: Revision,
    /// Main revision of the put that began the generation.
    pub(crate) created: u64,
    /// Puts since then, from 1.
    pub(crate) version: u64,
    /// What the key dies with, or [`LeaseId::NONE`].
    pub(crate) lease: LeaseId,
}

/// What a write does to one key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// Set it; created and version follow from the history.
    Put { lease: LeaseId },
    /// End its generation; a dead key is left as it is.
    Delete,
    /// Replay a put whose generation may have begun in revisions that are compacted away.
    RestorePut { created: u64, version: u64, lease: LeaseId },
    /// Replay a tombstone, possibly of a key of which nothing else is left.
    RestoreTombstone,
}

/// See the module.
///
/// Invariants:
/// - revisions ascend strictly
/// - the newest revision is a tombstone exactly if `version == 0`; then `created` is 0, no lease
/// - `older` is `None` rather than empty
#[derive(Debug)]
pub(super) struct KeyHistory {
    main: u64,
    sub: u32,
    created: u64,
    version: u64,
    lease: LeaseId,
    #[expect(
        clippy::box_collection,
        reason = "a third of the width, in a field that is rarely set"
    )]
    older: Option<Box<Vec<Past>>>,
}

const _: () = assert!(size_of::<KeyHistory>() == 48 && size_of::<Past>() == 12);

impl KeyHistory {
    /// The history that `change` begins on a key that has none; `None` if it leaves none.
    pub(super) fn begin(at: Revision, change: Change) -> Option<KeyHistory> {
        let (created, version, lease) = match change {
            Change::Put { lease } => (at.main, 1, lease),
            Change::RestorePut { created, version, lease } => (created, version, lease),
            Change::RestoreTombstone => (0, 0, LeaseId::NONE),
            Change::Delete => return None,
        };
        Some(KeyHistory { main: at.main, sub: at.sub, created, version, lease, older: None })
    }

    /// Adds a revision on top, unless it deletes what is dead. Returns the turn if it is one.
    pub(super) fn apply(&mut self, at: Revision, change: Change) -> Option<Turn> {
        assert!(self.newest() < at, "a key's revisions ascend");
        let was_live = self.is_live();
        let (created, version, lease) = match change {
            Change::Put { lease } if was_live => (self.created, self.version + 1, lease),
            Change::Put { lease } => (at.main, 1, lease),
            Change::Delete if !was_live => return None,
            Change::Delete | Change::RestoreTombstone => (0, 0, LeaseId::NONE),
            Change::RestorePut { created, version, lease } => (created, version, lease),
        };
        let past = Past::new(self.newest(), !was_live);
        // A `Vec` would begin with room for four.
        self.older.get_or_insert_with(|| Box::new(Vec::with_capacity(2))).push(past);
        let older = self.older.take();
        *self = KeyHistory { main: at.main, sub: at.sub, created, version, lease, older };
        Turn::between(was_live, self.is_live())
    }

    /// The newest revision, tombstone or not.
    pub(super) fn newest(&self) -> Revision {
        Revision::new(self.main, self.sub)
    }

    /// Whether the key is there now.
    pub(super) fn is_live(&self) -> bool {
        self.version != 0
    }

    /// The key now; `None` when deleted.
    pub(super) fn latest(&self) -> Option<Latest> {
        self.is_live().then_some(Latest {
            modified: self.newest(),
            created: self.created,
            version: self.version,
            lease: self.lease,
        })
    }

    /// The live revision when the store stood at main revision `main`; `None` when dead then.
    #[inline]
    pub(super) fn at(&self, main: u64) -> Option<Revision> {
        if self.main <= main {
            return self.is_live().then(|| self.newest());
        }
        let older = self.older();
        let past = older[..up_to(older, main)].last()?;
        (!past.is_tombstone()).then(|| past.revision())
    }

    /// All revisions of main revision `from` and later, ascending, each with "is a tombstone".
    pub(super) fn since(&self, from: u64) -> impl Iterator<Item = (Revision, bool)> + '_ {
        let older = self.older();
        let past = older[from.checked_sub(1).map_or(0, |before| up_to(older, before))..].iter();
        let newest = (from <= self.main).then(|| (self.newest(), !self.is_live()));
        past.map(|past| (past.revision(), past.is_tombstone())).chain(newest)
    }

    /// The turns after main revision `floor`, ascending.
    pub(super) fn turns(&self, floor: u64) -> impl Iterator<Item = (Revision, Turn)> + '_ {
        let mut was_live = self.at(floor).is_some();
        self.since(floor + 1).filter_map(move |(revision, tombstone)| {
            let turn = Turn::between(was_live, !tombstone);
            was_live = !tombstone;
            turn.map(|turn| (revision, turn))
        })
    }

    /// Whether the record `at`, not above `compacted`, is part of a store compacted there: of that
    /// very revision, or the newest of its key up to there and not a tombstone. A watch that starts
    /// at the compacted revision thus sees all that it did, though it may have set a key and
    /// deleted it again.
    pub(super) fn keeps(&self, at: Revision, compacted: u64) -> bool {
        at.main == compacted || self.survivor(compacted) == Some(at)
    }

    /// Drops what [`KeyHistory::keeps`] is false for, telling `removed`. Returns whether nothing
    /// is left.
    pub(super) fn compact(&mut self, compacted: u64, removed: &mut Vec<Revision>) -> bool {
        let survivor = self.survivor(compacted);
        let below = |survivor: Revision| survivor.main < compacted && compacted < self.main;
        let in_older = survivor.is_some_and(below);
        if let Some(older) = &mut self.older {
            let up_to_below = compacted.checked_sub(1).map_or(0, |below| up_to(older, below));
            let gone = up_to_below - usize::from(in_older);
            removed.extend(older.drain(..gone).map(Past::revision));
            if older.is_empty() {
                self.older = None;
            } else if older.len() * 4 <= older.capacity() {
                older.shrink_to_fit();
            }
        }
        let nothing_left = self.main <= compacted && survivor.is_none();
        if nothing_left {
            removed.push(self.newest());
        }
        nothing_left
    }

    /// How many revisions there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.older().len() + 1
    }

    /// Asserts the invariants.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let revisions: Vec<_> = self.since(0).map(|(revision, _)| revision).collect();
        assert_eq!(revisions.len(), self.len(), "every revision is reported");
        assert!(revisions.is_sorted_by(|a, b| a < b), "revisions ascend strictly");
        assert!(self.main <= MAIN_MAX, "a main revision leaves a bit free");
        if !self.is_live() {
            assert_eq!((self.created, self.lease), (0, LeaseId::NONE), "a tombstone has no past");
        }
        assert!(self.older.as_ref().is_none_or(|older| !older.is_empty()), "no empty list is kept");
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.older
            .as_ref()
            .map_or(0, |older| size_of::<Vec<Past>>() + older.capacity() * size_of::<Past>())
    }

    /// The newest revision up to `compacted`, if a compaction there keeps it.
    fn survivor(&self, compacted: u64) -> Option<Revision> {
        let older = self.older();
        let (newest, tombstone) = if self.main <= compacted {
            (self.newest(), !self.is_live())
        } else {
            let past = older[..up_to(older, compacted)].last()?;
            (past.revision(), past.is_tombstone())
        };
        (!tombstone || newest.main == compacted).then_some(newest)
    }

    fn older(&self) -> &[Past] {
        self.older.as_deref().map_or(&[], Vec::as_slice)
    }
}

/// A revision that is no longer the newest: 12 bytes, four-byte aligned.
#[derive(Clone, Copy, Debug)]
struct Past {
    /// The high and low half of `main * 2 + tombstone`.
    main: [u32; 2],
    sub: u32,
}

impl Past {
    fn new(revision: Revision, tombstone: bool) -> Past {
        let word = revision.main << 1 | u64::from(tombstone);
        Past { main: [(word >> 32) as u32, word as u32], sub: revision.sub }
    }

    fn word(self) -> u64 {
        u64::from(self.main[0]) << 32 | u64::from(self.main[1])
    }

    fn revision(self) -> Revision {
        Revision::new(self.word() >> 1, self.sub)
    }

    fn is_tombstone(self) -> bool {
        self.word() & 1 == 1
    }
}

/// How many of `older` lie at or below main revision `main`. Questions are about the recent past
/// more often than not, so the search gallops from the end.
fn up_to(older: &[Past], main: u64) -> usize {
    let above = |past: &Past| past.word() >> 1 > main;
    let (mut low, mut high, mut step) = (older.len(), older.len(), 1);
    while low > 0 && above(&older[low - 1]) {
        high = low - 1;
        low = low.saturating_sub(step);
        step *= 2;
    }
    low + older[low..high].partition_point(|past| !above(past))
}
