//! A position in a table.
//!
//! The cursor keeps the block it stands in, and the key it stands on, put together in a buffer of
//! its own. A step within the block touches neither the cache nor the fences. A seek first asks
//! whether the block at hand is the right one: merges seek forward in small steps.
//!
//! In a table that was taken in, every entry counts as one write. In its blocks they are of write
//! 0, and a target is translated before it is looked for.

use std::sync::Arc;

use crate::cursor::{Cursor, Entry};
use crate::error::{Error, Result};
use crate::key::{Kind, SeqNo};
use crate::slice::Slice;
use crate::table::ahead::Ahead;
use crate::table::block::Layout;
use crate::table::{Fill, Table};

/// A cursor over one table.
///
/// Invariants:
/// * With `on` there is a block, `index` is below its count, and `key`, `seq`, `kind` and `value`
///   are those of that entry.
/// * With `failed` it stands nowhere.
#[derive(Debug)]
pub struct TableCursor {
    table: Arc<Table>,
    fill: Fill,
    /// The write that all entries count as, or 0.
    ingested: SeqNo,
    ahead: Ahead,
    failed: Option<Error>,
    block: Option<Held>,
    on: bool,
    index: usize,
    /// Begins with the prefix of the block at hand.
    key: Vec<u8>,
    prefix_bytes: usize,
    seq: SeqNo,
    kind: Kind,
    value: (usize, usize),
}

/// The block at hand.
#[derive(Debug)]
struct Held {
    number: usize,
    bytes: Arc<[u8]>,
    layout: Layout,
}

impl TableCursor {
    pub(crate) fn new(table: Arc<Table>, fill: Fill) -> TableCursor {
        TableCursor {
            ingested: table.meta().ingested,
            table,
            fill,
            ahead: Ahead::default(),
            failed: None,
            block: None,
            on: false,
            index: 0,
            key: Vec::new(),
            prefix_bytes: 0,
            seq: SeqNo::ZERO,
            kind: Kind::Put,
            value: (0, 0),
        }
    }

    /// Whether it stands on an entry.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    /// The table it is over.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Before every move that may read.
    fn check(&self) -> Result<()> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn fail(&mut self, error: &Error) {
        self.failed = Some(error.clone());
        self.on = false;
    }

    /// Takes block `number` in hand.
    fn hold(&mut self, number: usize) -> Result<()> {
        if self.block.as_ref().is_some_and(|held| held.number == number) {
            return Ok(());
        }
        let bytes = self.load(number).inspect_err(|error| self.fail(error))?;
        let layout = Layout::new(&bytes);
        self.key.clear();
        self.key.extend_from_slice(layout.prefix(&bytes));
        self.prefix_bytes = self.key.len();
        self.block = Some(Held { number, bytes, layout });
        self.table.shelf().expect(number + 1);
        Ok(())
    }

    fn load(&mut self, number: usize) -> Result<Arc<[u8]>> {
        let shelf = self.table.shelf();
        let cached = match self.fill {
            Fill::Cache => shelf.look(number),
            Fill::Private => shelf.peek(number),
        };
        if let Some(block) = cached {
            return Ok(block);
        }
        let (offset, bytes) = self.ahead.block(&self.table, number)?;
        let block = self.table.unwrap(offset, bytes)?;
        Ok(match self.fill {
            Fill::Cache => self.table.keep(number, block),
            Fill::Private => block,
        })
    }

    /// Stands on entry `index` of the block at hand.
    #[inline]
    fn stand(&mut self, index: usize) {
        let Held { bytes, layout, .. } = self.block.as_ref().expect("a block was taken in hand");
        let part = layout.part(bytes, index);
        self.key.truncate(self.prefix_bytes);
        self.key.extend_from_slice(&bytes[part.suffix..part.value]);
        let (seq, kind) = layout.trailer(bytes, index);
        // An entry that was taken in is of write 0 in its block; of the two, the right one is
        // higher.
        self.seq = seq.max(self.ingested);
        self.kind = kind;
        self.value = (part.value, part.end);
        self.index = index;
        self.on = true;
    }

    fn count(&self) -> usize {
        self.block.as_ref().map_or(0, |held| held.layout.count())
    }

    /// To the first entry of block `number`, if there is such a block.
    #[inline(never)]
    fn enter_front(&mut self, number: usize) -> Result<()> {
        self.on = false;
        if number < self.table.blocks() {
            self.hold(number)?;
            self.stand(0);
        }
        Ok(())
    }

    /// To the last entry of the block before `number`, if there is one.
    fn enter_back(&mut self, number: usize) -> Result<()> {
        self.on = false;
        if let Some(number) = number.checked_sub(1) {
            self.hold(number)?;
            self.stand(self.count() - 1);
        }
        Ok(())
    }

    /// Takes in hand the block where `(user_key, seq)` would be, and returns its number and how
    /// many of its entries come before. There must be blocks.
    fn approach(&mut self, user_key: &[u8], seq: SeqNo) -> Result<(usize, usize)> {
        let near = match (&self.block, self.table.fences()) {
            (Some(held), Some(fences)) if fences.holds(held.number, user_key, seq) => {
                Some(held.number)
            }
            // Without the fences at hand, by the entries: one on each side says enough.
            (Some(held), None) => {
                let before = held.layout.lower_bound(&held.bytes, user_key, seq);
                let within = 0 < before && before < held.layout.count();
                within.then_some(held.number)
            }
            _ => None,
        };
        let number = match near {
            Some(number) => number,
            None => self.table.find(user_key, seq).inspect_err(|error| self.fail(error))?,
        };
        self.hold(number)?;
        let held = self.block.as_ref().expect("a block was taken in hand");
        Ok((number, held.layout.lower_bound(&held.bytes, user_key, seq)))
    }
}

impl Cursor for TableCursor {
    fn seek(&mut self, user_key: &[u8], seq: SeqNo) -> Result<()> {
        self.check()?;
        self.on = false;
        if self.table.blocks() == 0 {
            return Ok(());
        }
        if seq < self.ingested {
            // The key's entry is before the target, so it is the next one that is wanted.
            self.seek(user_key, self.ingested)?;
            let before = self.on && self.key == user_key;
            return if before { self.next() } else { Ok(()) };
        }
        let (number, index) = self.approach(user_key, seq)?;
        if index < self.count() {
            self.stand(index);
            Ok(())
        } else {
            self.enter_front(number + 1)
        }
    }

    fn seek_back(&mut self, user_key: &[u8], seq: SeqNo) -> Result<()> {
        self.check()?;
        self.on = false;
        if self.table.blocks() == 0 {
            return Ok(());
        }
        let seq = match seq {
            _ if self.ingested == SeqNo::ZERO => seq,
            // The key's entry is at the target or before it, and as low as can be in the block.
            seq if seq <= self.ingested => SeqNo::ZERO,
            _ => SeqNo::MAX,
        };
        let (number, index) = self.approach(user_key, seq)?;
        if index < self.count() {
            self.stand(index);
            if self.seq.max(self.ingested) == seq.max(self.ingested) && self.key == user_key {
                return Ok(());
            }
        }
        match index.checked_sub(1) {
            Some(before) => self.stand(before),
            None => self.enter_back(number)?,
        }
        Ok(())
    }

    fn first(&mut self) -> Result<()> {
        self.check()?;
        self.enter_front(0)
    }

    fn last(&mut self) -> Result<()> {
        self.check()?;
        self.enter_back(self.table.blocks())
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        if !self.on {
            return self.check();
        }
        let held = self.block.as_ref().expect("it stands on an entry");
        if self.index + 1 < held.layout.count() {
            self.stand(self.index + 1);
            Ok(())
        } else {
            self.enter_front(held.number + 1)
        }
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        if !self.on {
            return self.check();
        }
        if let Some(index) = self.index.checked_sub(1) {
            self.stand(index);
            return Ok(());
        }
        let number = self.block.as_ref().expect("it stands on an entry").number;
        self.enter_back(number)
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        if !self.on {
            return None;
        }
        let held = self.block.as_ref()?;
        let value = &held.bytes[self.value.0..self.value.1];
        Some(Entry { key: &self.key, seq: self.seq, kind: self.kind, value })
    }

    #[inline]
    fn value(&self) -> Option<Slice> {
        let held = self.block.as_ref().filter(|_| self.on)?;
        Some(Slice::of(&held.bytes, self.value.0..self.value.1))
    }
}
