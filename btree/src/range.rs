//! The records of a range, from both ends.
//!
//! Two walks come towards each other. What the one has handed out bounds the other, so the bounds
//! of the range are all that has to be looked at, and not at each record: on entering a leaf each
//! walk finds how far it may go there.

use std::ops::Bound;

use smallvec::SmallVec;

use crate::cursor::Walk;
use crate::error::{Error, Result};
use crate::pages::Source;
use crate::slice::Slice;
use crate::types::TreeRoot;

type KeyBuf = SmallVec<[u8; 32]>;

/// The records of a range, in the order of their keys, or against it from the back.
///
/// After an error it returns that error for ever.
#[derive(Debug)]
pub(crate) struct Range<'a, S> {
    lower: Bound<KeyBuf>,
    upper: Bound<KeyBuf>,
    front: End<'a, S>,
    back: End<'a, S>,
    /// Which end moved last: its record bounds the other.
    turn: Turn,
    failed: Option<Error>,
    is_done: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Nobody,
    Front,
    Back,
}

/// One end: a walk on the record that is next, and how far it may go in this leaf.
#[derive(Debug)]
struct End<'a, S> {
    walk: Walk<'a, S>,
    started: bool,
    /// One past the last record of this leaf that is in the range; for the back, the first.
    stop: usize,
    /// Whether the range ends in this leaf.
    is_final: bool,
}

impl<'a, S: Source<'a>> End<'a, S> {
    fn new(source: S, root: TreeRoot) -> End<'a, S> {
        End { walk: Walk::new(source, root), started: false, stop: 0, is_final: false }
    }
}

impl<'a, S: Source<'a>> Range<'a, S> {
    pub(crate) fn new(
        source: S,
        root: TreeRoot,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
    ) -> Range<'a, S> {
        Range {
            lower: lower.map(KeyBuf::from_slice),
            upper: upper.map(KeyBuf::from_slice),
            front: End::new(source, root),
            back: End::new(source, root),
            turn: Turn::Nobody,
            failed: None,
            is_done: false,
        }
    }

    /// A range that has failed already.
    pub(crate) fn failed(source: S, error: Error) -> Range<'a, S> {
        let (lower, upper) = (Bound::Unbounded, Bound::Unbounded);
        let mut range = Range::new(source, TreeRoot::default(), lower, upper);
        range.failed = Some(error);
        range
    }

    /// A step that leads to another leaf, or is the first of its kind, or the last.
    #[cold]
    fn step(&mut self, turn: Turn) -> Option<Result<(Slice<'a>, Slice<'a>)>> {
        if let Some(error) = &self.failed {
            return Some(Err(error.clone()));
        }
        if self.is_done {
            return None;
        }
        let moved = if turn == Turn::Front { self.forward() } else { self.backward() };
        match moved {
            Ok(true) => self.record(turn),
            Ok(false) => {
                self.is_done = true;
                self.turn = Turn::Nobody;
                None
            }
            Err(error) => self.fail(error),
        }
    }

    /// The record on which that end is.
    #[inline]
    fn record(&mut self, turn: Turn) -> Option<Result<(Slice<'a>, Slice<'a>)>> {
        let walk = if turn == Turn::Front { &self.front.walk } else { &self.back.walk };
        match walk.record() {
            Ok(record) => Some(Ok(record)),
            Err(error) => self.fail(error),
        }
    }

    #[cold]
    fn fail(&mut self, error: Error) -> Option<Result<(Slice<'a>, Slice<'a>)>> {
        self.failed = Some(error.clone());
        self.turn = Turn::Nobody;
        Some(Err(error))
    }

    /// Moves the front to the next record of the range if that is in the same leaf.
    #[inline]
    fn forward_near(&mut self) -> bool {
        let at = self.front.walk.at() + 1;
        let is_near = self.turn == Turn::Front && at < self.front.stop;
        if is_near {
            self.front.walk.set_at(at);
        }
        is_near
    }

    /// Moves the front to the next record of the range, which is in another leaf.
    fn forward(&mut self) -> Result<bool> {
        if self.turn == Turn::Front && self.front.is_final {
            return Ok(false);
        }
        if self.turn == Turn::Back {
            self.upper = Bound::Excluded(KeyBuf::from_slice(&self.back.walk.key()));
        }
        self.turn = Turn::Front;
        let is_on = if self.front.started {
            self.front.walk.next()?
        } else {
            self.front.started = true;
            seek_lower(&mut self.front.walk, self.lower.as_ref())?
        };
        if !is_on {
            return Ok(false);
        }
        let leaf = self.front.walk.page();
        let stop = match &self.upper {
            Bound::Unbounded => leaf.count(),
            Bound::Excluded(key) => leaf.find(key).unwrap_or_else(|at| at),
            Bound::Included(key) => leaf.find(key).map_or_else(|at| at, |at| at + 1),
        };
        self.front.is_final = stop < leaf.count();
        self.front.stop = stop;
        Ok(self.front.walk.at() < stop)
    }

    /// Moves the back to the record before, of the range, if that is in the same leaf.
    #[inline]
    fn backward_near(&mut self) -> bool {
        let at = self.back.walk.at();
        let is_near = self.turn == Turn::Back && at > self.back.stop;
        if is_near {
            self.back.walk.set_at(at - 1);
        }
        is_near
    }

    /// Moves the back to the record before, of the range, which is in another leaf.
    fn backward(&mut self) -> Result<bool> {
        if self.turn == Turn::Back && self.back.is_final {
            return Ok(false);
        }
        if self.turn == Turn::Front {
            self.lower = Bound::Excluded(KeyBuf::from_slice(&self.front.walk.key()));
        }
        self.turn = Turn::Back;
        let is_on = if self.back.started {
            self.back.walk.prev()?
        } else {
            self.back.started = true;
            seek_upper(&mut self.back.walk, self.upper.as_ref())?
        };
        if !is_on {
            return Ok(false);
        }
        let leaf = self.back.walk.page();
        let stop = match &self.lower {
            Bound::Unbounded => 0,
            Bound::Included(key) => leaf.find(key).unwrap_or_else(|at| at),
            Bound::Excluded(key) => leaf.find(key).map_or_else(|at| at, |at| at + 1),
        };
        self.back.is_final = stop > 0;
        self.back.stop = stop;
        Ok(self.back.walk.at() >= stop)
    }
}

/// Goes to the first record that is not below the bound.
fn seek_lower<'a, S: Source<'a>>(walk: &mut Walk<'a, S>, lower: Bound<&KeyBuf>) -> Result<bool> {
    match lower {
        Bound::Unbounded => walk.first(),
        Bound::Included(key) => walk.seek(key),
        Bound::Excluded(key) => {
            let is_there = walk.seek(key)? && walk.key_parts().cmp(key).is_eq();
            if is_there { walk.next() } else { Ok(walk.is_on()) }
        }
    }
}

/// Goes to the last record that is not above the bound.
fn seek_upper<'a, S: Source<'a>>(walk: &mut Walk<'a, S>, upper: Bound<&KeyBuf>) -> Result<bool> {
    match upper {
        Bound::Unbounded => walk.last(),
        Bound::Excluded(key) => walk.seek_before(key),
        Bound::Included(key) => {
            if walk.seek(key)? && walk.key_parts().cmp(key).is_eq() {
                return Ok(true);
            }
            walk.seek_before(key)
        }
    }
}

impl<'a, S: Source<'a>> Iterator for Range<'a, S> {
    type Item = Result<(Slice<'a>, Slice<'a>)>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.forward_near() { self.record(Turn::Front) } else { self.step(Turn::Front) }
    }
}

impl<'a, S: Source<'a>> DoubleEndedIterator for Range<'a, S> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.backward_near() { self.record(Turn::Back) } else { self.step(Turn::Back) }
    }
}
