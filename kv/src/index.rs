//! Which keys there are, and which revisions of each: the index that every read starts from.
//!
//! The engine holds records under their revision, because that is how they are written, replayed,
//! watched and compacted. Readers ask by key. This index leads from a key to its revisions, in
//! memory, and is rebuilt from the records when a store opens.
//!
//! # The problem
//!
//! A store keeps its past until it is compacted, and readers ask about the past: a page of a list
//! must show the keys as they stood at the revision of the first page. Three questions are easy to
//! answer slowly. *How many keys are in this range?* is asked with every page, and walking the
//! range costs as much as all pages together. *What are the first ten?* takes for ever when a
//! million deleted keys, not yet compacted, lie in front of them. And both are asked of old
//! revisions as well, where a counter that knows only the present is of no use.
//!
//! # The idea
//!
//! A B+tree over the keys, whose leaves hold a history of revisions for each key, and whose
//! branches hold the number of live keys under each child, *with its history*:
//!
//! ```text
//!                  ┌ Branch ───────────────────────────────┐
//!   live now       │    "a".. : 3    "f".. : 0   "p".. : 7 │
//!   turns since    │  5:+0  6:+0  6:+2  7:-1  9:-1  9:+2   │   revision : + created, - deleted,
//!   compaction     └────┬─────────────┬───────────┬────────┘   under which child
//!                       ▼             ▼           ▼
//!                   a  b  d  e     f  h  i     p  q  ...       leaves: keys in order, each with
//!                   │                                          its revisions, tombstones too
//!                   └ 4.0 put, 6.1 put, 8.0 put
//! ```
//!
//! From the log, the counts of all children at any revision since the last compaction are one
//! binary search and a short sum away ([`history`]). With them, a range at a revision skips every
//! subtree that was dead then, and a count adds up whole subtrees ([`read`]).
//!
//! # Promises
//!
//! For `n` keys, deleted ones included, and `e` turns (creations and deletions) in the log of a
//! branch, with at most 63 entries in a node:
//!
//! | call | nodes looked at | in each branch |
//! |---|---|---|
//! | [`Index::latest`], [`Index::at`], [`Index::put`], [`Index::delete`] | log n | a search |
//! | [`Index::count`] | 2 log n | the same, and O(log e) for the counts |
//! | [`Index::range`] of `k` keys | at most k log n, near k/40 if they lie together | the same |
//!
//! Memory, measured on a million keys of 57 bytes that came in no order: 86 bytes a key, of which
//! 48 are the newest revision, 18 the bytes that a key does not share with its neighbours, and the
//! rest search heads and slack. A key's first older revision takes 48 bytes more, the next 12 each.
//! Each turn since the last compaction takes 6.2 bytes a level of branches: one level up to about 3
//! thousand keys, two up to 130 thousand, three up to 6 million.
//!
//! # Invariants
//!
//! They are listed at the types that keep them, and asserted by `Index::check`, which tests call.
//!
//! # What is not here
//!
//! Values, and locks: reads take `&self`, writes `&mut self`. Neither does the index
//! refuse a revision that is compacted politely: it panics. The caller knows where the store is
//! compacted, and compares under the same lock.

#[cfg(test)]
mod check;
mod compact;
mod cost;
mod history;
mod key;
mod node;
mod packed;
mod read;
#[cfg(test)]
mod tests;

use crate::codec::Malformed;
use crate::key_range::KeyRange;
use crate::types::{LeaseId, Revision};

use compact::Sweep;
pub(crate) use key::Latest;
use key::{Change, MAIN_MAX};
use node::{Applied, Branch, Node};
pub(crate) use read::Direction;
use read::{Scan, Span};

/// See the module.
#[derive(Debug)]
pub(crate) struct Index {
    root: Node,
    /// Keys, deleted ones that still have a revision included.
    keys: u64,
    live: u64,
    /// The newest revision applied.
    last: Revision,
    /// Where the newest compaction stands, or stood when it ended.
    compacted: u64,
}

/// What [`Index::restore`] is told of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Restored {
    /// A put, with what its record says of its generation.
    Put {
        /// Main revision of the put that began the generation.
        created: u64,
        /// Puts since then, from 1.
        version: u64,
        /// What the key dies with, or [`LeaseId::NONE`].
        lease: LeaseId,
    },
    /// A delete.
    Tombstone,
}

impl Index {
    /// An index without keys, of a store that was compacted at main revision `compacted` (0 for
    /// never): nothing below will be asked for.
    pub(crate) fn new(compacted: u64) -> Index {
        let root = Node::Leaf(Box::default());
        Index { root, keys: 0, live: 0, last: Revision::default(), compacted }
    }

    /// Keys that are live now.
    pub(crate) fn live(&self) -> u64 {
        self.live
    }

    /// Keys that have a revision left, live or deleted.
    #[cfg(test)]
    pub(crate) fn keys(&self) -> u64 {
        self.keys
    }

    /// `key` now; `None` if it does not exist or is deleted.
    pub(crate) fn latest(&self, key: &[u8]) -> Option<Latest> {
        self.root.find(key)?.latest()
    }

    /// The revision of `key` that was live when the store stood at main revision `main`, all
    /// changes of `main` included. Panics if `main` is compacted.
    pub(crate) fn at(&self, key: &[u8], main: u64) -> Option<Revision> {
        self.assert_readable(main);
        self.root.find(key)?.at(main)
    }

    /// Visits at most `limit` keys of `range` that were live at main revision `main`, from the end
    /// that `direction` begins at, each with its revision then. Returns how many. Fewer than
    /// `limit` means that there are no more; otherwise go on with a range that starts at the
    /// successor of the last key (descending: ends at the last key). Panics if `main` is compacted.
    pub(crate) fn range(
        &self,
        range: &KeyRange,
        main: u64,
        direction: Direction,
        limit: usize,
        visit: impl FnMut(&[u8], Revision),
    ) -> usize {
        self.assert_readable(main);
        let mut scan = Scan { main, direction, left: limit, visit, key: Vec::new() };
        if limit > 0 && !range.is_empty() {
            scan.walk(&self.root, Span::from(range));
        }
        limit - scan.left
    }

    /// How many keys of `range` were live at main revision `main`. Panics if `main` is compacted.
    pub(crate) fn count(&self, range: &KeyRange, main: u64) -> u64 {
        self.assert_readable(main);
        if range.is_empty() { 0 } else { read::count(&self.root, Span::from(range), main) }
    }

    /// The revisions of `key` from main revision `from` on, ascending, each with whether it is a
    /// tombstone. Of those up to the compacted revision, what compaction kept.
    pub(crate) fn revisions(
        &self,
        key: &[u8],
        from: u64,
    ) -> impl Iterator<Item = (Revision, bool)> + '_ {
        self.root.find(key).into_iter().flat_map(move |history| history.since(from))
    }

    /// Whether the record of `key` at `at`, not above main revision `compacted`, belongs to a store
    /// that is compacted there: it is of the very revision `compacted`, or the newest of its key up
    /// to there and not a tombstone. (A watch from the compacted revision on still sees all of it.
    /// etcd keeps a tombstone of that revision since 3.5.16, for the same reason, but not what the
    /// revision itself superseded.) Steps of a compaction at `compacted` do not change the answer;
    /// those of a later one do.
    pub(crate) fn kept(&self, key: &[u8], at: Revision, compacted: u64) -> bool {
        assert!(at.main <= compacted, "what is after the compaction is always kept");
        self.root.find(key).is_some_and(|history| history.keeps(at, compacted))
    }

    /// Sets `key`, and returns it as it is now and as it was before, if it was live. `at` is above
    /// every revision so far, and its main revision above the compacted one.
    pub(crate) fn put(
        &mut self,
        key: &[u8],
        at: Revision,
        lease: LeaseId,
    ) -> (Latest, Option<Latest>) {
        assert!(self.compacted < at.main, "the past is not written to");
        let applied = self.apply(key, at, Change::Put { lease });
        (applied.latest.expect("a key is live after a put"), applied.previous)
    }

    /// Deletes `key`, and returns it as it was. `None` if there was nothing to delete; then `at` is
    /// not taken. Otherwise it is as for [`Index::put`].
    pub(crate) fn delete(&mut self, key: &[u8], at: Revision) -> Option<Latest> {
        self.latest(key)?;
        assert!(self.compacted < at.main, "the past is not written to");
        self.apply(key, at, Change::Delete).previous
    }

    /// Adds a record read back from the engine. They come in the order of their revisions; of keys
    /// that were compacted, the first to come may be any. An error is a record that no store wrote.
    pub(crate) fn restore(
        &mut self,
        key: &[u8],
        at: Revision,
        record: Restored,
    ) -> Result<(), Malformed> {
        let change = match record {
            Restored::Tombstone => Change::RestoreTombstone,
            Restored::Put { version: 0, .. } => return Err(Malformed("version 0 of a put")),
            Restored::Put { created, .. } if created > at.main => {
                return Err(Malformed("created after it was modified"));
            }
            Restored::Put { created, version, lease } => {
                Change::RestorePut { created, version, lease }
            }
        };
        if at <= self.last || at.main > MAIN_MAX {
            return Err(Malformed("record out of the order of revisions"));
        }
        self.apply(key, at, change);
        Ok(())
    }

    /// One step of a compaction at main revision `compacted`, which is not below an earlier one nor
    /// above the revision of the store: drops what [`Index::kept`] is false for from the `keys_max`
    /// keys after `after`, adding the revisions to `removed`. Returns where the next step goes on,
    /// or `None` at the end. From the first step on, nothing below `compacted` may be asked for.
    pub(crate) fn compact_step(
        &mut self,
        compacted: u64,
        after: Option<&[u8]>,
        keys_max: usize,
        removed: &mut Vec<Revision>,
    ) -> Option<Vec<u8>> {
        assert!(self.compacted <= compacted, "compactions go forward");
        assert!(0 < keys_max, "a step looks at something");
        self.compacted = compacted;
        let cursor = after.map(<[u8]>::to_vec);
        let mut sweep = Sweep { compacted, left: keys_max, cursor, removed, keys_gone: 0 };
        while sweep.left > 0 && sweep.advance(&mut self.root) {
            self.root.lower();
        }
        self.keys -= sweep.keys_gone as u64;
        sweep.cursor.filter(|_| sweep.left == 0)
    }

    fn apply(&mut self, key: &[u8], at: Revision, change: Change) -> Applied {
        assert!(self.last < at, "revisions are applied in order");
        assert!(at.main <= MAIN_MAX, "revisions fit in 63 bits");
        self.last = at;
        let applied = self.root.apply(key, at, change, self.compacted);
        self.keys += u64::from(applied.added);
        self.live += u64::from(applied.latest.is_some());
        self.live -= u64::from(applied.previous.is_some());
        if self.root.is_full() {
            self.root.raise(applied.last, self.compacted);
        }
        applied
    }

    fn assert_readable(&self, main: u64) {
        assert!(self.compacted <= main, "a compacted revision is not asked for");
    }
}

impl Node {
    /// Splits a root, putting a new one on top.
    fn raise(&mut self, last: bool, floor: u64) {
        let root = std::mem::replace(self, Node::Leaf(Box::default()));
        let mut top = Branch::above(root, floor);
        top.split_child(0, last, floor);
        *self = Node::Branch(Box::new(top));
    }

    /// Takes away roots that have one child or none.
    fn lower(&mut self) {
        while let Node::Branch(branch) = self {
            if branch.children.len() > 1 {
                break;
            }
            *self = branch.children.pop().unwrap_or(Node::Leaf(Box::default()));
        }
    }
}

impl<'a> From<&'a KeyRange> for Span<'a> {
    fn from(range: &'a KeyRange) -> Span<'a> {
        Span { start: Some(&range.start), end: range.end.as_deref() }
    }
}
