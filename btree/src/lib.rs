//! A copy-on-write B+tree in one file.

mod types;

mod config;
mod error;
mod slice;

mod db;
mod read;
mod scan;
mod stats;
mod write;

mod page;
mod pages;

mod cursor;
mod range;
mod tree;

mod draft;
mod forest;

mod audit;
mod checkpoint;
mod compact;
mod inspect;
mod reach;
pub mod survey;
mod verify;

mod commit;
mod core;
mod queue;
mod sync;

mod readers;
mod root;
mod snapshot;
mod store;

mod bits;
mod cache;
mod mirror;
mod space;

mod flush;
mod freemap;
mod meta;
mod recovery;

mod crc;

#[cfg(test)]
mod measure;
#[cfg(test)]
mod memory;

pub use audit::Report;
pub use commit::Commit;
pub use compact::Progress;
pub use config::{Options, Sync, Writer};
pub use db::Db;
pub use draft::{Savepoint, VALUE_BYTES_MAX};
pub use error::{Damage, Error, Result};
pub use forest::{NAME_BYTES_MAX, TREES_MAX};
pub use meta::BadRecord;
pub use read::ReadTxn;
pub use readers::Reader;
pub use scan::{Cursor, Range};
pub use slice::Slice;
pub use stats::{Sizes, Stats};
pub use types::{PageId, TreeId, TxnId};
pub use verify::Tally;
pub use write::WriteTxn;
