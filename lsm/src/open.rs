//! Finds a database on disk, and carries on with it.
//!
//! ```text
//!   1  lock                     or Locked, at once
//!   2  manifest                 which tables, and from where on the journal is needed
//!   3  every table              opened: index, filter and range deletes verified
//!   4  journal                  verified, and its records put into memtables
//!   ── nothing has been changed up to here: whatever is damaged is refused as it was found ──
//!   5  take over manifest and journal: a torn tail is cut
//!   6  remove orphans: tables that no manifest speaks of
//! ```
//!
//! What a crash may leave is told apart by this order: a table counts when the manifest names it,
//! a journal record counts when no table can hold it yet. A directory with tables or a journal and
//! without a manifest has lost its manifest, and is refused; one with neither is begun anew.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use drystone_vfs::{Clock, Lock, Vfs};
use drystone_wal::inspect::log_id;
use drystone_wal::{Found as FoundWal, Lsn, Options as WalOptions, View, Wal, Writer};
use parking_lot::{Mutex, RwLock};

use crate::batch::{Change, Record, time_of};
use crate::cache::BlockCache;
use crate::config::{Options, RECORD_BYTES_MAX, Sizes};
use crate::core::{Core, Order, Versions};
use crate::error::{Error, Result};
use crate::key::SeqNo;
use crate::keyspace::Shared;
use crate::manifest::{Contents, Counters, Found, Manifest, has_files, table_number, table_path};
use crate::memtable::{Bulk, KeyspaceId};
use crate::pace::Pace;
use crate::packed::unpack;
use crate::ratchet::Ratchet;
use crate::run::TableFile;
use crate::snapshot::Registry;
use crate::state::{Sealed, State};
use crate::stats::Tally;
use crate::table::Table;
use crate::time::WallTime;
use crate::version::{Tree, Version};
use crate::work::Work;

const LOCK_NAME: &str = "LOCK";
const JOURNAL_NAME: &str = "journal";

/// Tells openings apart.
static OPENINGS: AtomicU64 = AtomicU64::new(0);

/// What a database stands on.
pub(crate) struct Place {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) dir: std::path::PathBuf,
    pub(crate) options: Options,
}

/// Opens for writing.
pub(crate) fn open(place: Place) -> Result<(Arc<Core>, Lock)> {
    place.options.validate()?;
    let (vfs, dir) = (&place.vfs, &place.dir);
    vfs.create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
    let lock = vfs.lock(&dir.join(LOCK_NAME)).map_err(|e| locked(dir, e))?;
    let found = Manifest::find(vfs, dir)?;
    let names = names(&**vfs, dir)?;
    if found.is_none() {
        check_fresh(&place, &names)?;
    }
    let contents = match &found {
        Some(found) => found.contents.clone(),
        None => Contents::fresh(salt(&place)),
    };
    let cache = Arc::new(BlockCache::new(place.options.sizes().cache_bytes));
    let version = open_tables(&place, &contents, &cache)?;
    let journal = find_journal(&place, &contents)?;
    let mut replay = Replay::new(&place, &contents);
    if let Some(journal) = &journal {
        replay.records(&dir.join(JOURNAL_NAME), journal.records())?;
    }
    // Everything is sound: from here on the disk is changed.
    let mut manifest = take_manifest(&place, found, &contents, &names)?;
    let journal_end = replay.next_lsn;
    let journal = match journal {
        found if place.options.journal => {
            Some(take_journal(&place, &contents, found, &mut manifest)?)
        }
        // The next flush tells the manifest how far it reached: so far it must be durable.
        Some(found) if journal_end > contents.counters.journal_from => {
            found.open()?.0.close()?;
            None
        }
        _ => None,
    };
    let core = build(
        place,
        &contents,
        cache,
        version,
        replay,
        Taken { manifest: Some(manifest), journal, journal_end, names },
    );
    Ok((core, lock))
}

/// Opens for reading alone, and changes nothing.
pub(crate) fn open_read_only(place: Place) -> Result<(Arc<Core>, Option<Lock>)> {
    place.options.validate()?;
    let (vfs, dir) = (&place.vfs, &place.dir);
    let missing = || Error::NoDatabase { dir: dir.clone() };
    let lock = match vfs.lock_shared(&dir.join(LOCK_NAME)) {
        Ok(lock) => Some(lock),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(locked(dir, e)),
    };
    let names = match vfs.list(dir) {
        Ok(_) => names(&**vfs, dir)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(missing()),
        Err(e) => return Err(Error::io("list", dir, e)),
    };
    let Some(contents) = Manifest::view(vfs, dir)? else {
        check_fresh(&place, &names)?;
        return Err(missing());
    };
    let cache = Arc::new(BlockCache::new(place.options.sizes().cache_bytes));
    let version = open_tables(&place, &contents, &cache)?;
    let mut replay = Replay::new(&place, &contents);
    let path = dir.join(JOURNAL_NAME);
    let view = if journal_has_files(&place)? { view_journal(&place, &contents)? } else { None };
    check_journal(&place, &contents, view.as_ref())?;
    if let Some(view) = view {
        replay.records(&path, view.iter(contents.counters.journal_from))?;
    }
    let journal_end = replay.next_lsn;
    let taken = Taken { manifest: None, journal: None, journal_end, names: Vec::new() };
    Ok((build(place, &contents, cache, version, replay, taken), lock))
}

fn locked(dir: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => Error::Locked { dir: dir.to_path_buf() },
        _ => Error::io("lock", dir, error),
    }
}

fn names(vfs: &dyn Vfs, dir: &Path) -> Result<Vec<String>> {
    let names = vfs.list(dir).map_err(|e| Error::io("list", dir, e))?;
    // A name that is not text is no name of ours.
    Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
}

/// A directory without a manifest must hold nothing that a manifest would speak of.
fn check_fresh(place: &Place, names: &[String]) -> Result<()> {
    let table = names.iter().find(|name| table_number(name).is_some());
    if let Some(table) = table {
        return Err(Error::corrupt(&place.dir.join(table), 0, "there is no manifest beside it"));
    }
    if journal_has_files(place)? {
        let path = place.dir.join(JOURNAL_NAME);
        return Err(Error::corrupt(&path, 0, "there is no manifest beside it"));
    }
    Ok(())
}

/// A number that no other database has.
fn salt(place: &Place) -> u64 {
    place.options.seed.unwrap_or_else(|| RandomState::new().hash_one(&place.dir))
}

fn open_tables(place: &Place, contents: &Contents, cache: &Arc<BlockCache>) -> Result<Version> {
    let mut trees = Vec::new();
    for (id, entry) in &contents.keyspaces {
        let mut tables = Vec::new();
        for (level, meta) in entry.tables.values() {
            let path = table_path(&place.dir, meta.id.0);
            if meta.seq_max > contents.counters.last_seq {
                return Err(Error::corrupt(&path, 0, "table has numbers that no write has had"));
            }
            let table =
                Table::open(&*place.vfs, &path, meta, cache).map_err(|error| match error {
                    Error::Io { path, source, .. } if source.kind() == io::ErrorKind::NotFound => {
                        Error::Corrupt { file: path, offset: 0, what: "table is missing" }
                    }
                    error => error,
                })?;
            let file = TableFile::new(table, path, Arc::clone(&place.vfs));
            tables.push((*level, Arc::new(file)));
        }
        let tree = Tree::new(*id, tables).map_err(|what| Error::corrupt(&place.dir, 0, what))?;
        trees.push(Arc::new(tree));
    }
    Ok(Version::new(trees))
}

fn journal_has_files(place: &Place) -> Result<bool> {
    has_files(&*place.vfs, &place.dir.join(JOURNAL_NAME))
}

fn journal_options(place: &Place, contents: &Contents) -> WalOptions {
    let writer = if place.options.threads == 0 { Writer::Caller } else { Writer::Thread };
    let segment = u64::from(place.options.sizes().memtable_bytes) / 2;
    let options = WalOptions::default()
        .min_lsn(contents.counters.journal_durable)
        .record_bytes_max(RECORD_BYTES_MAX)
        .segment_bytes(segment.clamp(16 << 10, 64 << 20))
        .lean(true)
        .writer(writer);
    match place.options.seed {
        // 0 stands for none.
        Some(seed) => options.log_id(seed.max(1)),
        None => options,
    }
}

fn find_journal(place: &Place, contents: &Contents) -> Result<Option<FoundWal>> {
    if !journal_has_files(place)? {
        check_journal(place, contents, None)?;
        return Ok(None);
    }
    let path = place.dir.join(JOURNAL_NAME);
    let found = Wal::find(Arc::clone(&place.vfs), &path, journal_options(place, contents))?;
    check_journal(place, contents, found.view())?;
    Ok(Some(found))
}

fn view_journal(place: &Place, contents: &Contents) -> Result<Option<View>> {
    let path = place.dir.join(JOURNAL_NAME);
    let options = journal_options(place, contents);
    match Wal::open_read_only(Arc::clone(&place.vfs), &path, &options) {
        Ok(view) => Ok(Some(view)),
        // Half of one.
        Err(drystone_wal::Error::NoLog { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether the journal that was found is the one that the manifest knows, and reaches far enough
/// back.
fn check_journal(place: &Place, contents: &Contents, found: Option<&View>) -> Result<()> {
    let path = place.dir.join(JOURNAL_NAME);
    let counters = &contents.counters;
    let Some(view) = found else {
        // One that was never made, or only half.
        let missing = counters.journal_id != 0;
        let error = || Error::corrupt(&place.dir, 0, "the journal is missing");
        return if missing { Err(error()) } else { Ok(()) };
    };
    if counters.journal_id == 0 {
        // The crash came between the journal and the manifest's word of it.
        let empty = view.last_lsn() < view.first_lsn();
        let error = || Error::corrupt(&path, 0, "journal is not one that the manifest knows");
        return if empty { Ok(()) } else { Err(error()) };
    }
    // Another database's is not replayed, nor an empty one taken in its place.
    if log_id(&*place.vfs, &path).ok().flatten() != Some(counters.journal_id) {
        return Err(Error::corrupt(&path, 0, "journal belongs to another database"));
    }
    if counters.journal_from < view.first_lsn() {
        return Err(Error::corrupt(&path, 0, "journal begins after the tables end"));
    }
    Ok(())
}

/// Goes on with the journal that was found, or makes one; and tells the manifest which it is.
fn take_journal(
    place: &Place,
    contents: &Contents,
    found: Option<FoundWal>,
    manifest: &mut Manifest,
) -> Result<Wal> {
    let path = place.dir.join(JOURNAL_NAME);
    let (wal, _) = match found {
        Some(found) => found.open()?,
        None => Wal::open(Arc::clone(&place.vfs), &path, journal_options(place, contents))?,
    };
    if contents.counters.journal_id == 0 {
        let unread = || Error::corrupt(&path, 0, "no segment of the journal has a sound header");
        let journal_id = log_id(&*place.vfs, &path).ok().flatten().ok_or_else(unread)?;
        manifest.commit(Counters { journal_id, ..contents.counters }, &[], &[])?;
    }
    Ok(wal)
}

/// Takes over the manifest, or makes one; and removes orphans, once it is durable.
fn take_manifest(
    place: &Place,
    found: Option<Found>,
    contents: &Contents,
    names: &[String],
) -> Result<Manifest> {
    let (vfs, seed) = (Arc::clone(&place.vfs), place.options.seed);
    let fresh = found.is_none();
    let mut manifest = match found {
        Some(found) => Manifest::open(found, vfs, &place.dir, seed),
        None => Manifest::create(vfs, &place.dir, seed, contents.clone())?,
    };
    if fresh {
        place.vfs.sync_dir(&place.dir).map_err(|e| Error::io("sync", &place.dir, e))?;
    }
    let known = |id: u64| contents.keyspaces.values().any(|k| k.tables.keys().any(|t| t.0 == id));
    let orphans: Vec<u64> =
        names.iter().filter_map(|name| table_number(name)).filter(|id| !known(*id)).collect();
    // What was read may be in the page cache alone: only a manifest that is durable may cost a
    // table its file, or have records in the journal that build on it.
    if place.options.journal || !orphans.is_empty() {
        manifest.make_durable()?;
    }
    if !orphans.is_empty() {
        for id in orphans {
            // One that stays is an orphan once more at the next opening.
            drop(place.vfs.remove(&table_path(&place.dir, id)));
        }
    }
    Ok(manifest)
}

/// Puts the journal's records into memtables.
struct Replay {
    active: Bulk,
    sealed: Vec<Sealed>,
    last_seq: SeqNo,
    from: Lsn,
    next_lsn: Lsn,
    /// The latest time that was told.
    time: u64,
    sizes: Sizes,
    salt: u64,
    keyspaces: Vec<KeyspaceId>,
    /// For records that are packed.
    unpacked: Vec<u8>,
}

impl Replay {
    fn new(place: &Place, contents: &Contents) -> Replay {
        let sizes = place.options.sizes();
        Replay {
            active: Bulk::new(sizes.memtable_bytes, contents.salt),
            sealed: Vec::new(),
            last_seq: contents.counters.last_seq,
            from: contents.counters.journal_from,
            next_lsn: contents.counters.journal_from,
            time: contents.counters.time_floor,
            sizes,
            salt: contents.salt,
            keyspaces: contents.keyspaces.keys().copied().collect(),
            unpacked: Vec::new(),
        }
    }

    fn records(
        &mut self,
        path: &Path,
        records: impl Iterator<Item = drystone_wal::Result<(Lsn, bytes::Bytes)>>,
    ) -> Result<()> {
        for record in records {
            let (lsn, bytes) = record?;
            if lsn >= self.from {
                self.record(lsn, &bytes).map_err(|what| Error::corrupt(path, 0, what))?;
            }
        }
        Ok(())
    }

    fn record(&mut self, lsn: Lsn, bytes: &[u8]) -> Result<(), &'static str> {
        if let Some(time) = time_of(bytes) {
            self.time = self.time.max(time);
            self.next_lsn = lsn.next();
            return Ok(());
        }
        let mut unpacked = std::mem::take(&mut self.unpacked);
        let outcome = unpack(bytes, &mut unpacked).and_then(|plain| self.batch(lsn, plain));
        self.unpacked = unpacked;
        outcome
    }

    fn batch(&mut self, lsn: Lsn, bytes: &[u8]) -> Result<(), &'static str> {
        let record = Record::decode(bytes)?;
        if record.first <= self.last_seq {
            return Err("numbers of a batch go back");
        }
        if !self.active.reserve(record.room()) {
            self.seal(lsn, record.room());
        }
        let (active, keyspaces) = (&mut self.active, &self.keyspaces);
        record.each(|space, seq, change| match change {
            // One that was dropped.
            _ if !keyspaces.contains(&space) => {}
            Change::Entry { kind, key, value } => active.insert(space, key, seq, kind, value),
            Change::Range { start, end } => active.delete_range(space, start, end, seq),
        })?;
        self.last_seq = record.last();
        self.next_lsn = lsn.next();
        Ok(())
    }

    /// Seals the memtable before record `lsn`, which needs `room`.
    fn seal(&mut self, lsn: Lsn, room: u64) {
        let capacity = self.sizes.capacity_for(room);
        let seed = self.salt.wrapping_add(self.sealed.len() as u64);
        let fresh = Bulk::new(capacity, seed);
        assert!(fresh.reserve(room), "a fresh memtable has the room asked for");
        let full = std::mem::replace(&mut self.active, fresh);
        if full.is_reserved() {
            let memtable = Arc::new(full.finish());
            self.sealed.push(Sealed { memtable, last_seq: self.last_seq, next_lsn: lsn });
        }
    }
}

/// What was taken over on disk.
struct Taken {
    manifest: Option<Manifest>,
    journal: Option<Wal>,
    journal_end: Lsn,
    names: Vec<String>,
}

fn build(
    place: Place,
    contents: &Contents,
    cache: Arc<BlockCache>,
    version: Version,
    replay: Replay,
    taken: Taken,
) -> Arc<Core> {
    let owner = OPENINGS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let time = Arc::new(WallTime::new(place.clock, replay.time));
    let keyspaces = contents.keyspaces.iter().map(|(id, entry)| {
        let shared = Shared {
            id: *id,
            name: entry.name.clone(),
            owner,
            expires: entry.traits.expires,
            time: Arc::clone(&time),
            options: RwLock::new(Arc::new(entry.traits.options())),
            dropped: AtomicBool::new(false),
        };
        (*id, Arc::new(shared))
    });
    let keyspaces: BTreeMap<_, _> = keyspaces.collect();
    // An orphan whose removal a crash may undo keeps its number.
    let orphan = taken.names.iter().filter_map(|name| table_number(name)).max().unwrap_or(0);
    let next_table = contents.counters.next_table.max(orphan.saturating_add(1));
    let seals = replay.sealed.len() as u64 + 1;
    let active = Arc::new(replay.active.finish());
    let state = State {
        active: Arc::clone(&active),
        sealed: replay.sealed,
        version: Arc::new(version),
        admitted: SeqNo::ZERO,
    };
    let core = Core {
        sizes: place.options.sizes(),
        vfs: place.vfs,
        dir: place.dir,
        salt: contents.salt,
        owner,
        time,
        cache,
        snapshots: Registry::default(),
        ratchet: Ratchet::new(replay.last_seq),
        state: RwLock::new(Arc::new(state)),
        order: Mutex::new(Order { last_seq: replay.last_seq, active, seals }),
        flushing: Mutex::new(()),
        read_only: taken.manifest.is_none(),
        versions: Mutex::new(Versions {
            manifest: taken.manifest,
            running: Vec::new(),
            settled: BTreeMap::new(),
        }),
        next_table: AtomicU64::new(next_table),
        keyspaces: Mutex::new(keyspaces),
        journal: taken.journal,
        journal_end: taken.journal_end,
        pace: Pace::default(),
        work: Work::default(),
        tally: Tally::default(),
        table_bytes: AtomicU64::new(0),
        admitted: AtomicU64::new(0),
        closed: AtomicBool::new(false),
        options: place.options,
    };
    core.replace_state(State::clone);
    Arc::new(core)
}
