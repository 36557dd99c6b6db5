//! Tables side by side: a level, or a sub-level of level 0.
//!
//! The tables of a run do not overlap, so that a key is in one of them or in none. A search looks
//! at an array of key heads first, eight bytes each, and at the keys of the few tables that share
//! the head.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use drystone_vfs::Vfs;

use crate::cursor::{Cursor, Entry};
use crate::error::Result;
use crate::key::{SeqNo, head};
use crate::range_del::Fragments;
use crate::slice::Slice;
use crate::stats::LevelStats;
use crate::table::{Fill, Table, TableCursor, TableMeta};

/// A table with its file, which goes with the last who knows of it once it is obsolete.
pub(crate) struct TableFile {
    pub(crate) table: Arc<Table>,
    pub(crate) path: PathBuf,
    vfs: Arc<dyn Vfs>,
    /// A compaction reads it.
    busy: AtomicBool,
    /// A compaction could not read it.
    damaged: AtomicBool,
    /// The manifest knows it no more.
    obsolete: AtomicBool,
}

impl fmt::Debug for TableFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableFile({})", self.path.display())
    }
}

impl TableFile {
    pub(crate) fn new(table: Arc<Table>, path: PathBuf, vfs: Arc<dyn Vfs>) -> TableFile {
        let flag = || AtomicBool::new(false);
        TableFile { table, path, vfs, busy: flag(), damaged: flag(), obsolete: flag() }
    }

    pub(crate) fn meta(&self) -> &TableMeta {
        self.table.meta()
    }

    /// Whether a compaction may take it.
    pub(crate) fn is_usable(&self) -> bool {
        !self.busy.load(Ordering::Relaxed) && !self.damaged.load(Ordering::Relaxed)
    }

    /// Sets it aside: no compaction takes it again.
    pub(crate) fn set_damaged(&self) {
        self.damaged.store(true, Ordering::Relaxed);
    }

    /// Claims the table for a compaction, or lets go of it. Called under the lock of the versions.
    pub(crate) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }

    /// The manifest, durably, knows the table no more.
    pub(crate) fn set_obsolete(&self) {
        self.obsolete.store(true, Ordering::Relaxed);
    }
}

impl Drop for TableFile {
    fn drop(&mut self) {
        if self.obsolete.load(Ordering::Relaxed) {
            // A file that cannot be removed now is an orphan, and goes at the next opening.
            drop(self.vfs.remove(&self.path));
        }
    }
}

/// Tables that do not overlap, in the order of their keys.
#[derive(Debug, Default)]
pub(crate) struct Run {
    tables: Vec<Arc<TableFile>>,
    /// The heads of the smallest keys.
    heads: Vec<u64>,
    bytes: u64,
    has_ranges: bool,
}

impl Run {
    /// A run of `tables`; the error says what is wrong with them.
    pub(crate) fn new(mut tables: Vec<Arc<TableFile>>) -> Result<Run, &'static str> {
        tables.sort_by(|a, b| a.meta().smallest.cmp(&b.meta().smallest));
        let apart = |pair: &[Arc<TableFile>]| {
            let (left, right) = (pair[0].meta(), pair[1].meta());
            !left.largest.covers(&right.smallest)
        };
        if !tables.windows(2).all(apart) {
            return Err("tables of one level overlap");
        }
        let heads = tables.iter().map(|table| head(&table.meta().smallest)).collect();
        let bytes = tables.iter().map(|table| table.meta().bytes).sum();
        let has_ranges = tables.iter().any(|table| table.meta().range_deletes > 0);
        Ok(Run { tables, heads, bytes, has_ranges })
    }

    pub(crate) fn tables(&self) -> &[Arc<TableFile>] {
        &self.tables
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Bytes of the tables' files.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn stats(&self) -> LevelStats {
        let mut stats = LevelStats { tables: self.tables.len() as u64, ..LevelStats::default() };
        for meta in self.tables.iter().map(|table| table.meta()) {
            stats.bytes += meta.bytes;
            stats.entries += meta.entries;
            stats.deletes += meta.deletes;
            stats.range_deletes += meta.range_deletes;
        }
        stats
    }

    pub(crate) fn has_ranges(&self) -> bool {
        self.has_ranges
    }

    /// How many tables begin at or before `key`.
    fn begun(&self, key: &[u8]) -> usize {
        let wanted = head(key);
        let lo = self.heads.partition_point(|head| *head < wanted);
        let same = self.heads[lo..].iter().take_while(|head| **head == wanted).count();
        lo + self.tables[lo..lo + same].partition_point(|table| *table.meta().smallest <= *key)
    }

    /// The table that may say something about `key`.
    pub(crate) fn find(&self, key: &[u8]) -> Option<&Arc<TableFile>> {
        let table = self.tables.get(self.begun(key).checked_sub(1)?)?;
        table.meta().largest.covers(key).then_some(table)
    }

    /// The first table that ends at or after `key`.
    fn from(&self, key: &[u8]) -> usize {
        let begun = self.begun(key);
        match begun.checked_sub(1) {
            Some(at) if self.tables[at].meta().largest.covers(key) => at,
            _ => begun,
        }
    }

    /// The tables that may hold a key in `lo..=hi`.
    pub(crate) fn overlapping(&self, lo: &[u8], hi: &[u8]) -> &[Arc<TableFile>] {
        let (from, to) = (self.from(lo), self.begun(hi));
        if from < to { &self.tables[from..to] } else { &[] }
    }

    /// The range deletes that may cover `key`.
    pub(crate) fn range_dels(&self, key: &[u8]) -> Option<&Fragments> {
        let table = self.find(key).filter(|table| table.meta().range_deletes > 0)?;
        Some(table.table.range_dels())
    }
}

/// A cursor over a run. Opens a table when it comes to it.
#[derive(Debug)]
pub(crate) struct RunCursor {
    run: Arc<Run>,
    fill: Fill,
    /// The table that `cursor` is over.
    at: usize,
    cursor: Option<TableCursor>,
}

impl RunCursor {
    pub(crate) fn new(run: Arc<Run>, fill: Fill) -> RunCursor {
        RunCursor { run, fill, at: 0, cursor: None }
    }

    /// The file that it stands in.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.run.tables.get(self.at).map(|table| &*table.path)
    }

    /// Opens table `at`, unless it is open; nothing if there is none.
    fn open(&mut self, at: usize) -> Option<&mut TableCursor> {
        let table = self.run.tables.get(at)?;
        if self.cursor.is_none() || self.at != at {
            self.cursor = Some(table.table.cursor(self.fill));
            self.at = at;
        }
        self.cursor.as_mut()
    }

    /// On to the first entry of a later table, while this one has no more.
    #[inline]
    fn roll_on(&mut self) -> Result<()> {
        while self.cursor.as_ref().is_some_and(|cursor| !cursor.is_on()) {
            match self.open(self.at + 1) {
                Some(cursor) => cursor.first()?,
                None => self.cursor = None,
            }
        }
        Ok(())
    }

    /// Back to the last entry of an earlier table, while this one has no more.
    fn roll_back(&mut self) -> Result<()> {
        while self.cursor.as_ref().is_some_and(|cursor| !cursor.is_on()) {
            match self.at.checked_sub(1).and_then(|before| self.open(before)) {
                Some(cursor) => cursor.last()?,
                None => self.cursor = None,
            }
        }
        Ok(())
    }
}

impl Cursor for RunCursor {
    fn seek(&mut self, user_key: &[u8], seq: SeqNo) -> Result<()> {
        match self.open(self.run.from(user_key)) {
            Some(cursor) => cursor.seek(user_key, seq)?,
            None => self.cursor = None,
        }
        self.roll_on()
    }

    fn seek_back(&mut self, user_key: &[u8], seq: SeqNo) -> Result<()> {
        match self.run.begun(user_key).checked_sub(1).and_then(|at| self.open(at)) {
            Some(cursor) => cursor.seek_back(user_key, seq)?,
            None => self.cursor = None,
        }
        self.roll_back()
    }

    fn first(&mut self) -> Result<()> {
        if let Some(cursor) = self.open(0) {
            cursor.first()?;
        }
        self.roll_on()
    }

    fn last(&mut self) -> Result<()> {
        if let Some(cursor) = self.run.tables.len().checked_sub(1).and_then(|at| self.open(at)) {
            cursor.last()?;
        }
        self.roll_back()
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        if let Some(cursor) = &mut self.cursor {
            cursor.next()?;
        }
        self.roll_on()
    }

    fn prev(&mut self) -> Result<()> {
        if let Some(cursor) = &mut self.cursor {
            cursor.prev()?;
        }
        self.roll_back()
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        self.cursor.as_ref().and_then(Cursor::entry)
    }

    #[inline]
    fn value(&self) -> Option<Slice> {
        self.cursor.as_ref().and_then(Cursor::value)
    }
}
