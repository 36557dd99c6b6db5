//! A copy of one state into another file, while others write.
//!
//! The copy walks the trees of a snapshot as [`verify`](crate::verify) does, and writes each page
//! it is shown under the number it has: what is copied was verified, and what is not part of the
//! state is not copied. Free pages come out as holes. The free map and the record are made anew.
//! Nothing of it depends on what is flushed.
//!
//! The file gets its name when it is complete and synced. A copy that was interrupted leaves a file
//! by another name, which is no database; the next attempt makes it again.

use std::cell::RefCell;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, IoSlice};
use std::path::Path;

use drystone_vfs::{File, OpenMode};

use crate::bits::Bits;
use crate::db::Db;
use crate::error::{Damage, Error, Result};
use crate::freemap::FreeMap;
use crate::meta::{Meta, Written};
use crate::pages::{PageRef, Pages};
use crate::recovery::{draft_path, parent};
use crate::slice::Slice;
use crate::snapshot::Snapshot;
use crate::types::{Extent, PageId, PagePtr, RunPtr, TxnId};
use crate::verify::{Seen, verify};

/// Pages that follow one another are written by one call, up to this many bytes.
const BATCH_BYTES: usize = 1 << 20;

impl Db {
    /// Copies the newest state into a new file at `target`, durably; makes its directory if needed.
    /// Readers and writers go on meanwhile. Returns the transaction that is the last in the copy.
    ///
    /// # Errors
    /// [`Io`](Error::Io) with `AlreadyExists` if there is a file; [`Corrupt`](Error::Corrupt) if a
    /// page of the state is damaged: a damaged state is not copied; [`NoSpace`](Error::NoSpace).
    pub fn checkpoint(&self, target: &Path) -> Result<TxnId> {
        let body = &self.store().body;
        let vfs = &*body.vfs;
        let failed = |error: io::Error| Error::io("copy to", target, error);
        vfs.create_dir_all(parent(target)).map_err(failed)?;
        let new = draft_path(target);
        let _lock = vfs.lock(&new).map_err(failed)?;
        match vfs.open(target, OpenMode::Read) {
            Ok(_) => return Err(failed(io::ErrorKind::AlreadyExists.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let file = vfs.open(&new, OpenMode::Create).map_err(failed)?;
        file.set_len(0).map_err(failed)?;
        let snapshot = Snapshot::newest(body);
        copy(&snapshot, &*file, target)?;
        file.sync_data().map_err(failed)?;
        vfs.rename(&new, target).map_err(failed)?;
        vfs.sync_dir(parent(target)).map_err(failed)?;
        Ok(snapshot.root.txn)
    }
}

fn copy(snapshot: &Snapshot, file: &dyn File, target: &Path) -> Result<()> {
    let page_bytes = snapshot.page_bytes();
    let copying = Copying {
        snapshot,
        file,
        target,
        batch: RefCell::new(Batch { first: PageId(0), bytes: Vec::new() }),
        used: RefCell::default(),
    };
    let mut seen = Seen::default();
    verify(&copying, snapshot.root.forest.catalog(), page_bytes, &mut seen)?;
    for entry in snapshot.root.forest.entries() {
        verify(&copying, entry.root, page_bytes, &mut seen)?;
    }
    copying.write_batch()?;
    let used = copying.used.take();
    let end = used.last(u32::MAX).map_or(crate::space::FIRST_PAGE, |last| last + 1);
    let mut map = FreeMap::with_used(page_bytes, end, &used);
    let mut next = end;
    let plan = map.plan(snapshot.root.txn, |pages| {
        let first = PageId(next);
        next += pages;
        Ok(Extent { first, pages })
    })?;
    for page in &plan.pages {
        copying.write(page.ptr.id, &page.bytes)?;
    }
    let meta = Meta {
        page_bytes: page_bytes as u32,
        db_id: RandomState::new().hash_one(target),
        seq: 1,
        txn: snapshot.root.txn,
        catalog: snapshot.root.forest.catalog(),
        end: map.end(),
        journal: None,
        written: Written::Before,
        directories: plan.directories,
        changed: plan.changed,
    };
    let failed = |error: io::Error| Error::io("copy to", target, error);
    file.write_at(&[IoSlice::new(&meta.encode())], 0).map_err(failed)?;
    file.set_len(u64::from(map.end()) * page_bytes as u64).map_err(failed)
}

/// A snapshot of which every page that is looked at is written to a file.
struct Copying<'a> {
    snapshot: &'a Snapshot,
    file: &'a dyn File,
    target: &'a Path,
    batch: RefCell<Batch>,
    used: RefCell<Bits>,
}

/// Pages side by side that are still to be written.
struct Batch {
    first: PageId,
    bytes: Vec<u8>,
}

impl Copying<'_> {
    fn add(&self, id: PageId, bytes: &[u8]) -> Result<()> {
        let page_bytes = self.snapshot.page_bytes();
        let whole = bytes.len().next_multiple_of(page_bytes);
        let pages = (whole / page_bytes) as u32;
        self.used.borrow_mut().fill(id.0, pages, true);
        let follows = {
            let batch = self.batch.borrow();
            let end = batch.first.0 as usize + batch.bytes.len() / page_bytes;
            end == id.0 as usize && batch.bytes.len() < BATCH_BYTES
        };
        if !follows {
            self.write_batch()?;
            self.batch.borrow_mut().first = id;
        }
        let mut batch = self.batch.borrow_mut();
        batch.bytes.extend_from_slice(bytes);
        let filled = batch.bytes.len() + (whole - bytes.len());
        batch.bytes.resize(filled, 0);
        Ok(())
    }

    fn write_batch(&self) -> Result<()> {
        let mut batch = self.batch.borrow_mut();
        if !batch.bytes.is_empty() {
            self.write(batch.first, &batch.bytes)?;
            batch.bytes.clear();
        }
        Ok(())
    }

    fn write(&self, first: PageId, bytes: &[u8]) -> Result<()> {
        let offset = first.offset(self.snapshot.page_bytes());
        let written = self.file.write_at(&[IoSlice::new(bytes)], offset);
        written.map_err(|error| Error::io("copy to", self.target, error))
    }
}

impl Pages for Copying<'_> {
    fn page(&self, ptr: PagePtr) -> Result<PageRef<'_>> {
        let page = self.snapshot.page(ptr)?;
        self.add(ptr.id, &page)?;
        Ok(page)
    }

    fn run(&self, ptr: RunPtr) -> Result<Slice<'_>> {
        let value = self.snapshot.run(ptr)?;
        self.add(ptr.id, &value)?;
        Ok(value)
    }

    fn page_bytes(&self) -> usize {
        self.snapshot.page_bytes()
    }

    fn page_count(&self) -> u32 {
        self.snapshot.page_count()
    }

    fn corrupt(&self, page: PageId, what: Damage) -> Error {
        self.snapshot.corrupt(page, what)
    }
}
