//! Records in the order of their keys: an iterator with two ends, and a cursor that seeks.

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::key::SeqNo;
use crate::keyspace::Shared;
use crate::slice::Slice;
use crate::snapshot::Snapshot;
use crate::source::Source;
use crate::state::State;
use crate::table::Fill;
use crate::walk::Walk;

/// A walk over everything must not empty the cache for the sake of blocks that it reads once.
fn fill(start: &[u8], end: Option<&[u8]>) -> Fill {
    if end.is_none() && start.is_empty() { Fill::Private } else { Fill::Cache }
}

/// The records of a key range, forwards by [`next`](Iterator::next) and backwards by
/// [`next_back`](DoubleEndedIterator::next_back), until the two meet.
///
/// After an error it returns that error for ever: it never skips what it could not read.
pub struct Range {
    state: Arc<State>,
    keyspace: Arc<Shared>,
    seq: SeqNo,
    start: Vec<u8>,
    end: Option<Vec<u8>>,
    front: Option<Walk>,
    back: Option<Walk>,
    /// Both ends have met, or one has failed.
    done: bool,
    failed: Option<Error>,
    _held: Option<Snapshot>,
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Range(at {} of {:?})", self.seq, self.keyspace)
    }
}

/// Inclusive start and exclusive end.
pub(crate) fn bounds<K: AsRef<[u8]>>(bounds: &impl RangeBounds<K>) -> (Vec<u8>, Option<Vec<u8>>) {
    // The next key there can be.
    let after = |key: &K| {
        let mut key = key.as_ref().to_vec();
        key.push(0);
        key
    };
    let start = match bounds.start_bound() {
        Bound::Included(key) => key.as_ref().to_vec(),
        Bound::Excluded(key) => after(key),
        Bound::Unbounded => Vec::new(),
    };
    let end = match bounds.end_bound() {
        Bound::Included(key) => Some(after(key)),
        Bound::Excluded(key) => Some(key.as_ref().to_vec()),
        Bound::Unbounded => None,
    };
    (start, end)
}

impl Range {
    pub(crate) fn new(
        state: Arc<State>,
        keyspace: Arc<Shared>,
        seq: SeqNo,
        (start, end): (Vec<u8>, Option<Vec<u8>>),
    ) -> Range {
        let done = end.as_ref().is_some_and(|end| *end <= start);
        Range {
            state,
            keyspace,
            seq,
            start,
            end,
            front: None,
            back: None,
            done,
            failed: None,
            _held: None,
        }
    }

    pub(crate) fn holding(mut self, snapshot: Snapshot) -> Range {
        self._held = Some(snapshot);
        self
    }

    fn walk(&self) -> Walk {
        let bounds = (&self.start[..], self.end.as_deref());
        let fill = fill(&self.start, self.end.as_deref());
        let sources = Source::all(&self.state, &self.keyspace, self.seq, bounds, fill);
        Walk::new(sources, Arc::clone(&self.keyspace), self.seq)
    }

    fn step_front(&mut self) -> Result<bool> {
        let found = match &mut self.front {
            Some(walk) => walk.next()?,
            None => {
                let mut walk = self.walk();
                let found = walk.seek(&self.start);
                self.front = Some(walk);
                found?
            }
        };
        let key = self.front.as_ref().expect("made above").key();
        let beyond = self.end.as_ref().is_some_and(|end| key >= &end[..]);
        let met = self.back.as_ref().is_some_and(|back| key >= back.key());
        Ok(found && !beyond && !met)
    }

    fn step_back(&mut self) -> Result<bool> {
        let found = match &mut self.back {
            Some(walk) => walk.prev()?,
            None => {
                let mut walk = self.walk();
                let found = walk.seek_before(self.end.as_deref());
                self.back = Some(walk);
                found?
            }
        };
        let key = self.back.as_ref().expect("made above").key();
        let beyond = key < &self.start[..];
        let met = self.front.as_ref().is_some_and(|front| key <= front.key());
        Ok(found && !beyond && !met)
    }

    /// To the next record, from either end: the walk that stands on it.
    #[inline]
    fn step(&mut self, back: bool) -> Option<Result<&Walk>> {
        if self.done {
            // So that it need not be asked for each row whether there was an error.
            return self.failed.clone().map(Err);
        }
        match if back { self.step_back() } else { self.step_front() } {
            Ok(true) => {
                let walk = if back { &self.back } else { &self.front };
                Some(Ok(walk.as_ref().expect("it has stepped")))
            }
            Ok(false) => {
                self.done = true;
                None
            }
            Err(error) => {
                self.done = true;
                self.failed = Some(error.clone());
                Some(Err(error))
            }
        }
    }

    /// As [`next`](Iterator::next), but lends the key and the value: nothing is copied or counted.
    /// For whoever has done with a record before the next one.
    #[inline]
    pub fn lend(&mut self) -> Option<Result<(&[u8], &[u8])>> {
        Some(self.step(false)?.map(|walk| (walk.key(), walk.value())))
    }

    /// As [`next_back`](DoubleEndedIterator::next_back), but lends the key and the value.
    #[inline]
    pub fn lend_back(&mut self) -> Option<Result<(&[u8], &[u8])>> {
        Some(self.step(true)?.map(|walk| (walk.key(), walk.value())))
    }
}

/// Key and value for keeps.
#[inline]
fn keep(walk: &Walk) -> (Slice, Slice) {
    (Slice::from(walk.key()), walk.share_value())
}

impl Iterator for Range {
    type Item = Result<(Slice, Slice)>;

    #[inline]
    fn next(&mut self) -> Option<Result<(Slice, Slice)>> {
        Some(self.step(false)?.map(keep))
    }
}

impl DoubleEndedIterator for Range {
    fn next_back(&mut self) -> Option<Result<(Slice, Slice)>> {
        Some(self.step(true)?.map(keep))
    }
}

/// A position among all records of a keyspace, as of one snapshot. Key and value are borrowed, and
/// cost nothing but the move.
///
/// It stands on a record or nowhere; beyond either end it stands nowhere, and stays there until it
/// seeks. After an error it returns that error for ever.
pub struct Cursor {
    walk: Walk,
    here: bool,
    _held: Option<Snapshot>,
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("here", &self.here).finish()
    }
}

impl Cursor {
    pub(crate) fn new(state: &State, keyspace: Arc<Shared>, seq: SeqNo) -> Cursor {
        let sources = Source::all(state, &keyspace, seq, (&[], None), Fill::Cache);
        Cursor { walk: Walk::new(sources, keyspace, seq), here: false, _held: None }
    }

    pub(crate) fn holding(mut self, snapshot: Snapshot) -> Cursor {
        self._held = Some(snapshot);
        self
    }

    fn moved(&mut self, outcome: Result<bool>) -> Result<()> {
        self.here = *outcome.as_ref().unwrap_or(&false);
        outcome.map(drop)
    }

    /// To the first record at or after `key`.
    pub fn seek(&mut self, key: &[u8]) -> Result<()> {
        let outcome = self.walk.seek(key);
        self.moved(outcome)
    }

    /// To the last record before `key`.
    pub fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        let outcome = self.walk.seek_before(Some(key));
        self.moved(outcome)
    }

    /// To the first record.
    pub fn first(&mut self) -> Result<()> {
        self.seek(&[])
    }

    /// To the last record.
    pub fn last(&mut self) -> Result<()> {
        let outcome = self.walk.seek_before(None);
        self.moved(outcome)
    }

    /// To the record after this one.
    #[expect(
        clippy::should_implement_trait,
        reason = "a cursor moves, and lends what it stands on"
    )]
    pub fn next(&mut self) -> Result<()> {
        if !self.here {
            return self.walk.check();
        }
        let outcome = self.walk.next();
        self.moved(outcome)
    }

    /// To the record before this one.
    pub fn prev(&mut self) -> Result<()> {
        if !self.here {
            return self.walk.check();
        }
        let outcome = self.walk.prev();
        self.moved(outcome)
    }

    /// The record stood on: its key and its value.
    pub fn record(&self) -> Option<(&[u8], &[u8])> {
        self.here.then(|| (self.walk.key(), self.walk.value()))
    }
}
