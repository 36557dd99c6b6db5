//! From memory to the disk: everything committed, each page once, one sync.
//!
//! ```text
//!   commits 7, 8, 9 ──► pages they made and did not free again
//!                   ──► free map: chunks to write, runs for the record
//!                             │ side by side where the file lets them
//!                             ▼
//!          write  pages 40..52   write 61   write record in slot 1   sync   ──► 9 is durable
//!                                            (pages first, synced, if there are many)
//! ```
//!
//! A page that commit 7 made and commit 9 replaced is never written: sixteen small transactions
//! that go together cost the pages of one, and a few more.
//!
//! **Growing.** A write that makes the file longer needs the file system's journal as well, and
//! its sync takes nearly twice as long. So a small flush that has to grow the file adds a stretch
//! of zeros, an eighth of the file and at most [`AHEAD_BYTES_MAX`], and the flushes after it find
//! their place made. A large one writes itself and no zeros.
//!
//! **Failure.** Whatever fails, nothing is assumed about what reached the disk. If there is another
//! attempt it writes all pages again, and its record goes to the same slot: the other one holds the
//! last durable state, of which no page has been touched. One that finds the disk full before it
//! has written its record gives back what the file has grown by: what is committed next may be
//! deletes, whose flush needs less.

mod cut;

use std::io::{self, IoSlice};
use std::sync::Arc;

use drystone_wal::Lsn;

use crate::bits::Bits;
use crate::config::Sync;
use crate::core::Step;
use crate::error::{Error, Result};
use crate::freemap::{FreeMap, Plan, WRITTEN_RUNS_MAX};
use crate::journal::{self, Journal};
use crate::meta::{MARK_OFFSET, Mark, Meta, SLOT_BYTES, Written};
use crate::queue::{Queue, Settled};
use crate::root::Root;
use crate::space::Change;
use crate::store::Body;
use crate::types::{Extent, PageId, TxnId};

/// A flush of more pages than this is synced before its record is written: whoever opens the file
/// has to read what was written *with* the newest record.
pub(crate) const WRITTEN_PAGES_MAX: u32 = 1024;

/// Zeros are written ahead in stretches of this many bytes, at most and at least.
const AHEAD_BYTES_MAX: u64 = 1 << 20;
const AHEAD_BYTES_MIN: u64 = 64 << 10;
/// A flush that grows the file by more writes no zeros ahead.
const SMALL_GROWTH_BYTES: u64 = 256 << 10;

/// A call writes no more than this. Linux keeps what one call writes to a new place in one large
/// unit of its cache, and to change a page of such a unit later it goes through all of it.
const CALL_BYTES_MAX: usize = 64 << 10;

/// A large flush is synced after so many pages, or an eighth of it.
const STRIDE_PAGES: u32 = 512;

/// Writes what was committed. One at a time: it is behind a lock.
#[derive(Debug)]
pub(crate) struct Flusher {
    body: Arc<Body>,
    sync: Sync,
    map: FreeMap,
    db_id: u64,
    /// The slot of the last durable record.
    slot: usize,
    seq: u64,
    durable_seq: u64,
    /// What is in memory and not on disk: more than one flush's if the last one failed.
    carry: Vec<Change>,
    file_bytes: u64,
    /// The record that the newest mark names.
    marked_seq: u64,
    seen: Bits,
    /// No page of the last durable record has this number or a higher one.
    end: u32,
    /// Free pages at the end of the file are to be done without; see [`cut`].
    is_cutting: bool,
    flushes: u64,
    pages_written: u64,
    /// The state of the last durable record.
    flushed: Root,
    /// Whether records say that the journal goes on from them.
    is_journaled: bool,
}

/// What the flusher starts from.
#[derive(Debug)]
pub(crate) struct Start {
    pub map: FreeMap,
    pub db_id: u64,
    pub slot: usize,
    pub seq: u64,
    pub seq_seen: u64,
    pub file_bytes: u64,
    pub root: Root,
    pub is_journaled: bool,
}

/// Pages that lie side by side in the file, and their bytes.
enum Piece<'a> {
    Mirror(Extent, &'a [u8]),
    Map(Extent, &'a [u8]),
    Held(Extent, bytes::Bytes),
}

/// What goes to the file at once.
#[derive(Default)]
struct Call<'a> {
    offset: u64,
    bufs: Vec<IoSlice<'a>>,
    bytes: usize,
}

impl Piece<'_> {
    fn extent(&self) -> Extent {
        let (Piece::Mirror(extent, _) | Piece::Map(extent, _) | Piece::Held(extent, _)) = self;
        *extent
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Piece::Mirror(_, bytes) | Piece::Map(_, bytes) => bytes,
            Piece::Held(_, bytes) => bytes,
        }
    }
}

impl Flusher {
    pub(crate) fn new(body: Arc<Body>, sync: Sync, start: Start) -> Flusher {
        let end = start.map.end();
        Flusher {
            body,
            sync,
            map: start.map,
            db_id: start.db_id,
            slot: start.slot,
            seq: start.seq_seen,
            durable_seq: start.seq,
            carry: Vec::new(),
            file_bytes: start.file_bytes,
            marked_seq: 0,
            seen: Bits::default(),
            end,
            is_cutting: false,
            flushes: 0,
            pages_written: 0,
            flushed: start.root,
            is_journaled: start.is_journaled,
        }
    }

    /// Has the file say that what comes after the flushed state is in the journal, behind that
    /// record; or that there is none.
    pub(crate) fn set_journal(&mut self, end: Option<Lsn>) -> Result<()> {
        self.is_journaled = end.is_some();
        let root = Root { lsn: end.unwrap_or(Lsn::NONE), ..self.flushed.clone() };
        self.flush(&root)
    }

    /// The state of the last durable record.
    pub(crate) fn flushed(&self) -> &Root {
        &self.flushed
    }

    /// The end: says that the last record is durable. A journal in use is given up if all of it was
    /// flushed, so that the file alone is the database.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let body = Arc::clone(&self.body);
        let Some(journal) = body.journal.get() else { return self.mark() };
        journal.advance(&body.readers);
        if journal.has_failed() || !self.is_settled() {
            return journal.close();
        }
        self.set_journal(None)?;
        self.mark()?;
        journal.close()?;
        journal::remove(&body);
        Ok(())
    }

    /// Flushes so far, and the pages they wrote.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.flushes, self.pages_written)
    }

    /// Whether the map is that of the last durable state.
    pub(crate) fn is_settled(&self) -> bool {
        self.carry.is_empty()
    }

    /// The number of the last durable record.
    pub(crate) fn durable_seq(&self) -> u64 {
        self.durable_seq
    }

    pub(crate) fn map(&self) -> &FreeMap {
        &self.map
    }

    /// Makes `root` and everything in `carry` durable.
    fn flush(&mut self, root: &Root) -> Result<()> {
        let body = Arc::clone(&self.body);
        let mut taken = Vec::new();
        let plan = self.map.plan(root.txn, |pages| {
            let extent = body.space.lock().allocate_for_map(pages)?;
            taken.push(extent);
            Ok(extent)
        });
        let outcome = plan.and_then(|plan| {
            let written = self.write(root, &plan);
            if written.is_err() {
                self.map.undo(&plan);
            }
            written.map(|()| plan)
        });
        let mut space = body.space.lock();
        match outcome {
            Ok(plan) => {
                plan.replaced.iter().for_each(|extent| space.replace(root.txn, *extent));
                body.gauges.set_space(&space);
                Ok(())
            }
            Err(error) => {
                // It was taken to be as long as it was going to be. If nobody can say, it is grown
                // again.
                self.file_bytes = body.file.len().unwrap_or(0);
                // They may be on disk, under a record that is there as well: until another one
                // is in its place they stay as they are.
                let later = TxnId(root.txn.0 + 1);
                taken.iter().for_each(|extent| space.replace(later, *extent));
                Err(error)
            }
        }
    }

    fn write(&mut self, root: &Root, plan: &Plan) -> Result<()> {
        let body = Arc::clone(&self.body);
        let pieces = self.pieces(&body, plan);
        let pages: u32 = pieces.iter().map(|piece| piece.extent().pages).sum();
        let runs = runs_of(&pieces);
        let apart = pages > WRITTEN_PAGES_MAX || runs.len() > WRITTEN_RUNS_MAX;
        let before = self.file_bytes;
        let stride = if apart { STRIDE_PAGES.max(pages / 8) } else { u32::MAX };
        let laid = self.make_room(&runs).and_then(|()| self.write_pieces(&pieces, &runs, stride));
        laid.inspect_err(|error| self.take_back(before, error))?;
        let written = if apart {
            self.sync_file()?;
            Written::Before
        } else {
            let mut hasher = crc32fast::Hasher::new();
            pieces.iter().for_each(|piece| hasher.update(piece.bytes()));
            Written::With { runs, crc: hasher.finalize() }
        };
        if let Some(journal) = body.journal.get() {
            // It never ends before the file does.
            journal.wait_for(root.lsn)?;
        }
        self.seq += 1;
        let meta = Meta {
            page_bytes: body.page_bytes as u32,
            db_id: self.db_id,
            seq: self.seq,
            txn: root.txn,
            catalog: root.forest.catalog(),
            end: self.map.end(),
            journal: self.is_journaled.then(|| root.lsn.next()),
            written,
            directories: plan.directories.clone(),
            changed: plan.changed.clone(),
        };
        let slot = 1 - self.slot;
        self.write_at(&[IoSlice::new(&meta.encode())], (slot * SLOT_BYTES) as u64)?;
        self.sync_file()?;
        for piece in &pieces {
            // Exactly what was written: a later commit may hold something else under a number.
            if let Piece::Held(extent, bytes) = piece {
                body.cache.flushed(extent.first, bytes);
            }
        }
        self.slot = slot;
        self.flushed = root.clone();
        self.end = self.map.end();
        self.durable_seq = self.seq;
        body.gauges.set_file_bytes(self.file_bytes);
        self.flushes += 1;
        self.pages_written += u64::from(pages);
        Ok(())
    }

    /// Everything that has to be written, in the order of the file.
    fn pieces<'a>(&mut self, body: &'a Body, plan: &'a Plan) -> Vec<Piece<'a>> {
        let mut pieces: Vec<Piece<'a>> = Vec::new();
        let mut mirrored = Vec::new();
        let any_held = body.cache.holds_any();
        // The map may have taken a page that a commit made and another one let go of.
        for page in &plan.pages {
            self.seen.fill(page.ptr.id.0, 1, true);
        }
        for extent in self.carry.iter().flat_map(|change| &change.used) {
            let mut at = extent.first.0;
            let end = at + extent.pages;
            while at < end {
                if self.map.free().contains(at) || self.seen.contains(at) {
                    at += 1;
                    continue;
                }
                let held = any_held.then(|| body.cache.held(PageId(at))).flatten();
                let pages = held.as_ref().map_or(1, |bytes| bytes.len() / body.page_bytes) as u32;
                self.seen.fill(at, pages, true);
                match held {
                    Some(bytes) => {
                        pieces.push(Piece::Held(Extent { first: PageId(at), pages }, bytes));
                    }
                    None => mirrored.push(at),
                }
                at += pages;
            }
        }
        for piece in &pieces {
            self.seen.fill(piece.extent().first.0, piece.extent().pages, false);
        }
        mirrored.sort_unstable();
        let mut mirrored = mirrored.into_iter().peekable();
        while let Some(first) = mirrored.next() {
            let mut pages = 1;
            // Neighbours in the file are neighbours in the mirror.
            while mirrored.next_if_eq(&(first + pages)).is_some() {
                pages += 1;
            }
            self.seen.fill(first, pages, false);
            let extent = Extent { first: PageId(first), pages };
            pieces.push(Piece::Mirror(extent, body.mirror.committed(extent)));
        }
        for page in &plan.pages {
            self.seen.fill(page.ptr.id.0, 1, false);
            let extent = Extent { first: page.ptr.id, pages: 1 };
            pieces.push(Piece::Map(extent, &page.bytes));
        }
        pieces.sort_unstable_by_key(|piece| piece.extent().first);
        pieces
    }

    /// The file gets as long as the record will say, and longer if it grows by small steps.
    fn make_room(&mut self, runs: &[Extent]) -> Result<()> {
        let page_bytes = self.body.page_bytes as u64;
        let need = u64::from(self.map.end()) * page_bytes;
        if need <= self.file_bytes {
            return Ok(());
        }
        let growth = need - self.file_bytes;
        if self.sync.is_eager() && growth <= SMALL_GROWTH_BYTES {
            let ahead = ahead_bytes(need) / page_bytes * page_bytes;
            match self.write_zeros(need, ahead) {
                Ok(()) => {
                    self.file_bytes = need + ahead;
                    return Ok(());
                }
                // There is no room for comfort; there may be for what is needed.
                Err(Error::NoSpace { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let last = runs
            .last()
            .map_or(0, |run| (u64::from(run.first.0) + u64::from(run.pages)) * page_bytes);
        if last < need {
            self.body.file.set_len(need).map_err(|error| self.failed(error))?;
        }
        self.file_bytes = need;
        Ok(())
    }

    /// The disk is full, and no record was written: what the file has grown by is of no use, and
    /// may be all the room that there is for a flush that needs less.
    fn take_back(&self, before: u64, error: &Error) {
        let durable = u64::from(self.end) * self.body.page_bytes as u64;
        let is_full = matches!(error, Error::NoSpace { .. });
        // A record of an attempt before, of which nobody knows whether it is there, does not reach
        // beyond the length that was found after it.
        let may_retry = is_full && !self.is_fatal() && before >= durable;
        if may_retry && self.body.file.len().is_ok_and(|len| len > before) {
            // What cannot be had back is looked for by the next flush.
            drop(self.body.file.set_len(before));
        }
    }

    fn write_zeros(&self, from: u64, bytes: u64) -> Result<()> {
        static ZEROS: [u8; AHEAD_BYTES_MIN as usize] = [0; AHEAD_BYTES_MIN as usize];
        let mut bufs = Vec::new();
        let mut left = bytes as usize;
        while left > 0 {
            let len = left.min(ZEROS.len());
            bufs.push(IoSlice::new(&ZEROS[..len]));
            left -= len;
        }
        self.write_at(&bufs, from)
    }

    /// One call for each run, or for each [`CALL_BYTES_MAX`] of it, and a sync after each `stride`
    /// pages: a disk that is handed very much at once keeps readers waiting.
    fn write_pieces(&self, pieces: &[Piece<'_>], runs: &[Extent], stride: u32) -> Result<()> {
        let mut pieces = pieces.iter();
        let mut ahead = 0;
        for run in runs {
            let mut left = run.pages;
            let mut call =
                Call { offset: run.first.offset(self.body.page_bytes), ..Call::default() };
            while left > 0 {
                let piece = pieces.next().expect("runs are made of pieces");
                left -= piece.extent().pages;
                for part in piece.bytes().chunks(CALL_BYTES_MAX) {
                    if call.bytes + part.len() > CALL_BYTES_MAX {
                        self.write_call(&mut call)?;
                    }
                    call.bytes += part.len();
                    call.bufs.push(IoSlice::new(part));
                }
            }
            self.write_call(&mut call)?;
            ahead += run.pages;
            if ahead >= stride {
                self.sync_file()?;
                ahead = 0;
            }
        }
        Ok(())
    }

    fn write_call(&self, call: &mut Call<'_>) -> Result<()> {
        self.write_at(&call.bufs, call.offset)?;
        call.offset += call.bytes as u64;
        call.bytes = 0;
        call.bufs.clear();
        Ok(())
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> Result<()> {
        self.body.file.write_at(bufs, offset).map_err(|error| self.failed(error))
    }

    fn sync_file(&self) -> Result<()> {
        self.body.file.sync_data().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::poison(&self.body.path, error)
    }

    /// Says on disk that the last record is durable, so that its loss is noticed.
    pub(crate) fn mark(&mut self) -> Result<()> {
        if self.marked_seq == self.durable_seq || self.flushes == 0 {
            return Ok(());
        }
        let txn = self.flushed.txn;
        let mark = Mark { db_id: self.db_id, seq: self.durable_seq, txn };
        for slot in 0..2 {
            let offset = (slot * SLOT_BYTES + MARK_OFFSET) as u64;
            self.write_at(&[IoSlice::new(&mark.encode())], offset)?;
        }
        self.sync_file()?;
        self.marked_seq = self.durable_seq;
        Ok(())
    }

    /// Whether a failure ends everything.
    fn is_fatal(&self) -> bool {
        self.sync.is_eager() || self.body.journal.get().is_some_and(Journal::has_failed)
    }

    fn abort(&self, queue: &Queue, error: &Error) {
        if self.is_fatal() {
            self.body.retreat(queue, error);
        }
    }
}

impl Step for Flusher {
    fn step(&mut self, queue: &Queue) -> Option<Settled> {
        let body = Arc::clone(&self.body);
        let journal = body.journal.get();
        let (txn, change, logged, end) = {
            let mut space = body.space.lock();
            let txn = queue.take()?;
            let logged = journal.map_or(0, Journal::take_pending);
            (txn, space.take(), logged, self.shorten(&mut space))
        };
        // After a flush that failed there may be nothing new.
        if let Some(change) = change {
            self.map.apply(&change);
            self.carry.push(change);
        }
        self.map.truncate(end);
        let root = self.carry.last().expect("what was committed has a change").root.clone();
        assert!(root.txn == txn, "the last commit is the one that was taken");
        match self.flush(&root) {
            Ok(()) => {
                self.carry.clear();
                let mut space = body.space.lock();
                space.settle();
                body.gauges.set_space(&space);
                drop(space);
                body.settled.notify_all();
                match journal {
                    Some(journal) => journal.let_go(root.lsn),
                    None => body.readers.settle(&root),
                }
                if !self.sync.is_eager() {
                    // Without the mark the state is as durable; its loss would be noticed less.
                    drop(self.mark());
                }
                Some(queue.finish(txn))
            }
            Err(error) if self.is_fatal() => {
                self.abort(queue, &error);
                None
            }
            Err(error) => {
                if let Some(journal) = journal {
                    journal.give_back_pending(logged);
                }
                queue.give_up(error);
                None
            }
        }
    }
}

/// How many zeros are written ahead of a file that has to have `need` bytes.
fn ahead_bytes(need: u64) -> u64 {
    (need / 8).clamp(AHEAD_BYTES_MIN, AHEAD_BYTES_MAX)
}

fn runs_of(pieces: &[Piece<'_>]) -> Vec<Extent> {
    let mut runs: Vec<Extent> = Vec::new();
    for extent in pieces.iter().map(Piece::extent) {
        match runs.last_mut() {
            Some(last) if last.first.0 + last.pages == extent.first.0 => last.pages += extent.pages,
            _ => runs.push(extent),
        }
    }
    runs
}
