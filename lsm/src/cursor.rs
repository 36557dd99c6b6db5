//! One positioned view over sorted entries: a block, a table, a memtable, a merge of them.
//!
//! A cursor stands on an entry, or nowhere. It is made standing nowhere. Moving past either end, or
//! an error, leaves it nowhere; only seeking brings it back.
//!
//! ```text
//!   first ─►  e1   e2   e3   e4   e5  ◄─ last
//!             seek(k, s): the first entry >= (k, s)       ──►  next
//!        seek_back(k, s): the last entry <= (k, s)   prev ◄──
//! ```
//!
//! With [`SeqNo::MAX`] `seek` finds the newest version of `k` or the next key, and `seek_back` the
//! last entry *before* `k`. With [`SeqNo::ZERO`] `seek_back` finds the oldest version of `k`, or
//! the entry before it.
//!
//! **Errors.** A cursor that failed says so from then on: every later call returns the error again,
//! and it stands nowhere. It never skips what it could not read.

use crate::error::Result;
use crate::key::{Kind, SeqNo};
use crate::slice::Slice;

/// A position among sorted entries. It may be moved to another thread, as scans are.
pub trait Cursor: Send {
    /// To the first entry at or after `(user_key, seq)`.
    fn seek(&mut self, user_key: &[u8], seq: SeqNo) -> Result<()>;

    /// To the last entry at or before `(user_key, seq)`.
    fn seek_back(&mut self, user_key: &[u8], seq: SeqNo) -> Result<()>;

    /// To the first entry.
    fn first(&mut self) -> Result<()>;

    /// To the last entry.
    fn last(&mut self) -> Result<()>;

    /// To the entry after this one. Standing nowhere, it stays there.
    fn next(&mut self) -> Result<()>;

    /// To the entry before this one. Standing nowhere, it stays there.
    fn prev(&mut self) -> Result<()>;

    /// The entry stood on. Its slices last until the next move.
    fn entry(&self) -> Option<Entry<'_>>;

    /// The value of the entry stood on, for keeps. Shares the block it lies in where there is one,
    /// and copies otherwise.
    fn value(&self) -> Option<Slice> {
        self.entry().map(|entry| Slice::from(entry.value))
    }
}

/// An entry under a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The user key.
    pub key: &'a [u8],
    /// The write it came from.
    pub seq: SeqNo,
    /// What the write did.
    pub kind: Kind,
    /// The value; empty for a delete.
    pub value: &'a [u8],
}

impl<C: Cursor + ?Sized> Cursor for Box<C> {
    fn seek(&mut self, user_key: &[u8], seq: SeqNo) -> Result<()> {
        (**self).seek(user_key, seq)
    }

    fn seek_back(&mut self, user_key: &[u8], seq: SeqNo) -> Result<()> {
        (**self).seek_back(user_key, seq)
    }

    fn first(&mut self) -> Result<()> {
        (**self).first()
    }

    fn last(&mut self) -> Result<()> {
        (**self).last()
    }

    fn next(&mut self) -> Result<()> {
        (**self).next()
    }

    fn prev(&mut self) -> Result<()> {
        (**self).prev()
    }

    fn entry(&self) -> Option<Entry<'_>> {
        (**self).entry()
    }

    fn value(&self) -> Option<Slice> {
        (**self).value()
    }
}
