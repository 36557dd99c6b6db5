//! The tables that a flush or a compaction writes: cut into sizes, and removed if it fails.
//!
//! All versions of a user key go into one table. Range deletes are cut at the places where tables
//! begin, so that no table says anything about keys that belong to another.
//!
//! ```text
//!   entries     a  b  c │ f  g  h │ m  p
//!   deletes      [------│----)    │[----------)
//!   tables      ..up to f│ f up to m│ m ...
//! ```

use std::cmp::Ordering;
use std::path::PathBuf;
use std::sync::Arc;

use drystone_vfs::{OpenMode, Vfs};

use crate::compress::Compression;
use crate::error::{Error, Result};
use crate::key::{InternalKey, Kind, SeqNo, compare};
use crate::keyspace::{EXPIRY_BYTES, Shared};
use crate::manifest::table_path;
use crate::range_del::Fragments;
use crate::read::expiry;
use crate::sieve::Kept;
use crate::table::{TableBuilder, TableId, TableMeta, TableOptions};

/// How tables are written.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) dir: PathBuf,
    pub(crate) salt: u64,
    pub(crate) keyspace: Arc<Shared>,
    pub(crate) compression: Compression,
    pub(crate) filter_bits: u32,
    /// They bring into order what is there already, and are done without where there is no room.
    pub(crate) dispensable: bool,
    /// A table is ended at about this size.
    pub(crate) table_bytes: u64,
    /// And before each of these keys, which ascend.
    pub(crate) stops: Arc<[Vec<u8>]>,
}

/// See the module. Dropped before [`finish`](Outputs::finish), it removes what it has written.
pub(crate) struct Outputs<'a> {
    plan: Plan,
    next_id: Box<dyn Fn() -> TableId + Send + 'a>,
    ranges: Fragments,
    builder: Option<TableBuilder>,
    /// Where the table being written begins; nothing for the first.
    lower: Option<Vec<u8>>,
    /// How many of the stops are passed.
    passed: usize,
    /// The last entry.
    key: Vec<u8>,
    last_seq: Option<SeqNo>,
    paths: Vec<PathBuf>,
    metas: Vec<TableMeta>,
}

impl<'a> Outputs<'a> {
    pub(crate) fn new(
        plan: Plan,
        ranges: Fragments,
        next_id: Box<dyn Fn() -> TableId + Send + 'a>,
    ) -> Outputs<'a> {
        Outputs {
            plan,
            next_id,
            ranges,
            builder: None,
            lower: None,
            passed: 0,
            key: Vec::new(),
            last_seq: None,
            paths: Vec::new(),
            metas: Vec::new(),
        }
    }

    /// Appends an entry; they come in order.
    ///
    /// # Errors
    /// [`Corrupt`](Error::Corrupt), naming the directory, if they do not: a checksum says that a
    /// block is what was written, and not that it makes sense.
    pub(crate) fn add(&mut self, kept: Kept<'_>) -> Result<()> {
        let order = match self.last_seq {
            Some(last) => compare((&self.key, last), (kept.key, kept.seq)),
            None => Ordering::Less,
        };
        if order.is_ge() || kept.seq >= SeqNo::MAX {
            let what = "entries of the tables that are merged are out of order";
            return Err(Error::corrupt(&self.plan.dir, 0, what));
        }
        self.last_seq = Some(kept.seq);
        let full =
            self.builder.as_ref().is_some_and(|builder| builder.bytes() >= self.plan.table_bytes);
        let stops = &self.plan.stops[self.passed..];
        let passes = stops.partition_point(|stop| **stop <= *kept.key);
        self.passed += passes;
        let full = full || passes > 0 && self.builder.is_some();
        if full && self.key != kept.key {
            self.end(Some(kept.key))?;
            self.lower = Some(kept.key.to_vec());
        }
        let plan_expires = self.plan.keyspace.expires;
        let builder = self.builder()?;
        if plan_expires {
            builder.stamp(time(kept.kind, kept.value));
        }
        builder.add(InternalKey::new(kept.key, kept.seq, kept.kind), kept.value)?;
        if self.key != kept.key {
            self.key.clear();
            self.key.extend_from_slice(kept.key);
        }
        Ok(())
    }

    fn builder(&mut self) -> Result<&mut TableBuilder> {
        if self.builder.is_none() {
            let id = (self.next_id)();
            let path = table_path(&self.plan.dir, id.0);
            self.paths.push(path.clone());
            let options = TableOptions {
                id,
                salt: self.plan.salt,
                compression: self.plan.compression,
                filter_bits: self.plan.filter_bits,
                ..TableOptions::default()
            };
            let file = match self.plan.dispensable {
                true => self.plan.vfs.create_dispensable(&path),
                false => self.plan.vfs.open(&path, OpenMode::CreateNew),
            };
            let file = file.map_err(|e| Error::io("create", &path, e))?;
            self.builder = Some(TableBuilder::to(file, &path, options));
        }
        Ok(self.builder.as_mut().expect("made above"))
    }

    /// Ends the table, which reaches up to `upper`.
    fn end(&mut self, upper: Option<&[u8]>) -> Result<()> {
        let lower = self.lower.take();
        let ranges = self.ranges.clip(lower.as_deref(), upper);
        if self.builder.is_none() && ranges.is_empty() {
            return Ok(());
        }
        let expires = self.plan.keyspace.expires;
        let builder = self.builder()?;
        for range in ranges.iter() {
            builder.add_range_delete(&range.start, &range.end, range.seq);
            if expires {
                builder.stamp(u64::MAX);
            }
        }
        let builder = self.builder.take().expect("made above");
        self.metas.push(builder.finish()?);
        Ok(())
    }

    /// Leaves the files where they are, as orphans.
    pub(crate) fn leave(mut self) {
        self.paths.clear();
    }

    /// Ends the last table. The files are synced; their names are not.
    pub(crate) fn finish(mut self) -> Result<Vec<(TableMeta, PathBuf)>> {
        self.end(None)?;
        let paths = std::mem::take(&mut self.paths);
        Ok(std::mem::take(&mut self.metas).into_iter().zip(paths).collect())
    }
}

impl Drop for Outputs<'_> {
    fn drop(&mut self) {
        // The room may be wanted. What cannot be removed is an orphan, and goes at the next
        // opening.
        drop(self.builder.take());
        for path in &self.paths {
            drop(self.plan.vfs.remove(path));
        }
    }
}

/// When an entry can be forgotten without a look at it.
fn time(kind: Kind, value: &[u8]) -> u64 {
    match kind {
        Kind::Put if value.len() >= EXPIRY_BYTES => expiry(value).unwrap_or(u64::MAX),
        _ => u64::MAX,
    }
}
