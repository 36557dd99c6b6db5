//! Which pages are free, which will be, and which of them may be written now.
//!
//! **The problem.** A page that a commit has replaced is free in the new state, and needed by
//! everyone who reads an older one: readers, and the disk, which holds the last durable state until
//! a flush has replaced it. Give it away too early and a snapshot, or a recovery, reads something
//! else; never, and one long reader makes the file grow without end.
//!
//! **The idea.** Every page lives in the states from the one that made it (`born`) to the one
//! before that which freed it. It is given away once none of *those* is being read:
//!
//! ```text
//!              born        freed
//!    ──┬──┬──┬──┬──┬──┬──┬──┬──┬──┬──►  states
//!      ▲        └── page ───┘     ▲
//!    reader: does not hold it     reader: neither. One in between would.
//! ```
//!
//! ```text
//!    freed ──► waiting ──────────────► held by one reader ──► retired ──► free ──► a commit's
//!              for the disk to reach   (looked at again       for all      │
//!              the state without it     when that one has      readers     │
//!              (not if no flush has     left)                  there then  │
//!               ever seen the page)                                        ▼
//!                                                                     end of file
//! ```
//!
//! A long reader holds the pages of its own state, and not those that came and went after it.
//!
//! What a reader is to a page, a state is, too, that is not known to be durable because the
//! journal's record is on its way, and the one before those: they may have to be gone back to.
//!
//! **Retired.** If the file is sound, a page that was freed is not reachable by anyone any more. A
//! file can be made (by a bug, or by hand) where it is. So a page is first taken from the mirror
//! ([`Mirror::retire`]) and given away only when everyone who was there then has left: damage gives
//! errors, never bytes that change under a borrow.
//!
//! Which of the free pages a commit gets is said in [`free`].

mod free;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;

use self::free::Free;
use crate::bits::Bits;
use crate::cache::Cache;
use crate::draft::Allocate;
use crate::error::{Error, Result};
use crate::mirror::Mirror;
use crate::root::Root;
use crate::types::{Extent, PageId, TxnId};

/// The first page that is not a meta page.
pub(crate) const FIRST_PAGE: u32 = 2;

/// So many pages may wait for the disk in any case.
const WAITING_MIN: u64 = 32;

/// What was committed and not flushed is looked for in blocks of this many pages.
const FRESH_PAGES: u32 = 4096;

/// What one commit did to the set of used pages.
#[derive(Debug)]
pub(crate) struct Change {
    pub root: Root,
    pub used: Vec<Extent>,
    pub freed: Vec<Extent>,
}

/// A freed extent on its way to be free.
#[derive(Debug, Clone, Copy)]
struct Freed {
    extent: Extent,
    born: TxnId,
    /// The last state that may reach it, as far as is known.
    last: TxnId,
    retired: bool,
}

/// The states that are needed, sorted, each once.
#[derive(Debug, Default)]
pub(crate) struct States {
    /// By those who read.
    read: Vec<TxnId>,
    /// By those, or because they may have to be gone back to.
    kept: Vec<TxnId>,
}

impl States {
    /// `read` is sorted.
    pub(crate) fn new(mut kept: Vec<TxnId>, read: Vec<TxnId>) -> States {
        kept.extend_from_slice(&read);
        kept.sort_unstable();
        kept.dedup();
        States { read, kept }
    }

    /// Those that a freed page waits for: once it was retired, nobody is led to it any more.
    fn of(&self, retired: bool) -> &[TxnId] {
        if retired { &self.read } else { &self.kept }
    }
}

/// See the module.
///
/// Invariants:
/// * A page is in at most one of: `free`, `waiting`, `held`, the newest state.
/// * `fresh` holds `unflushed_pages` pages, all within `fresh_blocks`.
/// * `waiting` holds `waiting_count` pages.
#[derive(Debug)]
pub(crate) struct Space {
    path: Arc<Path>,
    mirror: Arc<Mirror>,
    cache: Arc<Cache>,
    free: Free,
    /// Pages of the newest state that no flush has ever tried to write, and the blocks they are in.
    fresh: Bits,
    fresh_blocks: BTreeSet<u32>,
    /// By the state that freed them: reusable when that one is durable.
    waiting: VecDeque<(TxnId, Freed)>,
    /// Their pages, and how many these were at most since somebody asked.
    waiting_count: u64,
    waiting_peak: u64,
    /// Freed before any flush saw them: reusable whatever is durable.
    loose: Vec<Freed>,
    /// By whether they were retired, and the state that holds them.
    held: BTreeMap<(bool, TxnId), Vec<Freed>>,
    pending_count: u64,
    /// The pages of `waiting`, `loose` and `held`, and those of the free map: no tree may free
    /// them. In a file that a forger has sealed, pages are used twice.
    pending: Bits,
    map: Bits,
    /// The newest state, if it was not taken for a flush yet.
    unflushed: Option<Root>,
    unflushed_pages: u64,
    /// Pages that were taken for a flush which is not settled, or has failed.
    taken_pages: u64,
    /// Pages freed since the last take, but for those that were fresh.
    unflushed_freed: Vec<Extent>,
    /// How many extents the last commit has freed.
    freed_last: usize,
}

impl Space {
    /// The space of a file whose pages below `end` are used, but for those in `free`.
    pub(crate) fn new(
        path: Arc<Path>,
        mirror: Arc<Mirror>,
        cache: Arc<Cache>,
        free: Bits,
        end: u32,
        end_max: u32,
    ) -> Space {
        let free = Free::new(free, end, end_max);
        free.runs(FIRST_PAGE, end).for_each(|run| mirror.retire(run));
        Space {
            path,
            mirror,
            cache,
            free,
            fresh: Bits::default(),
            fresh_blocks: BTreeSet::new(),
            waiting: VecDeque::new(),
            waiting_count: 0,
            waiting_peak: 0,
            loose: Vec::new(),
            held: BTreeMap::new(),
            pending_count: 0,
            pending: Bits::default(),
            map: Bits::default(),
            unflushed: None,
            unflushed_pages: 0,
            taken_pages: 0,
            unflushed_freed: Vec::new(),
            freed_last: 0,
        }
    }

    pub(crate) fn end(&self) -> u32 {
        self.free.end()
    }

    /// Pages that can be written now.
    pub(crate) fn free_count(&self) -> u64 {
        self.free.count()
    }

    /// How many extents the last commit has freed.
    pub(crate) fn freed_last(&self) -> usize {
        self.freed_last
    }

    /// Pages that wait for the disk, in the place of which others have been written already.
    pub(crate) fn waiting_count(&self) -> u64 {
        self.waiting_count
    }

    /// How many pages may wait for the disk before a flush is called for: none too many while the
    /// file is to get shorter, for what is written meanwhile has to find room below the ceiling.
    pub(crate) fn waiting_limit(&self) -> Option<u64> {
        self.free.has_ceiling().then(|| self.used_count() / 16 + WAITING_MIN)
    }

    /// How many pages have waited for the disk at most since this was asked.
    pub(crate) fn waiting_peak(&mut self) -> u64 {
        std::mem::replace(&mut self.waiting_peak, self.waiting_count)
    }

    /// Pages that are free and cannot be written yet.
    pub(crate) fn pending_count(&self) -> u64 {
        self.pending_count
    }

    /// Pages of the newest state, of the free map, and of a commit that is being made.
    pub(crate) fn used_count(&self) -> u64 {
        u64::from(self.end() - FIRST_PAGE) - self.free.count() - self.pending_count
    }

    /// Pages of commits that no flush has taken.
    pub(crate) fn unflushed_pages(&self) -> u64 {
        self.unflushed_pages
    }

    /// Pages of commits that are not on disk: what no flush has taken, and what one has.
    pub(crate) fn backlog_pages(&self) -> u64 {
        self.unflushed_pages + self.taken_pages
    }

    /// What was taken is on disk.
    pub(crate) fn settle(&mut self) {
        self.taken_pages = 0;
    }

    /// Bytes that the map of free and of fresh pages takes.
    pub(crate) fn map_bytes(&self) -> usize {
        self.free.bytes() + self.fresh.bytes()
    }

    /// Pages at the end of the file that can be written now.
    pub(crate) fn free_tail(&self) -> u32 {
        self.free.tail(FIRST_PAGE)
    }

    /// Pages below `limit` that can be written now.
    pub(crate) fn free_below(&self, limit: u32) -> u64 {
        self.free.count_within(FIRST_PAGE, limit)
    }

    /// Pages from `limit` on that are neither free nor going to be.
    pub(crate) fn used_from(&self, limit: u32) -> u64 {
        let held = self.held.values().flatten();
        let waiting = self.waiting.iter().map(|(_, freed)| freed);
        let high = |freed: &Freed| {
            let end = freed.extent.first.0 + freed.extent.pages;
            u64::from(end.saturating_sub(limit.max(freed.extent.first.0)))
        };
        let pending: u64 = held.chain(&self.loose).chain(waiting).map(high).sum();
        let all = u64::from(self.end().saturating_sub(limit));
        all - self.free.count_within(limit, self.end()) - pending
    }

    /// Prefers pages below `ceiling` from now on: see `compact`.
    pub(crate) fn set_ceiling(&mut self, ceiling: u32) {
        self.free.set_ceiling(ceiling);
    }

    /// Gives back what was allocated and never written.
    pub(crate) fn give_back(&mut self, extents: &[Extent]) {
        for extent in extents {
            self.mirror.retire(*extent);
            self.release(*extent);
        }
    }

    /// Makes known which pages the free map takes.
    pub(crate) fn set_map(&mut self, pages: impl Iterator<Item = PageId>) {
        for page in pages {
            self.map.fill(page.0, 1, true);
        }
    }

    /// Pages for the free map.
    pub(crate) fn allocate_for_map(&mut self, pages: u32) -> Result<Extent> {
        let extent = self.allocate(pages)?;
        self.map.fill(extent.first.0, extent.pages, true);
        Ok(extent)
    }

    /// Claims what a commit frees; the error is a page that is not a tree's to free, and then
    /// nothing is claimed. Of a sound file there is none.
    pub(crate) fn claim(&mut self, freed: &[Extent]) -> std::result::Result<(), PageId> {
        for (i, extent) in freed.iter().enumerate() {
            let (first, end) = (extent.first.0, extent.first.0.saturating_add(extent.pages));
            let is_wrong = |bits: &Bits| bits.next(first, end).is_some();
            if first < FIRST_PAGE
                || end > self.end()
                || self.free.has_any(first, end)
                || is_wrong(&self.pending)
                || is_wrong(&self.map)
            {
                self.disclaim(&freed[..i]);
                return Err(extent.first);
            }
            self.pending.fill(first, extent.pages, true);
        }
        Ok(())
    }

    /// Takes a claim back.
    pub(crate) fn disclaim(&mut self, freed: &[Extent]) {
        for extent in freed {
            self.pending.fill(extent.first.0, extent.pages, false);
        }
    }

    /// A commit, what it frees claimed: its pages are in the mirror, nobody has seen them yet.
    pub(crate) fn commit(&mut self, change: Change) {
        let txn = change.root.txn;
        for extent in &change.used {
            self.fresh.fill(extent.first.0, extent.pages, true);
            let last = extent.first.0 + extent.pages - 1;
            self.fresh_blocks.extend(extent.first.0 / FRESH_PAGES..=last / FRESH_PAGES);
            self.unflushed_pages += u64::from(extent.pages);
        }
        self.freed_last = change.freed.len();
        for extent in change.freed {
            self.free_later(txn, extent);
        }
        self.unflushed = Some(change.root);
    }

    /// Takes what was committed and not flushed, to be written: as one change, in which what came
    /// and went is left out. Its size is bounded by the pages that are there, and not by the number
    /// of commits.
    pub(crate) fn take(&mut self) -> Option<Change> {
        let root = self.unflushed.take()?;
        let mut used = Vec::new();
        for block in std::mem::take(&mut self.fresh_blocks) {
            let (mut at, end) = (block * FRESH_PAGES, (block + 1).saturating_mul(FRESH_PAGES));
            while let Some(first) = self.fresh.next(at, end) {
                let pages = self.fresh.run(first, end);
                used.push(Extent { first: PageId(first), pages });
                self.fresh.fill(first, pages, false);
                at = first + pages;
            }
        }
        self.taken_pages += std::mem::take(&mut self.unflushed_pages);
        let freed = std::mem::take(&mut self.unflushed_freed);
        Some(Change { root, used, freed })
    }

    /// Whether everything committed was taken for a flush.
    pub(crate) fn is_taken(&self) -> bool {
        self.unflushed.is_none()
    }

    /// Pages of the free map itself, which no reader reads: they wait for the disk alone.
    pub(crate) fn replace(&mut self, txn: TxnId, extent: Extent) {
        self.pending_count += u64::from(extent.pages);
        self.pending.fill(extent.first.0, extent.pages, true);
        self.map.fill(extent.first.0, extent.pages, false);
        // In order: whoever flushes `txn` may be behind commits that have freed pages meanwhile.
        self.waiting_count += u64::from(extent.pages);
        let at = self.waiting.partition_point(|(freed, _)| *freed <= txn);
        let freed =
            Freed { extent, born: txn, last: TxnId(txn.0.saturating_sub(1)), retired: false };
        self.waiting.insert(at, (txn, freed));
    }

    fn free_later(&mut self, txn: TxnId, extent: Extent) {
        self.pending_count += u64::from(extent.pages);
        let fresh = self.fresh.contains_all(extent.first.0, extent.pages);
        // What is not in the mirror may be as old as the file.
        let born =
            |page| self.mirror.found(page).map_or(TxnId(0), |stamp| whole_txn(stamp.txn(), txn));
        let pages = extent.first.0..extent.first.0 + extent.pages;
        let born = pages.map(born).min().expect("an extent has pages");
        let freed = Freed { extent, born, last: TxnId(txn.0 - 1), retired: false };
        if fresh {
            self.fresh.fill(extent.first.0, extent.pages, false);
            self.unflushed_pages -= u64::from(extent.pages);
            self.loose.push(freed);
        } else {
            self.unflushed_freed.push(extent);
            self.waiting_count += u64::from(extent.pages);
            self.waiting_peak = self.waiting_peak.max(self.waiting_count);
            self.waiting.push_back((txn, freed));
        }
    }

    /// Looks at up to `extents_max` of the freed extents, which of them can be given away; whether
    /// there may be more. `states` says what is being read right now, and is asked twice: see the
    /// module.
    pub(crate) fn reclaim(
        &mut self,
        durable: TxnId,
        newest: TxnId,
        extents_max: usize,
        states: &dyn Fn() -> States,
    ) -> bool {
        let mut look = self.loose.split_off(self.loose.len().saturating_sub(extents_max));
        let due = self.waiting.partition_point(|(txn, _)| *txn <= durable);
        for (_, freed) in self.waiting.drain(..due.min(extents_max - look.len())) {
            self.waiting_count -= u64::from(freed.extent.pages);
            look.push(freed);
        }
        if look.is_empty() && self.held.is_empty() {
            return false;
        }
        let seen = states();
        self.let_go(&seen, extents_max, &mut look);
        let has_more = look.len() == extents_max;
        let mut retired = Vec::new();
        for mut freed in look {
            if self.hold(&seen, freed) {
                continue;
            }
            if freed.retired {
                self.give_away(freed.extent);
                continue;
            }
            self.mirror.retire(freed.extent);
            freed.retired = true;
            freed.last = newest;
            retired.push(freed);
        }
        if retired.is_empty() {
            return has_more;
        }
        let seen = states();
        for freed in retired {
            if !self.hold(&seen, freed) {
                self.give_away(freed.extent);
            }
        }
        has_more
    }

    /// Moves what was held by readers that have left to `look`, until there is enough.
    fn let_go(&mut self, states: &States, extents_max: usize, look: &mut Vec<Freed>) {
        let gone = |(retired, txn): &(bool, TxnId)| states.of(*retired).binary_search(txn).is_err();
        let left: Vec<(bool, TxnId)> = self.held.keys().copied().filter(gone).collect();
        for key in left {
            let room = extents_max - look.len();
            let held = self.held.get_mut(&key).expect("it was found there");
            look.append(&mut held.split_off(held.len().saturating_sub(room)));
            if held.is_empty() {
                self.held.remove(&key);
            }
        }
    }

    /// Whether somebody may read the extent; then it is put with what that one holds.
    fn hold(&mut self, states: &States, freed: Freed) -> bool {
        let read = states.of(freed.retired);
        let at = read.partition_point(|txn| *txn < freed.born);
        let Some(reader) = read.get(at).filter(|txn| **txn <= freed.last) else {
            return false;
        };
        self.held.entry((freed.retired, *reader)).or_default().push(freed);
        true
    }

    fn give_away(&mut self, extent: Extent) {
        self.pending_count -= u64::from(extent.pages);
        self.pending.fill(extent.first.0, extent.pages, false);
        self.release(extent);
    }

    fn release(&mut self, extent: Extent) {
        self.cache.forget(extent);
        self.free.release(extent);
    }

    /// Exactly `pages` pages for one commit, in few runs and in the order of the file.
    pub(crate) fn allocate_many(&mut self, pages: u32) -> Result<Vec<Extent>> {
        self.free.take_many(pages).ok_or_else(|| self.no_numbers())
    }

    fn no_numbers(&self) -> Error {
        let cause = io::Error::new(io::ErrorKind::FileTooLarge, "no page numbers are left");
        Error::NoSpace { file: self.path.to_path_buf(), cause: Arc::new(cause) }
    }

    /// Cuts the free pages at the end of the file off: returns the new end, if it is another.
    pub(crate) fn shrink(&mut self) -> Option<u32> {
        self.retract(FIRST_PAGE)
    }

    /// The same for those from `floor` on, which the file had grown by in vain.
    pub(crate) fn retract(&mut self, floor: u32) -> Option<u32> {
        self.free.retract(floor)
    }

    /// Asserts the invariants; O(pages).
    #[cfg(test)]
    pub(crate) fn check(&self) {
        self.free.check();
        assert_eq!(self.fresh.count(), self.unflushed_pages);
        let mut pending = Bits::default();
        let held = self.held.values().flatten();
        for freed in held.chain(&self.loose).chain(self.waiting.iter().map(|(_, freed)| freed)) {
            for page in freed.extent.first.0..freed.extent.first.0 + freed.extent.pages {
                assert!(!self.free.has_any(page, page + 1), "page {page} is pending and free");
                assert_eq!(pending.fill(page, 1, true), 1, "page {page} is pending twice");
            }
        }
        assert_eq!(pending.count(), self.pending_count);
        assert_eq!(self.pending.count(), self.pending_count);
        let waiting = self.waiting.iter().map(|(_, freed)| u64::from(freed.extent.pages));
        assert_eq!(waiting.sum::<u64>(), self.waiting_count);
    }
}

impl Allocate for Space {
    fn allocate(&mut self, pages: u32) -> Result<Extent> {
        assert!(pages > 0, "somebody wants pages");
        self.free.take(pages).ok_or_else(|| self.no_numbers())
    }

    fn allocate_run(&mut self, pages: u32) -> Result<Extent> {
        assert!(pages > 0, "somebody wants pages");
        self.free.take_run(pages).ok_or_else(|| self.no_numbers())
    }
}

/// The transaction at or before `now` that ends in these 31 bits.
fn whole_txn(low: u32, now: TxnId) -> TxnId {
    let mask = u64::from(u32::MAX >> 1);
    let txn = now.0 & !mask | u64::from(low);
    TxnId(if txn > now.0 { txn.saturating_sub(mask + 1) } else { txn })
}

#[cfg(test)]
mod tests;
