//! A node's view of its log: all positions, few entries.
//!
//! ```text
//!        base                 stable        written      last
//!    ─────┼─────────────────────┼──────────────┼───────────┤
//!         │   runs: (first index, term), (…), …            │   every position, in a few numbers
//!         │           ┊         tail: entries in memory    │   what is not durable, and more
//!                     └ what followers may still want
//! ```
//!
//! Entries of one term stand together, so a run per term says the term of every index: a log of a
//! million entries under three leaders takes 48 bytes. Payloads are kept while they are not
//! durable, and while a follower that keeps up may want them; older ones are read by the driver
//! ([`Effect::Load`](crate::Effect::Load)).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use crate::entry::Entry;
#[cfg(feature = "runtime")]
use crate::tail::Piece;
use crate::tail::Tail;
use crate::types::{Index, Position, Term};

/// The positions of a log and the entries at its end.
///
/// * base ≤ stable ≤ written ≤ last.
/// * Every index after the base up to the last has a term; terms do not fall.
/// * The tail ends at the last entry and begins no later than behind the stable one.
#[derive(Debug)]
pub(crate) struct Log {
    /// The last position that is no entry any more.
    base: Position,
    /// Where each term begins: (first index, term), both rising.
    runs: Vec<(Index, Term)>,
    last: Index,
    /// Up to here a write has been asked for.
    written: Index,
    /// Up to here it is durable.
    stable: Index,
    tail: Tail,
}

impl Log {
    pub(crate) fn new(base: Position, runs: Vec<(Index, Term)>, last: Index) -> Log {
        Log { base, runs, last, written: last, stable: last, tail: Tail::default() }
    }

    pub(crate) fn base(&self) -> Position {
        self.base
    }

    pub(crate) fn stable(&self) -> Index {
        self.stable
    }

    /// The last position.
    pub(crate) fn last(&self) -> Position {
        let term = self.runs.last().map_or(self.base.term, |(_, term)| *term);
        Position::new(term, self.last)
    }

    /// The term of the entry at `index`; `None` below the base and behind the end.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        if index > self.last || index < self.base.index {
            return None;
        }
        if index == self.base.index {
            return Some(self.base.term);
        }
        // Nearly every question is about the newest term.
        match self.runs.last() {
            Some((first, term)) if *first <= index => Some(*term),
            _ => {
                let at = self.runs.partition_point(|(first, _)| *first <= index);
                Some(self.runs[at.checked_sub(1).expect("a run begins behind the base")].1)
            }
        }
    }

    /// Whether the entry at this position is here, or compacted away right there.
    pub(crate) fn has(&self, position: Position) -> bool {
        self.term_at(position.index) == Some(position.term)
    }

    /// The latest position, not after `index`, whose term is at most `term`: nothing between it
    /// and `index` can be like the entries of a log with `term` at `index` (Raft §5.3, the
    /// paragraph on fewer rejected appends). Never below the base.
    pub(crate) fn meeting(&self, index: Index, term: Term) -> Position {
        let index = index.min(self.last);
        if index <= self.base.index {
            return self.base;
        }
        let older = self.runs.partition_point(|(first, run)| *first <= index && *run <= term);
        let Some((_, found)) = older.checked_sub(1).map(|at| self.runs[at]) else {
            return self.base;
        };
        let end = self.runs.get(older).map_or(self.last, |(next, _)| next.prev());
        Position::new(found, end.min(index))
    }

    /// Puts an entry behind the last.
    pub(crate) fn append(&mut self, entry: Entry) {
        assert_eq!(entry.index, self.last.next(), "entries are appended in order");
        self.extend(entry.position());
        self.tail.push(entry);
    }

    /// Puts entries behind the last: all of these but the first `skipped`.
    pub(crate) fn append_shared(&mut self, entries: Arc<[Entry]>, skipped: usize) {
        let row = &entries[skipped..];
        let (Some(first), Some(last)) = (row.first(), row.last()) else { return };
        assert_eq!(first.index, self.last.next(), "entries are appended in order");
        if self.last().term == last.term && !self.runs.is_empty() {
            self.last = last.index;
        } else {
            row.iter().for_each(|entry| self.extend(entry.position()));
        }
        self.tail.share(entries, skipped);
    }

    /// What was appended is complete, and can be shared with others.
    pub(crate) fn seal(&mut self) {
        self.tail.seal();
    }

    fn extend(&mut self, position: Position) {
        assert!(position.term >= self.last().term, "terms do not fall along a log");
        if position.term > self.last().term || self.runs.is_empty() {
            self.runs.push((position.index, position.term));
        }
        self.last = position.index;
    }

    /// Cuts off everything after `last`.
    pub(crate) fn truncate(&mut self, last: Index) {
        assert!(last >= self.base.index && last <= self.last, "a log is cut within itself");
        self.runs.retain(|(first, _)| *first <= last);
        self.last = last;
        self.written = self.written.min(last);
        self.stable = self.stable.min(last);
        self.tail.truncate(last);
    }

    /// An empty log behind a snapshot.
    pub(crate) fn reset(&mut self, base: Position) {
        *self = Log::new(base, Vec::new(), base.index);
    }

    /// A snapshot stands for the entries up to `through`, durable or not. Where they are missing,
    /// it is the snapshot that knows the term.
    pub(crate) fn skip(&mut self, through: Position) {
        self.written = self.written.max(through.index);
        self.stable = self.stable.max(through.index);
        self.compact(through.index);
        self.base = through;
    }

    /// Forgets the positions up to `through`.
    pub(crate) fn compact(&mut self, through: Index) {
        let Some(term) = self.term_at(through) else { return };
        assert!(through <= self.stable, "what is not durable is compacted");
        self.base = Position::new(term, through);
        let gone = self.runs.partition_point(|(first, _)| *first <= through);
        if gone > 0 {
            // The run that reaches over the base goes on behind it.
            let reaches = self.runs.get(gone).is_none_or(|(next, _)| next.0 > through.0 + 1);
            let kept = if reaches && self.last > through { gone - 1 } else { gone };
            self.runs.drain(..kept);
            if reaches && self.last > through {
                self.runs[0].0 = through.next();
            }
        }
        self.tail.drop_through(through);
    }

    /// The entries that no write has been asked for, now asked for.
    pub(crate) fn take_unwritten(&mut self) -> Range<Index> {
        let range = self.written.next()..self.last.next();
        self.written = self.last;
        range
    }

    pub(crate) fn has_unwritten(&self) -> bool {
        self.written < self.last
    }

    /// Puts right the term of an entry that was missing, and for which a run stood in that begins
    /// there.
    pub(crate) fn correct(&mut self, position: Position) {
        let Position { term, index } = position;
        if self.term_at(index).is_none_or(|filler| filler == term) {
            return;
        }
        let at = self.runs.partition_point(|(first, _)| *first < index);
        assert_eq!(self.runs[at].0, index, "entries of a hole are put right in order");
        self.runs[at].0 = index.next();
        let before = at.checked_sub(1).map(|at| self.runs[at].1);
        if before != Some(term) {
            self.runs.insert(at, (index, term));
        }
    }

    /// Everything up to here is durable.
    pub(crate) fn stored(&mut self, through: Index) {
        assert!(through <= self.written, "what was not written is not durable");
        self.stable = self.stable.max(through);
    }

    /// The index of the first entry in memory, or the one behind the last.
    pub(crate) fn tail_start(&self) -> Index {
        self.tail.start().unwrap_or(self.last.next())
    }

    fn is_in_memory(&self, range: &Range<Index>) -> bool {
        // Of nothing, all is here: a message without entries asks where the logs meet.
        let starts = range.start >= self.tail_start() || range.is_empty();
        starts && range.end <= self.last.next()
    }

    /// Entries of a range, if all are in memory.
    pub(crate) fn entries(
        &self,
        range: Range<Index>,
    ) -> Option<impl Iterator<Item = &Entry> + Clone> {
        self.is_in_memory(&range).then(|| self.tail.range(range))
    }

    /// The same, to be kept.
    #[cfg(feature = "runtime")]
    pub(crate) fn pieces(&self, range: &Range<Index>) -> Option<Vec<Piece>> {
        self.is_in_memory(range).then(|| self.tail.pieces(range))
    }

    /// The first entries of a range, if all of it is in memory: as many as `bytes_max` allows, and
    /// at least one.
    pub(crate) fn batch(&self, range: Range<Index>, bytes_max: usize) -> Option<Vec<Entry>> {
        let all = self.entries(range)?;
        let mut batch: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        for entry in all {
            bytes += entry.bytes();
            if !batch.is_empty() && bytes > bytes_max {
                break;
            }
            batch.push(entry.clone());
        }
        Some(batch)
    }

    /// The same and their bytes, shared with this log if they are one piece of it.
    pub(crate) fn shared(
        &self,
        range: Range<Index>,
        bytes_max: usize,
    ) -> Option<(Arc<[Entry]>, usize)> {
        if !self.is_in_memory(&range) {
            return None;
        }
        self.tail.piece(&range, bytes_max).or_else(|| {
            let batch = self.batch(range, bytes_max)?;
            let bytes = batch.iter().map(Entry::bytes).sum();
            Some((batch.into(), bytes))
        })
    }

    /// Drops durable entries from memory: those up to `wanted`, and of the others as many as
    /// there are more than `bytes_max` of.
    pub(crate) fn trim(&mut self, wanted: Index, bytes_max: usize) {
        self.tail.drop_through(wanted.min(self.stable));
        self.tail.drop_beyond(bytes_max, self.stable);
    }

    /// Gives back most of the memory that nothing is in.
    pub(crate) fn shrink_somewhat(&mut self) {
        if self.tail.is_empty() {
            self.tail.shrink();
        }
    }

    /// Gives back the memory that nothing is in.
    pub(crate) fn shrink(&mut self) {
        self.tail.shrink();
        self.runs.shrink_to_fit();
    }

    pub(crate) fn check(&self) {
        assert!(self.base.index <= self.stable, "the base is durable");
        assert!(self.stable <= self.written, "what is durable was written");
        assert!(self.written <= self.last, "what was written is there");
        assert!(self.runs.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "terms do not fall");
        let first = self.runs.first().map_or(self.last.next(), |(first, _)| *first);
        assert_eq!(first, self.base.index.next(), "every index behind the base has a term");
        assert!(self.tail_start() <= self.stable.next(), "what is not durable is in memory");
        self.tail.check();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Payload;

    fn entry(term: u64, index: u64) -> Entry {
        Entry { term: Term(term), index: Index(index), payload: Payload::Blank }
    }

    fn log(terms: &[u64]) -> Log {
        let mut log = Log::new(Position::default(), Vec::new(), Index(0));
        for (i, term) in (1..).zip(terms) {
            log.append(entry(*term, i));
        }
        log.check();
        log
    }

    /// A run per term must say what a list of all terms would, through any cutting at both ends.
    #[test]
    fn runs_say_what_a_list_of_terms_says() {
        let terms = [1, 1, 2, 2, 2, 5, 7, 7];
        for cut in 0..=terms.len() {
            for base in 0..=cut {
                let mut log = log(&terms);
                log.truncate(Index(cut as u64));
                let _ = log.take_unwritten();
                log.stored(Index(cut as u64));
                log.compact(Index(base as u64));
                log.check();
                for index in 0..10_u64 {
                    let there = index >= base as u64 && index <= cut as u64;
                    let of_list =
                        if index == 0 { 0 } else { *terms.get(index as usize - 1).unwrap_or(&0) };
                    let expected = there.then_some(Term(of_list));
                    assert_eq!(
                        log.term_at(Index(index)),
                        expected,
                        "cut {cut} base {base} at {index}"
                    );
                }
                log.append(entry(7, cut as u64 + 1));
                log.check();
                assert_eq!(log.term_at(Index(cut as u64 + 1)), Some(Term(7)));
            }
        }
    }

    /// Two logs may meet where the terms cross, and nowhere later: fewer questions to ask.
    #[test]
    fn logs_meet_no_later_than_the_terms_allow() {
        let log = log(&[1, 1, 2, 2, 2, 5, 7, 7]);
        let meeting = |index, term| log.meeting(Index(index), Term(term)).index.0;
        assert_eq!(meeting(8, 6), 6, "terms above 6 cannot be shared");
        assert_eq!(meeting(100, 9), 8, "no further than the end");
        assert_eq!(meeting(4, 9), 4);
        assert_eq!(meeting(8, 1), 2);
        assert_eq!(meeting(8, 0), 0);
        assert_eq!(meeting(8, 4), 5, "a term that is not here at all");
    }

    /// Memory follows what is not durable and the limit, not the length of the log.
    #[test]
    fn the_tail_keeps_what_is_not_durable() {
        let mut log = log(&[1; 10]);
        let _ = log.take_unwritten();
        log.stored(Index(6));
        log.trim(Index(4), usize::MAX);
        assert_eq!(log.tail_start(), Index(5));
        log.trim(Index(0), 0);
        assert_eq!(log.tail_start(), Index(7), "what is not durable stays, whatever the limit");
        assert_eq!(log.entries(Index(7)..Index(11)).unwrap().count(), 4);
        assert!(log.entries(Index(6)..Index(8)).is_none());
        assert_eq!(log.entries(Index(6)..Index(6)).map(Iterator::count), Some(0));
        assert_eq!(log.shared(Index(3)..Index(3), 100), Some(([].into(), 0)));
        log.check();
    }
}
