//! Takes in many records at once, past the journal and the memtables.
//!
//! Records that are sorted already need neither: they are written into tables as they come, and
//! when all are there the tables take their place in the tree as *one* write. A record costs one
//! copy and its share of a block, and no compaction if nothing lies where it goes.
//!
//! ```text
//!   add ─► add ─► add ─► finish ──────► all of it visible and durable
//!    │             │       │
//!    └─ table ─────┴─ table┘            until then files that nobody names: orphans
//! ```
//!
//! See `admit.rs` for how they take their place.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::core::Core;
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::key::{Kind, SeqNo};
use crate::keyspace::{Keyspace, Shared};
use crate::outputs::Outputs;
use crate::range_del::Fragments;
use crate::sieve::Kept;
use crate::table::{Fill, Table};

/// Takes records in the order of their keys, and puts all of them into the database at once by
/// [`finish`](IngestWriter::finish). Dropped before that, it leaves nothing behind.
///
/// Others read and write on meanwhile. What they write while this is open is older than what is
/// taken in: `finish` is the write.
pub struct IngestWriter {
    core: Arc<Core>,
    keyspace: Arc<Shared>,
    /// Nothing after the end.
    outputs: Option<Outputs<'static>>,
    /// The last key.
    last: Option<Vec<u8>>,
    value: Vec<u8>,
    /// Nothing more is taken.
    failed: Option<Error>,
}

impl fmt::Debug for IngestWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IngestWriter({:?})", self.keyspace)
    }
}

impl IngestWriter {
    pub(crate) fn new(core: &Arc<Core>, keyspace: &Keyspace) -> Result<IngestWriter> {
        core.check_open()?;
        core.check_disk()?;
        let keyspace = Arc::clone(&keyspace.shared);
        assert!(keyspace.owner == core.owner, "a keyspace is used with its own database");
        let plan = core.plan(Arc::clone(&keyspace), core.sizes.table_bytes);
        let numbers = Arc::clone(core);
        let next_id = Box::new(move || numbers.next_table());
        let outputs = Some(Outputs::new(plan, Fragments::default(), next_id));
        let core = Arc::clone(core);
        Ok(IngestWriter { core, keyspace, outputs, last: None, value: Vec::new(), failed: None })
    }

    /// Appends a record.
    ///
    /// # Errors
    /// [`Options`](Error::Options) if the key is not above all keys before it, and
    /// [`TooLarge`](Error::TooLarge); the disk's. After an error nothing more is taken, and
    /// [`finish`](IngestWriter::finish) says the same.
    pub fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.append(Kind::Put, key, value)
    }

    /// Appends all records of a table that a [`TableBuilder`](crate::table::TableBuilder) has
    /// written elsewhere, all of write [`SeqNo::ZERO`], deletes among them. The file is read, every
    /// block of it checked, and not changed.
    ///
    /// # Errors
    /// Those of [`add`](IngestWriter::add); [`Corrupt`](Error::Corrupt) if it is damaged;
    /// [`Options`](Error::Options) if it holds other writes, merge operands or range deletes.
    pub fn add_table(&mut self, path: &Path) -> Result<()> {
        self.check()?;
        let outcome = self.copy(path);
        self.note(outcome)
    }

    fn copy(&mut self, path: &Path) -> Result<()> {
        let meta = Table::describe(&*self.core.vfs, path)?;
        if !meta.is_timeless() || meta.merges > 0 || meta.range_deletes > 0 {
            let rule = "takes tables of puts and deletes, all of write 0";
            return Err(Error::Options { option: "ingest", rule });
        }
        let table = Table::open(&*self.core.vfs, path, &meta, &self.core.cache)?;
        let mut cursor = table.cursor(Fill::Private);
        cursor.first()?;
        while let Some(entry) = cursor.entry() {
            self.append(entry.kind, entry.key, entry.value)?;
            cursor.next()?;
        }
        Ok(())
    }

    fn append(&mut self, kind: Kind, key: &[u8], value: &[u8]) -> Result<()> {
        self.check()?;
        if self.last.as_ref().is_some_and(|last| **last >= *key) {
            let rule = "takes keys in ascending order";
            return self.note(Err(Error::Options { option: "ingest", rule }));
        }
        let last = self.last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
        let value = if kind == Kind::Put && self.keyspace.expires {
            self.value.clear();
            self.value.extend_from_slice(value);
            self.value.extend_from_slice(&self.keyspace.expiry().to_le_bytes());
            &self.value
        } else {
            value
        };
        let outputs = self.outputs.as_mut().expect("there until the end");
        let outcome = outputs.add(Kept { key, seq: SeqNo::ZERO, kind, value });
        self.note(outcome)
    }

    fn check(&self) -> Result<()> {
        self.core.check_open()?;
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn note(&mut self, outcome: Result<()>) -> Result<()> {
        self.failed = outcome.as_ref().err().cloned();
        outcome
    }

    /// Makes all records visible, and durable, as one write: it hides what was written before it.
    /// Everything written before is flushed first; writers wait for a part of that. Without a
    /// record it does nothing.
    ///
    /// # Errors
    /// Nothing of it is visible then: what an append has failed with; the disk's;
    /// [`NoKeyspace`](Error::NoKeyspace). If the manifest could not be written, a crash before the
    /// next successful flush may find all of it.
    pub fn finish(mut self) -> Result<()> {
        self.check()?;
        let written = self.outputs.take().expect("there until the end").finish()?;
        if written.is_empty() {
            return Ok(());
        }
        let paths: Vec<_> = written.iter().map(|(_, path)| path.clone()).collect();
        let mut given = false;
        let outcome = self.core.admit(&self.keyspace, |_, seq| {
            given = true;
            let at = |(meta, path)| (crate::table::TableMeta::ingested_at(meta, seq), path);
            Ok(written.into_iter().map(at).collect())
        });
        if !given && !self.core.closed.load(Ordering::Acquire) {
            self.core.remove_files(paths.iter());
        }
        outcome
    }
}

impl Drop for IngestWriter {
    fn drop(&mut self) {
        // Once the database is closed the files are another opener's, to whom they are orphans.
        if self.core.closed.load(Ordering::Acquire)
            && let Some(outputs) = self.outputs.take()
        {
            outputs.leave();
        }
    }
}
