//! Many sorted cursors seen as one.
//!
//! **The problem.** A scan reads the memtables, a few young tables and one run for each level as
//! one sequence. Each step has to find the least of k entries; comparing k keys for each is what
//! makes scans of such trees slow.
//!
//! **The idea.** A tournament. Each inner node of a binary tree remembers the cursor that *lost*
//! there, and the winner stands above the root. When the winner has moved, it plays again only
//! against those that lost on its own way up: log2(k) comparisons, and no choice between children.
//!
//! ```text
//!              winner: B(2)
//!                   │
//!               ┌─ D(3) ─┐               B moves to 7: plays A, then D. D wins, and B stays
//!            ┌ A(5) ┐ ┌ C(9) ┐           behind as the loser at the root.
//!            A      B C      D
//! ```
//!
//! A comparison looks at the first eight bytes of both keys, which lie in an array, and at the keys
//! themselves only if those are equal.
//!
//! **Turning round.** While the merge walks forward, every cursor but the winner stands on its first
//! entry *behind* the winner's. To go back they must stand before it, so all of them are moved; a
//! scan turns seldom.
//!
//! **Seeking on.** A seek to a place at or behind the present one leaves alone every cursor that is
//! already there. Skipping the old versions of a key, or what a range delete covers, is such a seek.
//!
//! Knuth, *The Art of Computer Programming* 3, §5.4.1.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use crate::cursor::{Cursor, Entry};
use crate::error::{Error, Result};
use crate::key::{SeqNo, compare, head};
use crate::slice::Slice;

/// A merge of cursors.
///
/// Invariants, while it stands on an entry:
/// * `tree[0]` is the cursor it stands with; walking forward no other has an entry before it,
///   walking backward none behind it.
/// * `leaves[i]` says what `cursors[i]` stands on.
#[derive(Debug)]
pub struct MergeCursor<C> {
    cursors: Vec<C>,
    leaves: Vec<Leaf>,
    /// Who lost at each inner node, from 1 on; the winner at 0.
    tree: Vec<usize>,
    /// Who won at each node, while the tree is set up.
    winners: Vec<usize>,
    backward: bool,
    failed: Option<Error>,
    /// A key that cursors are moved to, which must not be borrowed from one of them.
    key: Vec<u8>,
}

/// What the tournament knows of a cursor.
#[derive(Debug, Clone, Copy, Default)]
struct Leaf {
    head: u64,
    on: bool,
}

impl<C: Cursor> MergeCursor<C> {
    /// A merge of `cursors`, which stand anywhere. Of equal entries, which do not occur among
    /// sound sources, that of the earlier cursor comes first.
    pub fn new(cursors: Vec<C>) -> MergeCursor<C> {
        let count = cursors.len();
        MergeCursor {
            cursors,
            leaves: vec![Leaf::default(); count],
            tree: vec![0; count.max(1)],
            winners: vec![0; 2 * count],
            backward: false,
            failed: None,
            key: Vec::new(),
        }
    }

    /// Whether the cursor it stands with is the only one there is. Then there is no tournament.
    #[inline]
    fn is_single(&self) -> bool {
        self.cursors.len() == 1
    }

    fn check(&self) -> Result<()> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// The cursor it stands with.
    #[inline]
    fn winner(&self) -> Option<usize> {
        let winner = self.tree[0];
        (self.failed.is_none() && self.leaves.get(winner)?.on).then_some(winner)
    }

    /// Moves cursor `index`, and notes where it stands.
    #[inline]
    fn shift(&mut self, index: usize, step: impl FnOnce(&mut C) -> Result<()>) -> Result<()> {
        let cursor = &mut self.cursors[index];
        if let Err(error) = step(cursor) {
            self.failed = Some(error.clone());
            return Err(error);
        }
        self.leaves[index] = match cursor.entry() {
            Some(entry) => Leaf { head: head(entry.key), on: true },
            None => Leaf::default(),
        };
        Ok(())
    }

    /// Moves all cursors, and lets them all play.
    fn shift_all(
        &mut self,
        backward: bool,
        mut step: impl FnMut(&mut C) -> Result<()>,
    ) -> Result<()> {
        self.check()?;
        self.backward = backward;
        for index in 0..self.cursors.len() {
            self.shift(index, &mut step)?;
        }
        self.play_all();
        Ok(())
    }

    /// Whether cursor `a` comes before `b` in the direction of the walk.
    #[inline]
    fn beats(&self, a: usize, b: usize) -> bool {
        let (x, y) = (self.leaves[a], self.leaves[b]);
        if !(x.on && y.on) {
            return x.on;
        }
        if x.head != y.head {
            return (x.head < y.head) != self.backward;
        }
        (self.order(a, b) == Ordering::Less) != self.backward
    }

    /// How two cursors with the same head compare. No two are equal.
    fn order(&self, a: usize, b: usize) -> Ordering {
        let place = |index: usize| {
            let entry = self.cursors[index].entry().expect("its leaf says that it stands");
            (entry.key, entry.seq)
        };
        compare(place(a), place(b)).then(a.cmp(&b))
    }

    fn play_all(&mut self) {
        let count = self.cursors.len();
        if count == 0 {
            return;
        }
        for index in 0..count {
            self.winners[count + index] = index;
        }
        for node in (1..count).rev() {
            let (a, b) = (self.winners[2 * node], self.winners[2 * node + 1]);
            let (won, lost) = if self.beats(a, b) { (a, b) } else { (b, a) };
            self.winners[node] = won;
            self.tree[node] = lost;
        }
        self.tree[0] = self.winners[1];
    }

    /// Lets cursor `index`, the last winner, play its way up again.
    #[inline]
    fn play(&mut self, index: usize) {
        let mut winner = index;
        let mut node = (self.cursors.len() + index) / 2;
        while node > 0 {
            if self.beats(self.tree[node], winner) {
                std::mem::swap(&mut self.tree[node], &mut winner);
            }
            node /= 2;
        }
        self.tree[0] = winner;
    }

    /// Makes all cursors but `winner` stand on the other side of its entry.
    #[cold]
    fn turn(&mut self, winner: usize) -> Result<()> {
        let entry = self.cursors[winner].entry().expect("its leaf says that it stands");
        let seq = entry.seq;
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        key.extend_from_slice(entry.key);
        self.backward = !self.backward;
        let backward = self.backward;
        for index in (0..self.cursors.len()).filter(|index| *index != winner) {
            self.shift(index, |cursor| {
                if backward {
                    cursor.seek_back(&key, seq)?;
                } else {
                    cursor.seek(&key, seq)?;
                }
                let same = cursor.entry().is_some_and(|e| e.key == key && e.seq == seq);
                // Of equals, the earlier cursor's is first, and has been passed on the way forward.
                match same && (index > winner) == backward {
                    true if backward => cursor.prev(),
                    true => cursor.next(),
                    false => Ok(()),
                }
            })?;
        }
        self.key = key;
        self.play_all();
        debug_assert_eq!(self.tree[0], winner, "who stood first stands first after turning");
        Ok(())
    }

    /// Whether it walks forward and stands at or before `(user_key, seq)`.
    fn is_before(&self, user_key: &[u8], seq: SeqNo) -> bool {
        let entry = self.winner().filter(|_| !self.backward).and_then(|w| self.cursors[w].entry());
        entry.is_some_and(|e| compare((e.key, e.seq), (user_key, seq)).is_le())
    }
}

impl<C: Cursor> Cursor for MergeCursor<C> {
    fn seek(&mut self, user_key: &[u8], seq: SeqNo) -> Result<()> {
        if self.is_single() {
            return self.cursors[0].seek(user_key, seq);
        }
        if !self.is_before(user_key, seq) {
            return self.shift_all(false, |cursor| cursor.seek(user_key, seq));
        }
        // What stands at or behind the target is already on its first entry from there on, and what
        // has come to its end has nothing there.
        for index in 0..self.cursors.len() {
            let behind = |e: Entry<'_>| compare((e.key, e.seq), (user_key, seq)).is_lt();
            if self.cursors[index].entry().is_some_and(behind) {
                self.shift(index, |cursor| cursor.seek(user_key, seq))?;
            }
        }
        self.play_all();
        Ok(())
    }

    fn seek_back(&mut self, user_key: &[u8], seq: SeqNo) -> Result<()> {
        if self.is_single() {
            return self.cursors[0].seek_back(user_key, seq);
        }
        self.shift_all(true, |cursor| cursor.seek_back(user_key, seq))
    }

    fn first(&mut self) -> Result<()> {
        if self.is_single() {
            return self.cursors[0].first();
        }
        self.shift_all(false, Cursor::first)
    }

    fn last(&mut self) -> Result<()> {
        if self.is_single() {
            return self.cursors[0].last();
        }
        self.shift_all(true, Cursor::last)
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        if self.is_single() {
            return self.cursors[0].next();
        }
        self.check()?;
        let Some(winner) = self.winner() else { return Ok(()) };
        if self.backward {
            self.turn(winner)?;
        }
        self.shift(winner, Cursor::next)?;
        self.play(winner);
        Ok(())
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        if self.is_single() {
            return self.cursors[0].prev();
        }
        self.check()?;
        let Some(winner) = self.winner() else { return Ok(()) };
        if !self.backward {
            self.turn(winner)?;
        }
        self.shift(winner, Cursor::prev)?;
        self.play(winner);
        Ok(())
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        if self.is_single() {
            return self.cursors[0].entry();
        }
        self.cursors[self.winner()?].entry()
    }

    fn value(&self) -> Option<Slice> {
        if self.is_single() {
            return self.cursors[0].value();
        }
        self.cursors[self.winner()?].value()
    }
}
