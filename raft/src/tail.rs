//! The entries of a log that are in memory, at its end.
//!
//! An entry is used many times: written here, sent to each follower, applied. What came together
//! is therefore kept together and shared: a *piece* is a run of entries behind a counter, and
//! handing it on costs one count, not one for each entry.
//!
//! ```text
//!   front                                                     back
//!   ┌───────────────┐┌───────────────────────┐┌───────────────┐┌─ ─ ─ ─ ─
//!   │ 7  8 ┊ 9  10  ││ 11  12  13  14  15  16 ││ 17  18 ┊ ░░░░ │  19  20    open: taken in by
//!   └───────────────┘└───────────────────────┘└───────────────┘└─ ─ ─ ─ ─    this step
//!     not wanted any more                        cut off
//! ```
//!
//! Proposals of one step gather in an open piece, which is sealed when the step is concluded. What
//! a leader sends is a piece, as a rule, and its follower keeps the same.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

use crate::entry::Entry;
use crate::types::Index;

/// Entries in a row.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    body: Body,
    /// The index of the first that counts.
    first: Index,
    /// Which of them count.
    from: u32,
    to: u32,
    /// Bytes of those.
    bytes: usize,
}

#[derive(Debug, Clone)]
enum Body {
    Shared(Arc<[Entry]>),
    Open(Vec<Entry>),
}

impl Piece {
    /// All of these but the first `skipped`.
    fn shared(entries: Arc<[Entry]>, skipped: usize) -> Piece {
        let bytes = entries[skipped..].iter().map(Entry::bytes).sum();
        // More than 2^32 entries do not fit into a message, nor into memory.
        let (from, to) = (skipped as u32, entries.len() as u32);
        let first = entries[skipped].index;
        Piece { body: Body::Shared(entries), first, from, to, bytes }
    }

    /// Its entries, of which there is at least one.
    pub(crate) fn entries(&self) -> &[Entry] {
        let all = match &self.body {
            Body::Shared(entries) => &entries[..],
            Body::Open(entries) => entries,
        };
        &all[self.from as usize..self.to as usize]
    }

    /// Those of them that are in `start..end`, as one of them is.
    fn within(&self, start: Index, end: Index) -> &[Entry] {
        let (entries, first) = (self.entries(), self.first);
        let from = start.0.saturating_sub(first.0) as usize;
        let to = (end.0 - first.0).min(entries.len() as u64) as usize;
        &entries[from.min(to)..to]
    }

    fn end(&self) -> Index {
        Index(self.first.0 + u64::from(self.to - self.from))
    }

    /// Leaves out the entries outside of `range`, of which it has one at least.
    fn narrow(&mut self, range: Range<Index>) {
        let front = range.start.0.saturating_sub(self.first.0);
        let back = self.end().0.saturating_sub(range.end.0);
        self.first.0 += front;
        self.from += front as u32;
        self.to -= back as u32;
        if let Body::Open(entries) = &mut self.body {
            entries.truncate(self.to as usize);
        }
        if front > 0 || back > 0 {
            self.bytes = self.entries().iter().map(Entry::bytes).sum();
        }
    }

    fn push(&mut self, entry: Entry) -> Result<(), Entry> {
        let Body::Open(entries) = &mut self.body else { return Err(entry) };
        self.bytes += entry.bytes();
        entries.push(entry);
        self.to += 1;
        Ok(())
    }

    fn seal(&mut self) {
        if let Body::Open(entries) = &mut self.body {
            let mut entries = mem::take(entries);
            entries.drain(..self.from as usize);
            (self.from, self.to) = (0, self.to - self.from);
            self.body = Body::Shared(entries.into());
        }
    }

    /// All that there is behind the counter, if no part of it is left out.
    fn whole(&self) -> Option<&Arc<[Entry]>> {
        match &self.body {
            Body::Shared(entries) if self.entries().len() == entries.len() => Some(entries),
            _ => None,
        }
    }
}

/// The entries of a log that are in memory.
///
/// * Pieces follow each other without a gap, and none is empty.
/// * Only the last may be open.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    pieces: VecDeque<Piece>,
    bytes: usize,
}

impl Tail {
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The index of the first.
    pub(crate) fn start(&self) -> Option<Index> {
        self.pieces.front().map(|front| front.first)
    }

    /// Puts an entry behind the last.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes();
        let entry = match self.pieces.back_mut() {
            Some(back) => match back.push(entry) {
                Ok(()) => return,
                Err(entry) => entry,
            },
            None => entry,
        };
        // It is likely to become like the one before.
        let room = self.pieces.back().map_or(1, |back| back.to as usize);
        let mut entries = Vec::with_capacity(room.min(ROOM_MAX));
        let (bytes, first) = (entry.bytes(), entry.index);
        entries.push(entry);
        self.pieces.push_back(Piece { body: Body::Open(entries), first, from: 0, to: 1, bytes });
    }

    /// Puts entries behind the last: all of these but the first `skipped`.
    pub(crate) fn share(&mut self, entries: Arc<[Entry]>, skipped: usize) {
        self.seal();
        let piece = Piece::shared(entries, skipped);
        self.bytes += piece.bytes;
        self.pieces.push_back(piece);
    }

    /// No entry is put into the last piece any more: it can be shared.
    pub(crate) fn seal(&mut self) {
        if let Some(back) = self.pieces.back_mut() {
            back.seal();
        }
    }

    /// Drops the entries behind `last`.
    pub(crate) fn truncate(&mut self, last: Index) {
        while let Some(mut back) = self.pieces.pop_back() {
            self.bytes -= back.bytes;
            if back.first <= last {
                back.narrow(Index(0)..last.next());
                self.bytes += back.bytes;
                self.pieces.push_back(back);
                break;
            }
        }
    }

    /// Drops the entries up to `through`.
    pub(crate) fn drop_through(&mut self, through: Index) {
        while let Some(front) = self.pieces.front_mut() {
            if front.first > through {
                break;
            }
            self.bytes -= front.bytes;
            if front.end().prev() > through {
                front.narrow(through.next()..Index(u64::MAX));
                self.bytes += front.bytes;
                break;
            }
            self.pieces.pop_front();
        }
    }

    /// Drops entries up to `through` until there are no more than `bytes_max` of all.
    pub(crate) fn drop_beyond(&mut self, bytes_max: usize, through: Index) {
        while self.bytes > bytes_max
            && let Some(front) = self.pieces.front()
            && front.first <= through
        {
            let mut over = self.bytes - bytes_max;
            let enough = front.entries().iter().find(|entry| {
                let bytes = entry.bytes();
                over = over.saturating_sub(bytes);
                over == 0
            });
            let enough = enough.map_or(front.end().prev(), |entry| entry.index);
            self.drop_through(enough.min(through));
        }
    }

    /// The pieces of a range that is all here.
    fn cover(&self, start: Index, end: Index) -> impl Iterator<Item = &Piece> + Clone {
        // As a rule it is the last, or the last few.
        let begins = match self.pieces.back() {
            Some(back) if back.first <= start => self.pieces.len() - 1,
            _ => self.pieces.partition_point(|piece| piece.end() <= start),
        };
        self.pieces.range(begins..).take_while(move |piece| piece.first < end)
    }

    /// Entries of a range that is all here.
    pub(crate) fn range(&self, range: Range<Index>) -> impl Iterator<Item = &Entry> + Clone {
        let Range { start, end } = range;
        self.cover(start, end).flat_map(move |piece| piece.within(start, end))
    }

    /// The pieces of a range that is all here, and no more of them than is in it.
    #[cfg(feature = "runtime")]
    pub(crate) fn pieces(&self, range: &Range<Index>) -> Vec<Piece> {
        let narrowed = |piece: &Piece| {
            let mut piece = piece.clone();
            piece.narrow(range.clone());
            piece
        };
        self.cover(range.start, range.end).map(narrowed).collect()
    }

    /// What begins at `range.start`, in one piece, if that is all of the range, or of what `range`
    /// and `bytes_max` allow; and its bytes.
    pub(crate) fn piece(
        &self,
        range: &Range<Index>,
        bytes_max: usize,
    ) -> Option<(Arc<[Entry]>, usize)> {
        let mut cover = self.cover(range.start, range.end);
        let piece = cover.next().filter(|piece| piece.first == range.start)?;
        let fits = piece.end() <= range.end && piece.bytes <= bytes_max;
        let next = cover.next().and_then(|next| next.entries().first());
        let full = next.is_none_or(|next| piece.bytes + next.bytes() > bytes_max);
        let whole = if fits && full { piece.whole() } else { None };
        whole.map(|entries| (Arc::clone(entries), piece.bytes))
    }

    /// Gives back the memory that nothing is in.
    pub(crate) fn shrink(&mut self) {
        self.pieces.shrink_to_fit();
    }

    pub(crate) fn check(&self) {
        let open = |piece: &Piece| matches!(piece.body, Body::Open(_));
        let sealed = self.pieces.len().saturating_sub(1);
        assert!(!self.pieces.iter().take(sealed).any(open), "only the last is open");
        assert!(self.pieces.iter().all(|piece| piece.from < piece.to), "no piece is empty");
        let all = || self.pieces.iter().flat_map(Piece::entries);
        let begins = |piece: &Piece| piece.entries().first().map(|entry| entry.index);
        assert!(self.pieces.iter().all(|piece| begins(piece) == Some(piece.first)));
        let bytes: usize = all().map(Entry::bytes).sum();
        assert_eq!(bytes, self.bytes, "bytes in memory are counted");
        for (one, other) in all().zip(all().skip(1)) {
            assert_eq!(one.index.next(), other.index, "the tail has no gaps");
        }
    }
}

/// Room that an open piece begins with at most.
const ROOM_MAX: usize = 1024;

#[cfg(test)]
mod tests;
