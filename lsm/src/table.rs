//! A sorted file of entries that is written once and never changed.
//!
//! **The problem.** Data that does not fit in memory has to be found with one read of the disk and
//! walked through with few; it has to be small; and if the disk changes a bit of it, nobody may be
//! told something else than what was written, nor that there is nothing.
//!
//! **The idea.** Entries are sorted and cut into blocks of about 4 KiB, each packed and sealed for
//! itself. What it takes to find the right block, and to know that there is none, is two hundredths
//! of the data. It stays in memory while that is little beside the memory given, and else is cut
//! into blocks too, and cached as they are.
//!
//! ```text
//!   block 0 │ block 1 │ ... │ filter │ leaves │ ranges │ root │ meta │ footer
//!   └────── entries ──────┘ └── if they fit ──┘ └─── always ──────────────┘    read at open
//!
//!   block    entries in columns                        block.rs
//!   filter   which user keys are not here, in pages    filter.rs
//!   leaves   where each block is, and what is in it    index.rs
//!   ranges   range deletes, in fragments               ../range_del.rs
//!   root     where each leaf is, and what is in it     index.rs, fences.rs
//!   meta     what the manifest knows too               meta.rs
//!   footer   where these are                           footer.rs
//! ```
//!
//! Every part is wrapped the same way, in `seal.rs`: its length unpacked, and a checksum which
//! knows the table and the place that it was written for.
//!
//! # Try it
//!
//! ```
//! use std::{path::Path, sync::Arc};
//! use drystone_lsm::BlockCache;
//! use drystone_lsm::key::{InternalKey, Kind, SeqNo, hash};
//! use drystone_lsm::table::{Table, TableBuilder, TableOptions};
//! use drystone_vfs::MemVfs;
//!
//! # fn main() -> drystone_lsm::Result<()> {
//! let (disk, path) = (MemVfs::new(), Path::new("7.table"));
//! let mut builder = TableBuilder::new(&disk, path, TableOptions::default())?;
//! builder.add(InternalKey::new(b"apple", SeqNo(4), Kind::Delete), b"")?;
//! builder.add(InternalKey::new(b"apple", SeqNo(2), Kind::Put), b"red")?;
//! let meta = builder.finish()?;
//!
//! let table = Table::open(&disk, path, &meta, &Arc::new(BlockCache::new(1 << 20)))?;
//! let found = table.get(b"apple", hash(b"apple"), SeqNo(3))?.expect("it was written by 2");
//! assert_eq!(*found.value, *b"red");
//! assert_eq!(table.get(b"apple", hash(b"apple"), SeqNo::MAX)?.unwrap().kind, Kind::Delete);
//! # Ok(())
//! # }
//! ```

mod meta;

mod block;
mod fences;
mod filter;
mod footer;
mod index;
mod seal;

mod builder;

mod ahead;
mod cursor;
mod reader;
mod verify;

mod inspect;

#[cfg(test)]
mod tests;

pub use builder::{TableBuilder, TableOptions};
pub use cursor::TableCursor;
pub use inspect::{Show, inspect};
pub use meta::{TableId, TableMeta, Upper};
pub use reader::{Fill, Found, Table};
