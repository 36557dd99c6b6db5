//! The state of the hostile disk: files, names, and the name changes a crash may lose.
//!
//! Names live apart from files, as on a real disk. `names` is what the process sees;
//! `durable_names` is what survives; `pending` holds the changes between the two, in order.
//! `sync_dir` moves the changes of one directory over. A crash keeps any subset of the pending
//! ones, because file systems reorder them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::locks::Locks;
use crate::path::{name, not_found, parent};
use crate::sim::fault::{Counts, Fault, Harm, Op, eio};
use crate::sim::image::{Fate, Image, Overwrite, SECTOR_BYTES, Sector};

pub(crate) type FileId = u64;

#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) files: BTreeMap<FileId, Image>,
    pub(crate) names: BTreeMap<PathBuf, FileId>,
    pub(crate) dirs: BTreeSet<PathBuf>,
    pub(crate) locks: Locks,
    pub(crate) counts: Counts,
    pub(crate) faults: Vec<Fault>,
    pub(crate) bad_sectors: BTreeSet<(FileId, u64)>,
    pub(crate) capacity_bytes: Option<u64>,
    /// What a thin volume under the file system has: see `SimVfs::set_thin_bytes`.
    pub(crate) thin_bytes: Option<u64>,
    pub(crate) overwrite: Overwrite,
    /// Changing calls left before the power fails.
    pub(crate) calls_left: Option<u64>,
    durable_names: BTreeMap<PathBuf, FileId>,
    pending: Vec<NameChange>,
    file_id_next: FileId,
    alive: bool,
    rng: ChaCha8Rng,
}

#[derive(Debug, Clone)]
enum NameChange {
    Add { path: PathBuf, file: FileId },
    Drop { path: PathBuf, file: FileId },
    Move { from: PathBuf, to: PathBuf, file: FileId },
}

impl NameChange {
    fn touches(&self, dir: &Path) -> bool {
        match self {
            NameChange::Add { path, .. } | NameChange::Drop { path, .. } => parent(path) == dir,
            NameChange::Move { from, to, .. } => parent(from) == dir || parent(to) == dir,
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, FileId>) {
        let mut drop_if_same = |path: &PathBuf, file: FileId| {
            if names.get(path) == Some(&file) {
                names.remove(path);
            }
        };
        match self {
            NameChange::Add { path, file } => {
                names.insert(path.clone(), *file);
            }
            NameChange::Drop { path, file } => drop_if_same(path, *file),
            NameChange::Move { from, to, file } => {
                drop_if_same(from, *file);
                names.insert(to.clone(), *file);
            }
        }
    }
}

impl Disk {
    pub(crate) fn new(seed: u64) -> Disk {
        Disk {
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            dirs: BTreeSet::new(),
            locks: Locks::default(),
            counts: Counts::default(),
            faults: Vec::new(),
            bad_sectors: BTreeSet::new(),
            capacity_bytes: None,
            thin_bytes: None,
            overwrite: Overwrite::default(),
            calls_left: None,
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
            file_id_next: 1,
            alive: true,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// The disk as a new process finds it after a power cut, the choices made by `seed`, or by this
    /// disk's own stream.
    pub(crate) fn crashed(&mut self, seed: Option<u64>) -> Disk {
        let seed = seed.unwrap_or_else(|| self.rng.random());
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut names = self.durable_names.clone();
        // Half of all crashes keep a prefix of the name changes, the others any subset.
        let ordered = rng.random_bool(0.5);
        let prefix = rng.random_range(0..=self.pending.len());
        for (i, change) in self.pending.iter().enumerate() {
            if if ordered { i < prefix } else { rng.random_bool(0.5) } {
                change.apply(&mut names);
            }
        }
        let mut after = Disk::new(rng.random());
        let stale = self.stale_sectors(&mut rng);
        for &file in names.values() {
            let others = stale.iter().filter(|(owner, _)| *owner != file);
            let others: Vec<&Sector> = others.map(|(_, sector)| sector).collect();
            let mut fate = Fate { rng: &mut rng, overwrite: self.overwrite, stale: &others };
            let image = &self.files[&file];
            after.files.entry(file).or_insert_with(|| image.crash(&mut fate));
        }
        after.durable_names = names.clone();
        after.names = names;
        self.hand_down(&mut after);
        after
    }

    /// Some sectors of every file there ever was, by file: blocks are handed out dirty, those of a
    /// removed file first of all. A file's own are never among those it is given anew.
    fn stale_sectors(&self, rng: &mut ChaCha8Rng) -> Vec<(FileId, Sector)> {
        let mut stale = Vec::new();
        for (&file, image) in &self.files {
            stale.extend(image.some_sectors(rng).into_iter().map(|sector| (file, sector)));
        }
        stale
    }

    /// The disk as a new process finds it after the old one was killed: the page cache lives on.
    pub(crate) fn killed(&self) -> Disk {
        let mut after = Disk::new(self.rng.clone().random());
        after.files.clone_from(&self.files);
        after.names.clone_from(&self.names);
        after.durable_names.clone_from(&self.durable_names);
        after.pending.clone_from(&self.pending);
        self.hand_down(&mut after);
        after
    }

    /// What stays as it is, whatever happens to processes and power.
    fn hand_down(&self, after: &mut Disk) {
        after.dirs.clone_from(&self.dirs);
        after.file_id_next = self.file_id_next;
        after.bad_sectors.clone_from(&self.bad_sectors);
        after.capacity_bytes = self.capacity_bytes;
        after.thin_bytes = self.thin_bytes;
        after.overwrite = self.overwrite;
    }

    pub(crate) fn kill(&mut self) {
        assert!(self.alive, "the power fails once; go on with the disk that crash() returned");
        self.alive = false;
    }

    /// Fails unless the process that asks is still alive.
    pub(crate) fn check_alive(&self) -> io::Result<()> {
        if self.alive { Ok(()) } else { Err(dead()) }
    }

    /// Counts a call, and tells whether an ordered failure strikes it: `Err` to fail at once,
    /// `Ok(Some)` for harms that do a part of their work.
    pub(crate) fn enter(&mut self, op: Op, path: &Path) -> io::Result<Option<Harm>> {
        self.check_alive()?;
        if op != Op::Read
            && let Some(left) = &mut self.calls_left
        {
            if *left == 0 {
                return Err(dead());
            }
            *left -= 1;
        }
        self.counts.count(op);
        let struck = self.faults.iter_mut().find_map(|f| f.strikes(op, path).then_some(f.harm));
        match (struck, op) {
            (None, _) | (Some(Harm::Lies), Op::Sync | Op::SyncDir) => Ok(struck),
            (Some(Harm::Torn), Op::Write) => Ok(struck),
            (Some(Harm::Drops | Harm::Forgets), Op::Sync) => Ok(struck),
            (Some(Harm::Lies), _) => Ok(None),
            (Some(Harm::NoSpace), _) => Err(io::ErrorKind::StorageFull.into()),
            (Some(Harm::Error | Harm::Torn | Harm::Drops | Harm::Forgets), _) => Err(eio()),
        }
    }

    pub(crate) fn has_dir(&self, dir: &Path) -> bool {
        dir.as_os_str().is_empty() || self.dirs.contains(dir)
    }

    pub(crate) fn create(&mut self, path: &Path) -> io::Result<FileId> {
        name(path)?;
        if self.has_dir(path) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !self.has_dir(&parent(path)) {
            return Err(not_found(&parent(path)));
        }
        let file = self.file_id_next;
        self.file_id_next += 1;
        self.files.insert(file, Image::default());
        self.change(NameChange::Add { path: path.to_path_buf(), file });
        Ok(file)
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if !self.has_dir(&parent(to)) {
            return Err(not_found(&parent(to)));
        }
        let file = *self.names.get(from).ok_or_else(|| not_found(from))?;
        self.change(NameChange::Move { from: from.into(), to: to.into(), file });
        Ok(())
    }

    pub(crate) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let file = *self.names.get(path).ok_or_else(|| not_found(path))?;
        self.change(NameChange::Drop { path: path.into(), file });
        Ok(())
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    pub(crate) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        if !self.has_dir(dir) {
            return Err(not_found(dir));
        }
        for change in self.pending.extract_if(.., |change| change.touches(dir)) {
            change.apply(&mut self.durable_names);
        }
        Ok(())
    }

    pub(crate) fn read(&self, file: FileId, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.files[&file].bytes();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let count = buf.len().min(bytes.len() - start);
        let first = (start / SECTOR_BYTES) as u64;
        let end = (start + count).div_ceil(SECTOR_BYTES) as u64;
        if count > 0 && self.bad_sectors.range((file, first)..(file, end)).next().is_some() {
            return Err(eio());
        }
        buf[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    pub(crate) fn write(
        &mut self,
        file: FileId,
        bytes: &[u8],
        at: usize,
        harm: Option<Harm>,
    ) -> io::Result<()> {
        let growth = self.files[&file].growth(at, bytes.len());
        if let Some(capacity) = self.capacity_bytes
            && growth > 0
            && self.used_bytes() + growth > capacity
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let torn = harm == Some(Harm::Torn);
        let count = if torn { self.rng.random_range(0..=bytes.len()) } else { bytes.len() };
        self.counts.bytes_written += count as u64;
        let image = self.files.get_mut(&file).expect("an open handle keeps its file");
        image.write(&bytes[..count], at);
        if torn { Err(eio()) } else { Ok(()) }
    }

    /// Makes a file's bytes durable, unless the thin volume has no room for them: then they are
    /// lost, and the caller hears of it here, long after the write that succeeded.
    pub(crate) fn sync(&mut self, file: FileId) -> io::Result<()> {
        let fits = self.fits_thin_volume(file);
        let image = self.files.get_mut(&file).expect("an open handle keeps its file");
        if fits {
            image.sync();
            Ok(())
        } else {
            image.revert();
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    /// Whether the dirty bytes of `file` find room. What is there already needs none.
    fn fits_thin_volume(&self, file: FileId) -> bool {
        let Some(room) = self.thin_bytes else { return true };
        let image = &self.files[&file];
        let growth = image.thick_bytes(true).saturating_sub(image.thick_bytes(false));
        let used: u64 = self.names.values().map(|file| self.files[file].thick_bytes(false)).sum();
        growth == 0 || used + growth <= room
    }

    fn used_bytes(&self) -> u64 {
        self.names.values().map(|file| self.files[file].allocated()).sum()
    }
}

fn dead() -> io::Error {
    io::Error::other("the power failed: this process is dead")
}
