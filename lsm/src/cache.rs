//! Blocks kept in memory, unpacked, up to a limit of bytes.
//!
//! **The problem.** Nearly every read ends in a block that was read before. Finding it must cost
//! less than searching it: a hash table of all blocks costs two cache misses before the block is
//! seen, and a list ordered by last use has to be written to by every reader.
//!
//! **The idea.** A table knows the number of its blocks when it is opened, and has one *place* for
//! each: the block's number is its address, nothing is hashed or searched. A reader that finds a
//! block notes so in the place it has at hand. Who adds a block makes room by CLOCK: a hand goes
//! round over all blocks of its shard, forgives one that was used since the last round, and takes
//! away one that was not.
//!
//! ```text
//!   table 7's shelf   │ block │   -   │ block │   -   │   -   │ block │     a place: lock, block, uses
//!                         ▲               ▲                       ▲
//!   shard's ring      [ 7/0 ]  [ 9/4 ]  [ 7/2 ]  [ 3/1 ]  [ 9/8 ] [ 7/5 ]
//!                                 ▲ hand: used? forgive : take away
//! ```
//!
//! A block in use lives on after it was taken away, as long as somebody has it.
//!
//! **Promises.** Bytes held never exceed the limit; 64 are counted for each block beside its own.
//! A table that is closed takes its blocks with it.
//!
//! **Absent.** A history of what was taken away (ghosts), and a second queue that protects from
//! scans: long scans do not fill the cache at all, see [`Fill`](crate::table::Fill).
//!
//! After Corbató, "A Paging Experiment with the Multics System" (1968).

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// What a block costs beyond its bytes: its ticket in the ring, and the allocator's share.
const BLOCK_OVERHEAD_BYTES: u64 = 64;

/// A shard smaller than this could not hold a few large blocks; small caches have fewer shards.
const SHARD_BYTES_MIN: u64 = 1 << 20;
const SHARD_COUNT_MAX: u64 = 16;

/// A cache of blocks, shared by all tables of a database.
#[derive(Debug)]
pub struct BlockCache {
    shards: Box<[Mutex<Shard>]>,
    shard_bytes_max: u64,
    /// Gives shelves different shards for the same block number.
    shelves: AtomicU64,
}

/// One table's places.
#[derive(Debug)]
pub(crate) struct Shelf {
    places: Box<[Mutex<Place>]>,
    stagger: u64,
}

/// Where one block is, if it is in memory.
///
/// Invariant: a block here is counted in `bytes` of its shard, and has a ticket in its ring.
#[derive(Debug, Default)]
struct Place {
    block: Option<Arc<[u8]>>,
    /// Reads since the hand came by. It is a counter under a lock that the reader holds anyway, so
    /// that hits are counted without a word that all threads would write to.
    uses: u32,
}

/// A part of the cache with a lock and a hand of its own.
#[derive(Debug, Default)]
struct Shard {
    ring: Vec<Ticket>,
    hand: usize,
    bytes: u64,
    hits: u64,
    misses: u64,
    evictions: u64,
    /// Tickets whose block went away with its table.
    void: usize,
}

#[derive(Debug)]
struct Ticket {
    shelf: Arc<Shelf>,
    index: u32,
}

/// What a cache did so far, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CacheStats {
    /// Reads that found their block.
    pub hits: u64,
    /// Blocks that were read from a file and kept.
    pub misses: u64,
    /// Blocks given up for others.
    pub evictions: u64,
    /// Blocks held.
    pub blocks: u64,
    /// Bytes held.
    pub bytes: u64,
    /// Bytes that may be held.
    pub bytes_max: u64,
}

impl BlockCache {
    /// A cache that keeps up to `bytes_max` bytes; with 0 it keeps none.
    pub fn new(bytes_max: u64) -> BlockCache {
        let count = (bytes_max / SHARD_BYTES_MIN).clamp(1, SHARD_COUNT_MAX);
        BlockCache {
            shards: (0..count).map(|_| Mutex::default()).collect(),
            shard_bytes_max: bytes_max / count,
            shelves: AtomicU64::new(0),
        }
    }

    /// What it did so far. Takes a look at every block held.
    pub fn stats(&self) -> CacheStats {
        let bytes_max = self.shard_bytes_max * self.shards.len() as u64;
        let mut stats = CacheStats { bytes_max, ..CacheStats::default() };
        for shard in &self.shards {
            let shard = shard.lock();
            stats.hits += shard.hits;
            stats.misses += shard.misses;
            stats.evictions += shard.evictions;
            stats.bytes += shard.bytes;
            for ticket in &shard.ring {
                let place = ticket.shelf.places[ticket.index as usize].lock();
                stats.hits += u64::from(place.uses);
                stats.blocks += u64::from(place.block.is_some());
            }
        }
        stats
    }

    /// Places for a table of `count` blocks.
    pub(crate) fn shelf(&self, count: usize) -> Arc<Shelf> {
        let stagger = self.shelves.fetch_add(1, Ordering::Relaxed).wrapping_mul(7);
        Arc::new(Shelf { places: (0..count).map(|_| Mutex::default()).collect(), stagger })
    }

    /// Keeps `block` as number `index` of `shelf`, and returns it; or another thread's copy of it,
    /// if that was quicker.
    pub(crate) fn insert(&self, shelf: &Arc<Shelf>, index: usize, block: Arc<[u8]>) -> Arc<[u8]> {
        let cost = cost(&block);
        let mut shard = self.shard(shelf, index).lock();
        shard.misses += 1;
        if cost > self.shard_bytes_max {
            return block;
        }
        if let Some(known) = &shelf.places[index].lock().block {
            return Arc::clone(known);
        }
        let ticket = Ticket { shelf: Arc::clone(shelf), index: index as u32 };
        shard.make_room(self.shard_bytes_max - cost);
        shard.bytes += cost;
        shard.seat(ticket);
        shelf.places[index].lock().block = Some(Arc::clone(&block));
        block
    }

    /// Takes away all blocks of `shelf`, which its table calls when it is closed.
    pub(crate) fn clear(&self, shelf: &Shelf) {
        let mut freed = vec![Freed::default(); self.shards.len()];
        for (index, place) in shelf.places.iter().enumerate() {
            let mut place = place.lock();
            if let Some(block) = place.block.take() {
                let freed = &mut freed[self.shard_index(shelf, index)];
                freed.bytes += cost(&block);
                freed.blocks += 1;
                freed.uses += u64::from(std::mem::take(&mut place.uses));
            }
        }
        for (shard, freed) in self.shards.iter().zip(freed) {
            if freed.blocks > 0 {
                shard.lock().release(freed);
            }
        }
    }

    fn shard(&self, shelf: &Shelf, index: usize) -> &Mutex<Shard> {
        &self.shards[self.shard_index(shelf, index)]
    }

    fn shard_index(&self, shelf: &Shelf, index: usize) -> usize {
        ((shelf.stagger.wrapping_add(index as u64)) % self.shards.len() as u64) as usize
    }
}

impl Shelf {
    /// Memory for each block of an open table.
    pub(crate) const PLACE_BYTES: usize = size_of::<Mutex<Place>>();

    /// The block of this number, if it is in memory.
    #[inline]
    pub(crate) fn look(&self, index: usize) -> Option<Arc<[u8]>> {
        let mut place = self.places[index].lock();
        let block = place.block.clone();
        place.uses = place.uses.saturating_add(u32::from(block.is_some()));
        block
    }

    /// As [`look`](Shelf::look), for a reader whose interest says nothing about the next one's.
    #[inline]
    pub(crate) fn peek(&self, index: usize) -> Option<Arc<[u8]>> {
        self.places[index].lock().block.clone()
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Freed {
    bytes: u64,
    blocks: usize,
    uses: u64,
}

impl Shard {
    /// Takes blocks away until at most `bytes_max` bytes are left.
    fn make_room(&mut self, bytes_max: u64) {
        while self.bytes > bytes_max {
            assert!(!self.ring.is_empty(), "bytes are those of the blocks in the ring");
            if self.hand >= self.ring.len() {
                self.hand = 0;
            }
            let ticket = &self.ring[self.hand];
            let mut place = ticket.shelf.places[ticket.index as usize].lock();
            if place.uses > 0 {
                self.hits += u64::from(std::mem::take(&mut place.uses));
                self.hand += 1;
                continue;
            }
            match place.block.take() {
                Some(block) => {
                    self.bytes -= cost(&block);
                    self.evictions += 1;
                }
                None => self.void = self.void.saturating_sub(1),
            }
            drop(place);
            self.ring.swap_remove(self.hand);
        }
    }

    /// Adds a ticket just behind the hand, so that it has a whole round to be used in.
    fn seat(&mut self, ticket: Ticket) {
        if self.hand >= self.ring.len() {
            self.ring.push(ticket);
            self.hand = self.ring.len();
            return;
        }
        let moved = std::mem::replace(&mut self.ring[self.hand], ticket);
        self.ring.push(moved);
        self.hand += 1;
    }

    fn release(&mut self, freed: Freed) {
        self.bytes -= freed.bytes;
        self.hits += freed.uses;
        self.void += freed.blocks;
        // Tickets keep their shelf in memory: sweep before they are the majority.
        if self.void > self.ring.len() / 2 {
            let held =
                |ticket: &Ticket| ticket.shelf.places[ticket.index as usize].lock().block.is_some();
            self.ring.retain(held);
            self.hand = 0;
            self.void = 0;
        }
    }
}

fn cost(block: &[u8]) -> u64 {
    block.len() as u64 + BLOCK_OVERHEAD_BYTES
}
