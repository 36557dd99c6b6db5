//! A log-structured merge tree.

pub mod key;

pub mod cursor;
mod error;
mod slice;

mod config;
mod keyspace;
mod time;

mod batch;
mod commit;
mod db;
mod snapshot;

mod core;
mod memtable;
mod pace;
mod ratchet;
mod sync;

mod range;
mod read;
mod source;
mod state;
mod walk;

mod compact;
mod flush;
mod outputs;
mod sieve;
mod work;

mod checkpoint;
mod manifest;
mod open;
mod run;
mod stats;
mod version;

pub mod merge;
pub mod range_del;

mod cache;
mod codec;
mod compress;
pub mod table;

#[cfg(test)]
mod testing;

pub use batch::Batch;
pub use cache::{BlockCache, CacheStats};
pub use commit::Commit;
pub use compress::Compression;
pub use config::{CompactionFilter, KeyspaceOptions, MergeOperator, Options, Policy};
pub use db::{Db, Progress};
pub use error::{Error, Result};
pub use key::SeqNo;
pub use keyspace::Keyspace;
pub use range::{Cursor, Range};
pub use slice::Slice;
pub use snapshot::Snapshot;
pub use stats::{KeyspaceStats, LevelStats, Stats};
