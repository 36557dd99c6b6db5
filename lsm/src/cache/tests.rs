//! The cache by itself: its limit, its choice, its counts.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{BLOCK_OVERHEAD_BYTES, BlockCache, Shelf};
use crate::testing::seeds;

fn block(len: usize, fill: u8) -> Arc<[u8]> {
    Arc::from(vec![fill; len])
}

impl BlockCache {
    /// The invariants of places and shards, counted anew. Nobody else may use it meanwhile.
    fn check(&self) {
        for shard in &self.shards {
            let shard = shard.lock();
            let held = shard.ring.iter().filter_map(|ticket| {
                ticket.shelf.peek(ticket.index as usize).as_deref().map(super::cost)
            });
            let (mut bytes, mut blocks) = (0, 0);
            for cost in held {
                bytes += cost;
                blocks += 1;
            }
            assert_eq!(bytes, shard.bytes, "bytes are those of the blocks in the ring");
            assert!(shard.bytes <= self.shard_bytes_max(), "the limit holds");
            assert_eq!(blocks + shard.void, shard.ring.len(), "other tickets are known to be void");
            let mut seats: Vec<(*const Shelf, u32)> =
                shard.ring.iter().map(|t| (Arc::as_ptr(&t.shelf), t.index)).collect();
            seats.sort_unstable();
            let count = seats.len();
            seats.dedup();
            assert!(seats.len() == count || shard.void > 0, "no block has two tickets");
        }
    }
}

// Memory is promised in bytes, whatever comes and goes.
#[test]
fn the_limit_holds_and_blocks_are_what_was_put_in() {
    for seed in seeds("cache", 100) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let cache = BlockCache::new([0, 1000, 100_000, 5 << 20][rng.random_range(0..4)]);
        let mut shelves: Vec<(u8, usize, Arc<Shelf>)> = Vec::new();
        for step in 0..600 {
            if shelves.len() < 2 || rng.random_range(0..50) == 0 {
                let count = rng.random_range(1..40);
                let all: bool = rng.random();
                let shelf = if all { cache.shelf(count) } else { cache.sparse_shelf() };
                shelves.push((step as u8, count, shelf));
            }
            let (fill, count, shelf) = &shelves[rng.random_range(0..shelves.len())];
            let index = rng.random_range(0..*count);
            match shelf.look(index) {
                Some(found) => assert_eq!(found[0], fill.wrapping_add(index as u8)),
                None => {
                    let len_max = [100, 200_000][rng.random_range(0..2)];
                    let len = rng.random_range(1..len_max);
                    cache.insert(shelf, index, block(len, fill.wrapping_add(index as u8)));
                }
            }
            if rng.random_range(0..60) == 0 {
                let (_, count, closed) = shelves.swap_remove(rng.random_range(0..shelves.len()));
                cache.clear(&closed);
                assert!((0..count).all(|index| closed.peek(index).is_none()));
            }
            cache.check();
        }
        for (.., shelf) in shelves.drain(..) {
            cache.clear(&shelf);
        }
        cache.check();
        let stats = cache.stats();
        assert_eq!((stats.bytes, stats.blocks), (0, 0));
    }
}

// A cache that gives up what is used for what is not is of no use.
#[test]
fn blocks_in_use_outlast_a_flood() {
    let each = 1000 + BLOCK_OVERHEAD_BYTES;
    let cache = BlockCache::new(each * 100);
    let shelf = cache.shelf(1000);
    for index in 0..50 {
        cache.insert(&shelf, index, block(1000, 1));
    }
    for index in 50..1000 {
        cache.insert(&shelf, index, block(1000, 2));
        (0..50).for_each(|index| drop(shelf.look(index)));
    }
    assert!((0..50).all(|index| shelf.peek(index).is_some()), "all that was used is there");
    let stats = cache.stats();
    assert_eq!((stats.blocks, stats.evictions), (100, 900));
    assert_eq!((stats.hits, stats.misses), (950 * 50, 1000));
}

// What tables keep is memory too: blocks must make room for it, and tables may not take all.
#[test]
fn what_is_pinned_is_taken_from_the_blocks() {
    let cache = BlockCache::new(100 << 10);
    let shelf = cache.sparse_shelf();
    (0..200).for_each(|index| drop(cache.insert(&shelf, index, block(1000, 1))));
    assert!(cache.stats().bytes > 98 << 10);
    assert!(cache.try_pin(50 << 10) && !cache.try_pin(1), "a half may be kept");
    cache.pin(20 << 10);
    cache.insert(&shelf, 200, block(1000, 1));
    let stats = cache.stats();
    assert_eq!((stats.pinned, stats.bytes_max), (70 << 10, 100 << 10));
    assert!(stats.bytes <= 30 << 10, "{} bytes are left for blocks", stats.bytes);
    cache.pin(1 << 20);
    cache.insert(&shelf, 201, block(1000, 1));
    assert_eq!(cache.stats().bytes, 0, "roots are kept even beyond the limit");
    cache.unpin((1 << 20) + (70 << 10));
    cache.insert(&shelf, 202, block(1000, 1));
    assert_eq!(cache.stats().blocks, 1);
    cache.clear(&shelf);
}

// A block that is read by two at once is kept once.
#[test]
fn the_first_of_two_copies_is_kept() {
    let cache = BlockCache::new(1 << 20);
    let shelf = cache.shelf(1);
    let first = cache.insert(&shelf, 0, block(10, 1));
    let second = cache.insert(&shelf, 0, block(10, 1));
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(cache.stats().blocks, 1);
}

// Readers, and closing tables, must not corrupt the counts by which the limit holds.
#[test]
fn many_threads_keep_the_counts_right() {
    // One shard with a short ring: the hand of one thread is always where another one clears.
    let cache = BlockCache::new(100 << 10);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let cache = &cache;
            scope.spawn(move || {
                let mut rng = ChaCha8Rng::seed_from_u64(thread);
                for _ in 0..500 {
                    let shelf = cache.shelf(40);
                    for _ in 0..40 {
                        let index = rng.random_range(0..40);
                        let found = shelf.look(index).unwrap_or_else(|| {
                            cache.insert(&shelf, index, block(4096, index as u8))
                        });
                        assert_eq!(found[0], index as u8);
                    }
                    cache.clear(&shelf);
                }
            });
        }
    });
    cache.check();
    assert_eq!(cache.stats().bytes, 0);
}
