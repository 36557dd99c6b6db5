//! A write-ahead log: append records, learn when they are durable, get them back after a crash.
//!
//! If you have never written one, this page is for you: what a disk promises, what it breaks, and
//! how a list of records survives it. If you came to use one, the example is below the pictures.
//!
//! # What a write is worth
//!
//! A program that answers "saved" must find what it saved after the power fails. `write` does not
//! give that: it copies bytes into the kernel's memory, where every process sees them and a power
//! cut erases them. What survives is what was *synced*: `fdatasync` returns when the device says
//! that the bytes of that file, and its length, are on stable ground. Three things follow.
//!
//! * **It is slow.** A sync is a round trip to the device, 50 µs to 10 ms, whatever the number of
//!   bytes. A log that syncs once for each record does a few thousand records a second.
//! * **It is not about names.** A file that was created, renamed or removed is so for good only
//!   after its *directory* was synced. A log whose newest file has no durable name has lost it.
//! * **It may fail, once.** The kernel reports a failed write-back to one caller and then calls the
//!   pages clean: the next sync says "fine" about bytes that are gone. So there is no second try.
//!
//! # What breaks
//!
//! Between the write and the end of its sync the power may fail, and the disk then holds any part
//! of it. It writes sectors of 512 bytes, in an order of its own: the end of a record may be there
//! without its beginning, the length without the bytes, zeros or a stranger's old data where
//! nothing has arrived. That is a *torn tail*. Nobody was told that those records are safe, so they
//! are cut off and forgotten.
//!
//! Bytes that were synced can still be *damaged* later: a bit flips, a block is zeroed by a repair
//! tool, a file is truncated or deleted by a hand that meant another. Those records were promised.
//! To cut here, as if it were a torn tail, loses acknowledged records without a word, and that is
//! what most logs do, because both look the same: a checksum that does not match.
//!
//! # The idea, in four parts
//!
//! **A frame is recognised.** Each record has a head with its length and a checksum over all of it.
//! The checksum starts from a number that no other segment file ever used, so that an old frame in
//! a reused file cannot pass for a new one.
//!
//! **Callers share a sync.** One write is under way at a time. What is appended meanwhile becomes
//! the next write, as one: sixteen threads that would need sixteen syncs need two or one. This is
//! *group commit*, and it needs no timer: the slower the disk, the larger the groups.
//!
//! ```text
//!   append([a, b]) ─► Commit ─ wait() / .await ◄────────────────────────┐
//!   append([c])    ─► Commit ─ wait() / .await ◄──────────────────────┐ │ one wake for each
//!        │                                                            │ │
//!        ▼             take all               one write, one sync     │ │
//!   ┌─────────┐     ┌─────────┐     ┌──────────────────────────────┐  │ │
//!   │ filling │ ──► │ writing │ ──► │ 01.wal │ 02.wal │ 03.wal ... │ ─┴─┘
//!   └─────────┘     └─────────┘     └──────────────────────────────┘
//! ```
//!
//! **Frames testify.** Every frame says which record was the last durable one when it was written.
//! Recovery walks the frames up to the first that is not sound, and then looks *behind* it: a sound
//! frame there that says "the lost one was durable" turns a torn tail into corruption, and the log
//! is refused with the file, the byte and the record instead of being shortened.
//!
//! ```text
//!       sound     stop at record 7                          sound, says "5 was durable"
//!     ┌───┬───┬───┬╌╌╌╌╌╌╌┬╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┬───┐   7 of the same write: torn
//!     │ 4 │ 5 │ 6 ┊ ????  ┊                               │ 9 │
//!     └───┴───┴───┴╌╌╌╌╌╌╌┴╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┴───┘   says "8 was durable": corruption
//! ```
//!
//! **Files are made ahead.** A write that makes its file longer needs the file system's journal
//! too, and costs nearly twice as much. So segments are filled with zeros, synced and named before
//! they are needed, and used again when their records are not. A log that is to be
//! [lean](Options::lean) spares itself that where it does not pay: see `spare.rs`.
//!
//! # Try it
//!
//! ```
//! use std::{path::Path, sync::Arc};
//! use drystone_vfs::MemVfs;
//! use drystone_wal::{Lsn, Options, Wal};
//!
//! # fn main() -> drystone_wal::Result<()> {
//! let disk = Arc::new(MemVfs::new());
//! let (wal, _) = Wal::open(disk.clone(), Path::new("log"), Options::default())?;
//! let commit = wal.append(&[b"debit anna 5", b"credit ben 5"])?;   // one atomic group
//! wal.append(&[b"unrelated"])?.wait()?;                            // waits for both groups
//! assert_eq!(commit.lsn(), Lsn(2));
//! wal.close()?;
//!
//! let (wal, recovered) = Wal::open(disk, Path::new("log"), Options::default().min_lsn(Lsn(3)))?;
//! let texts = recovered.map(|record| record.map(|(_, text)| text));
//! let texts: Vec<_> = texts.collect::<Result<_, _>>()?;
//! assert_eq!(texts[2], "unrelated");
//! assert_eq!(wal.next_lsn(), Lsn(4));
//! # Ok(())
//! # }
//! ```
//!
//! # Promises
//!
//! * A record whose commit resolved is found by every later open, or the open fails and says where
//!   the damage is. Without a clean close, one case cannot be told from the log alone: damage to
//!   the very last write. Pass what you know as [`Options::min_lsn`] and it is caught too.
//! * What is found is a prefix of what was appended, groups whole, nothing else.
//! * The disk has to keep its part of the contract on [`Vfs`](drystone_vfs::Vfs): what is synced
//!   stays, and a write harms no byte but those it changes. A disk that lies is noticed by
//!   `min_lsn` alone.
//! * Opening changes nothing on disk before the whole log is verified; with [`Wal::find`], not
//!   before the caller has looked at the records either; with [`Wal::open_read_only`], not at all.
//! * The first failed write or sync ends the log for everyone ([`Error::Poisoned`]); nothing is
//!   ever written twice in the hope that it works.
//! * Memory is bounded: two buffers, one window for each reader, and the largest record. An append
//!   allocates nothing.
//!
//! # Follow an append
//!
//! From the call to the disk it passes through four files, each short: `wal.rs` (the handle) →
//! `core.rs` (who writes) → `queue.rs` (the buffers, and who waits) → `writer.rs` (one write, one
//! sync). Follow a record back in `recovery.rs`, `scan.rs` and `witness.rs`; every byte between
//! them is drawn in `format.rs`.
//!
//! # When something is wrong
//!
//! [`Wal::open_read_only`] verifies and reads, and changes nothing. [`Wal::salvage`] reads what is
//! left of a log that is refused, names the holes, and writes the good prefix as a new log;
//! [`inspect`] shows every frame of a file. The command `drystone-wal` (package
//! `drystone-wal-cli`) does these from a terminal.
//!
//! # Absent
//!
//! Reading beside a live writer from another process, memory-mapped reading, direct I/O,
//! compression, encryption. None of them needs another format on disk.

#![forbid(unsafe_code)]

mod types;

mod config;
mod error;
mod format;

mod commit;
mod wal;

mod core;
mod queue;
mod sync;

mod spare;
mod truncate;
mod writer;

mod found;
mod recovery;
mod report;
mod scan;
mod view;
mod witness;

pub mod inspect;
mod salvage;

mod crc;
mod patchy;
mod survey;
mod window;

mod catalog;
mod reader;
mod segment;

pub use commit::Commit;
pub use config::{Options, Writer};
pub use error::{Damage, Error, Result};
pub use found::Found;
pub use reader::{Iter, Recovered};
pub use report::{Cut, Report, Short};
pub use salvage::{Hole, Loss, Remain, Salvage};
pub use types::Lsn;
pub use view::View;
pub use wal::Wal;
