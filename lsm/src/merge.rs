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
//! A comparison looks at one number on each side, the *rank*: the first eight bytes of the key, or
//! their complement on the way back, so that the lower rank wins in either direction. It is kept
//! where the loser is noted. The keys themselves are looked at only if ranks are equal.
//!
//! **Turning round.** While the merge walks forward, every cursor but the winner stands on its
//! first entry *behind* the winner's. To go back they must stand before it, so all of them are
//! moved; a scan turns seldom.
//!
//! **Seeking on.** A seek to a place at or behind the present one leaves alone every cursor that is
//! already there. Skipping the old versions of a key, or what a range delete covers, is such a
//! seek.
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
/// * Every other player in `tree` is of another cursor, and says what that stands on.
#[derive(Debug)]
pub struct MergeCursor<C> {
    cursors: Vec<C>,
    /// Who lost at each inner node, from 1 on; the winner at 0.
    tree: Vec<Player>,
    /// Who won at each node, while the tree is set up.
    winners: Vec<Player>,
    backward: bool,
    failed: Option<Error>,
    /// A key that cursors are moved to, which must not be borrowed from one of them.
    key: Vec<u8>,
}

/// What the tournament knows of a cursor.
#[derive(Debug, Clone, Copy)]
struct Player {
    /// Different ranks decide; equal ranks decide nothing.
    rank: u64,
    index: usize,
    /// Whether it stands on an entry. If not, its rank is the highest.
    on: bool,
}

/// In place of a winner, where there is none.
const NOBODY: Player = Player { rank: u64::MAX, index: 0, on: false };

impl<C: Cursor> MergeCursor<C> {
    /// A merge of `cursors`, which stand anywhere. Of equal entries, which do not occur among
    /// sound sources, that of the earlier cursor comes first.
    pub fn new(cursors: Vec<C>) -> MergeCursor<C> {
        let count = cursors.len();
        MergeCursor {
            cursors,
            tree: vec![NOBODY; count.max(1)],
            winners: vec![NOBODY; 2 * count],
            backward: false,
            failed: None,
            key: Vec::new(),
        }
    }

    /// The cursor it stands with.
    pub(crate) fn standing(&self) -> Option<&C> {
        if self.is_single() { self.cursors.first() } else { self.cursors.get(self.winner()?) }
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
        self.tree[0].on.then_some(self.tree[0].index)
    }

    /// Moves cursor `index`.
    #[inline]
    fn shift(&mut self, index: usize, step: impl FnOnce(&mut C) -> Result<()>) -> Result<()> {
        let outcome = step(&mut self.cursors[index]);
        if let Err(error) = &outcome {
            self.failed = Some(error.clone());
            self.tree[0] = NOBODY;
        }
        outcome
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

    /// Cursor `index`, where it stands.
    #[inline]
    fn player(&self, index: usize) -> Player {
        match self.cursors[index].entry() {
            Some(entry) => {
                let head = head(entry.key);
                Player { rank: if self.backward { !head } else { head }, index, on: true }
            }
            None => Player { index, ..NOBODY },
        }
    }

    /// Whether `a` comes before `b` in the direction of the walk.
    #[inline]
    fn beats(&self, a: Player, b: Player) -> bool {
        if a.rank == b.rank { self.beats_by_key(a, b) } else { a.rank < b.rank }
    }

    /// As [`beats`](MergeCursor::beats), of players with the same rank.
    fn beats_by_key(&self, a: Player, b: Player) -> bool {
        if !(a.on && b.on) {
            return a.on;
        }
        let place = |player: Player| {
            let entry = self.cursors[player.index].entry().expect("it says that it stands");
            (entry.key, entry.seq)
        };
        // No two are equal.
        let order = compare(place(a), place(b)).then(a.index.cmp(&b.index));
        (order == Ordering::Less) != self.backward
    }

    fn play_all(&mut self) {
        let count = self.cursors.len();
        if count == 0 {
            return;
        }
        for index in 0..count {
            self.winners[count + index] = self.player(index);
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
        let mut winner = self.player(index);
        let mut node = (self.cursors.len() + index) / 2;
        while node > 0 {
            let other = self.tree[node];
            if self.beats(other, winner) {
                self.tree[node] = winner;
                winner = other;
            }
            node /= 2;
        }
        self.tree[0] = winner;
    }

    /// Makes all cursors but `winner` stand on the other side of its entry, and returns who stands
    /// first then: `winner`, unless a cursor is out of order. Whoever walks notices that.
    #[cold]
    fn turn(&mut self, winner: usize) -> Result<usize> {
        let entry = self.cursors[winner].entry().expect("it says that it stands");
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
        Ok(self.winner().unwrap_or(winner))
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
        let Some(mut winner) = self.winner() else { return self.check() };
        if self.backward {
            winner = self.turn(winner)?;
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
        let Some(mut winner) = self.winner() else { return self.check() };
        if !self.backward {
            winner = self.turn(winner)?;
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
