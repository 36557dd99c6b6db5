//! Blocks kept in memory, unpacked, up to a limit of bytes.

/// A cache of blocks, shared by all tables of a database.
#[derive(Debug)]
pub struct BlockCache {
    bytes_max: u64,
}

impl BlockCache {
    /// A cache that keeps up to `bytes_max` bytes.
    pub fn new(bytes_max: u64) -> BlockCache {
        BlockCache { bytes_max }
    }

    /// What it did so far.
    pub fn stats(&self) -> CacheStats {
        CacheStats { bytes_max: self.bytes_max, ..CacheStats::default() }
    }
}

/// What a cache did so far, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CacheStats {
    /// Reads that found their block.
    pub hits: u64,
    /// Reads that went to the file.
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
