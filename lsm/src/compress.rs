//! How a block is packed before it is written.

/// How blocks are packed. A block that does not shrink is written as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4 blocks: little CPU in both directions.
    #[default]
    Lz4,
    /// Zstandard: smaller, for blocks that are seldom read.
    #[cfg(feature = "zstd")]
    Zstd,
}
