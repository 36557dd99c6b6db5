//! Carrying what is sound of a damaged log to a new one.
//!
//! ```text
//!     log-1   Head 7 │ e3 │ e4 │ ░░░░░░░░░░ │ Head 7 │ e9 │ Head 8 …
//!                     serials 5, 6          serial 12: five records of group 7 are lost;
//!                                           its head says where the log ended before it
//!     log-2   Mark 7 │ e3 │ e4 │ Gap 5–8 │ e9 │ Head 7 │ Mark 8 …
//! ```
//!
//! Which groups have lost something is known from the serials: a group whose next record has the
//! next serial has lost nothing, whatever the damage. One that has no record behind the damage may
//! have lost its newest; it is cleared if the serials of the others account for every record that
//! the log has lost. So that there is one behind most damage, all groups repeat their heads when a
//! store is opened and closed. Otherwise it starts with a lost end and a lost vote, which costs it
//! its vote until a leader has sent it again what it may have had.
//!
//! The new log is not believed before it is whole. The damaged one is never changed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use drystone_vfs::Vfs;
use drystone_wal::{Hole, Lsn, Salvage, Wal};

use crate::store::book::Book;
use crate::store::error::{Error, Result};
use crate::store::record::{GroupId, Record};
use crate::store::recovery::{Reading, declare_whole, log_dir};
use crate::store::snapshots::Snapshots;
use crate::store::{Options, Shelf, Store, last};

/// What was damaged when a store was opened.
#[derive(Debug)]
#[non_exhaustive]
pub struct Damage {
    /// The damaged log, as it was found. Nothing needs it any more but a person.
    pub log: PathBuf,
    /// Where it is damaged.
    pub holes: Vec<Hole>,
    /// The groups that miss something, or may.
    pub groups: Vec<GroupId>,
    /// Groups may have been lost that nothing is known of: whoever creates one here gets one that
    /// does not vote before it has heard from a leader.
    pub doubtful: bool,
}

pub(crate) struct Repaired {
    pub(crate) damage: Damage,
    pub(crate) life: u64,
}

pub(crate) fn repair(
    vfs: &Arc<dyn Vfs>,
    dir: &Path,
    number: u64,
    options: &Options,
    snapshots: &Snapshots,
    error: drystone_wal::Error,
) -> Result<Repaired> {
    let log = log_dir(dir, number);
    let salvage = match Wal::salvage(&**vfs, &log) {
        Ok(salvage) => salvage,
        Err(drystone_wal::Error::NoLog { .. }) => {
            let damage = replace(vfs, dir, number, options, snapshots)?;
            return Ok(Repaired { damage, life: 0 });
        }
        Err(error) => return Err(error.into()),
    };
    let noted = last::noted(&**vfs, &log);
    let mut end = Lsn::NONE;
    let mut reading = Reading::default();
    for record in records(&salvage) {
        let (lsn, bytes) = record?;
        end = lsn;
        reading.take(lsn, &bytes).map_err(|what| Error::corrupt(&log, lsn.0, what))?;
    }
    let tail = noted.0.saturating_sub(end.0);
    if salvage.holes().is_empty() && tail == 0 {
        return Err(error.into());
    }
    let unexplained = suspect(&mut reading, salvage.holes(), tail);
    reading.doubtful |= unexplained;
    let mut groups = Vec::new();
    for (group, book) in &mut reading.books {
        let here = |at, taken| book.may_hold(at, taken);
        if book.close(snapshots.newest_where(*group, here)?.as_ref()) {
            groups.push(*group);
        }
    }
    groups.sort_unstable();
    carry(vfs, dir, number + 1, options, snapshots, &salvage, &reading)?;
    let (holes, doubtful) = (salvage.holes().to_vec(), reading.doubtful);
    Ok(Repaired { damage: Damage { log, holes, groups, doubtful }, life: reading.life })
}

/// Makes a new log in the place of one that is gone. Whoever was in it is not known, and nothing of
/// what they promised: those who come back do not vote until a leader has sent them all again.
pub(crate) fn replace(
    vfs: &Arc<dyn Vfs>,
    dir: &Path,
    number: u64,
    options: &Options,
    snapshots: &Snapshots,
) -> Result<Damage> {
    let log = log_dir(dir, number + 1);
    let store = fresh(vfs, &log, options, snapshots)?;
    let mut batch = store.batch();
    batch.start(0, true);
    drop(batch.commit()?);
    store.close()?;
    declare_whole(&**vfs, &log)?;
    let (holes, groups) = (Vec::new(), Vec::new());
    Ok(Damage { log: log_dir(dir, number), holes, groups, doubtful: true })
}

/// A store over an empty log.
fn fresh(
    vfs: &Arc<dyn Vfs>,
    log: &Path,
    options: &Options,
    snapshots: &Snapshots,
) -> Result<Store> {
    clear(&**vfs, log)?;
    let (wal, _) = Wal::open(Arc::clone(vfs), log, options.wal.clone())?;
    Ok(Store {
        log: log.to_path_buf(),
        options: options.clone(),
        wal,
        snapshots: snapshots.clone(),
        life: 0,
        damage: None,
        shelf: Mutex::new(Shelf { own_serial: 1, ..Shelf::default() }),
        _lock: None,
    })
}

/// Every sound record, in the order of the log.
pub(crate) fn records(
    salvage: &Salvage,
) -> impl Iterator<Item = drystone_wal::Result<(Lsn, Bytes)>> {
    let remains = salvage.remains().map(|remain| remain.map(|remain| (remain.lsn, remain.bytes)));
    salvage.records().chain(remains)
}

/// Suspects the groups that have no record behind the last hole, or all if `tail` records are known
/// to be lost from the end, unless every record that is lost is accounted for. Says whether not.
fn suspect(reading: &mut Reading, holes: &[Hole], tail: u64) -> bool {
    let count = |hole: &Hole| match (hole.first_lost, hole.last_lost) {
        (Some(first), Some(last)) => Some((last.0 + 1).saturating_sub(first.0)),
        _ => None,
    };
    let lost: Option<u64> = holes.iter().map(count).sum();
    let lost = lost.map(|lost| lost + tail);
    if lost == Some(reading.lost) {
        return false;
    }
    let explained = reading.lost;
    let place = |hole: &Hole| hole.first_lost.or(hole.last_lost);
    let end = match holes.last() {
        Some(last) if tail == 0 => place(last).unwrap_or(Lsn(u64::MAX)),
        _ => Lsn(u64::MAX),
    };
    for book in reading.books.values_mut().filter(|book| book.latest < end) {
        book.suspect(lost.map_or(u64::MAX, |lost| lost.saturating_sub(explained)));
    }
    true
}

/// Writes a new log with all that is worth keeping.
fn carry(
    vfs: &Arc<dyn Vfs>,
    dir: &Path,
    number: u64,
    options: &Options,
    snapshots: &Snapshots,
    salvage: &Salvage,
    reading: &Reading,
) -> Result<()> {
    let log = log_dir(dir, number);
    let store = fresh(vfs, &log, options, snapshots)?;
    let mut batch = store.batch();
    batch.start(reading.life, reading.doubtful);
    let mut groups: Vec<(&GroupId, &Book)> = reading.books.iter().collect();
    groups.sort_by_key(|(group, _)| **group);
    for (group, book) in &groups {
        batch.adopt(**group, book);
    }
    for record in records(salvage) {
        let (lsn, bytes) = record?;
        let (group, mut entries) = match Record::decode(&bytes) {
            Ok((group, _, Record::Run(entries))) => (group, entries),
            Ok((group, _, Record::Mended(entry))) => (group, vec![entry]),
            _ => continue,
        };
        entries.retain(|entry| reading.books[&group].stands_at(entry.index, lsn));
        batch.adopt_entries(group, &entries);
        if batch.bytes() >= BATCH_BYTES {
            drop(batch.commit()?);
            batch = store.batch();
        }
    }
    for (group, book) in &groups {
        batch.adopted(**group, book);
    }
    // Closing waits for all of it.
    drop(batch.commit()?);
    store.close()?;
    declare_whole(&**vfs, &log)
}

/// Records are carried over in groups of about this size.
const BATCH_BYTES: usize = 1 << 20;

/// Removes what an unfinished repair left.
fn clear(vfs: &dyn Vfs, log: &Path) -> Result<()> {
    vfs.create_dir_all(log).map_err(|e| Error::io("make", log, e))?;
    for name in vfs.list(log).map_err(|e| Error::io("list", log, e))? {
        let path = log.join(name);
        vfs.remove(&path).map_err(|e| Error::io("remove", &path, e))?;
    }
    vfs.sync_dir(log).map_err(|e| Error::io("sync", log, e))
}
