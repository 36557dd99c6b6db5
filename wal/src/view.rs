//! A log opened for reading alone.
//!
//! **The problem.** An operator wants to know what is in the log of a server that is down; a tool
//! wants to copy it from a snapshot of a disk that cannot be written. Opening in order to append is
//! not for them: it makes files, cuts the torn tail, takes the log for itself.
//!
//! **The idea.** Recovery is decided before it is carried out (see [`recovery`](crate::recovery)).
//! A view stops after the decision, and reads as if it had been carried out:
//!
//! ```text
//!   Wal::open_read_only ─► shared lock, verify ─► View ─┬─ report()            how it was found
//!                          nothing is written           ├─ records(), iter()   the records
//!                                                       └─ drop
//! ```
//!
//! **Promises.** The same checks as [`Wal::open`](crate::Wal::open), the same errors, and not one
//! byte changed: no lock file, no directory, no repair. Many views share a log; a view and an open
//! log exclude each other, at once, with [`Error::Locked`].
//!
//! **Left out.** Reading beside a live writer: what is acknowledged is known to the writer alone.
//! [`inspect`](crate::inspect) looks at any file at any time, and promises less.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use drystone_vfs::{Lock, Vfs};

use crate::catalog::Catalog;
use crate::config::Options;
use crate::error::{Error, Result};
use crate::found::{LOCK_NAME, check_may_be_fresh};
use crate::reader::{Iter, Recovered};
use crate::recovery::{self, Verified};
use crate::report::Report;
use crate::types::Lsn;

/// The records of a log that nobody can change meanwhile. Its iterators keep writers out too, for
/// as long as they live.
#[derive(Debug)]
pub struct View {
    catalog: Arc<Catalog>,
    report: Report,
    /// Nothing if nobody has ever locked the log, or if the lock is another's care.
    lock: Option<Arc<Lock>>,
}

impl View {
    pub(crate) fn open(vfs: Arc<dyn Vfs>, dir: &Path, options: &Options) -> Result<View> {
        options.validate()?;
        let missing = || {
            check_may_be_fresh(dir, options)?;
            Err(Error::NoLog { dir: dir.to_path_buf() })
        };
        match vfs.list(dir) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return missing(),
            Err(e) => return Err(Error::io("list", dir, e)),
        }
        loop {
            let lock = lock_shared(&*vfs, dir)?;
            let verified = recovery::verify(&*vfs, dir);
            // Without a lock to take, the first writer ever may have come by meanwhile.
            if lock.is_none() && lock_shared(&*vfs, dir)?.is_some() {
                continue;
            }
            let Some(verified) = verified? else {
                return missing();
            };
            recovery::check_min(&verified, options.min_lsn)?;
            return Ok(View::of(vfs, dir, &verified, lock));
        }
    }

    /// A view of what has been verified, before any repair.
    pub(crate) fn of(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        verified: &Verified,
        lock: Option<Lock>,
    ) -> View {
        let segments = verified.segments_as_named(dir);
        let catalog = Catalog::new(vfs, dir.to_path_buf(), segments, verified.last);
        let report = verified.report.clone();
        View { catalog: Arc::new(catalog), report, lock: lock.map(Arc::new) }
    }

    /// How the log was found, and what an open would cut.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The first record; one past the last if there is none.
    pub fn first_lsn(&self) -> Lsn {
        self.report.first
    }

    /// The last record.
    pub fn last_lsn(&self) -> Lsn {
        self.report.last
    }

    /// All records, oldest first.
    pub fn records(&self) -> Recovered {
        Recovered::of(self.iter(self.first_lsn()), self.report.clone())
    }

    /// The records from `from` on.
    pub fn iter(&self, from: Lsn) -> Iter {
        Iter::new(Arc::clone(&self.catalog), from).holding(self.lock.clone())
    }

    /// One record.
    ///
    /// # Errors
    /// [`Missing`](Error::Missing) if the log does not hold it.
    pub fn read(&self, lsn: Lsn) -> Result<Bytes> {
        self.iter(lsn).read_one(lsn)
    }

    /// Bytes of the segment files, zeros included.
    pub fn bytes(&self) -> u64 {
        self.catalog.bytes()
    }
}

/// The log's lock, shared; nothing if there is none to take.
pub(crate) fn lock_shared(vfs: &dyn Vfs, dir: &Path) -> Result<Option<Lock>> {
    match vfs.lock_shared(&dir.join(LOCK_NAME)) {
        Ok(lock) => Ok(Some(lock)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            Err(Error::Locked { dir: dir.to_path_buf() })
        }
        Err(e) => Err(Error::io("lock", dir, e)),
    }
}
