//! The pages of the file in memory, each at a place of its own, to be read where they lie.
//!
//! **The problem.** The fastest cache is none: with the file mapped into memory, page n is at
//! `base + n * page_bytes`. But a mapped file dies of a signal when somebody cuts it, fails without
//! an error when a sector is bad, and changes under a `&[u8]` when anybody writes to it.
//!
//! **The idea.** The same arithmetic over memory of our own. A page is read with an ordinary call
//! and verified when it is first touched; a write transaction *claims* places and makes its pages
//! there, before anyone can see them. One word for each page, its *stamp*, says what lies in the
//! place:
//!
//! ```text
//!            reserved once, backed by memory when touched
//!   places   ┌────────┬────────┬────────┬────────┬────────┬─ ─ ─
//!            │ page 0 │ page 1 │ page 2 │ page 3 │ page 4 │
//!            └────────┴────────┴────────┴────────┴────────┴─ ─ ─
//!   stamps       0        0    crc,txn  crc,txn   RETIRED
//!
//!            0 ──── load, write ────► crc,txn ──── retire ────► RETIRED
//!            │                         ▲   ▲                     │   ▲ │
//!            │                         │   └────── write ────────┘   │ │
//!            │                         └─ publish ─┐    ┌── dropped ─┘ │
//!            └───────────── claim ────────────►    CLAIMED  ◄── claim ─┘
//! ```
//!
//! A pointer names the checksum and the transaction of the page it leads to. A hit is one load of
//! the stamp and one comparison with the pointer: no lock, no table, no count of references. A
//! pointer that leads to a page which has become another one is noticed by the same comparison.
//!
//! **Why a borrow is sound.** A place is written by `load` (stamp 0) and by `write` (stamp 0 or
//! RETIRED), both under the lock `placing`, and by the one who has its [`Place`] (CLAIMED); a
//! borrow is only given out when the stamp is none of these. A place is claimed under the lock as
//! well, if its stamp is 0 or RETIRED, and nobody but the `Place` ends that: so there is one of
//! them. So a place that is borrowed is written only if it was retired while the borrow lives and
//! written to before it ends. `space` does not let that happen, whatever the file says: a page
//! is given out for writing only when no pin is left that was there after it was retired (and
//! a borrow cannot outlive its pin, which the signature of [`borrow`](Mirror::borrow) demands). The
//! stamp is stored with Release after the bytes and loaded with Acquire before them; the end of a
//! pin and the look for pins meet at a lock.
//!
//! **Huge pages** make reads faster by a tenth to a seventh, and a first touch slower: it clears
//! 2 MiB. What the file has when it is opened is read here and there at first, so that a record
//! would cost 2 MiB each; it gets small pages, until half of it has been read, and from then on the
//! system may put them together. What the file grows by is touched page by page anyway, and has
//! huge pages at once. A small database has none: it should not take 2 MiB.
//!
//! **Left out:** giving memory back while the database is open; pages beyond the mirror's share are
//! the [`cache`](crate::cache)'s.

#![expect(unsafe_code, reason = "a place is shared by readers and written when nobody has it")]

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{Advice, MmapOptions, MmapRaw};
use parking_lot::Mutex;

use crate::readers::Pin;
use crate::types::{Extent, PageId, PagePtr, RunPtr};

/// Below this, memory comes in small pages: a small database should not take 2 MiB.
const SMALL_BYTES: usize = 4 << 20;

const HUGE_BYTES: usize = 2 << 20;

/// What lies in a place: a page or a value, by its checksum and the transaction that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

impl Stamp {
    const ABSENT: u64 = 0;
    const RETIRED: u64 = 1;
    const CLAIMED: u64 = 2;
    const RUN: u32 = 1 << 31;

    pub(crate) fn page(ptr: PagePtr) -> Stamp {
        Stamp(u64::from(ptr.crc) << 32 | u64::from(ptr.txn & !Stamp::RUN))
    }

    pub(crate) fn run(ptr: RunPtr) -> Stamp {
        Stamp(u64::from(ptr.crc) << 32 | u64::from(ptr.txn | Stamp::RUN))
    }

    /// Whether it can be told from the three words that have another meaning.
    fn is_plain(self) -> bool {
        self.0 > Stamp::CLAIMED
    }

    /// The lower 31 bits of the transaction.
    pub(crate) fn txn(self) -> u32 {
        self.0 as u32 & !Stamp::RUN
    }
}

/// See the module.
pub(crate) struct Mirror {
    /// Places, then stamps. Never handed out whole.
    memory: Option<MmapRaw>,
    page_bytes: usize,
    pages: u32,
    /// Held while a place is written or retired.
    placing: Mutex<Placing>,
}

/// What was in the file when it was opened, and has small pages.
#[derive(Debug)]
struct Placing {
    old_pages: u32,
    /// How many of them are read before that changes.
    reads_left: u32,
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mirror({} pages)", self.pages)
    }
}

impl Mirror {
    /// Room for the first `pages` pages of a file, or for fewer if the system does not give that
    /// much address space. `old_pages` pages are in the file already.
    pub(crate) fn new(pages: u32, page_bytes: usize, old_pages: u32) -> Mirror {
        let mut mirror = Mirror {
            memory: None,
            page_bytes,
            pages,
            placing: Mutex::new(Placing { old_pages, reads_left: old_pages / 2 }),
        };
        while mirror.pages > 0 && mirror.memory.is_none() {
            let bytes = mirror.pages as usize * (page_bytes + size_of::<AtomicU64>());
            let map = MmapOptions::new().len(bytes).no_reserve_swap().map_anon();
            match map {
                Ok(map) => mirror.memory = Some(map.into()),
                Err(_) => mirror.pages /= 2,
            }
        }
        mirror.take_huge(old_pages as usize * page_bytes, usize::MAX);
        mirror
    }

    /// From here on huge pages may be used in `from..to`, in bytes.
    fn take_huge(&self, from: usize, to: usize) {
        let from = from.max(SMALL_BYTES).next_multiple_of(HUGE_BYTES);
        let to = to.min(self.pages as usize * self.page_bytes);
        if let Some(memory) = &self.memory
            && from < to
        {
            // A hint: without huge pages reads are slower and nothing else.
            drop(memory.advise_range(Advice::HugePage, from, to - from));
        }
    }

    /// Whether the places of all of these pages are here.
    #[inline]
    pub(crate) fn covers(&self, extent: Extent) -> bool {
        u64::from(extent.first.0) + u64::from(extent.pages) <= u64::from(self.pages)
    }

    /// Bytes of the stamps, all of which are taken in the course of time.
    pub(crate) fn stamp_bytes(&self) -> usize {
        self.pages as usize * size_of::<AtomicU64>()
    }

    /// How many pages have a place.
    pub(crate) fn pages(&self) -> u32 {
        self.pages
    }

    #[inline]
    fn base(&self) -> *mut u8 {
        self.memory.as_ref().expect("a mirror with pages has memory").as_mut_ptr()
    }

    #[inline]
    fn stamp(&self, page: u32) -> &AtomicU64 {
        assert!(page < self.pages, "the page has a place");
        let offset = self.pages as usize * self.page_bytes + page as usize * size_of::<AtomicU64>();
        // SAFETY: the mapping is `pages * page_bytes` bytes of places and then one word for each
        // page, so the word is inside of it; it is aligned, as the mapping begins at a system page
        // and `page_bytes` is a multiple of 8; it starts as zeros, which is a valid value; it is
        // never accessed but as an atomic, and lives as long as `self`.
        unsafe { &*self.base().add(offset).cast::<AtomicU64>() }
    }

    /// A pointer to the place of a page, checked together with those after it.
    fn place(&self, extent: Extent) -> *mut u8 {
        assert!(self.covers(extent), "the pages have places");
        // SAFETY: within the mapping, by the assertion.
        unsafe { self.base().add(extent.first.0 as usize * self.page_bytes) }
    }

    /// The pages, if it is these that lie in their places.
    #[inline]
    pub(crate) fn borrow<'a>(
        &'a self,
        _pin: &'a Pin,
        extent: Extent,
        stamp: Stamp,
        len: usize,
    ) -> Option<&'a [u8]> {
        let here = |page| self.stamp(page).load(Ordering::Acquire) == stamp.0;
        let pages = extent.first.0..extent.first.0 + extent.pages;
        if !stamp.is_plain() || !pages.into_iter().all(here) {
            return None;
        }
        Some(self.bytes(extent, len))
    }

    /// The first `len` bytes of places that are stamped.
    #[inline]
    fn bytes(&self, extent: Extent, len: usize) -> &[u8] {
        assert!(len <= extent.pages as usize * self.page_bytes, "not beyond the pages");
        // SAFETY: `place` checked the bounds, and memory of the mapping is initialised. Nobody
        // writes to these places while the borrow lives: see the module.
        unsafe { std::slice::from_raw_parts(self.place(extent), len) }
    }

    /// Pages that a commit has written and no later one has freed, for the one who flushes them.
    /// They are not freed for others before that flush is settled.
    pub(crate) fn committed(&self, extent: Extent) -> &[u8] {
        let pages = extent.first.0..extent.first.0 + extent.pages;
        let stamped = |page| Stamp(self.stamp(page).load(Ordering::Acquire)).is_plain();
        assert!(pages.into_iter().all(stamped), "what is flushed was committed");
        self.bytes(extent, extent.pages as usize * self.page_bytes)
    }

    /// Places what was read from the file and verified, and borrows it. `None` if the places are
    /// not for it: retired, or taken by something else.
    pub(crate) fn load<'a>(
        &'a self,
        pin: &'a Pin,
        extent: Extent,
        stamp: Stamp,
        bytes: &[u8],
    ) -> Option<&'a [u8]> {
        if !stamp.is_plain() {
            return None;
        }
        let mut placing = self.placing.lock();
        let pages = || extent.first.0..extent.first.0 + extent.pages;
        if pages().all(|page| self.stamp(page).load(Ordering::Relaxed) == Stamp::ABSENT) {
            self.fill(extent, stamp, bytes);
            let before = placing.reads_left;
            placing.reads_left = before.saturating_sub(extent.pages);
            if before > 0 && placing.reads_left == 0 {
                self.take_huge(0, placing.old_pages as usize * self.page_bytes);
            }
        }
        drop(placing);
        self.borrow(pin, extent, stamp, bytes.len())
    }

    /// Whether nothing was loaded into, or has to keep out of, the places of these pages.
    pub(crate) fn is_absent(&self, extent: Extent) -> bool {
        let pages = extent.first.0..extent.first.0 + extent.pages;
        pages.into_iter().all(|page| self.stamp(page).load(Ordering::Acquire) == Stamp::ABSENT)
    }

    /// Places what a commit has written. The pages are new: nobody has ever read them, or they were
    /// retired and everyone who was there then has left.
    pub(crate) fn write(&self, extent: Extent, stamp: Stamp, bytes: &[u8]) {
        assert!(stamp.is_plain(), "the caller asked `takes`");
        let _placing = self.placing.lock();
        for page in extent.first.0..extent.first.0 + extent.pages {
            let old = self.stamp(page).load(Ordering::Acquire);
            assert!(old <= Stamp::RETIRED, "only a page that was retired is written again");
        }
        self.fill(extent, stamp, bytes);
    }

    /// Takes the places of pages, as far as there are such, for one who will write there. The pages
    /// are as new as those of [`write`](Self::write). In the order of their numbers.
    pub(crate) fn claim(self: &Arc<Self>, extent: Extent) -> impl Iterator<Item = Place> {
        let end = (u64::from(extent.first.0) + u64::from(extent.pages)).min(self.pages.into());
        let pages = extent.first.0..end as u32;
        let placing = self.placing.lock();
        for page in pages.clone() {
            let stamp = self.stamp(page);
            let old = stamp.load(Ordering::Acquire);
            assert!(old <= Stamp::RETIRED, "only a page that was retired is claimed");
            stamp.store(Stamp::CLAIMED, Ordering::Relaxed);
        }
        drop(placing);
        let mirror = Arc::clone(self);
        pages.map(move |page| Place { mirror: Arc::clone(&mirror), page, is_published: false })
    }

    /// Whether the pages can be kept here under that stamp.
    pub(crate) fn takes(&self, extent: Extent, stamp: Stamp) -> bool {
        self.covers(extent) && stamp.is_plain()
    }

    fn fill(&self, extent: Extent, stamp: Stamp, bytes: &[u8]) {
        let room = extent.pages as usize * self.page_bytes;
        assert!(bytes.len() <= room, "the bytes fit into the pages");
        let place = self.place(extent);
        // SAFETY: the places are within the mapping and `bytes` is not, since its borrows end
        // before anyone writes. No borrow of these places is alive and none is given out before
        // the stamps are set below: the callers hold `placing` and have looked at the stamps.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
            // A value ends within its last page; what was there before must not reach the disk.
            std::ptr::write_bytes(place.add(bytes.len()), 0, room - bytes.len());
        }
        for page in extent.first.0..extent.first.0 + extent.pages {
            self.stamp(page).store(stamp.0, Ordering::Release);
        }
    }

    /// From now on the pages are not given out any more, nor loaded. Those that are claimed are not
    /// given out as it is, and stay claimed.
    pub(crate) fn retire(&self, extent: Extent) {
        let end = (u64::from(extent.first.0) + u64::from(extent.pages)).min(self.pages.into());
        let _placing = self.placing.lock();
        for page in extent.first.0..end as u32 {
            let stamp = self.stamp(page);
            // It becomes claimed under the lock only.
            if stamp.load(Ordering::Relaxed) != Stamp::CLAIMED {
                stamp.store(Stamp::RETIRED, Ordering::Release);
            }
        }
    }

    /// What lies in the place of a page.
    pub(crate) fn found(&self, page: u32) -> Option<Stamp> {
        let covered = page < self.pages;
        covered.then(|| Stamp(self.stamp(page).load(Ordering::Acquire))).filter(|s| s.is_plain())
    }
}

/// The place of a page, of which there is no other handle: to be written by its holder, and read by
/// nobody else before it is published. If it never is, it is retired again.
pub(crate) struct Place {
    mirror: Arc<Mirror>,
    page: u32,
    is_published: bool,
}

impl Place {
    pub(crate) fn id(&self) -> PageId {
        PageId(self.page)
    }

    /// From now on the page is given out to those who have a pointer to it. Returns the place as it
    /// was if that stamp cannot be told from those with another meaning.
    pub(crate) fn publish(mut self, stamp: Stamp) -> Result<(), Place> {
        if !stamp.is_plain() {
            return Err(self);
        }
        self.is_published = true;
        self.mirror.stamp(self.page).store(stamp.0, Ordering::Release);
        Ok(())
    }

    fn extent(&self) -> Extent {
        Extent { first: PageId(self.page), pages: 1 }
    }
}

impl Deref for Place {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `place` checks the bounds, and memory of the mapping, which `mirror` keeps, is
        // initialised. The stamp is CLAIMED: there is no other `Place` of this page, nobody else
        // writes here, and our own writing goes through `&mut self`.
        unsafe {
            std::slice::from_raw_parts(self.mirror.place(self.extent()), self.mirror.page_bytes)
        }
    }
}

impl DerefMut for Place {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let place = self.mirror.place(self.extent());
        // SAFETY: as for `deref`; and nobody else reads here, as no borrow is given out of a place
        // that is CLAIMED, and those from before it was retired have ended.
        unsafe { std::slice::from_raw_parts_mut(place, self.mirror.page_bytes) }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.page)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_published {
            self.mirror.stamp(self.page).store(Stamp::RETIRED, Ordering::Release);
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::readers::Readers;
    use crate::root::Root;

    /// Bytes of memory that back the mirror.
    fn resident_bytes(mirror: &Mirror) -> u64 {
        let smaps = std::fs::read_to_string("/proc/self/smaps").expect("Linux has it");
        let places = mirror.pages as usize * mirror.page_bytes;
        let range = mirror.base() as usize..mirror.base() as usize + places;
        let mut is_ours = false;
        let mut sum = 0;
        for line in smaps.lines() {
            let first = line.split('-').next().and_then(|at| usize::from_str_radix(at, 16).ok());
            is_ours = first.map_or(is_ours, |at| range.contains(&at));
            if is_ours && let Some(rest) = line.strip_prefix("Rss:") {
                let kib = rest.trim().trim_end_matches(" kB").parse::<u64>();
                sum += kib.expect("a number of KiB") << 10;
            }
        }
        sum
    }

    // Who opens a large file and reads a record here and there must not pay 2 MiB for each, in
    // memory nor in time.
    #[test]
    fn what_was_in_the_file_before_takes_the_memory_of_what_is_read() {
        let pages = 16 << 10;
        let mirror = Mirror::new(2 * pages, 4096, pages);
        let readers = Arc::new(Readers::new(&Root::default()));
        let (pin, _) = readers.enter(std::time::Duration::ZERO);
        for page in (0..pages).step_by(512) {
            let ptr = PagePtr { id: PageId(page), crc: 7, txn: 1 };
            let extent = Extent { first: ptr.id, pages: 1 };
            assert!(mirror.load(&pin, extent, Stamp::page(ptr), &[1; 4096]).is_some());
        }
        let always = "/sys/kernel/mm/transparent_hugepage/enabled";
        let always = std::fs::read_to_string(always).unwrap_or_default().contains("[always]");
        let resident = resident_bytes(&mirror);
        assert!(resident >= u64::from(pages) / 512 * 4096, "{resident}");
        assert!(always || resident < 4 << 20, "{resident} bytes for {} pages", pages / 512);
    }
}
