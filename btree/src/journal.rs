//! A log beside the file, for [`Sync::Journal`](crate::Sync::Journal): what makes a small commit a
//! small write.
//!
//! **The problem.** A transaction that changes one record changes a page on each level of the tree:
//! five pages are written and synced for a hundred bytes. And pages that the next transaction
//! replaces at once are written all the same.
//!
//! **The idea.** The pages stay in memory; what is written and synced is what the transaction did.
//! When enough pages wait, they are flushed as ever, all commits since the last flush together, and
//! the record in the slot says from where on the log is still needed.
//!
//! ```text
//!     commit 7 ──► log: put a, delete b ──► sync ──► durable        [file: state 4, log from 5]
//!     commit 8 ──► log: put a           ──► sync ──► durable
//!                                  flush: pages of state 8 ───────► [file: state 8, log from 9]
//!     opening: state 4, then 5, 6, 7, 8 out of the log
//! ```
//!
//! **The log never ends before the file.** A flush waits until the log has everything that its
//! state has. So a log that ends earlier has lost something, and is noticed; and no position is
//! used twice.
//!
//! **Failure.** If the log cannot be written, nobody knows which of the last commits are on disk.
//! Commits are refused from then on, and readers are taken back to the last state known to be
//! durable. That state has to be there: each commit whose outcome is open is *kept*, with a pin, as
//! a reader would, until the log says that it is on disk.
//!
//! **When the database is closed** all pages are flushed, the file forgets the log, and then it is
//! removed: the file alone is the database. A log that the file does not know of is what a crash
//! left there, if it has nothing new; if it has, the file is an old copy, and refused.

mod ops;
mod replay;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use drystone_wal::{Lsn, Wal};
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::readers::Readers;
use crate::root::Root;
use crate::store::Body;
use crate::types::TxnId;

pub(crate) use ops::{Op, Ops};
pub(crate) use replay::{Plan, find};

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    wal: Wal,
    /// The last state known to be durable, and those after it, in their order: one of them may have
    /// to be gone back to. `space` keeps their pages.
    kept: Mutex<VecDeque<Root>>,
    /// Bytes appended since the last flush began.
    pending_bytes: AtomicU64,
    /// An append or a sync has failed.
    failed: AtomicBool,
}

impl Journal {
    /// Everything in the log so far is durable, and part of the newest state.
    fn new(wal: Wal, body: &Body) -> Journal {
        let anchor = body.readers.newest();
        body.readers.settle(&anchor);
        Journal {
            wal,
            kept: Mutex::new(VecDeque::from([anchor])),
            pending_bytes: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        }
    }

    /// Puts a record behind the others. One at a time, in the order of the commits.
    pub(crate) fn append(&self, record: &[u8]) -> Result<drystone_wal::Commit> {
        let commit = self.checked(self.wal.append(&[record]))?;
        self.pending_bytes.fetch_add(record.len() as u64, Ordering::Relaxed);
        Ok(commit)
    }

    /// A promise that everything appended so far is durable.
    pub(crate) fn everything(&self) -> Result<drystone_wal::Commit> {
        self.checked(self.wal.append(&[]))
    }

    /// Remembers the newest state until it is known to be durable; called when it is published.
    pub(crate) fn keep_newest(&self, body: &Body) {
        self.kept.lock().push_back(body.readers.newest());
        self.advance(&body.readers);
    }

    /// Looks how far the log is on disk. Returns the last transaction that is.
    pub(crate) fn advance(&self, readers: &Readers) -> TxnId {
        let durable = self.wal.durable();
        let mut kept = self.kept.lock();
        let before = kept[0].txn;
        while kept.get(1).is_some_and(|next| next.lsn <= durable) {
            kept.pop_front();
        }
        let root = &kept[0];
        if root.txn != before {
            readers.settle(root);
        }
        root.txn
    }

    /// The states that may have to be gone back to.
    pub(crate) fn kept(&self) -> Vec<TxnId> {
        self.kept.lock().iter().map(|root| root.txn).collect()
    }

    /// Blocks until the log has everything up to `lsn` on disk.
    pub(crate) fn wait_for(&self, lsn: Lsn) -> Result<()> {
        self.checked(self.wal.wait_durable(lsn)).map(drop)
    }

    /// Bytes appended since the last flush began.
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.pending_bytes.load(Ordering::Relaxed)
    }

    /// A flush begins. What is appended up to now is part of it.
    pub(crate) fn take_pending(&self) -> u64 {
        self.pending_bytes.swap(0, Ordering::Relaxed)
    }

    /// It has failed.
    pub(crate) fn give_back_pending(&self, bytes: u64) {
        self.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The file has what the log has up to `lsn`.
    pub(crate) fn let_go(&self, lsn: Lsn) {
        // What stays is cut by the next flush; a log that cannot be written says so to the next
        // commit.
        drop(self.wal.truncate_prefix(lsn.next()));
    }

    /// Whether nobody knows what of the log is on disk.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Takes note of a failure.
    pub(crate) fn checked<T>(&self, outcome: drystone_wal::Result<T>) -> Result<T> {
        outcome.map_err(|error| {
            let error = error.into();
            if !matches!(error, Error::Closed) {
                self.failed.store(true, Ordering::Release);
            }
            error
        })
    }

    /// Lets go of the log's directory. What is appended later is refused.
    pub(crate) fn close(&self) -> Result<()> {
        Ok(self.wal.clone().close()?)
    }
}

/// The directory of a database's log.
pub(crate) fn dir_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".journal");
    path.with_file_name(name)
}

/// Removes a log that nobody needs. What cannot be removed is found by the next open, and has
/// nothing new.
pub(crate) fn remove(body: &Body) {
    let dir = dir_of(&body.path);
    for name in body.vfs.list(&dir).unwrap_or_default() {
        drop(body.vfs.remove(&dir.join(name)));
    }
}

impl From<drystone_wal::Error> for Error {
    fn from(error: drystone_wal::Error) -> Error {
        use drystone_wal::Error as E;
        match error {
            E::Poisoned { file, cause } => Error::Poisoned { file, cause },
            E::NoSpace { file, cause } => Error::NoSpace { file, cause },
            E::Locked { dir } => Error::Locked { file: dir },
            E::Io { action, path, source } => Error::Io { action, path, source },
            E::Closed => Error::Closed,
            E::Unsupported { file, version } => Error::Unsupported { file, version },
            other => Error::Journal { source: Arc::new(other) },
        }
    }
}
