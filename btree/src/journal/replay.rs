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
//! what was found in it is durable, and the operations are done in transactions of some size: a
//! page that a thousand records change is copied once.

use std::io;
use std::path::Path;
use std::sync::Arc;

use drystone_vfs::Vfs;
use drystone_wal::inspect::{self, FrameKind, Header, Part, Role};
use drystone_wal::{Found, Iter, Lsn, Options as WalOptions, View, Wal};

use super::ops::{NoOp, Op, Record};
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

/// What is to be done about the log: it was looked through and not yet touched.
pub(crate) enum Plan {
    /// The file speaks of none, and there is none.
    Nothing,
    /// The file speaks of none, and in the one that is there nothing counts.
    Leftover,
    /// To be replayed from a record on, and taken over.
    TakeOver(Lsn, Box<Found>),
    /// To be replayed for a reader.
    Read(Lsn, Box<View>),
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
        return Ok(if look_at_leftover(&**vfs, path, meta)? {
            Plan::Leftover
        } else {
            Plan::Nothing
        });
    };
    let missing = || corrupt(path, Damage::JournalMissing);
    let id = inspect::log_id(&**vfs, &dir).or_else(absent)?.ok_or_else(missing)?;
    if id != meta.db_id {
        return Err(corrupt(path, Damage::JournalOfAnother));
    }
    let wal_options = wal_options(options, meta.db_id).min_lsn(from.previous());
    if read_only {
        let view = Wal::open_read_only(Arc::clone(vfs), &dir, &wal_options)?;
        check(path, meta, options, from, &view)?;
        return Ok(Plan::Read(from, Box::new(view)));
    }
    let found = Wal::find(Arc::clone(vfs), &dir, wal_options)?;
    check(path, meta, options, from, found.view().ok_or_else(missing)?)?;
    Ok(Plan::TakeOver(from, Box::new(found)))
}

fn corrupt(path: &Path, what: Damage) -> Error {
    Error::Corrupt { file: Arc::from(path), offset: 0, what }
}

/// Whether a log begins early enough, ends late enough, and can be understood.
fn check(path: &Path, meta: &Meta, options: &Options, from: Lsn, log: &View) -> Result<()> {
    if log.first_lsn() > from {
        return Err(corrupt(path, Damage::JournalMissing));
    }
    let mut found = meta.txn;
    for record in log.iter(from) {
        let (lsn, bytes) = record?;
        let bad = || corrupt(path, Damage::JournalRecord(lsn.0));
        let record = Record::decode(&bytes).ok_or_else(bad)?;
        let makes_sense = record.txn > found && record.ops().all(|op| op.is_ok());
        if !makes_sense {
            return Err(bad());
        }
        found = record.txn;
    }
    let expected = options.min_txn;
    if found < expected {
        Err(corrupt(path, Damage::EndsEarly { found, expected }))
    } else {
        Ok(())
    }
}

fn wal_options(options: &Options, db_id: u64) -> WalOptions {
    let segment = (options.unflushed_limits().held / 8).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
    let writer = match options.writer {
        Writer::Thread => drystone_wal::Writer::Thread,
        Writer::Caller => drystone_wal::Writer::Caller,
    };
    WalOptions::default().log_id(db_id).segment_bytes(segment).writer(writer)
}

/// A directory that is not there has nothing in it.
fn absent<T: Default>(error: drystone_wal::Error) -> Result<T> {
    match error {
        drystone_wal::Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Ok(T::default())
        }
        error => Err(error.into()),
    }
}

/// The file speaks of no log. One may lie there nevertheless: made and not yet spoken of, or given
/// up and not yet removed, by a crash amid that. Then there is nothing new in it, for positions
/// never lead transactions: a log that is begun at transaction n begins at position n + 1.
fn look_at_leftover(vfs: &dyn Vfs, path: &Path, meta: &Meta) -> Result<bool> {
    let mut found = false;
    let files = inspect::files(vfs, &dir_of(path)).or_else(absent)?;
    for file in files.iter().filter(|file| matches!(file.role, Role::Segment(_))) {
        let mut segment = inspect::segment(vfs, &file.path)?;
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
    pub(crate) fn carry_out(self, store: &Arc<Store>, db_id: u64) -> Result<()> {
        let wal = match self {
            Plan::Read(from, view) => {
                replay(store, view.iter(from))?;
                store.body.readers.settle(&store.body.readers.newest());
                return Ok(());
            }
            _ if store.read_only => return Ok(()),
            Plan::TakeOver(from, found) => {
                let (wal, _) = found.open()?;
                // A flush of what is replayed waits for nothing: all of it is on disk.
                replay(store, wal.iter(from))?;
                Some(wal)
            }
            Plan::Leftover => {
                remove(&store.body);
                None
            }
            Plan::Nothing => None,
        };
        match (wal, store.options.sync) {
            (Some(wal), Sync::Journal) => attach(store, wal),
            (None, Sync::Journal) => {
                let wal = begin(store, db_id)?;
                let end = wal.next_lsn().previous();
                // Only a log that the file knows may be given anything.
                store.core.flusher.lock().set_journal(Some(end))?;
                store.body.readers.publish(&Root { lsn: end, ..store.body.readers.newest() });
                attach(store, wal);
            }
            (Some(wal), _) => {
                store.flush_pages()?;
                store.core.flusher.lock().set_journal(None)?;
                wal.close()?;
                remove(&store.body);
            }
            (None, _) => {}
        }
        Ok(())
    }
}

fn attach(store: &Store, wal: Wal) {
    let journal = Journal::new(wal, &store.body);
    let before = store.body.journal.set(journal);
    assert!(before.is_ok(), "a database is opened once");
}

/// Makes a log for what comes after the newest state.
fn begin(store: &Store, db_id: u64) -> Result<Wal> {
    let next = Lsn(store.body.readers.newest().txn.next().0);
    let options = wal_options(&store.options, db_id).first_lsn(next);
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
