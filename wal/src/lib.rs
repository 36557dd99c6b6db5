//! A write-ahead log: append records, learn when they are durable, get them back after a crash.
//!
//! **The problem.** A program that answers "saved" must find what it saved after the power fails,
//! and must not mistake a damaged disk for a short log. Syncing each record is slow; trusting
//! whatever bytes are found is worse.
//!
//! **The idea.** One thread writes; what is appended while it waits for the disk becomes its next
//! write, so that many callers share one sync. Every frame says how far the log was durable when it
//! was written, so that recovery can tell a *torn tail* (never acknowledged: cut) from *corruption*
//! (acknowledged, then damaged: refuse).
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
//! * Opening changes nothing on disk before the whole log is verified; with [`Wal::find`], not
//!   before the caller has looked at the records either.
//! * The first failed write or sync ends the log for everyone ([`Error::Poisoned`]); nothing is
//!   ever written twice in the hope that it works.
//! * Memory is bounded: two buffers, one window for each reader, and the largest record.
//!
//! # Absent, on purpose or for now
//!
//! Salvage of a corrupt log, opening beside a writer, memory-mapped reading, a command line to look
//! into segments, direct I/O, compression, encryption. None of them needs another format on disk.
//!
//! Read on in [`Wal`], then [`Commit`]; in the source, `format.rs`, then `scan.rs` for the verdict.

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
mod scan;
mod window;

mod catalog;
mod reader;
mod segment;

pub use commit::Commit;
pub use config::{Options, Writer};
pub use error::{Damage, Error, Result};
pub use found::Found;
pub use reader::{Iter, Recovered};
pub use recovery::{Cut, Report};
pub use types::Lsn;
pub use wal::Wal;
