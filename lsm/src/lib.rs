//! A log-structured merge tree: an ordered map on disk for many writes, made of files that never
//! change.
//!
//! If you have never met one, this page is for you. If you came to use one, the example is below
//! the pictures.
//!
//! # The problem
//!
//! A sorted file is easy to search and impossible to insert into. A tree of pages can be changed in
//! place, and then a record of 100 bytes costs a page of 4096, written wherever the key happens to
//! belong; and a crash in the middle of that leaves a page that is neither old nor new.
//!
//! # The idea
//!
//! Never change a file. Gather writes in memory, sorted; when there are enough, write them out as
//! one sorted file, a *table*, from front to back. A reader looks into memory first and then into
//! the tables, from the newest to the oldest, and stops at the first answer. A delete is a record
//! too: a *tombstone*. As tables become many, some are merged into new ones, and what was
//! overwritten or deleted is left behind: *compaction*.
//!
//! ```text
//!   write ──┬──► journal  ═══════════════════►  synced when somebody waits     journal/*.wal
//!           │
//!           └──► memtable (active) ──full──► memtable (sealed)                 memory
//!                                                   │ flush
//!                                                   ▼
//!                level 0    ──[      ]──[        ]──    newest         000000000000002a.table
//!                           ──[   ]───[     ]──[  ]
//!                                   │ compaction
//!                level 5    [   ][   ][   ][   ]                       00000000000000*.table
//!                level 6    [   ][   ][   ][   ][   ][   ][   ][   ]           oldest
//!
//!   which tables there are, on which level ──► manifest                        manifest.a/*.wal
//! ```
//!
//! Each level is ten times as large as the one above, and within a level tables do not overlap: a
//! key is in one table of each level at most. Each table has a filter in memory that says for most
//! absent keys that they are absent, and an index in memory that says in which block of 4 KiB a key
//! would be. A read is then one block in most cases.
//!
//! # What a write goes through
//!
//! A batch gets consecutive numbers, one for each change, and its bytes are copied into the
//! journal's buffer: that much under a lock. Then its changes are inserted into the memtable,
//! beside those of other threads, without one. When all earlier batches are in as well, one number
//! moves, and readers see it. The files to read are `core.rs`, which draws this, `memtable.rs`,
//! `memtable/skiplist.rs` and `ratchet.rs`.
//!
//! # What a crash leaves
//!
//! The journal is a [`drystone_wal`] and so is the manifest, whose records are all or nothing.
//!
//! * A table counts when the manifest names it. The manifest is written after the table and its
//!   name are durable, so that a crash in between leaves a file that nobody names: an *orphan*,
//!   removed at the next opening.
//! * A journal record counts when it is not in tables yet: the manifest says from which record on.
//!   All keyspaces share one memtable and are flushed together, so that this is *one* position, and
//!   a batch over two keyspaces is in the tables of both or of neither.
//! * The files that a compaction has read are removed when the manifest, durably, names its outputs
//!   in their place, and the last reader is done.
//!
//! ```text
//!   db/LOCK                          held while the database is open
//!   db/manifest.a/, manifest.b/      one of them counts: which tables, which keyspaces
//!   db/journal/                      what is not in tables yet; none if Options::journal(false)
//!   db/0000000000000001.table ...    immutable
//! ```
//!
//! # Try it
//!
//! ```
//! use std::{path::Path, sync::Arc};
//! use drystone_lsm::{Batch, Db, KeyspaceOptions, Options};
//! use drystone_vfs::{MemVfs, OsClock};
//!
//! # fn main() -> drystone_lsm::Result<()> {
//! let (disk, clock) = (Arc::new(MemVfs::new()), Arc::new(OsClock::new()));
//! let db = Db::open(disk, clock, Path::new("db"), Options::default())?;
//! let accounts = db.keyspace("accounts", KeyspaceOptions::default())?;
//! let log = db.keyspace("log", KeyspaceOptions::default())?;
//!
//! let mut batch = Batch::new();
//! batch.put(&accounts, b"anna", b"5");
//! batch.put(&log, b"0001", b"anna opened an account");
//! let commit = db.write(batch)?;                       // both or neither; visible from now on
//! let snapshot = db.snapshot();
//! db.delete(&accounts, b"anna")?.wait()?;              // durable, and so is the batch before
//! commit.wait()?;
//!
//! assert!(db.get(&accounts, b"anna")?.is_none());
//! assert_eq!(snapshot.get(&accounts, b"anna")?.unwrap(), b"5");
//! assert_eq!(snapshot.range(&log, "0".."1").count(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Promises
//!
//! * **Atomic**: a reader and a crash see a batch in all keyspaces or in none.
//! * **Ordered**: what a crash leaves is the effect of some prefix of the batches, and no shorter
//!   one than what was acknowledged as durable.
//! * **Isolated**: a snapshot never changes (but for entries that expire).
//! * **Honest**: damaged bytes are [`Error::Corrupt`] with the file and the place, never an absent
//!   key; an open that is refused has changed no file. A range that failed goes on failing.
//! * **Unhurried**: nothing waits for a flush or a compaction but a writer that finds no memory.
//!   Writers are slowed down before that, by debt, some milliseconds at a time. If flushes fail for
//!   ever, writers get the error, reads go on, and when the disk works again so does everything.
//! * **Bounded**: memory follows [`Options::memory_bytes`], plus some two bytes of index and filter
//!   for each key. While flushes are late, memtables may take three eighths of it more.
//!
//! # Time in other hands
//!
//! With [`Options::threads(0)`](Options::threads) nothing happens by itself:
//! [`Db::flush_once`] and [`Db::compact_once`] are the steps, and a simulator owns their schedule.
//!
//! # Absent
//!
//! * Transactions with conflict detection. Reading beside a live writer from another process.
//! * Large values apart from their keys.
//! * Losing the newest *file* of the manifest is noticed, by the mark in the one before it. Not so
//!   in two cases that take a second mishap: the process was killed before that mark was written
//!   and nothing has been written since; or a write of the manifest had failed, the process was
//!   killed just then, and it is the whole newer one of the two folders that is lost.
//!
//! # Reading order
//!
//! The modules below stand in the order in which a newcomer should read them. The paper: O'Neil,
//! Cheng, Gawlick, O'Neil, *The Log-Structured Merge-Tree*, 1996; the levels are LevelDB's, the
//! dynamic base RocksDB's, sub-levels Pebble's.

pub mod key;

pub mod cursor;
mod error;
mod slice;

mod config;
mod keyspace;
mod time;

mod batch;
mod packed;

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

mod admit;
mod clear;
mod compact;
mod flush;
mod ingest;
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
mod prefetch;
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
pub use ingest::IngestWriter;
pub use key::SeqNo;
pub use keyspace::Keyspace;
pub use manifest::VERSION as FORMAT_VERSION;
pub use range::{Cursor, Range};
pub use slice::Slice;
pub use snapshot::Snapshot;
pub use stats::{KeyspaceStats, LevelStats, Stats};
