//! A position in a table.

use std::sync::Arc;

use crate::cursor::{Cursor, Entry};
use crate::error::Result;
use crate::key::SeqNo;
use crate::table::{Fill, Table};

/// A cursor over one table.
#[derive(Debug)]
pub struct TableCursor {
    table: Arc<Table>,
    fill: Fill,
}

impl TableCursor {
    pub(crate) fn new(table: Arc<Table>, fill: Fill) -> TableCursor {
        TableCursor { table, fill }
    }
}

impl Cursor for TableCursor {
    fn seek(&mut self, _user_key: &[u8], _seq: SeqNo) -> Result<()> {
        unreachable!("not built yet: {:?}", self.fill)
    }

    fn seek_back(&mut self, _user_key: &[u8], _seq: SeqNo) -> Result<()> {
        unreachable!("not built yet: {:?}", self.table)
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
        None
    }
}
