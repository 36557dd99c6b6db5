//! From a file to a database: which root is the last durable one.
//!
//! ```text
//!   slot 0   seq 8 ─┐   newest   record sound? file long enough? pages written   all ── believe it
//!                   ├─► first ─► with it there? free map there? ─────────────┐
//!   slot 1   seq 7 ─┘                                                        └─ no ── the other
//! ```
//!
//! The newest record is rejected only for what a power cut during its own flush can do: to the
//! record, to the pages written with it, to the length of the file. What was durable before (pages
//! of the free map that an older flush wrote, everything if the record was written after a sync of
//! its own) was promised, and if it is not there the file is refused.
//!
//! What was found may be in the system's memory alone, left there by a process that was killed, and
//! so may the file's name; and if that process died of a sync that failed, the system may take the
//! pages for saved. From here on the state is called durable, and pages it does not need are
//! written over. So, unless a mark says that it was durable, what its last flush wrote is written
//! again as it is and synced. No byte of the file changes by that.
//!
//! **A new database** is made under another name and renamed when it is complete and synced. So a
//! crash leaves either no database or a whole one, and a file that is not one is damage.

use std::ffi::OsString;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use drystone_vfs::{File, Lock, OpenMode, Vfs};
use drystone_wal::Lsn;
use parking_lot::{Condvar, Mutex};

use crate::cache::Cache;
use crate::config::{Options, Writer};
use crate::core::Core;
use crate::error::{Damage, Error, Result};
use crate::flush::{Flusher, Start, WRITTEN_PAGES_MAX};
use crate::forest::Forest;
use crate::freemap::{FreeMap, pages_max};
use crate::journal;
use crate::meta::{BadRecord, Decoded, MARK_OFFSET, Mark, Meta, RECORD_BYTES, SLOT_BYTES, Written};
use crate::mirror::Mirror;
use crate::queue::Queue;
use crate::readers::Readers;
use crate::root::Root;
use crate::snapshot::Snapshot;
use crate::space::{FIRST_PAGE, Space};
use crate::stats::Gauges;
use crate::store::{Body, Store};
use crate::types::{Extent, PageId, PagePtr, TreeRoot, TxnId, crc};

/// The sequence number of a new database's record.
const FIRST_SEQ: u64 = 1;

/// How much is read at once to verify what a flush has written.
const VERIFY_PAGES: u32 = 64;

/// What is in the first two pages.
#[derive(Debug)]
pub(crate) struct Head {
    /// Sound records, the newest first, with their slots.
    pub records: Vec<(usize, Meta)>,
    /// By slot, if it holds no sound record: why.
    pub bad: [Option<BadRecord>; 2],
    pub marks: Vec<Mark>,
    /// Every sound copy's sequence number.
    copies: Vec<u64>,
}

impl Head {
    /// How many sound copies there are of this record.
    pub(crate) fn copies_of(&self, seq: u64) -> usize {
        self.copies.iter().filter(|copy| **copy == seq).count()
    }

    /// The newest mark.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.marks.iter().copied().max_by_key(|mark| mark.seq)
    }

    /// Whether a mark says that this record was durable.
    fn vouches_for(&self, meta: &Meta) -> bool {
        self.mark().is_some_and(|mark| mark.seq >= meta.seq)
    }

    /// Whether everything here is of one database. If it is not, nobody knows which is the guest.
    fn is_of_one(&self) -> bool {
        let records = self.records.iter().map(|(_, meta)| meta.db_id);
        let mut ids = records.chain(self.marks.iter().map(|mark| mark.db_id));
        let first = ids.next();
        ids.all(|id| Some(id) == first)
    }
}

/// The last durable state.
struct Chosen {
    slot: usize,
    meta: Meta,
    map: FreeMap,
}

/// Why a record was not chosen.
enum Reject {
    /// Its flush was interrupted.
    Torn(BadRecord),
    /// It was durable, and is not all there; or it cannot be read.
    Fatal(Error),
}

/// A database without its thread, in its last flushed state.
pub(crate) struct Opened {
    pub store: Store,
    pub lock: Option<Lock>,
    /// What is to be done about its journal.
    pub plan: journal::Plan,
    pub db_id: u64,
}

/// A file that is being opened.
struct Opening<'a> {
    path: Arc<Path>,
    file: &'a dyn File,
    file_bytes: u64,
}

/// Opens the database at `path`; makes it if there is none, unless it is for reading alone.
pub(crate) fn open(
    vfs: Arc<dyn Vfs>,
    path: &Path,
    options: Options,
    read_only: bool,
) -> Result<Opened> {
    options.validate()?;
    let lock = if read_only {
        match vfs.lock_shared(path) {
            Ok(lock) => Some(lock),
            Err(error) => return Err(lock_error(path, error)),
        }
    } else {
        if !exists(&*vfs, path)? {
            if options.min_txn > TxnId(0) {
                let what = Damage::EndsEarly { found: TxnId(0), expected: options.min_txn };
                return Err(Error::Corrupt { file: Arc::from(path), offset: 0, what });
            }
            create(&*vfs, path, &options)?;
        }
        Some(vfs.lock(path).map_err(|error| lock_error(path, error))?)
    };
    let mode = if read_only { OpenMode::Read } else { OpenMode::Write };
    let file = vfs.open(path, mode).map_err(|error| Error::io("open", path, error))?;
    let shared: Arc<Path> = Arc::from(path);
    let file_bytes = file.len().map_err(|error| Error::io("open", path, error))?;
    let opening = Opening { path: Arc::clone(&shared), file: &*file, file_bytes };
    let head = opening.read_head()?;
    let chosen = opening.choose(&head, &options)?;
    let plan = journal::find(&vfs, path, &chosen.meta, &options, read_only)?;
    if !read_only && !head.vouches_for(&chosen.meta) {
        opening
            .save(&chosen)
            .and_then(|()| vfs.sync_dir(parent(path)))
            .map_err(|error| Error::io("save", path, error))?;
    }
    let db_id = chosen.meta.db_id;
    let store = assemble(vfs, shared, file, file_bytes, options, &head, chosen, read_only)?;
    Ok(Opened { store, lock, plan, db_id })
}

impl Opening<'_> {
    fn corrupt(&self, offset: u64, what: Damage) -> Error {
        Error::Corrupt { file: Arc::clone(&self.path), offset, what }
    }

    fn read(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.file.read_at(buf, offset).map_err(|error| Error::io("read", &self.path, error))
    }

    fn read_head(&self) -> Result<Head> {
        let mut bytes = vec![0; 2 * SLOT_BYTES];
        let len = self.read(&mut bytes, 0)?;
        bytes.truncate(len);
        read_head(&bytes)
            .map_err(|version| Error::Unsupported { file: self.path.to_path_buf(), version })
    }

    fn choose(&self, head: &Head, options: &Options) -> Result<Chosen> {
        let mut bad = head.bad;
        if !head.is_of_one() {
            return Err(self.corrupt(0, Damage::Strangers));
        }
        for (slot, meta) in &head.records {
            match self.verify(meta, head.vouches_for(meta)) {
                Ok(map) => {
                    let chosen = Chosen { slot: *slot, meta: meta.clone(), map };
                    return self.accept(head, chosen, options);
                }
                Err(Reject::Torn(reason)) => bad[*slot] = Some(reason),
                Err(Reject::Fatal(error)) => return Err(error),
            }
        }
        let reason = |slot: usize| bad[slot].unwrap_or(BadRecord::Magic);
        Err(self.corrupt(0, Damage::Slots(reason(0), reason(1))))
    }

    /// Makes what was chosen durable, whatever became of the sync that was to do it.
    fn save(&self, chosen: &Chosen) -> io::Result<()> {
        let Chosen { slot, meta, .. } = chosen;
        if meta.seq == FIRST_SEQ {
            // Nobody gave the file its name before it was synced.
            return Ok(());
        }
        let page_bytes = meta.page_bytes as usize;
        let rewrite = |first: u32, pages: u32| {
            let mut bytes = vec![0; pages as usize * page_bytes];
            let offset = PageId(first).offset(page_bytes);
            self.file.read_exact_at(&mut bytes, offset)?;
            self.file.write_at(&[IoSlice::new(&bytes)], offset)
        };
        // Those of a record that lists none were synced before it was written.
        if let Written::With { runs, .. } = &meta.written {
            for run in runs {
                for at in (0..run.pages).step_by(VERIFY_PAGES as usize) {
                    rewrite(run.first.0 + at, VERIFY_PAGES.min(run.pages - at))?;
                }
            }
        }
        let offset = (slot * SLOT_BYTES) as u64;
        self.file.write_at(&[IoSlice::new(&meta.encode())], offset)?;
        self.file.sync_data()
    }

    /// What is chosen must be as new as what is known to have been durable.
    fn accept(&self, head: &Head, chosen: Chosen, options: &Options) -> Result<Chosen> {
        let found = chosen.meta.txn;
        let offset = ((1 - chosen.slot) * SLOT_BYTES) as u64;
        if let Some(mark) = head.mark().filter(|mark| mark.seq > chosen.meta.seq) {
            return Err(self.corrupt(offset, Damage::EndsEarly { found, expected: mark.txn }));
        }
        // What is in a journal comes on top, and is looked at with it.
        if options.min_txn > found && chosen.meta.journal.is_none() {
            let expected = options.min_txn;
            return Err(self.corrupt(offset, Damage::EndsEarly { found, expected }));
        }
        Ok(chosen)
    }

    /// Whether what the record leads to is there. If a mark says that it was durable, what was
    /// written with it is not looked at: whatever is wrong there has rotted, and that is for those
    /// to hear who ask for it.
    fn verify(&self, meta: &Meta, is_marked: bool) -> std::result::Result<FreeMap, Reject> {
        let page_bytes = meta.page_bytes as usize;
        let whole = u64::from(meta.end) * page_bytes as u64 <= self.file_bytes;
        let written = match &meta.written {
            Written::With { runs, crc } if !is_marked => Some((runs, *crc)),
            _ => None,
        };
        match written {
            None if !whole => {
                let error = self.corrupt(self.file_bytes, Damage::FileEnds);
                return Err(Reject::Fatal(error));
            }
            Some(_) if !whole => return Err(Reject::Torn(BadRecord::FileEnds)),
            None => {}
            Some((runs, crc)) => self.verify_written(page_bytes, runs, crc)?,
        }
        let own = |ptr: PagePtr| {
            written.is_some_and(|(runs, _)| {
                runs.iter().any(|run| (run.first.0..run.first.0 + run.pages).contains(&ptr.id.0))
            })
        };
        let wrong = |ptr: PagePtr| {
            if own(ptr) {
                return Reject::Torn(BadRecord::FreeMap);
            }
            Reject::Fatal(self.corrupt(ptr.id.offset(page_bytes), Damage::Checksum))
        };
        let page = |ptr: PagePtr| {
            let mut bytes = vec![0; page_bytes];
            let len = self.read(&mut bytes, ptr.id.offset(page_bytes)).map_err(Reject::Fatal)?;
            if len < page_bytes || crc(ptr.id, &bytes) != ptr.crc {
                return Err(wrong(ptr));
            }
            Ok(bytes)
        };
        FreeMap::load(page_bytes, meta.end, &meta.directories, &meta.changed, page, wrong)
    }

    /// Whether everything that was written with a record is there.
    fn verify_written(
        &self,
        page_bytes: usize,
        runs: &[Extent],
        expected: u32,
    ) -> std::result::Result<(), Reject> {
        let sum: u64 = runs.iter().map(|run| u64::from(run.pages)).sum();
        if sum > u64::from(WRITTEN_PAGES_MAX) {
            return Err(Reject::Torn(BadRecord::Fields));
        }
        let mut hasher = crc32fast::Hasher::new();
        for run in runs {
            let mut at = run.first.0;
            let end = run.first.0 + run.pages;
            while at < end {
                let pages = VERIFY_PAGES.min(end - at);
                let mut bytes = vec![0; pages as usize * page_bytes];
                let offset = PageId(at).offset(page_bytes);
                let len = self.read(&mut bytes, offset).map_err(Reject::Fatal)?;
                if len < bytes.len() {
                    return Err(Reject::Torn(BadRecord::Pages));
                }
                hasher.update(&bytes);
                at += pages;
            }
        }
        if hasher.finalize() == expected { Ok(()) } else { Err(Reject::Torn(BadRecord::Pages)) }
    }
}

/// Decodes both slots; fails with the version if one was written by a later format.
pub(crate) fn read_head(bytes: &[u8]) -> std::result::Result<Head, u32> {
    let (records, marks, copies) = (Vec::new(), Vec::new(), Vec::new());
    let mut head = Head { records, bad: [None; 2], marks, copies };
    let from = |at: usize| bytes.get(at..).unwrap_or_default();
    for slot in 0..2 {
        let mut found: Vec<Meta> = Vec::new();
        for copy in 0..2 {
            match Meta::decode(from(slot * SLOT_BYTES + copy * RECORD_BYTES)) {
                Decoded::Record(meta) => {
                    head.copies.push(meta.seq);
                    if !found.contains(&meta) {
                        found.push(meta);
                    }
                }
                Decoded::Future(version) => return Err(version),
                Decoded::Bad(reason) => {
                    head.bad[slot] = head.bad[slot].or(Some(reason));
                }
            }
        }
        if !found.is_empty() {
            head.bad[slot] = None;
        }
        head.records.extend(found.into_iter().map(|meta| (slot, meta)));
        head.marks.extend(Mark::decode(from(slot * SLOT_BYTES + MARK_OFFSET)));
    }
    head.records.sort_by_key(|(_, meta)| std::cmp::Reverse(meta.seq));
    Ok(head)
}

#[expect(clippy::too_many_arguments, reason = "everything that was found meets here, once")]
fn assemble(
    vfs: Arc<dyn Vfs>,
    path: Arc<Path>,
    file: Arc<dyn File>,
    file_bytes: u64,
    options: Options,
    head: &Head,
    chosen: Chosen,
    read_only: bool,
) -> Result<Store> {
    let Chosen { slot, meta, map } = chosen;
    let page_bytes = meta.page_bytes as usize;
    let mirror_pages =
        (options.mirror_bytes() / page_bytes).min(pages_max(page_bytes) as usize) as u32;
    let mirror = Arc::new(Mirror::new(mirror_pages, page_bytes, meta.end));
    let lsn = meta.journal.map_or(Lsn::NONE, Lsn::previous);
    let mut root = Root { txn: meta.txn, forest: Forest::default(), pages_end: meta.end, lsn };
    let cache = Arc::new(Cache::new(options.memory_bytes / 4));
    let mut space = Space::new(
        Arc::clone(&path),
        Arc::clone(&mirror),
        Arc::clone(&cache),
        map.free().clone(),
        meta.end,
        pages_max(page_bytes),
    );
    space.set_map(map.own_pages());
    let body = Arc::new(Body {
        vfs,
        path,
        file,
        page_bytes,
        mirror,
        cache,
        readers: Arc::new(Readers::new(&root)),
        space: Mutex::new(space),
        settled: Condvar::new(),
        clock: Arc::clone(&options.clock),
        gauges: Gauges::default(),
        journal: OnceLock::new(),
    });
    body.gauges.set_file_bytes(file_bytes);
    body.gauges.set_space(&body.space.lock());
    root.forest = Forest::load(&Snapshot::newest(&body), meta.catalog)?;
    body.readers.settle(&root);
    body.readers.retreat();
    let seen = head.records.iter().map(|(_, meta)| (meta.seq, meta.txn));
    let seq_seen = seen.clone().map(|(seq, _)| seq).max().expect("one was chosen");
    let txn_seen = seen.map(|(_, txn)| txn).max().expect("one was chosen");
    let start = Start {
        map,
        db_id: meta.db_id,
        slot,
        seq: meta.seq,
        seq_seen,
        file_bytes,
        root: root.clone(),
        is_journaled: meta.journal.is_some(),
    };
    let flusher = Flusher::new(Arc::clone(&body), options.sync, start);
    let eager = options.sync.is_eager();
    let threaded = options.writer == Writer::Thread && !read_only;
    let mode = if threaded { Writer::Thread } else { Writer::Caller };
    let core = Core::new(Queue::new(meta.txn, eager, threaded), flusher, mode);
    Ok(Store::new(body, core, TxnId(txn_seen.0 + 1), options, read_only))
}

fn exists(vfs: &dyn Vfs, path: &Path) -> Result<bool> {
    match vfs.open(path, OpenMode::Read) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("open", path, error)),
    }
}

fn lock_error(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => Error::Locked { file: path.to_path_buf() },
        _ => Error::io("lock", path, error),
    }
}

/// The directory that holds a file's name.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// The name under which a file is made that is to be at `path`. Nobody calls a file of their own
/// so: what is found there is what an interrupted making left.
pub(crate) fn draft_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".half-made");
    path.with_file_name(name)
}

/// Makes an empty database, durably.
fn create(vfs: &dyn Vfs, path: &Path, options: &Options) -> Result<()> {
    let new = draft_path(path);
    vfs.create_dir_all(parent(path)).map_err(|error| Error::io("make", parent(path), error))?;
    // Two who make it at once would overwrite each other's work.
    let _lock = vfs.lock(&new).map_err(|error| lock_error(path, error))?;
    if exists(vfs, path)? {
        // Somebody made it meanwhile: what is locked here is a file of that name that only this
        // lock has made, since theirs has the other name now.
        return match vfs.remove(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove", &new, error))
            }
            _ => Ok(()),
        };
    }
    let db_id = options.db_id.unwrap_or_else(|| RandomState::new().hash_one(path));
    let meta = first_record(options.page_bytes, db_id);
    let make = || -> io::Result<()> {
        let file = vfs.open(&new, OpenMode::Create)?;
        file.set_len(0)?;
        file.write_at(&[IoSlice::new(&meta.encode())], 0)?;
        file.set_len(u64::from(meta.end) * options.page_bytes as u64)?;
        file.sync_data()?;
        vfs.rename(&new, path)?;
        vfs.sync_dir(parent(path))
    };
    make().map_err(|error| Error::io("make", path, error))
}

/// What a file begins with that holds nothing.
fn first_record(page_bytes: usize, db_id: u64) -> Meta {
    Meta {
        page_bytes: page_bytes as u32,
        db_id,
        seq: FIRST_SEQ,
        txn: TxnId(0),
        catalog: TreeRoot::default(),
        end: FIRST_PAGE,
        journal: None,
        written: Written::Before,
        directories: Vec::new(),
        changed: Vec::new(),
    }
}
