//! Opening a store: which log is the one, and what it says.
//!
//! ```text
//!     dir/log-1/          the log, until it is damaged; dir may be another than that of snapshots
//!     dir/log-2/          what was sound of it; the first is kept
//!     dir/log-2/WHOLE     all of that was carried over, durably; in log-1: it was made
//!     dir/snapshots/
//! ```
//!
//! The log with the greatest number that is whole is the one. The first needs nothing carried over.
//! One that is whole and has no file is lost, and not new.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use drystone_vfs::{OpenMode, Vfs};
use drystone_wal::{Lsn, Wal};

use crate::store::book::Book;
use crate::store::error::{Error, Result};
use crate::store::record::{GroupId, Record};
use crate::store::repair::{self, Damage};
use crate::store::snapshots::Snapshots;
use crate::store::{Options, Shelf, Store, home, last};

const WHOLE: &str = "WHOLE";

/// What a log says.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) books: HashMap<GroupId, Book>,
    own_serial: Option<u64>,
    own_lsn: Lsn,
    pub(crate) life: u64,
    pub(crate) doubtful: bool,
    /// Records whose serials are missing.
    pub(crate) lost: u64,
    /// The books are.
    coarse: bool,
}

impl Reading {
    /// For one who only looks on: it takes little memory, whatever the log's length.
    pub(crate) fn coarse() -> Reading {
        Reading { coarse: true, ..Reading::default() }
    }

    /// Takes in the next record. The error is what cannot be.
    pub(crate) fn take(&mut self, lsn: Lsn, bytes: &[u8]) -> std::result::Result<(), &'static str> {
        let (group, serial, record) = Record::decode(bytes)?;
        if let Record::Start { life, doubtful } = record {
            self.life = self.life.max(life);
            self.doubtful |= doubtful;
            self.lost += serial.saturating_sub(self.own_serial.unwrap_or(serial));
            (self.own_serial, self.own_lsn) = (Some(serial + 1), lsn);
            return Ok(());
        }
        let new = if self.coarse { Book::coarse } else { Book::default };
        let book = self.books.entry(group).or_insert_with(new);
        self.lost += book.take(lsn, serial, &record)?;
        book.bytes += bytes.len() as u64;
        Ok(())
    }
}

pub(crate) fn log_dir(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("log-{number}"))
}

/// The number of the log that is the one.
pub(crate) fn current(vfs: &dyn Vfs, dir: &Path) -> Result<u64> {
    let mut current = 1;
    for name in vfs.list(dir).map_err(|e| Error::io("list", dir, e))? {
        let number = name.to_str().and_then(|name| name.strip_prefix("log-")?.parse().ok());
        let Some(number) = number.filter(|number: &u64| *number > current) else { continue };
        if is_whole(vfs, &log_dir(dir, number))? {
            current = number;
        }
    }
    Ok(current)
}

/// Whether all is carried over to a log.
pub(crate) fn is_whole(vfs: &dyn Vfs, log: &Path) -> Result<bool> {
    let names = vfs.list(log).map_err(|e| Error::io("list", log, e))?;
    Ok(names.iter().any(|name| name == WHOLE))
}

/// Says that all is carried over to a log.
pub(crate) fn declare_whole(vfs: &dyn Vfs, log: &Path) -> Result<()> {
    let path = log.join(WHOLE);
    let made = vfs.open(&path, OpenMode::Create).and_then(|file| file.sync_data());
    made.and_then(|()| vfs.sync_dir(log)).map_err(|e| Error::io("make", &path, e))
}

pub(crate) fn open(vfs: Arc<dyn Vfs>, dir: &Path, options: Options) -> Result<Store> {
    vfs.create_dir_all(dir).map_err(|e| Error::io("make", dir, e))?;
    let snapshots = Snapshots::open(vfs, &dir.join("snapshots"))?;
    let vfs = &snapshots.vfs();
    let home = home::take(&**vfs, dir, &options)?;
    let dir = &*home.logs;
    Ok(Store { _lock: home.lock, ..open_log(vfs, dir, options, snapshots)? })
}

/// Opens the store whose logs are in `dir`.
fn open_log(
    vfs: &Arc<dyn Vfs>,
    dir: &Path,
    options: Options,
    snapshots: Snapshots,
) -> Result<Store> {
    let number = current(&**vfs, dir)?;
    let log = log_dir(dir, number);
    match read(vfs, &log, &options) {
        Ok((wal, reading)) => build(log, options, snapshots, wal, reading, None),
        Err(Error::Log(error @ drystone_wal::Error::Corrupt { .. })) => {
            let found = repair::repair(vfs, dir, number, &options, &snapshots, error)?;
            let log = log_dir(dir, number + 1);
            let (wal, mut reading) = read(vfs, &log, &options)?;
            reading.life = reading.life.max(found.life);
            let damage = Some(found.damage);
            build(log, options, snapshots, wal, reading, damage)
        }
        Err(Error::Log(drystone_wal::Error::NoLog { .. })) => {
            let damage = Some(repair::replace(vfs, dir, number, &options, &snapshots)?);
            let log = log_dir(dir, number + 1);
            let (wal, reading) = read(vfs, &log, &options)?;
            build(log, options, snapshots, wal, reading, damage)
        }
        Err(error) => Err(error),
    }
}

/// Opens one log, and reads it.
fn read(vfs: &Arc<dyn Vfs>, log: &Path, options: &Options) -> Result<(Wal, Reading)> {
    let min = last::noted(&**vfs, log);
    let found = Wal::find(Arc::clone(vfs), log, options.wal.clone().min_lsn(min))?;
    let whole = is_whole(&**vfs, log)?;
    if whole && found.view().is_none() {
        return Err(drystone_wal::Error::NoLog { dir: log.to_path_buf() }.into());
    }
    let reading = read_all(log, found.records())?;
    let (wal, _) = found.open()?;
    if !whole {
        declare_whole(&**vfs, log)?;
    }
    Ok((wal, reading))
}

pub(crate) fn read_all(
    log: &Path,
    records: impl Iterator<Item = drystone_wal::Result<(Lsn, Bytes)>>,
) -> Result<Reading> {
    let mut reading = Reading::default();
    for record in records {
        let (lsn, bytes) = record?;
        reading.take(lsn, &bytes).map_err(|what| Error::corrupt(log, lsn.0, what))?;
    }
    if reading.lost > 0 {
        return Err(Error::corrupt(log, 0, "records are missing that the log does not miss"));
    }
    Ok(reading)
}

fn build(
    log: PathBuf,
    options: Options,
    snapshots: Snapshots,
    wal: Wal,
    reading: Reading,
    damage: Option<Damage>,
) -> Result<Store> {
    if reading.books.values().any(|book| book.mark.is_none()) {
        return Err(Error::corrupt(&log, 0, "a group that does not say where it begins"));
    }
    let wall = u64::try_from(options.clock.wall().as_millis()).unwrap_or(0);
    let life = wall.max(reading.life + 1);
    let shelf = Shelf {
        books: reading.books,
        own_serial: reading.own_serial.unwrap_or(1),
        own_lsn: reading.own_lsn,
        doubtful: reading.doubtful,
        ..Shelf::default()
    };
    let shelf = Mutex::new(shelf);
    let store = Store { log, options, wal, snapshots, life, damage, shelf, _lock: None };
    let mut batch = store.batch();
    let doubtful = batch.is_doubtful();
    batch.start(life, doubtful);
    batch.roll();
    if let Some(commit) = batch.commit()? {
        let last = commit.wait()?;
        last::note(&*store.snapshots.vfs(), &store.log, last)?;
    }
    Ok(store)
}
