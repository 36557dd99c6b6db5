//! Ranges and cursors as users hold them: over a snapshot, or over a write transaction's own state.

use crate::cursor;
use crate::draft::Overlay;
use crate::error::Result;
use crate::range;
use crate::slice::Slice;
use crate::snapshot::Snapshot;

/// The records of a range, in the order of their keys; from the back, against it. After an error it
/// returns that error for ever.
#[derive(Debug)]
pub struct Range<'a>(RangeOver<'a>);

#[derive(Debug)]
enum RangeOver<'a> {
    Snapshot(range::Range<'a, &'a Snapshot>),
    Draft(range::Range<'a, Overlay<'a, Snapshot>>),
}

impl<'a> Range<'a> {
    pub(crate) fn of_snapshot(range: range::Range<'a, &'a Snapshot>) -> Range<'a> {
        Range(RangeOver::Snapshot(range))
    }

    pub(crate) fn of_draft(range: range::Range<'a, Overlay<'a, Snapshot>>) -> Range<'a> {
        Range(RangeOver::Draft(range))
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = Result<(Slice<'a>, Slice<'a>)>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            RangeOver::Snapshot(range) => range.next(),
            RangeOver::Draft(range) => range.next(),
        }
    }
}

impl DoubleEndedIterator for Range<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            RangeOver::Snapshot(range) => range.next_back(),
            RangeOver::Draft(range) => range.next_back(),
        }
    }
}

/// A position that moves over the records of one tree as a snapshot, or a write transaction at this
/// moment, has them.
///
/// It starts on no record; so it is after it ran past an end, or after an error. From there
/// [`next`](Cursor::next) and [`prev`](Cursor::prev) lead nowhere, and all others do.
#[derive(Debug, Clone)]
pub struct Cursor<'a>(CursorOver<'a>);

#[derive(Debug, Clone)]
enum CursorOver<'a> {
    Snapshot(cursor::Cursor<'a, &'a Snapshot>),
    Draft(cursor::Cursor<'a, Overlay<'a, Snapshot>>),
}

/// Asks whichever cursor there is.
macro_rules! ask {
    ($self:ident, $cursor:ident => $call:expr) => {
        match &mut $self.0 {
            CursorOver::Snapshot($cursor) => $call,
            CursorOver::Draft($cursor) => $call,
        }
    };
}

impl<'a> Cursor<'a> {
    pub(crate) fn of_snapshot(cursor: cursor::Cursor<'a, &'a Snapshot>) -> Cursor<'a> {
        Cursor(CursorOver::Snapshot(cursor))
    }

    pub(crate) fn of_draft(cursor: cursor::Cursor<'a, Overlay<'a, Snapshot>>) -> Cursor<'a> {
        Cursor(CursorOver::Draft(cursor))
    }

    /// Goes to the first record; false if there is none.
    pub fn first(&mut self) -> Result<bool> {
        ask!(self, cursor => cursor.first())
    }

    /// Goes to the last record; false if there is none.
    pub fn last(&mut self) -> Result<bool> {
        ask!(self, cursor => cursor.last())
    }

    /// Goes to the first record whose key is `key` or above; false if there is none.
    pub fn seek(&mut self, key: &[u8]) -> Result<bool> {
        ask!(self, cursor => cursor.seek(key))
    }

    /// Goes to the last record whose key is below `key`; false if there is none.
    pub fn seek_before(&mut self, key: &[u8]) -> Result<bool> {
        ask!(self, cursor => cursor.seek_before(key))
    }

    /// Goes one record on; false at the end.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "it lends its key, so it is no iterator")]
    pub fn next(&mut self) -> Result<bool> {
        ask!(self, cursor => cursor.next())
    }

    /// Goes one record back; false at the beginning.
    #[inline]
    pub fn prev(&mut self) -> Result<bool> {
        ask!(self, cursor => cursor.prev())
    }

    /// The key of the record here, until the cursor moves.
    #[inline]
    pub fn key(&self) -> Option<&[u8]> {
        match &self.0 {
            CursorOver::Snapshot(cursor) => cursor.key(),
            CursorOver::Draft(cursor) => cursor.key(),
        }
    }

    /// The value of the record here.
    #[inline]
    pub fn value(&self) -> Result<Option<Slice<'a>>> {
        match &self.0 {
            CursorOver::Snapshot(cursor) => cursor.value(),
            CursorOver::Draft(cursor) => cursor.value(),
        }
    }
}
