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
//! the log has lost. Otherwise it starts with a lost end and a lost vote, which costs it its vote
//! until a leader has shown what is committed, and nothing else.
//!
//! The new log is not believed before it is whole. The damaged one is never changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use drystone_vfs::Vfs;
use drystone_wal::{Hole, Lsn, Salvage, Wal};

use crate::store::book::Book;
use crate::store::error::{Error, Result};
use crate::store::record::{GroupId, Record};
use crate::store::recovery::{Reading, declare_whole, log_dir};
use crate::store::snapshots::Snapshots;
use crate::store::{Options, Shelf, Store};

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
    let salvage = Wal::salvage(&**vfs, &log)?;
    if salvage.holes().is_empty() {
        return Err(error.into());
    }
    let mut reading = Reading::default();
    for record in records(&salvage) {
        let (lsn, bytes) = record?;
        reading.take(lsn, &bytes).map_err(|what| Error::corrupt(&log, lsn.0, what))?;
    }
    let unexplained = suspect(&mut reading, salvage.holes());
    reading.doubtful |= unexplained;
    let mut groups = Vec::new();
    for (group, book) in &mut reading.books {
        if book.close(snapshots.newest(*group)?.as_ref()) {
            groups.push(*group);
        }
    }
    groups.sort_unstable();
    carry(vfs, dir, number + 1, options, snapshots, &salvage, &reading)?;
    let (holes, doubtful) = (salvage.holes().to_vec(), reading.doubtful);
    Ok(Repaired { damage: Damage { log, holes, groups, doubtful }, life: reading.life })
}

/// Every sound record, in the order of the log.
fn records(salvage: &Salvage) -> impl Iterator<Item = drystone_wal::Result<(Lsn, Bytes)>> {
    let remains = salvage.remains().map(|remain| remain.map(|remain| (remain.lsn, remain.bytes)));
    salvage.records().chain(remains)
}

/// Suspects the groups that have no record behind the last hole, unless every record that is lost
/// is accounted for. Says whether not.
fn suspect(reading: &mut Reading, holes: &[Hole]) -> bool {
    let count = |hole: &Hole| match (hole.first_lost, hole.last_lost) {
        (Some(first), Some(last)) => Some((last.0 + 1).saturating_sub(first.0)),
        _ => None,
    };
    let lost: Option<u64> = holes.iter().map(count).sum();
    if lost == Some(reading.lost) {
        return false;
    }
    let explained = reading.lost;
    let place = |hole: &Hole| hole.first_lost.or(hole.last_lost);
    let end = holes.last().and_then(place).unwrap_or(Lsn(u64::MAX));
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
    clear(&**vfs, &log)?;
    let (wal, _) = Wal::open(Arc::clone(vfs), &log, options.wal.clone())?;
    let store = Store {
        options: options.clone(),
        wal,
        snapshots: snapshots.clone(),
        life: 0,
        damage: None,
        shelf: std::sync::Mutex::new(Shelf { own_serial: 1, ..Shelf::default() }),
    };
    let mut batch = store.batch();
    batch.start(reading.life, reading.doubtful);
    let mut groups: Vec<(&GroupId, &Book)> = reading.books.iter().collect();
    groups.sort_by_key(|(group, _)| **group);
    for (group, book) in &groups {
        batch.adopt(**group, book);
    }
    for record in records(salvage) {
        let (lsn, bytes) = record?;
        let Ok((group, _, Record::Entry(entry) | Record::Mended(entry))) = Record::decode(&bytes)
        else {
            continue;
        };
        if reading.books[&group].stands_at(entry.index, lsn) {
            batch.adopt_entry(group, &entry);
        }
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
