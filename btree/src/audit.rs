//! Every page of the last durable state, read again from the disk and held against every rule.
//!
//! Reading verifies a page once, when it is first touched. A disk can rot later, and what nobody
//! reads is never touched. This walk asks the file and not the memory, and looks at what no reader
//! looks at: both copies of the record, and whether each page of the file is used by exactly one
//! tree, by the free map, or free.

use std::cell::RefCell;

use crate::bits::Bits;
use crate::db::Db;
use crate::error::{Damage, Error, Result};
use crate::meta::SLOT_BYTES;
use crate::pages::{PageRef, Pages};
use crate::recovery::read_head;
use crate::slice::Slice;
use crate::snapshot::Snapshot;
use crate::space::FIRST_PAGE;
use crate::types::{Extent, PageId, PagePtr, RunPtr, TxnId};
use crate::verify::{Seen, Tally, verify};

/// What a verified database consists of.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// The state that was verified: the last durable one.
    pub txn: TxnId,
    /// The tree of names.
    pub catalog: Tally,
    /// All trees, by name.
    pub trees: Vec<(String, Tally)>,
    /// Pages of the free map.
    pub map_pages: u64,
    /// Pages that are free.
    pub free_pages: u64,
    /// Pages that are not free and that nobody uses: lost until the file is copied. There are none
    /// unless something is wrong with this crate.
    pub lost_pages: u64,
    /// Copies of the newest record that are sound, of two. The next flush makes them anew.
    pub record_copies: usize,
}

impl Db {
    /// Reads everything that was flushed from the disk and verifies it; a journal was verified when
    /// it was opened. Readers and writers go on meanwhile; flushes too, but for the beginning.
    ///
    /// # Errors
    /// [`Corrupt`](Error::Corrupt) with the first damage found; [`Io`](Error::Io) if a page cannot
    /// be read.
    pub fn verify(&self) -> Result<Report> {
        self.verify_paced(&mut |_| true)
    }

    /// The same; `pace` is told of each page how many bytes it has, when it was read, and may take
    /// its time; once it says false, this ends with [`Io`](Error::Io). Until it returns, pages that
    /// are freed are not used again.
    ///
    /// # Errors
    /// As for [`Db::verify`].
    pub fn verify_paced(&self, pace: &mut dyn FnMut(u64) -> bool) -> Result<Report> {
        let store = self.store();
        let body = &store.body;
        let flusher = store.core.flusher.lock();
        let snapshot = Snapshot::flushed(body, flusher.flushed());
        let record_copies = record_copies(&snapshot, flusher.durable_seq())?;
        let is_settled = flusher.is_settled();
        let free = flusher.map().free().clone();
        let own: Vec<PageId> = flusher.map().own_pages().collect();
        let end = flusher.map().end();
        drop(flusher);

        let source = Paced { disk: OnDisk { snapshot: &snapshot }, pace: RefCell::new(pace) };
        let page_bytes = body.page_bytes;
        let mut seen = Seen::default();
        let forest = &snapshot.root.forest;
        let catalog = verify(&source, forest.catalog(), page_bytes, &mut seen)?;
        let mut trees = Vec::new();
        for entry in forest.entries() {
            let tally = verify(&source, entry.root, page_bytes, &mut seen)?;
            trees.push((entry.name.to_string(), tally));
        }
        let mut report = Report {
            txn: snapshot.root.txn,
            catalog,
            trees,
            map_pages: own.len() as u64,
            free_pages: free.count(),
            lost_pages: 0,
            record_copies,
        };
        // After a flush that failed the map is ahead of what is durable.
        if is_settled || store.options.sync.is_eager() {
            report.lost_pages = account(&snapshot, &mut seen, &own, &free, end)?;
        }
        Ok(report)
    }
}

/// A disk of which somebody is told what is read.
struct Paced<'a, 'p> {
    disk: OnDisk<'a>,
    pace: RefCell<&'p mut dyn FnMut(u64) -> bool>,
}

impl Paced<'_, '_> {
    fn tell(&self, bytes: usize) -> Result<()> {
        match (self.pace.borrow_mut())(bytes as u64) {
            true => Ok(()),
            false => {
                let body = &self.disk.snapshot.body;
                Err(body.unreadable(std::io::ErrorKind::Interrupted.into()))
            }
        }
    }
}

impl Pages for Paced<'_, '_> {
    fn page(&self, ptr: PagePtr) -> Result<PageRef<'_>> {
        let page = self.disk.page(ptr)?;
        self.tell(page.len())?;
        Ok(page)
    }

    fn run(&self, ptr: RunPtr) -> Result<Slice<'_>> {
        let run = self.disk.run(ptr)?;
        self.tell(run.len())?;
        Ok(run)
    }

    fn page_bytes(&self) -> usize {
        self.disk.page_bytes()
    }

    fn page_count(&self) -> u32 {
        self.disk.page_count()
    }

    fn corrupt(&self, page: PageId, what: Damage) -> Error {
        self.disk.corrupt(page, what)
    }
}

/// Every page has one use. Returns how many have none.
fn account(
    snapshot: &Snapshot,
    seen: &mut Seen,
    own: &[PageId],
    free: &Bits,
    end: u32,
) -> Result<u64> {
    for id in own {
        let extent = Extent { first: *id, pages: 1 };
        if !seen.insert(extent) {
            return Err(snapshot.corrupt(*id, Damage::Twice));
        }
    }
    let mut lost = 0;
    for page in FIRST_PAGE..end {
        match (seen.contains(PageId(page)), free.contains(page)) {
            (true, true) => return Err(snapshot.corrupt(PageId(page), Damage::Free)),
            (false, false) => lost += 1,
            _ => {}
        }
    }
    Ok(lost)
}

/// How many copies of the newest record are sound.
fn record_copies(snapshot: &Snapshot, seq: u64) -> Result<usize> {
    let body = &snapshot.body;
    let mut bytes = vec![0; 2 * SLOT_BYTES];
    let len = body.file.read_at(&mut bytes, 0).map_err(|error| body.unreadable(error))?;
    bytes.truncate(len);
    let head = read_head(&bytes)
        .map_err(|version| Error::Unsupported { file: body.path.to_path_buf(), version })?;
    let copies = head.copies_of(seq);
    if copies == 0 {
        let reason = |slot: usize| head.bad[slot].unwrap_or(crate::meta::BadRecord::Magic);
        return Err(snapshot.corrupt(PageId(0), Damage::Slots(reason(0), reason(1))));
    }
    Ok(copies)
}

/// The same database, read from its file alone: what is in memory is not asked.
pub(crate) struct OnDisk<'a> {
    pub(crate) snapshot: &'a Snapshot,
}

impl Pages for OnDisk<'_> {
    fn page(&self, ptr: PagePtr) -> Result<PageRef<'_>> {
        self.snapshot.page_on_disk(ptr).map(|bytes| PageRef::Shared(bytes.into()))
    }

    fn run(&self, ptr: RunPtr) -> Result<Slice<'_>> {
        self.snapshot.run_on_disk(ptr).map(|bytes| Slice::shared(bytes.into()))
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
