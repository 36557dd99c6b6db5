//! Which tables make up the database: a log of changes, begun anew now and then.
//!
//! **The problem.** A flush adds a table, a compaction adds some and removes others, and a crash
//! may come between any two calls. A directory listing does not tell a finished table from one that
//! was being written, nor an old one from its replacement.
//!
//! **The idea.** A table counts when a log says so. The log is a [`drystone_wal`] of its own, whose
//! recovery is exact; a record is either a *base*, which says everything, or an *edit*, which says
//! what changed, and an edit is all or nothing however many tables it moves. When the edits have
//! outgrown the base, another base is appended and what stands before it is let go.
//!
//! ```text
//!   manifest.a/  ... │ base │ seal │ edit │ seal │ edit │ seal │
//!                    ▲                                       ▲
//!                    what comes before does not count        proves that the edit was durable
//! ```
//!
//! **Seals.** Damage to the last record of a log looks like a write that the power cut short, and
//! would be cut off without a word. So every record is followed by a seal, a write of its own: its
//! frame testifies that the record before it was durable. Damage to the record is then reported;
//! damage to the seal costs nothing.
//!
//! **After a failed write** nobody knows what the log holds, and it takes no more. The state in
//! memory is sound, and is written as a base into the *other* directory (`manifest.b`, or back to
//! `manifest.a`), with a higher epoch, which the log's own number tells as well. Once that is
//! durable the old files are removed. An edit whose
//! write failed may or may not have happened until then; the tables it speaks of are kept until
//! then, whichever it is.

mod contents;
mod edit;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_vfs::Vfs;
use drystone_wal::{Found as FoundWal, Lsn, Options as WalOptions, Wal, Writer, inspect};

use self::edit::{EDIT, Record, Refusal, TABLES_OUT_OF_REACH};
use crate::error::{Error, Result};

pub(crate) use self::contents::Contents;
pub use self::edit::VERSION;
pub(crate) use self::edit::{Change, Counters};

const DIRS: [&str; 2] = ["manifest.a", "manifest.b"];

const SEGMENT_BYTES: u64 = 64 << 10;
const RECORD_BYTES_MAX: usize = 256 << 20;

/// What of a log's number is its epoch.
const EPOCH_MASK: u64 = u32::MAX as u64;

/// Edits of this many bytes are gathered before another base is written, at least.
const EDITS_BYTES_MIN: u64 = 32 << 10;

/// The log of a database that is open for writing.
#[derive(Debug)]
pub(crate) struct Manifest {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    seed: Option<u64>,
    /// Which of the two directories.
    side: usize,
    log: Log,
    contents: Contents,
    base_bytes: u64,
    edits_bytes: u64,
    /// The other directory still has files.
    other_remains: bool,
    /// Tables of edits whose writing failed.
    doubtful: Vec<PathBuf>,
}

#[derive(Debug)]
enum Log {
    /// As it was found: nothing has had to be written yet.
    Found(Box<FoundWal>),
    Open(Wal),
    /// A write has failed.
    Failed,
}

/// What was found of a manifest. Nothing has been changed.
#[derive(Debug)]
pub(crate) struct Found {
    side: usize,
    wal: FoundWal,
    pub(crate) contents: Contents,
    other_remains: bool,
}

fn wal_options() -> WalOptions {
    WalOptions::default()
        .segment_bytes(SEGMENT_BYTES)
        .record_bytes_max(RECORD_BYTES_MAX)
        .writer(Writer::Caller)
}

/// The number of a log begun in `epoch`, which is its lower half.
fn log_id(seed: Option<u64>, path: &Path, epoch: u64) -> u64 {
    let upper = seed.unwrap_or_else(|| RandomState::new().hash_one(path));
    upper << 32 | epoch & EPOCH_MASK
}

impl Manifest {
    /// Looks for the manifest of the database in `dir`; nothing if there is none, or no whole one.
    ///
    /// # Errors
    /// `Corrupt` if there is one and it is damaged.
    pub(crate) fn find(vfs: &Arc<dyn Vfs>, dir: &Path) -> Result<Option<Found>> {
        let mut logs: [Option<FoundWal>; 2] = [None, None];
        let best = best(&**vfs, dir, |path, side| {
            let wal = Wal::find(Arc::clone(vfs), path, wal_options())?;
            let contents = read_records(path, wal.records());
            logs[side] = Some(wal);
            contents
        })?;
        let Some((contents, side)) = best else { return Ok(None) };
        let wal = logs[side].take().expect("its records were read");
        let other_remains = has_files(&**vfs, &dir.join(DIRS[1 - side]))?;
        Ok(Some(Found { side, wal, contents, other_remains }))
    }

    /// What the manifest of the database in `dir` says, for reading alone.
    pub(crate) fn view(vfs: &Arc<dyn Vfs>, dir: &Path) -> Result<Option<Contents>> {
        best(&**vfs, dir, |path, _| {
            let view = Wal::open_read_only(Arc::clone(vfs), path, &wal_options())?;
            read_records(path, view.records())
        })
        .map(|best| best.map(|(contents, _)| contents))
    }

    /// Takes over what was found. Nothing is written before something has changed.
    pub(crate) fn open(found: Found, vfs: Arc<dyn Vfs>, dir: &Path, seed: Option<u64>) -> Manifest {
        Manifest {
            vfs,
            dir: dir.to_path_buf(),
            seed,
            side: found.side,
            log: Log::Found(Box::new(found.wal)),
            contents: found.contents,
            base_bytes: 0,
            // Another base with the first edit: what stands before it has been read once too often.
            edits_bytes: EDITS_BYTES_MIN,
            other_remains: found.other_remains,
            doubtful: Vec::new(),
        }
    }

    /// Makes the manifest of a fresh database.
    pub(crate) fn create(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        seed: Option<u64>,
        contents: Contents,
    ) -> Result<Manifest> {
        let mut manifest = Manifest {
            vfs,
            dir: dir.to_path_buf(),
            seed,
            side: 1,
            log: Log::Failed,
            contents,
            base_bytes: 0,
            edits_bytes: 0,
            other_remains: false,
            doubtful: Vec::new(),
        };
        manifest.contents.epoch -= 1;
        let contents = manifest.contents.clone();
        manifest.begin_anew(contents)?;
        Ok(manifest)
    }

    pub(crate) fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Makes an edit durable. `outputs` are the files of the tables that it adds.
    ///
    /// # Errors
    /// After an error the state is as before, and the call may be made again; whether a crash right
    /// now finds the edit is not known. `outputs` are removed once it is known that none will.
    pub(crate) fn commit(
        &mut self,
        counters: Counters,
        changes: &[Change],
        outputs: &[PathBuf],
    ) -> Result<()> {
        let mut next = self.contents.clone();
        next.apply(counters, changes).expect("edits are made from the state they change");
        let outcome = self.write(next, &edit::encode_edit(&counters, changes));
        if outcome.is_err() {
            self.doubtful.extend_from_slice(outputs);
        }
        outcome
    }

    fn write(&mut self, next: Contents, edit: &[u8]) -> Result<()> {
        self.make_durable()?;
        let Log::Open(wal) = &self.log else { return self.begin_anew(next) };
        let wal = wal.clone();
        self.remove_other()?;
        let outcome = if self.edits_bytes >= EDITS_BYTES_MIN.max(2 * self.base_bytes) {
            let base = edit::encode_base(next.salt, next.epoch, &next.counters, &next.changes());
            self.base_bytes = base.len() as u64;
            self.edits_bytes = 0;
            append_sealed(&wal, &base).and_then(|lsn| Ok(wal.truncate_prefix(lsn)?))
        } else {
            self.edits_bytes += edit.len() as u64;
            append_sealed(&wal, edit).map(drop)
        };
        match outcome {
            Ok(()) => self.contents = next,
            Err(_) => self.log = Log::Failed,
        }
        outcome
    }

    /// Whatever was read is durable on return.
    pub(crate) fn make_durable(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.log, Log::Failed) {
            Log::Found(found) => {
                let (wal, _) = found.open()?;
                self.log = Log::Open(wal);
            }
            other => self.log = other,
        }
        Ok(())
    }

    /// Writes `next` as a base into the other directory.
    fn begin_anew(&mut self, mut next: Contents) -> Result<()> {
        next.epoch = self.contents.epoch + 1;
        let side = 1 - self.side;
        let path = self.dir.join(DIRS[side]);
        let base = edit::encode_base(next.salt, next.epoch, &next.counters, &next.changes());
        let make = || -> Result<Wal> {
            clear(&*self.vfs, &path)?;
            let options = wal_options().log_id(log_id(self.seed, &path, next.epoch));
            let (wal, _) = Wal::open(Arc::clone(&self.vfs), &path, options)?;
            append_sealed(&wal, &base)?;
            Ok(wal)
        };
        match make() {
            Ok(wal) => {
                self.log = Log::Open(wal);
                self.side = side;
                self.base_bytes = base.len() as u64;
                self.edits_bytes = 0;
                self.contents = next;
                self.other_remains = true;
                // The base is durable: what follows can be made up for later.
                drop(self.remove_other());
                self.remove_doubtful();
                Ok(())
            }
            Err(error) => {
                // An attempt that is not whole does not count; its room may be wanted.
                drop(clear(&*self.vfs, &path));
                Err(error)
            }
        }
    }

    /// Removes the files of the directory that counts no more. Until they are gone no edit is
    /// written: were this log damaged, the other would be taken for the newest state.
    fn remove_other(&mut self) -> Result<()> {
        if self.other_remains {
            clear(&*self.vfs, &self.dir.join(DIRS[1 - self.side]))?;
            self.other_remains = false;
        }
        Ok(())
    }

    fn remove_doubtful(&mut self) {
        let used: Vec<PathBuf> = self
            .contents
            .keyspaces
            .values()
            .flat_map(|entry| entry.tables.keys().map(|id| table_path(&self.dir, id.0)))
            .collect();
        for path in self.doubtful.drain(..).filter(|path| !used.contains(path)) {
            // A leftover is removed at the next opening.
            drop(self.vfs.remove(&path));
        }
    }

    /// Bytes that the log takes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.log {
            Log::Open(wal) => wal.bytes(),
            Log::Found(found) => found.view().map_or(0, drystone_wal::View::bytes),
            Log::Failed => 0,
        }
    }
}

/// The file of a table.
pub(crate) fn table_path(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:016x}.table"))
}

/// The number in a table's file name; nothing for any other name.
pub(crate) fn table_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".table")?;
    let id = u64::from_str_radix(digits, 16).ok()?;
    (format!("{id:016x}") == digits && id < TABLES_OUT_OF_REACH).then_some(id)
}

/// Appends a record and then its seal, both durable on return.
fn append_sealed(wal: &Wal, record: &[u8]) -> Result<Lsn> {
    let commit = wal.append(&[record])?;
    commit.wait()?;
    wal.append(&[&[edit::SEAL]])?.wait()?;
    Ok(commit.lsn())
}

/// Whether the folder `dir` is there, with anything in it.
pub(crate) fn has_files(vfs: &dyn Vfs, dir: &Path) -> Result<bool> {
    match vfs.list(dir) {
        Ok(names) => Ok(!names.is_empty()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io("list", dir, e)),
    }
}

/// Removes every file in `dir`, durably.
fn clear(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
    let names = match vfs.list(dir) {
        Ok(names) => names,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io("list", dir, e)),
    };
    if names.is_empty() {
        return Ok(());
    }
    for name in names {
        let path = dir.join(name);
        vfs.remove(&path).map_err(|e| Error::io("remove", &path, e))?;
    }
    vfs.sync_dir(dir).map_err(|e| Error::io("sync", dir, e))
}

/// The newest whole state that `read` finds in either directory, and in which.
fn best(
    vfs: &dyn Vfs,
    dir: &Path,
    mut read: impl FnMut(&Path, usize) -> Result<Option<Contents>>,
) -> Result<Option<(Contents, usize)>> {
    let mut best: Option<(Contents, usize)> = None;
    let mut failed: Vec<(PathBuf, Error)> = Vec::new();
    for (side, name) in DIRS.iter().enumerate() {
        let path = dir.join(name);
        if !has_files(vfs, &path)? {
            continue;
        }
        match read(&path, side) {
            Ok(Some(contents)) => {
                if best.as_ref().is_none_or(|(best, _)| best.epoch < contents.epoch) {
                    best = Some((contents, side));
                }
            }
            Ok(None) | Err(Error::NoDatabase { .. }) => {}
            Err(error) => failed.push((path, error)),
        }
    }
    // A whole base says all that the log before it said: damage to that is no loss, nor is it if a
    // crash came while it was being removed. A damaged log that is not known to be the older one
    // may be the newer one.
    for (path, error) in failed {
        let epoch = inspect::log_id(vfs, &path).ok().flatten().map(|id| id & EPOCH_MASK);
        let newer = |best: &Contents| epoch.is_none_or(|epoch| epoch >= best.epoch & EPOCH_MASK);
        if best.as_ref().is_none_or(|(best, _)| newer(best)) {
            return Err(error);
        }
    }
    Ok(best)
}

/// What the records of one log come to; nothing if there is no base among them.
fn read_records(
    dir: &Path,
    records: impl Iterator<Item = drystone_wal::Result<(Lsn, bytes::Bytes)>>,
) -> Result<Option<Contents>> {
    let mut contents: Option<Contents> = None;
    for record in records {
        let (_, bytes) = record?;
        read_record(&mut contents, &bytes).map_err(|refusal| match refusal {
            Refusal::Damaged(what) => Error::corrupt(dir, 0, what),
            Refusal::Unsupported(what) => Error::Unsupported { file: dir.to_path_buf(), what },
        })?;
    }
    Ok(contents)
}

fn read_record(contents: &mut Option<Contents>, bytes: &[u8]) -> Result<(), Refusal> {
    // What stands before the first base that is left has lost its own.
    if contents.is_none() && bytes.first() == Some(&EDIT) {
        return Ok(());
    }
    match edit::decode(bytes)? {
        Record::Seal => {}
        Record::Base { salt, epoch, counters, changes } => {
            let mut base = Contents::fresh(salt);
            base.epoch = epoch;
            base.apply(counters, &changes)?;
            *contents = Some(base);
        }
        Record::Edit { counters, changes } => {
            contents.as_mut().expect("seen above").apply(counters, &changes)?;
        }
    }
    Ok(())
}
