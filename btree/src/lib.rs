//! A copy-on-write B+tree in one file: named trees of sorted records, snapshots, durable commits.
//!
//! If you have never written one, this page is for you: how a tree is changed without ever being
//! half changed, and how that survives the power. If you came to use one, the example is below.
//!
//! # Nothing is overwritten
//!
//! A B+tree keeps sorted records in *leaves*, and finds the leaf of a key through *branches*. To
//! change a record in place would leave, if the power fails meanwhile, a leaf that is neither old
//! nor new. So a changed leaf is written to a free place, its parent, which has to point there, as
//! well, and so on up to the root. Whoever has the old root has the old tree, whole: that is a
//! *snapshot*, and it costs nothing. Whoever has the new root has the new one. The change happens
//! when one small record says which root it is.
//!
//! ```text
//!      old root ──┐                    ┌── new root
//!         ┌───────▼──┐            ┌────▼─────┐
//!         │ a   │  m │            │ a   │ m' │
//!         └─┬──────┬─┘            └─┬──────┬─┘
//!           │   ┌──▼───┐            │   ┌──▼───┐
//!           │   │ m..z │            │   │ m..z'│
//!           │   └──────┘            │   └──────┘
//!         ┌─▼────┐                  │
//!         │ a..l │ ◄────────────────┘           shared: it was not changed
//!         └──────┘
//! ```
//!
//! # The file
//!
//! ```text
//!   page   0        1        2      3      4      5      6      7      8
//!         ┌────────┬────────┬──────┬──────┬──────┬──────┬──────┬──────┬─ ─
//!         │ slot 0 │ slot 1 │ leaf │ free │branch│ map  │ value, 3 pages..
//!         └───┬────┴───┬────┴──────┴──────┴──────┴──────┴──────┴──────┴─ ─
//!             │        └─ record of flush 7: root of the catalog, length, free map, what it wrote
//!             └────────── record of flush 8: the same, newer
//! ```
//!
//! A *catalog* (a tree as well) has the root of each named tree. Flushes write their record into
//! the two slots in turn, so the one before stays: see `meta.rs`, where every byte is drawn.
//!
//! # One sync
//!
//! Pages and record are written together and synced once. If the power fails in between, the record
//! may be there and its pages not. Two things make that safe. The record lists what was written
//! with it, with a checksum over all, and is believed only if that is there; else the other slot is
//! taken. And every pointer, from the record down to the last leaf, carries the checksum of the
//! page it points to: a page that is torn, stale, misdirected or rotten is noticed by whoever
//! touches it first, and is an error, never a wrong value.
//!
//! # Commits in a row
//!
//! A commit is seen by others at once, before it is on disk; the next writer need not wait for the
//! disk either. What gathers while one flush is under way goes with the next one: sixteen threads
//! share a sync, and a page that four of them have changed is written once.
//!
//! ```text
//!   writer   ─ 7 ─ 8 ── 9 ─ 10 ─ 11 ─ 12 ──►      one at a time, in memory
//!   flush     [7]──────[8 9 10]─────[11 12]─►     one sync each
//!   readers    ▲ of 10, of 9, of 4 ...            each its own state; durable ones on request
//! ```
//!
//! If a flush fails, so does everything built on it, and readers see the last durable state: a
//! failed sync says nothing about what is on disk. Whoever keeps a journal above asks for
//! [`Sync::OnRequest`]: nothing is flushed before [`Db::persist`], and after a failure it is tried
//! again from memory.
//!
//! # A journal beside the file
//!
//! To change one record is to write a page on each level. With [`Sync::Journal`] a commit is what
//! the transaction did, some hundred bytes in a log of [`drystone_wal`] beside the file, one sync
//! for all who wait; pages are flushed when enough of them have gathered, and a page that was
//! changed a hundred times is written once. The next opening replays the log; after a clean close
//! there is none, and the file is the whole database: see `journal.rs`.
//!
//! # Memory
//!
//! Reads take no lock, no table and no copy: page n has a fixed place in the *mirror*, anonymous
//! memory of the file's shape, and a pointer's checksum is compared with that of what lies there.
//! It is not a memory map, which would kill the process when somebody cuts the file (`mirror.rs`).
//! A database larger than [`Options::memory_bytes`] has its first pages there, and a cache for the
//! rest.
//!
//! # Try it
//!
//! ```
//! use std::{path::Path, sync::Arc};
//! use drystone_btree::{Db, Options};
//! use drystone_vfs::MemVfs;
//!
//! # fn main() -> drystone_btree::Result<()> {
//! let db = Db::open(Arc::new(MemVfs::new()), Path::new("accounts"), Options::default())?;
//! let accounts = db.tree("accounts")?;
//! let mut w = db.write()?;
//! w.put(accounts, b"anna", b"100")?;
//! w.put(accounts, b"ben", b"20")?;
//! w.commit()?.wait()?;                                        // on disk
//!
//! let before = db.read();
//! let mut w = db.write()?;
//! w.put(accounts, b"anna", b"95")?;
//! w.put(accounts, b"ben", b"25")?;
//! let commit = w.commit()?;                                   // seen; `.await` it, or wait
//! assert_eq!(before.get(accounts, b"anna")?.as_deref(), Some(&b"100"[..]));
//! assert_eq!(db.read().get(accounts, b"anna")?.as_deref(), Some(&b"95"[..]));
//! let last = before.iter(accounts).next_back().expect("ben")?;
//! assert_eq!(&last.0[..], b"ben");
//! commit.wait()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Promises
//!
//! * A transaction whose commit resolved is found by every later open, or the open fails. Without a
//!   clean close, one case cannot be told from the file alone: damage to the very last record.
//!   Pass what you know as [`Options::min_txn`] and it is caught too.
//! * What is found is the state after one of the transactions, whole.
//! * Readers wait for nobody. A long one holds the pages of its own state, and not those that came
//!   and went after it; it is visible with its age in [`Stats::readers`].
//! * Damage is [`Error::Corrupt`], with the place; never a panic, never a wrong value, whatever the
//!   bytes. [`Db::verify`] reads everything again and holds it against every rule.
//! * Opening a file writes nothing, unless a journal has to be begun, replayed or given up; a file
//!   that is refused as damaged has not changed.
//! * Freed space is used again, and [`Db::compact`] packs what has become sparse and gives space
//!   back while others work.
//!
//! # Where to read on
//!
//! A get: `read.rs` → `tree.rs` → `snapshot.rs` → `mirror.rs`. A commit: `desk.rs` (one writer) →
//! `write.rs` → `draft.rs` (private pages, sealed from the leaves up) → `store.rs` → `queue.rs`
//! (who waits) → `flush.rs` (the disk), `journal.rs` (the log). Space: `space.rs` in memory,
//! `freemap.rs` on disk. Opening: `recovery.rs`.
//!
//! # Absent
//!
//! Several processes at once (one writes, or many read); two writers; values of more than one piece
//! of memory; compression; encryption. A write transaction has to fit into memory.
//!
//! Copy-on-write trees with alternating roots go back to Lampson and Sturgis ("Crash recovery in a
//! distributed data storage system", 1979) and shadow paging (Lorie, 1977); checksums in the parent
//! to ZFS (Bonwick, 2003).

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
pub mod survey;
mod verify;

mod commit;
mod core;
mod desk;
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
mod taking;

mod flush;
mod freemap;
mod journal;
mod meta;
mod recovery;

mod crc;
mod prefetch;

#[cfg(test)]
mod measure;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod reach;

pub use audit::Report;
pub use commit::Commit;
pub use compact::Progress;
pub use config::{Options, Sync, Writer};
pub use db::Db;
pub use draft::{Savepoint, VALUE_BYTES_MAX};
pub use error::{Damage, Error, Result};
pub use forest::{NAME_BYTES_MAX, TREES_MAX};
pub use meta::{BadRecord, VERSION as FORMAT_VERSION};
pub use read::ReadTxn;
pub use readers::Reader;
pub use scan::{Cursor, Range};
pub use slice::Slice;
pub use stats::{Sizes, Stats};
pub use types::{PageId, TreeId, TxnId};
pub use verify::Tally;
pub use write::WriteTxn;
