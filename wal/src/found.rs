//! A log that has been looked through and not yet touched.
//!
//! ```text
//!   Wal::find ─► lock, verify ─► Found ─┬─ view()   read, as often as you like
//!                nothing is written     ├─ open()   repair, and take over
//!                                       └─ drop     as if nobody had been here
//! ```
//!
//! What makes a log right is not known to the log alone: its records may not fit what their reader
//! has from elsewhere, or come from a newer program. A caller that checks them before it opens the
//! log can refuse without having changed a byte.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use drystone_vfs::{Lock, Vfs};

use crate::config::Options;
use crate::error::{Damage, Error, Result};
use crate::reader::Recovered;
use crate::recovery::{self, Verified};
use crate::report::Report;
use crate::types::Lsn;
use crate::view::View;
use crate::wal::Wal;
use crate::writer::first_segment;

/// The file whose lock keeps a second opener out.
pub(crate) const LOCK_NAME: &str = "LOCK";

/// A log that is locked and verified, and of which no byte has been changed.
#[derive(Debug)]
pub struct Found {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    options: Options,
    lock: Lock,
    /// Nothing if the directory holds no log.
    log: Option<(Verified, View)>,
}

impl Found {
    pub(crate) fn find(vfs: Arc<dyn Vfs>, dir: &Path, options: Options) -> Result<Found> {
        options.validate()?;
        let lock = lock_dir(&*vfs, dir, &options)?;
        let verified = recovery::verify(&*vfs, dir)?;
        match &verified {
            Some(found) => recovery::check_min(found, options.min_lsn)?,
            None => check_may_be_fresh(dir, &options)?,
        }
        let log = verified.map(|found| {
            let view = View::of(Arc::clone(&vfs), dir, &found, None);
            (found, view)
        });
        Ok(Found { vfs, dir: dir.to_path_buf(), options, lock, log })
    }

    /// The log as it was found, for reading; nothing if there is none. What is read is durable for
    /// sure only once the log is open.
    pub fn view(&self) -> Option<&View> {
        self.log.as_ref().map(|(_, view)| view)
    }

    /// How the log was found; nothing if there is none.
    pub fn report(&self) -> Option<&Report> {
        self.view().map(View::report)
    }

    /// The records found, oldest first. They are durable for sure only once the log is open.
    pub fn records(&self) -> impl Iterator<Item = Result<(Lsn, Bytes)>> + use<> {
        self.view().map(View::records).into_iter().flatten()
    }

    /// Repairs the log, or makes a fresh one, and takes it over.
    ///
    /// # Errors
    /// Those of [`Wal::open`] that tell of a disk that refuses.
    pub fn open(self) -> Result<(Wal, Recovered)> {
        let Found { vfs, dir, options, lock, log } = self;
        let found = match log {
            Some((mut found, _)) => {
                recovery::repair(&*vfs, &dir, &mut found)?;
                found
            }
            None => fresh(&vfs, &dir, &options)?,
        };
        Wal::resume(vfs, &dir, &options, lock, found)
    }
}

/// Locks the directory, making it first unless the log must be there already.
fn lock_dir(vfs: &dyn Vfs, dir: &Path, options: &Options) -> Result<Lock> {
    match vfs.list(dir) {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            check_may_be_fresh(dir, options)?;
            vfs.create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
        }
        Err(e) => return Err(Error::io("list", dir, e)),
    }
    vfs.lock(&dir.join(LOCK_NAME)).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => Error::Locked { dir: dir.to_path_buf() },
        _ => Error::io("lock", dir, e),
    })
}

/// A directory without a log is refused if the caller knows that there was one.
pub(crate) fn check_may_be_fresh(dir: &Path, options: &Options) -> Result<()> {
    if options.min_lsn == Lsn::NONE || options.first_lsn.is_some() {
        return Ok(());
    }
    let reason = Damage::EndsEarly { found: Lsn::NONE, expected: options.min_lsn };
    Err(Error::Corrupt { file: dir.to_path_buf(), offset: 0, lsn: Lsn(1), reason })
}

/// Makes a log in a directory that holds none.
fn fresh(vfs: &Arc<dyn Vfs>, dir: &Path, options: &Options) -> Result<Verified> {
    recovery::remove_leftovers(&**vfs, dir)?;
    let log_id = options.log_id.unwrap_or_else(|| RandomState::new().hash_one(dir));
    let segment = first_segment(vfs, dir, options, log_id)?;
    let first = segment.first_lsn();
    let report = Report {
        first,
        last: first.previous(),
        segments: 1,
        closed: false,
        fresh: true,
        cut: None,
        short: None,
    };
    Ok(Verified::fresh(segment, report))
}
