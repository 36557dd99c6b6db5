//! A look at a store that changes nothing.
//!
//! Opening a store carries what is sound of a damaged log to a new one, and leaves it to the other
//! members to send what is lost. A group without others has nobody to ask: whoever runs one looks
//! first, and refuses.
//!
//! ```text
//!     log ──► read-only ──┬─ sound: the books as an opening would find them
//!                         └─ damaged: why, and what the sound records around it say
//! ```
//!
//! The log is read once more when it is opened. That is the price of a refusal that leaves every
//! byte as it was.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_vfs::Vfs;
use drystone_wal::{Lsn, Wal};

use crate::configuration::Configuration;
use crate::store::error::{Error, Result};
use crate::store::record::GroupId;
use crate::store::recovery::{Reading, current, is_whole, log_dir, read_all};
use crate::store::{Options, Store, home, last, repair};
use crate::types::Index;

/// What a look at a store told.
#[derive(Debug)]
pub struct Survey {
    log: PathBuf,
    damage: Option<Error>,
    reading: Reading,
}

impl Survey {
    /// Where the log is that an opening would go on with.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Why the log is not what it should be. An opening would mend what can be mended.
    pub fn damage(&self) -> Option<&Error> {
        self.damage.as_ref()
    }

    /// Whether something is known of the group.
    pub fn has(&self, group: GroupId) -> bool {
        self.reading.books.contains_key(&group)
    }

    /// The newest members that sound records name, whether or not they are committed. Nobody if
    /// there are none.
    pub fn members(&self, group: GroupId) -> Configuration {
        let book = self.reading.books.get(&group);
        book.and_then(super::book::Book::newest_members).unwrap_or_default()
    }

    /// The last entry that was compacted away, and the last that the log has.
    pub fn span(&self, group: GroupId) -> (Index, Index) {
        let book = self.reading.books.get(&group);
        book.map_or_else(Default::default, |book| (book.base.index, book.last.index))
    }
}

impl Store {
    /// Looks at the store in `dir` as [`Store::open`] would, and changes nothing. `None` if there
    /// is none yet.
    ///
    /// # Errors
    /// Those of [`Store::open`].
    pub fn survey(vfs: &Arc<dyn Vfs>, dir: &Path, options: &Options) -> Result<Option<Survey>> {
        match vfs.list(dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            names => drop(names.map_err(|e| Error::io("list", dir, e))?),
        }
        let dir = &home::find(&**vfs, dir, options.log_dir.as_deref())?;
        if let Err(error) = vfs.list(dir)
            && error.kind() == std::io::ErrorKind::NotFound
        {
            return Ok(None);
        }
        let log = log_dir(dir, current(&**vfs, dir)?);
        match vfs.list(&log) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            names => drop(names.map_err(|e| Error::io("list", &log, e))?),
        }
        let noted = last::noted(&**vfs, &log);
        let wal = options.wal.clone().min_lsn(noted);
        let damage = match Wal::open_read_only(Arc::clone(vfs), &log, &wal) {
            Ok(view) => {
                let reading = read_all(&log, view.records())?;
                return Ok(Some(Survey { log, damage: None, reading }));
            }
            // A log that was begun and never declared whole is none.
            Err(drystone_wal::Error::NoLog { .. }) if !is_whole(&**vfs, &log)? => return Ok(None),
            Err(error @ drystone_wal::Error::NoLog { .. }) => {
                let damage = Some(error.into());
                return Ok(Some(Survey { log, damage, reading: Reading::default() }));
            }
            Err(error @ drystone_wal::Error::Corrupt { .. }) => error,
            Err(error) => return Err(error.into()),
        };
        let reading = remains(&**vfs, &log)?;
        Ok(Some(Survey { log, damage: Some(damage.into()), reading }))
    }
}

/// What the sound records of a damaged log say.
fn remains(vfs: &dyn Vfs, log: &Path) -> Result<Reading> {
    let mut reading = Reading::default();
    let salvage = match Wal::salvage(vfs, log) {
        Err(drystone_wal::Error::NoLog { .. }) => return Ok(reading),
        salvage => salvage?,
    };
    for record in repair::records(&salvage) {
        let (lsn, bytes): (Lsn, _) = record?;
        reading.take(lsn, &bytes).map_err(|what| Error::corrupt(log, lsn.0, what))?;
    }
    Ok(reading)
}
