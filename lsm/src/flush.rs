//! From a sealed memtable to tables of level 0.
//!
//! ```text
//!   1  wait for its last writer                    its entries are all there
//!   2  write and sync the tables                   a crash leaves orphans
//!   3  sync the directory                          their names are durable
//!   4  wait for the journal                        it must not be shorter than the tables
//!   5  the manifest: these tables, and the journal from the next memtable on
//!   6  show readers the tables in the memtable's place
//!   7  let go of the journal's beginning
//! ```
//!
//! All keyspaces are flushed by one edit: what a crash leaves is some whole number of memtables.
//! Step 4 is for the numbers: were the journal shorter than the manifest thinks, the records of new
//! writes would get positions that the next recovery passes over.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use drystone_wal::Lsn;

use crate::core::Core;
use crate::error::{Error, Result};
use crate::keyspace::Shared;
use crate::manifest::Change;
use crate::memtable::{KeyspaceId, MemtableCursor};
use crate::outputs::{Outputs, Plan};
use crate::run::TableFile;
use crate::sieve::{Rules, Sieve};
use crate::state::{Sealed, State};
use crate::table::{Table, TableMeta};
use crate::version::Swap;
use std::sync::Arc;

/// Bits of filter for each key.
pub(crate) const FILTER_BITS: u32 = 10;

/// A table that was written, and belongs to a keyspace.
pub(crate) type Written = (KeyspaceId, TableMeta, PathBuf);

impl Core {
    /// Flushes the oldest sealed memtable; whether there was one.
    pub(crate) fn flush_once(&self) -> Result<bool> {
        self.check_open()?;
        let _turn = self.flushing.lock();
        self.flush_oldest()
    }

    /// As [`flush_once`](Core::flush_once), unless somebody is at it.
    pub(crate) fn flush_if_idle(&self) -> Result<bool> {
        let Some(_turn) = self.flushing.try_lock() else { return Ok(false) };
        self.flush_oldest()
    }

    /// As [`flush_if_idle`](Core::flush_if_idle), at no cost if there is nothing to flush.
    pub(crate) fn flush_sealed(&self) -> Result<bool> {
        if self.state.read().sealed.is_empty() { Ok(false) } else { self.flush_if_idle() }
    }

    /// Flushes the oldest sealed memtable. Called by the one whose turn it is.
    pub(crate) fn flush_oldest(&self) -> Result<bool> {
        let Some(sealed) = self.state().sealed.first().cloned() else { return Ok(false) };
        let outcome = self.flush_memtable(&sealed).map(|()| true);
        self.work.note_flush(&outcome);
        self.work.call();
        self.pace.wake();
        outcome
    }

    fn flush_memtable(&self, sealed: &Sealed) -> Result<()> {
        self.ratchet.wait(sealed.last_seq);
        let written = self.write_memtable(sealed)?;
        let files = match self.settle(sealed, &written) {
            Ok(files) => files,
            Err(error) => {
                // The manifest does not know them, and never will.
                self.remove_files(written.iter().map(|(_, _, path)| path));
                return Err(error);
            }
        };
        self.adopt_flushed(sealed, files)?;
        if let Some(journal) = &self.journal {
            journal.truncate_prefix(sealed.next_lsn)?;
        }
        Ok(())
    }

    /// Writes the tables of a memtable.
    fn write_memtable(&self, sealed: &Sealed) -> Result<Vec<Written>> {
        let mut written: Vec<Written> = Vec::new();
        for space in sealed.memtable.keyspaces() {
            match self.write_space(sealed, space) {
                Ok(tables) => {
                    written.extend(tables.into_iter().map(|(meta, path)| (space, meta, path)));
                }
                Err(error) => {
                    self.remove_files(written.iter().map(|(_, _, path)| path));
                    return Err(error);
                }
            }
        }
        Ok(written)
    }

    fn write_space(&self, sealed: &Sealed, space: KeyspaceId) -> Result<Vec<(TableMeta, PathBuf)>> {
        // A keyspace that was dropped.
        let Some(keyspace) = self.keyspace_of(space) else { return Ok(Vec::new()) };
        let cursor = MemtableCursor::new(Arc::clone(&sealed.memtable), space);
        let ranges = sealed.memtable.range_dels(space);
        let rules = Rules {
            keyspace: Arc::clone(&keyspace),
            snapshots: self.snapshots.list(),
            ranges: ranges.map_or_else(Default::default, |ranges| ranges.gather()),
            lower: None,
            upper: None,
            bottom: false,
            filter: false,
        };
        let mut sieve = Sieve::new(cursor, rules)?;
        let next_id = Box::new(|| self.next_table());
        let plan = self.plan(keyspace, self.sizes.table_bytes);
        let mut outputs = Outputs::new(plan, sieve.ranges(), next_id);
        while let Some(kept) = sieve.kept() {
            outputs.add(kept)?;
            sieve.next()?;
        }
        outputs.finish()
    }

    /// How tables of a keyspace are written, of about `table_bytes` each.
    pub(crate) fn plan(&self, keyspace: Arc<Shared>, table_bytes: u64) -> Plan {
        Plan {
            vfs: Arc::clone(&self.vfs),
            dir: self.dir.clone(),
            salt: self.salt,
            compression: keyspace.options().compression,
            keyspace,
            filter_bits: FILTER_BITS,
            dispensable: false,
            table_bytes,
            stops: Arc::default(),
        }
    }

    /// Steps 3 and 4.
    fn settle(
        &self,
        sealed: &Sealed,
        written: &[Written],
    ) -> Result<Vec<(KeyspaceId, Arc<TableFile>)>> {
        let mut files = Vec::new();
        for (space, meta, path) in written {
            files.push((*space, self.open_table(meta, path)?));
        }
        if !written.is_empty() {
            self.vfs.sync_dir(&self.dir).map_err(|e| Error::io("sync", &self.dir, e))?;
        }
        if let Some(journal) = &self.journal {
            let last = sealed.next_lsn.previous();
            if last > Lsn::NONE {
                journal.wait_durable(last)?;
            }
        }
        Ok(files)
    }

    /// Steps 5 and 6.
    fn adopt_flushed(
        &self,
        sealed: &Sealed,
        files: Vec<(KeyspaceId, Arc<TableFile>)>,
    ) -> Result<()> {
        let mut versions = self.versions.lock();
        let contents = versions.manifest.as_ref().ok_or(Error::Closed)?.contents();
        let mut counters = contents.counters;
        // A keyspace may have been dropped meanwhile.
        let lives = |space: &KeyspaceId| contents.keyspaces.contains_key(space);
        let (kept, lost): (Vec<_>, Vec<_>) = files.into_iter().partition(|(id, _)| lives(id));
        counters.last_seq = sealed.last_seq;
        counters.journal_from = counters.journal_from.max(sealed.next_lsn);
        counters.journal_durable = counters.journal_durable.max(sealed.next_lsn.previous());
        let changes: Vec<Change> = kept
            .iter()
            .map(|(space, file)| Change::Add { space: *space, level: 0, meta: file.meta().clone() })
            .collect();
        let paths: Vec<PathBuf> = kept.iter().map(|(_, file)| file.path.clone()).collect();
        let bytes = kept.iter().map(|(_, file)| file.meta().bytes).sum();
        self.commit(&mut versions, counters, &changes, &paths, |state| after_flush(state, &kept))?;
        for (_, file) in lost {
            file.set_obsolete();
        }
        self.tally.flushed(bytes);
        Ok(())
    }

    pub(crate) fn open_table(&self, meta: &TableMeta, path: &Path) -> Result<Arc<TableFile>> {
        let table = Table::open(&*self.vfs, path, meta, &self.cache)?;
        Ok(Arc::new(TableFile::new(table, path.to_path_buf(), Arc::clone(&self.vfs))))
    }

    pub(crate) fn remove_files<'a>(&self, paths: impl Iterator<Item = &'a PathBuf>) {
        // Of a database that was closed the directory may be another opener's by now.
        for path in paths.filter(|_| !self.closed.load(Ordering::Acquire)) {
            // What cannot be removed is an orphan, and goes at the next opening.
            drop(self.vfs.remove(path));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

/// The state with the oldest memtable's tables in its place.
fn after_flush(state: &State, files: &[(KeyspaceId, Arc<TableFile>)]) -> State {
    let mut next = state.clone();
    next.sealed.remove(0);
    let mut version = None;
    let mut spaces: Vec<KeyspaceId> = files.iter().map(|(space, _)| *space).collect();
    spaces.dedup();
    for space in spaces {
        let of_space = files.iter().filter(|(other, _)| *other == space);
        let add = of_space.map(|(_, file)| (0, Arc::clone(file))).collect();
        let swap = Swap { add, remove: Vec::new() };
        let base = version.as_ref().unwrap_or(&*next.version);
        if let Some(tree) = base.tree(space) {
            version = Some(
                base.with(tree.after(&swap).expect("what is new is newer than all, or apart")),
            );
        }
    }
    if let Some(version) = version {
        next.version = Arc::new(version);
    }
    next
}
