//! Finding the journal when a database is opened, and doing what it says once more.
//!
//! ```text
//!     the file says      beside it lies           what is done
//!     log from n         the log, up to n - 1 ..  replayed from n on
//!                        nothing, or less         Corrupt: promised records are gone
//!     no log             nothing                  nothing
//!                        a log, nothing new       a crash left it when the log was given up:
//!                                                 removed
//!                        a log with more          Corrupt: the file is older than the log
//! ```
//!
//! Records are read and checked before anything is changed. Then the log is taken over, by which
//! what was found in it is durable, and the operations are done in transactions of some size: a page
//! that a thousand records change is copied once.

use std::io;
use std::path::Path;
use std::sync::Arc;

use drystone_vfs::Vfs;
use drystone_wal::inspect::{self, FrameKind, Header, Part, Role};
use drystone_wal::{Found, Iter, Lsn, Options as WalOptions, View, Wal};

use super::ops::{NoOp, OPS_BYTES_MAX, Op, Record};
use super::{Journal, dir_of, remove};
use crate::config::{Options, Sync, Writer};
use crate::error::{Damage, Error, Result};
use crate::meta::Meta;
use crate::root::Root;
use crate::store::Store;
use crate::write::WriteTxn;

/// A replayed transaction is committed when it holds this much.
const BATCH_BYTES: usize = 32 << 20;

/// Segments are an eighth of what may wait for a flush, within these bounds.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
const SEGMENT_BYTES_MAX: u64 = 16 << 20;

/// What is beside the file, looked through and not yet touched.
pub(crate) struct Plan {
    /// Where the log goes on from the file, if the file speaks of one.
    from: Option<Lsn>,
    log: Log,
}

enum Log {
    Absent,
    /// Nothing in it counts.
    Leftover,
    Found(Box<Found>),
    ReadOnly(Box<View>),
}

/// Looks for the log of the database at `path`, whose record is `meta`, and checks it.
pub(crate) fn find(
    vfs: &Arc<dyn Vfs>,
    path: &Path,
    meta: &Meta,
    options: &Options,
    read_only: bool,
) -> Result<Plan> {
    let dir = dir_of(path);
    let Some(from) = meta.journal else {
        let log = match look_at_leftover(&**vfs, path, meta)? {
            true => Log::Leftover,
            false => Log::Absent,
        };
        return Ok(Plan { from: None, log });
    };
    let missing = || corrupt(path, Damage::JournalMissing);
    let id = log_ids(&**vfs, &dir)?.into_iter().next().ok_or_else(missing)?;
    if id != meta.db_id {
        return Err(corrupt(path, Damage::JournalOfAnother));
    }
    let wal_options = wal_options(options, meta).min_lsn(from.previous());
    let log = if read_only {
        Log::ReadOnly(Box::new(Wal::open_read_only(Arc::clone(vfs), &dir, &wal_options)?))
    } else {
        Log::Found(Box::new(Wal::find(Arc::clone(vfs), &dir, wal_options)?))
    };
    let view = match &log {
        Log::Found(found) => found.view().ok_or_else(missing)?,
        Log::ReadOnly(view) => view,
        Log::Absent | Log::Leftover => return Err(missing()),
    };
    if view.first_lsn() > from {
        return Err(corrupt(path, Damage::JournalMissing));
    }
    check_records(path, meta, view.iter(from))?;
    Ok(Plan { from: Some(from), log })
}

fn corrupt(path: &Path, what: Damage) -> Error {
    Error::Corrupt { file: Arc::from(path), offset: 0, what }
}

/// Whether all of it can be understood.
fn check_records(path: &Path, meta: &Meta, records: Iter) -> Result<()> {
    let mut last = meta.txn;
    for record in records {
        let (lsn, bytes) = record?;
        let bad = || corrupt(path, Damage::JournalRecord(lsn.0));
        let record = Record::decode(&bytes).ok_or_else(bad)?;
        let makes_sense = record.txn > last && record.ops().all(|op| op.is_ok());
        if !makes_sense {
            return Err(bad());
        }
        last = record.txn;
    }
    Ok(())
}

fn wal_options(options: &Options, meta: &Meta) -> WalOptions {
    let segment = (options.unflushed_limits().held / 8).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
    let writer = match options.writer {
        Writer::Thread => drystone_wal::Writer::Thread,
        Writer::Caller => drystone_wal::Writer::Caller,
    };
    WalOptions::default()
        .log_id(meta.db_id)
        .segment_bytes(segment)
        // An operation may be larger than what ends a record.
        .record_bytes_max(2 * OPS_BYTES_MAX)
        .writer(writer)
}

/// The segment files of a directory, and nothing if it is not there.
fn segments(vfs: &dyn Vfs, dir: &Path) -> Result<Vec<inspect::Segment>> {
    let files = match inspect::files(vfs, dir) {
        Ok(files) => files,
        Err(drystone_wal::Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        Err(drystone_wal::Error::NoLog { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let segments = files.iter().filter(|file| matches!(file.role, Role::Segment(_)));
    segments.map(|file| Ok(inspect::segment(vfs, &file.path)?)).collect()
}

/// What the headers say whose log it is.
fn log_ids(vfs: &dyn Vfs, dir: &Path) -> Result<Vec<u64>> {
    let id = |segment: inspect::Segment| match segment.header {
        Header::Sound(fields) => Some(fields.log_id),
        _ => None,
    };
    Ok(segments(vfs, dir)?.into_iter().filter_map(id).collect())
}

/// The file speaks of no log. One may lie there nevertheless: made and not yet spoken of, or given
/// up and not yet removed, by a crash amid that. Then there is nothing new in it, for positions
/// never lead transactions: a log that is begun at transaction n begins at position n + 1.
fn look_at_leftover(vfs: &dyn Vfs, path: &Path, meta: &Meta) -> Result<bool> {
    let mut found = false;
    for mut segment in segments(vfs, &dir_of(path))? {
        found = true;
        let Header::Sound(fields) = &segment.header else { continue };
        if fields.log_id != meta.db_id {
            return Err(corrupt(path, Damage::JournalOfAnother));
        }
        let is_new = |part: Part| match part {
            Part::Frame(frame) => {
                let is_record = matches!(frame.kind, FrameKind::Record | FrameKind::GroupEnd);
                is_record && frame.lsn.0 > meta.txn.0
            }
            _ => false,
        };
        if segment.any(is_new) {
            return Err(corrupt(path, Damage::JournalAhead));
        }
    }
    Ok(found)
}

impl Plan {
    /// Does what the log says, then goes on with it, begins one, or gives it up: as the options
    /// ask. The flusher's thread is running.
    pub(crate) fn carry_out(self, store: &Arc<Store>, meta: &Meta) -> Result<()> {
        let from = self.from;
        let wal = match self.log {
            Log::ReadOnly(view) => {
                replay(store, view.iter(from.unwrap_or(Lsn(1))))?;
                store.body.readers.settle(&store.body.readers.newest());
                return Ok(());
            }
            _ if store.read_only => return Ok(()),
            Log::Found(found) => {
                let (wal, _) = found.open()?;
                // A flush of what is replayed waits for nothing: all of it is on disk.
                replay(store, wal.iter(from.unwrap_or(Lsn(1))))?;
                Some(wal)
            }
            Log::Leftover => {
                remove(&store.body);
                None
            }
            Log::Absent => None,
        };
        match (wal, store.options.sync) {
            (Some(wal), Sync::Journal) => attach(store, wal),
            (None, Sync::Journal) => {
                let wal = begin(store, meta)?;
                let end = wal.next_lsn().previous();
                // Only a log that the file knows may be given anything.
                store.core.flusher.lock().set_journal(Some(end))?;
                store.body.readers.publish(&Root { lsn: end, ..store.body.readers.newest() });
                attach(store, wal)
            }
            (Some(wal), _) => {
                store.flush_pages()?;
                store.core.flusher.lock().set_journal(None)?;
                wal.close()?;
                remove(&store.body);
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }
}

fn attach(store: &Store, wal: Wal) -> Result<()> {
    let journal = Journal::new(wal, &store.body);
    let before = store.body.journal.set(journal);
    assert!(before.is_ok(), "a database is opened once");
    Ok(())
}

/// Makes a log for what comes after the newest state.
fn begin(store: &Store, meta: &Meta) -> Result<Wal> {
    let next = Lsn(store.body.readers.newest().txn.next().0);
    let options = wal_options(&store.options, meta).first_lsn(next);
    let (wal, _) = Wal::open(Arc::clone(&store.body.vfs), &dir_of(&store.body.path), options)?;
    Ok(wal)
}

fn replay(store: &Arc<Store>, records: Iter) -> Result<()> {
    let mut w: Option<WriteTxn> = None;
    for record in records {
        let (lsn, bytes) = record?;
        let bad = || corrupt(&store.body.path, Damage::JournalRecord(lsn.0));
        let record = Record::decode(&bytes).ok_or_else(bad)?;
        let mut txn = w.take().unwrap_or_else(|| WriteTxn::begin(store));
        for op in record.ops() {
            let op = op.map_err(|NoOp| bad())?;
            apply(&mut txn, op)?;
        }
        txn.stands_for(record.txn, lsn);
        if txn.bytes() > BATCH_BYTES {
            drop(txn.commit()?);
        } else {
            w = Some(txn);
        }
    }
    w.map_or(Ok(()), |w| w.commit().map(drop))
}

fn apply(txn: &mut WriteTxn, op: Op<'_>) -> Result<()> {
    match op {
        Op::Put { tree, key, value } => txn.put(tree, key, value).map(drop),
        Op::Delete { tree, key } => txn.delete(tree, key).map(drop),
        Op::DeleteRange { tree, start, end } => txn.cut(tree, start, end).map(drop),
        Op::CreateTree { name } => txn.create_tree(name).map(drop),
        Op::DropTree { tree } => txn.drop_tree(tree).map(drop),
    }
}
