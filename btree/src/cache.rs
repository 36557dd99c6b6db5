//! Pages that have no place in the mirror: a cache with a limit in bytes, and those not yet on
//! disk.
//!
//! A database larger than memory keeps the pages beyond the mirror's share here. A page is shared
//! by reference count, so it stays alive for who reads it when it is thrown out.
//!
//! ```text
//!   page number ──► one of 16 shards ──► table ──► ring of frames
//!                                                   ▲ the hand passes over frames that were used
//!                                                     since it last came by, and takes the others
//! ```
//!
//! **CLOCK** (Corbató, 1968): one bit for each frame in place of a list that every hit would have
//! to reorder. Frames that a commit has made and no flush has written are not in the ring: they
//! cannot be read again from anywhere, and the limit on unflushed bytes keeps them few.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::mirror::Stamp;
use crate::types::{Extent, PageId};

const SHARDS: usize = 16;

/// What a frame costs beside its bytes.
const FRAME_OVERHEAD_BYTES: usize = 96;

/// See the module.
#[derive(Debug)]
pub(crate) struct Cache {
    shards: Vec<Mutex<Shard>>,
    /// Committed, and not yet written to the file. What a later commit has let go of before any
    /// flush stays until its number is free: it may be read, and is nowhere else.
    unflushed: Mutex<HashMap<PageId, (Stamp, Bytes)>>,
    /// Their bytes.
    held_bytes: AtomicUsize,
}

/// Invariants:
/// * `table` has one entry for each frame of `ring`, which leads to it.
/// * `bytes` is the sum over `ring`, and at most `bytes_max`.
#[derive(Debug)]
struct Shard {
    table: HashMap<PageId, usize>,
    ring: Vec<Frame>,
    hand: usize,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Frame {
    page: PageId,
    stamp: Stamp,
    bytes: Bytes,
    used: bool,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Cache {
        let shard = || Shard {
            table: HashMap::new(),
            ring: Vec::new(),
            hand: 0,
            bytes: 0,
            bytes_max: bytes_max / SHARDS,
        };
        let shards = (0..SHARDS).map(|_| Mutex::new(shard())).collect();
        Cache { shards, unflushed: Mutex::default(), held_bytes: AtomicUsize::new(0) }
    }

    fn shard(&self, page: PageId) -> &Mutex<Shard> {
        // Neighbours in the file are often read together: they should not share a lock.
        &self.shards[page.0 as usize % SHARDS]
    }

    /// What lies at `page`, if it is what the stamp says.
    pub(crate) fn find(&self, page: PageId, stamp: Stamp) -> Option<Bytes> {
        let mut shard = self.shard(page).lock();
        if let Some(&at) = shard.table.get(&page) {
            let frame = &mut shard.ring[at];
            if frame.stamp == stamp {
                frame.used = true;
                return Some(frame.bytes.clone());
            }
        }
        drop(shard);
        let unflushed = self.unflushed.lock();
        unflushed.get(&page).filter(|(found, _)| *found == stamp).map(|(_, bytes)| bytes.clone())
    }

    /// Keeps what was read from the file; makes room by dropping others.
    pub(crate) fn keep(&self, page: PageId, stamp: Stamp, bytes: Bytes) {
        self.shard(page).lock().keep(Frame { page, stamp, bytes, used: false });
    }

    /// Holds what a commit has made until [`flushed`](Cache::flushed).
    pub(crate) fn hold(&self, page: PageId, stamp: Stamp, bytes: Bytes) {
        let mut unflushed = self.unflushed.lock();
        self.held_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        if let Some((_, old)) = unflushed.insert(page, (stamp, bytes)) {
            self.held_bytes.fetch_sub(old.len(), Ordering::Relaxed);
        }
    }

    /// What a commit has made at `page` and no flush has written.
    pub(crate) fn held(&self, page: PageId) -> Option<Bytes> {
        self.unflushed.lock().get(&page).map(|(_, bytes)| bytes.clone())
    }

    /// Whether any page is held.
    pub(crate) fn holds_any(&self) -> bool {
        self.held_bytes() > 0
    }

    /// Bytes of the pages that are held.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Nobody needs what is held for these pages: their numbers are free.
    pub(crate) fn forget(&self, extent: Extent) {
        if !self.holds_any() {
            return;
        }
        let mut unflushed = self.unflushed.lock();
        for page in extent.first.0..extent.first.0 + extent.pages {
            if let Some((_, old)) = unflushed.remove(&PageId(page)) {
                self.held_bytes.fetch_sub(old.len(), Ordering::Relaxed);
            }
        }
    }

    /// These bytes, which were held for `page`, are in the file now.
    pub(crate) fn flushed(&self, page: PageId, bytes: &Bytes) {
        let mut unflushed = self.unflushed.lock();
        // A later commit may have taken the number again.
        if unflushed.get(&page).is_some_and(|(_, held)| held.as_ptr() == bytes.as_ptr())
            && let Some((stamp, bytes)) = unflushed.remove(&page)
        {
            self.held_bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
            drop(unflushed);
            self.keep(page, stamp, bytes);
        }
    }

    /// Bytes held by the frames that can be dropped.
    pub(crate) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().bytes).sum()
    }

    #[cfg(test)]
    fn check(&self) {
        for shard in &self.shards {
            let shard = shard.lock();
            assert_eq!(shard.table.len(), shard.ring.len());
            for (at, frame) in shard.ring.iter().enumerate() {
                assert_eq!(shard.table[&frame.page], at);
            }
            assert_eq!(shard.bytes, shard.ring.iter().map(Frame::cost).sum());
            assert!(shard.bytes <= shard.bytes_max);
        }
    }
}

impl Shard {
    fn keep(&mut self, frame: Frame) {
        let cost = frame.cost();
        if let Some(at) = self.table.get(&frame.page).copied() {
            self.remove(at);
        }
        if cost > self.bytes_max {
            return;
        }
        while self.bytes + cost > self.bytes_max {
            self.hand %= self.ring.len();
            let frame = &mut self.ring[self.hand];
            if frame.used {
                frame.used = false;
                self.hand += 1;
            } else {
                self.remove(self.hand);
            }
        }
        self.bytes += cost;
        self.table.insert(frame.page, self.ring.len());
        self.ring.push(frame);
    }

    fn remove(&mut self, at: usize) {
        let frame = self.ring.swap_remove(at);
        self.bytes -= frame.cost();
        self.table.remove(&frame.page);
        if let Some(moved) = self.ring.get(at) {
            self.table.insert(moved.page, at);
        }
    }
}

impl Frame {
    fn cost(&self) -> usize {
        self.bytes.len() + FRAME_OVERHEAD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PagePtr;

    fn stamp(page: u32, txn: u32) -> Stamp {
        Stamp::page(PagePtr { id: PageId(page), crc: 9, txn })
    }

    // A database larger than memory is read in flat memory, or the machine runs out of it.
    #[test]
    fn the_cache_stays_within_its_bytes() {
        let cache = Cache::new(1 << 20);
        for i in 0..4000_u32 {
            let page = PageId(i * 7 % 1000);
            if cache.find(page, stamp(page.0, 1)).is_none() {
                let bytes = Bytes::from(vec![page.0 as u8; 100 + i as usize % 5000]);
                cache.keep(page, stamp(page.0, 1), bytes);
            }
            if i % 64 == 0 {
                cache.check();
            }
        }
        assert!(cache.bytes() <= 1 << 20);
        assert!(cache.bytes() > 1 << 19, "and makes use of them");
    }

    // What was used since the hand came by outlives what was not.
    #[test]
    fn a_page_in_use_outlives_a_scan() {
        let cache = Cache::new(SHARDS * 10 * (1000 + FRAME_OVERHEAD_BYTES));
        let hot = PageId(16);
        cache.keep(hot, stamp(16, 1), Bytes::from(vec![1; 1000]));
        for i in 2..500 {
            assert!(cache.find(hot, stamp(16, 1)).is_some(), "round {i}");
            cache.keep(PageId(i * 16), stamp(i * 16, 1), Bytes::from(vec![2; 1000]));
        }
    }

    // A page number is used again: the old content must not be served for the new pointer.
    #[test]
    fn another_page_under_the_same_number_is_not_found() {
        let cache = Cache::new(1 << 20);
        cache.keep(PageId(5), stamp(5, 1), Bytes::from_static(b"old"));
        assert!(cache.find(PageId(5), stamp(5, 2)).is_none());
        cache.hold(PageId(5), stamp(5, 2), Bytes::from_static(b"new"));
        assert_eq!(cache.find(PageId(5), stamp(5, 2)).unwrap(), "new");
        let held = cache.held(PageId(5)).unwrap();
        cache.flushed(PageId(5), &held);
        assert!(cache.held(PageId(5)).is_none());
        assert_eq!(cache.find(PageId(5), stamp(5, 2)).unwrap(), "new");
        assert!(cache.find(PageId(5), stamp(5, 1)).is_none());
        cache.check();
    }
}
