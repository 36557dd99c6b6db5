//! A log-structured merge tree.



pub mod key;

pub mod cursor;
mod error;
mod slice;

pub mod merge;
pub mod range_del;

mod cache;
mod codec;
mod compress;
pub mod table;

#[cfg(test)]
mod testing;

pub use cache::{BlockCache, CacheStats};
pub use compress::Compression;
pub use error::{Error, Result};
pub use slice::Slice;
mod memtable;
mod ratchet;
mod sync;
