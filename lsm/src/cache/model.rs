//! The cache under every order of a few threads' steps.

use std::sync::Arc;

use super::{BLOCK_OVERHEAD_BYTES, BlockCache, Shelf};

const BYTES: usize = 100;

fn block() -> Arc<[u8]> {
    Arc::from(vec![7; BYTES])
}

/// A cache of one shard with room for two blocks.
fn cache() -> Arc<BlockCache> {
    Arc::new(BlockCache::new(2 * (BYTES as u64 + BLOCK_OVERHEAD_BYTES)))
}

/// A table is closed while another one needs the room that its blocks take.
fn close_while_another_needs_room(shelf: fn(&BlockCache) -> Arc<Shelf>) {
    loom::model(move || {
        let cache = cache();
        let (stays, closes) = (shelf(&cache), shelf(&cache));
        cache.insert(&closes, 0, block());
        cache.insert(&closes, 1, block());
        let closer = {
            let cache = Arc::clone(&cache);
            loom::thread::spawn(move || cache.clear(&closes))
        };
        cache.insert(&stays, 0, block());
        cache.insert(&stays, 1, block());
        closer.join().unwrap();
        let stats = cache.stats();
        assert_eq!((stats.blocks, stats.bytes), (2, cache.bytes_max));
    });
}

// The bytes of a shard must be those of the blocks that the hand can find, at every moment: a
// closing table that took its blocks away first left the hand to go round for ever, or panic.
#[test]
fn a_table_closes_while_another_needs_room() {
    close_while_another_needs_room(|cache| cache.shelf(2));
}

#[test]
fn a_table_with_few_places_closes_while_another_needs_room() {
    close_while_another_needs_room(BlockCache::sparse_shelf);
}

// A reader that looks while the hand goes by has its block, or reads it again; never half of one.
#[test]
fn a_reader_looks_while_its_block_is_taken_away() {
    loom::model(|| {
        let cache = cache();
        let shelf = cache.shelf(3);
        cache.insert(&shelf, 0, block());
        let reader = {
            let shelf = Arc::clone(&shelf);
            loom::thread::spawn(move || shelf.look(0).is_none_or(|found| *found == *block()))
        };
        cache.insert(&shelf, 1, block());
        cache.insert(&shelf, 2, block());
        assert!(reader.join().unwrap());
        assert_eq!(cache.stats().blocks, 2);
    });
}
