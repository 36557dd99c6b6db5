//! Many sorted cursors seen as one.

use crate::cursor::{Cursor, Entry};
use crate::error::Result;
use crate::key::SeqNo;

/// A merge of cursors.
#[derive(Debug)]
pub struct MergeCursor<C> {
    cursors: Vec<C>,
}

impl<C: Cursor> MergeCursor<C> {
    /// A merge of `cursors`, which stand anywhere. Of equal entries, which do not occur among
    /// sound sources, that of the earlier cursor comes first.
    pub fn new(cursors: Vec<C>) -> MergeCursor<C> {
        MergeCursor { cursors }
    }
}

impl<C: Cursor> Cursor for MergeCursor<C> {
    fn seek(&mut self, _user_key: &[u8], _seq: SeqNo) -> Result<()> {
        unreachable!("not built yet")
    }

    fn seek_back(&mut self, _user_key: &[u8], _seq: SeqNo) -> Result<()> {
        unreachable!("not built yet")
    }

    fn first(&mut self) -> Result<()> {
        unreachable!("not built yet")
    }

    fn last(&mut self) -> Result<()> {
        unreachable!("not built yet")
    }

    fn next(&mut self) -> Result<()> {
        unreachable!("not built yet")
    }

    fn prev(&mut self) -> Result<()> {
        unreachable!("not built yet")
    }

    fn entry(&self) -> Option<Entry<'_>> {
        self.cursors.first().and_then(Cursor::entry)
    }
}
