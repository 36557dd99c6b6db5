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
//!   table 7's shelf   │ block │   -   │ block │   -   │   -   │ block │   a place: block, uses
//!                         ▲               ▲                       ▲
//!   shard's ring      [ 7/0 ]  [ 9/4 ]  [ 7/2 ]  [ 3/1 ]  [ 9/8 ] [ 7/5 ]
//!                                 ▲ hand: used? forgive : take away
//! ```
//!
//! A table of which little fits in memory would waste places on blocks that are not there: it has
//! a hash table of those that are, and a step more to take for each.
//!
//! A block in use lives on after it was taken away, as long as somebody has it.
//!
//! Open tables keep a root and, up to a half of the limit, filters and fences: all of that is
//! *pinned*, and blocks have what is left. Pages and leaves of the tables that came too late for
//! that are blocks as all others.
//!
//! **Promises.** Bytes of blocks never exceed what the limit leaves for them when one is added; 96
//! are counted for each block beside its own. Roots are kept even beyond the limit.
//! A table that is closed takes its blocks with it.
//!
//! **Absent.** A history of what was taken away (ghosts), and a second queue that protects from
//! scans: long scans do not fill the cache at all, see [`Fill`](crate::table::Fill).
//!
//! After Corbató, "A Paging Experiment with the Multics System" (1968).

#[cfg(all(test, loom))]
mod model;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::prefetch::prefetch;
use crate::sync::{AtomicU64, Mutex};

/// What a block costs beyond its bytes: its ticket in the ring, its place on a shelf of few, and
/// the allocator's share.
const BLOCK_OVERHEAD_BYTES: u64 = 96;
/// The part of the memory that tables may keep their filters and fences in.
const PINNED_SHARE: u64 = 2;
/// Parts of a shelf of few, each with a lock of its own.
const STRIPES: usize = 8;

/// A shard smaller than this could not hold a few large blocks; small caches have fewer shards.
const SHARD_BYTES_MIN: u64 = 1 << 20;
const SHARD_COUNT_MAX: u64 = 16;

/// A cache of blocks, shared by all tables of a database.
#[derive(Debug)]
pub struct BlockCache {
    shards: Box<[Mutex<Shard>]>,
    bytes_max: u64,
    /// Bytes that open tables keep, which blocks may not have.
    pinned: AtomicU64,
    /// Gives shelves different shards for the same block number.
    shelves: AtomicU64,
}

/// One table's places.
#[derive(Debug)]
pub(crate) struct Shelf {
    places: Places,
    stagger: u64,
}

#[derive(Debug)]
enum Places {
    /// One for each block.
    All(Box<[Mutex<Place>]>),
    /// One for each block in memory, by number: for tables of which there is little in memory.
    Few(Box<[Mutex<HashMap<u32, Place>>]>),
}

/// What the hand finds in a place.
#[derive(Debug)]
enum Visit {
    Used(u32),
    Taken(Arc<[u8]>),
    Void,
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
    /// Bytes that open tables hold beside: filters, fences and roots.
    pub pinned: u64,
    /// Bytes that may be held, both together.
    pub bytes_max: u64,
}

impl BlockCache {
    /// A cache that keeps up to `bytes_max` bytes; with 0 it keeps none.
    pub fn new(bytes_max: u64) -> BlockCache {
        let count = (bytes_max / SHARD_BYTES_MIN).clamp(1, SHARD_COUNT_MAX);
        BlockCache {
            shards: (0..count).map(|_| Mutex::new(Shard::default())).collect(),
            bytes_max,
            pinned: AtomicU64::new(0),
            shelves: AtomicU64::new(0),
        }
    }

    /// What it did so far. Takes a look at every block held.
    pub fn stats(&self) -> CacheStats {
        let pinned = self.pinned.load(Ordering::Relaxed);
        let mut stats = CacheStats { bytes_max: self.bytes_max, pinned, ..CacheStats::default() };
        for shard in &self.shards {
            let shard = shard.lock();
            stats.hits += shard.hits;
            stats.misses += shard.misses;
            stats.evictions += shard.evictions;
            stats.bytes += shard.bytes;
            for ticket in &shard.ring {
                if let Some(uses) = ticket.shelf.uses(ticket.index as usize) {
                    stats.hits += u64::from(uses);
                    stats.blocks += 1;
                }
            }
        }
        stats
    }

    /// Places for a table of `count` blocks.
    pub(crate) fn shelf(&self, count: usize) -> Arc<Shelf> {
        let places = (0..count).map(|_| Mutex::new(Place::default())).collect();
        self.shelf_of(Places::All(places))
    }

    /// Places that are made when there is something to put there.
    pub(crate) fn sparse_shelf(&self) -> Arc<Shelf> {
        self.shelf_of(Places::Few((0..STRIPES).map(|_| Mutex::new(HashMap::new())).collect()))
    }

    fn shelf_of(&self, places: Places) -> Arc<Shelf> {
        let stagger = self.shelves.fetch_add(1, Ordering::Relaxed).wrapping_mul(7);
        Arc::new(Shelf { places, stagger })
    }

    /// Notes that a table keeps `bytes` bytes, whether there is room or not.
    pub(crate) fn pin(&self, bytes: u64) {
        self.pinned.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes that a table wants to keep `bytes` bytes more, if that leaves enough for blocks.
    pub(crate) fn try_pin(&self, bytes: u64) -> bool {
        let before = self.pinned.fetch_add(bytes, Ordering::Relaxed);
        let granted = before.saturating_add(bytes) <= self.bytes_max / PINNED_SHARE;
        if !granted {
            self.unpin(bytes);
        }
        granted
    }

    pub(crate) fn unpin(&self, bytes: u64) {
        self.pinned.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes of blocks that a shard may hold.
    fn shard_bytes_max(&self) -> u64 {
        let pinned = self.pinned.load(Ordering::Relaxed);
        self.bytes_max.saturating_sub(pinned) / self.shards.len() as u64
    }

    /// Keeps `block` as number `index` of `shelf`, and returns it; or another thread's copy of it,
    /// if that was quicker.
    pub(crate) fn insert(&self, shelf: &Arc<Shelf>, index: usize, block: Arc<[u8]>) -> Arc<[u8]> {
        let cost = cost(&block);
        let bytes_max = self.shard_bytes_max();
        let mut shard = self.shard(shelf, index).lock();
        shard.misses += 1;
        // Tables may have taken of the room since the last block came.
        shard.make_room(bytes_max.saturating_sub(cost));
        if cost > bytes_max {
            return block;
        }
        if let Some(known) = shelf.peek(index) {
            return known;
        }
        let ticket = Ticket { shelf: Arc::clone(shelf), index: index as u32 };
        shard.bytes += cost;
        shard.seat(ticket);
        shelf.put(index, Arc::clone(&block));
        block
    }

    /// Takes away all blocks of `shelf`, which its table calls when it is closed.
    pub(crate) fn clear(&self, shelf: &Shelf) {
        for (number, shard) in self.shards.iter().enumerate() {
            // Under the shard's lock: its bytes must never be those of blocks that are gone, or the
            // hand would look for them in vain.
            let mut shard = shard.lock();
            let freed = shelf.take_all(|index| self.shard_index(shelf, index) == number);
            if freed.blocks > 0 {
                shard.release(freed);
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
        let look = |place: &mut Place| {
            let block = place.block.clone();
            place.uses = place.uses.saturating_add(u32::from(block.is_some()));
            block
        };
        match &self.places {
            Places::All(places) => look(&mut places[index].lock()),
            Places::Few(_) => self.with(index, look).flatten(),
        }
    }

    /// As [`look`](Shelf::look), for a reader whose interest says nothing about the next one's.
    #[inline]
    pub(crate) fn peek(&self, index: usize) -> Option<Arc<[u8]>> {
        self.with(index, |place| place.block.clone()).flatten()
    }

    /// Has the processor fetch the beginning of a block that is about to be looked at, if it is in
    /// memory.
    #[inline]
    pub(crate) fn expect(&self, index: usize) {
        if let Places::All(places) = &self.places
            && let Some(place) = places.get(index)
            && let Some(block) = &place.lock().block
        {
            prefetch(block);
        }
    }

    /// What `act` makes of a place, if there is one.
    fn with<R>(&self, index: usize, act: impl FnOnce(&mut Place) -> R) -> Option<R> {
        match &self.places {
            Places::All(places) => Some(act(&mut places[index].lock())),
            Places::Few(stripes) => {
                stripes[index % STRIPES].lock().get_mut(&(index as u32)).map(act)
            }
        }
    }

    /// Reads of a block since the hand came by, if it is in memory.
    fn uses(&self, index: usize) -> Option<u32> {
        self.with(index, |place| place.block.is_some().then_some(place.uses)).flatten()
    }

    fn put(&self, index: usize, block: Arc<[u8]>) {
        match &self.places {
            Places::All(places) => places[index].lock().block = Some(block),
            Places::Few(stripes) => {
                let place = Place { block: Some(block), uses: 0 };
                stripes[index % STRIPES].lock().insert(index as u32, place);
            }
        }
    }

    /// What the hand does: forgives, or takes away.
    fn visit(&self, index: usize) -> Visit {
        let visit = |place: &mut Place| match place.uses {
            0 => place.block.take().map_or(Visit::Void, Visit::Taken),
            _ => Visit::Used(std::mem::take(&mut place.uses)),
        };
        let found = self.with(index, visit).unwrap_or(Visit::Void);
        if let (Places::Few(stripes), Visit::Taken(_)) = (&self.places, &found) {
            stripes[index % STRIPES].lock().remove(&(index as u32));
        }
        found
    }

    /// Takes away the blocks with these numbers, whose shard the caller has locked.
    fn take_all(&self, is_wanted: impl Fn(usize) -> bool) -> Freed {
        let mut freed = Freed::default();
        let mut free = |place: &mut Place| {
            if let Some(block) = place.block.take() {
                freed.bytes += cost(&block);
                freed.blocks += 1;
                freed.uses += u64::from(std::mem::take(&mut place.uses));
            }
        };
        match &self.places {
            Places::All(places) => {
                for (index, place) in places.iter().enumerate() {
                    if is_wanted(index) {
                        free(&mut place.lock());
                    }
                }
            }
            Places::Few(stripes) => {
                for stripe in stripes {
                    stripe.lock().retain(|index, place| {
                        let wanted = is_wanted(*index as usize);
                        if wanted {
                            free(place);
                        }
                        !wanted
                    });
                }
            }
        }
        freed
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
            match ticket.shelf.visit(ticket.index as usize) {
                Visit::Used(uses) => {
                    self.hits += u64::from(uses);
                    self.hand += 1;
                    continue;
                }
                Visit::Taken(block) => {
                    self.bytes -= cost(&block);
                    self.evictions += 1;
                }
                Visit::Void => self.void = self.void.saturating_sub(1),
            }
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
            let held = |ticket: &Ticket| ticket.shelf.uses(ticket.index as usize).is_some();
            self.ring.retain(held);
            self.hand = 0;
            self.void = 0;
        }
    }
}

fn cost(block: &[u8]) -> u64 {
    block.len() as u64 + BLOCK_OVERHEAD_BYTES
}
