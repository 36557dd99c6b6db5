//! The folder of a replica.
//!
//! ```text
//! <dir>/FORMAT      what it is, and which engine (see `data_dir`)
//!       LOCK        locked while a process uses the folder
//!       ENGINE      one line: which of the two holds the state
//!       engine-a/   one engine's files
//!       engine-b/   the other's, while a state that was sent takes the place of the first
//!       raft/       the consensus log, unless that is kept apart, and states on their way
//!
//! ENGINE = "engine-a\n" | "engine-b\n"     no such file: engine-a
//! ```
//!
//! A state that comes from another member is built in the engine that is not in use. It counts from
//! the moment at which `ENGINE` names it, which a rename does in one step; until then a restart
//! finds the old one.
//!
//! Of an engine whose place was taken the files go when nobody reads it any more, or when the next
//! state comes, whichever is first. In the second case somebody may still hold the engine: it is
//! kept from the folder, by its [`Fence`], before another moves in.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use drystone_vfs::{Clock, OpenMode, Vfs};
use parking_lot::Mutex;

use crate::data_dir::{DataDir, REPLICA};
use crate::engines::{AnyEngine, EngineConfig, EngineKind};
use crate::error::Error;
use crate::options::Options;
use crate::runtime::fence::Fence;

pub(super) const POINTER: &str = "ENGINE";
const POINTER_TMP: &str = "ENGINE.tmp";
pub(super) const ENGINES: [&str; 2] = ["engine-a", "engine-b"];
/// Where the consensus log lives.
pub(super) const LOG: &str = "raft";
/// More than the line takes.
const POINTER_BYTES_MAX: usize = 32;

/// The folder of a replica, locked until dropped.
pub struct Folder {
    dir: PathBuf,
    vfs: Arc<dyn Vfs>,
    clock: Arc<dyn Clock>,
    config: EngineConfig,
    places: Mutex<Places>,
    _lock: DataDir,
}

/// Who is in the two folders.
#[derive(Debug)]
struct Places {
    /// Which of the two engines is in use.
    current: usize,
    /// The other is being filled, and nobody but who fills it may touch its files.
    is_begun: bool,
    /// The way to the disk of the engine that was opened last in each.
    fences: [Option<Arc<Fence>>; 2],
}

impl Places {
    fn other(&self) -> usize {
        1 - self.current
    }
}

impl Folder {
    /// Takes `dir`, creating it where there is none, and opens its engine. `room` is kept up to
    /// date by whoever knows how much its disk has.
    pub fn open(
        vfs: Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        options: &Options,
        room: Option<Arc<AtomicU64>>,
    ) -> Result<(Folder, AnyEngine), Error> {
        let lock = DataDir::open(&vfs, dir, REPLICA, options.engine)?;
        let config = EngineConfig {
            kind: lock.kind(),
            background: options.background,
            memory_bytes: options.engine_memory_bytes,
            room,
        };
        let current = read_pointer(&*vfs, &dir.join(POINTER))?;
        let places = Mutex::new(Places { current, is_begun: false, fences: [None, None] });
        let dir = dir.to_path_buf();
        let folder = Folder { dir, vfs, clock, config, places, _lock: lock };
        let engine = folder.open_engine(&mut folder.places.lock(), current)?;
        Ok((folder, engine))
    }

    /// Which engine the folder was made with.
    pub fn kind(&self) -> EngineKind {
        self.config.kind
    }

    /// Where the consensus log lives, unless it is kept apart.
    pub fn log(&self) -> PathBuf {
        self.dir.join(LOG)
    }

    /// Where the engine in use has its files.
    pub(crate) fn engine_dir(&self) -> PathBuf {
        self.dir.join(ENGINES[self.places.lock().current])
    }

    /// A new, empty engine beside the one in use. Whatever was there before, and may be held by
    /// somebody yet, changes nothing of it.
    pub fn begin(&self) -> Result<AnyEngine, Error> {
        let mut places = self.places.lock();
        let other = places.other();
        self.clear(&mut places, other).map_err(|error| self.failed(other, error))?;
        places.is_begun = true;
        self.open_engine(&mut places, other)
    }

    /// From now on the engine that was begun is the one, after a restart too. All that it must hold
    /// is durable.
    pub fn adopt(&self) -> Result<(), Error> {
        let mut places = self.places.lock();
        assert!(places.is_begun, "an engine is filled before it is adopted");
        let other = places.other();
        let (tmp, path) = (self.dir.join(POINTER_TMP), self.dir.join(POINTER));
        let write = || -> io::Result<()> {
            let file = self.vfs.open(&tmp, OpenMode::Create)?;
            file.set_len(0)?;
            file.write_at(&[IoSlice::new(pointer_line(other).as_bytes())], 0)?;
            file.sync_data()?;
            self.vfs.rename(&tmp, &path)?;
            self.vfs.sync_dir(&self.dir)
        };
        write().map_err(|error| Error::io(&path, error))?;
        (places.current, places.is_begun) = (other, false);
        Ok(())
    }

    /// Removes the files of the engine that is not in use, unless the next one is just being filled
    /// in its place. Nobody may be using it any more.
    pub fn clear_other(&self) -> io::Result<()> {
        let mut places = self.places.lock();
        if places.is_begun {
            return Ok(());
        }
        let other = places.other();
        self.clear(&mut places, other)
    }

    /// Removes what a process that died may have left half built. Only once it is known that the
    /// engine in use is the right one.
    pub(crate) fn tidy(&self) -> Result<(), Error> {
        let mut places = self.places.lock();
        let other = places.other();
        self.clear(&mut places, other).map_err(|error| self.failed(other, error))
    }

    fn open_engine(&self, places: &mut Places, which: usize) -> Result<AnyEngine, Error> {
        let dir = self.dir.join(ENGINES[which]);
        let fence = Arc::new(Fence::over(self.vfs.clone()));
        places.fences[which] = Some(fence.clone());
        Ok(AnyEngine::open(fence, self.clock.clone(), &dir, &self.config)?)
    }

    fn clear(&self, places: &mut Places, which: usize) -> io::Result<()> {
        // What was there may not be gone, nor all of its threads.
        if let Some(fence) = places.fences[which].take() {
            fence.shut();
        }
        remove_files(&*self.vfs, &self.dir.join(ENGINES[which]))
    }

    fn failed(&self, which: usize, error: io::Error) -> Error {
        Error::io(&self.dir.join(ENGINES[which]), error)
    }
}

/// Removes every file in a folder and in those within, durably: none comes back with a power cut,
/// not even one that an earlier process removed and did not see to the end.
fn remove_files(vfs: &dyn Vfs, dir: &Path) -> io::Result<()> {
    let names = match vfs.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names?,
    };
    for name in names {
        let path = dir.join(name);
        match vfs.list(&path) {
            Ok(_) => remove_files(vfs, &path)?,
            Err(_) => vfs.remove(&path)?,
        }
    }
    vfs.sync_dir(dir)
}

fn pointer_line(which: usize) -> String {
    format!("{}\n", ENGINES[which])
}

pub(super) fn read_pointer(vfs: &dyn Vfs, path: &Path) -> Result<usize, Error> {
    let file = match vfs.open(path, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        file => file.map_err(|error| Error::io(path, error))?,
    };
    let mut buf = [0; POINTER_BYTES_MAX];
    let len = file.read_at(&mut buf, 0).map_err(|error| Error::io(path, error))?;
    let which = (0..ENGINES.len()).find(|which| buf[..len] == *pointer_line(*which).as_bytes());
    let reason = "it does not name an engine";
    which.ok_or_else(|| Error::Damaged { file: path.to_path_buf(), reason })
}

#[cfg(test)]
mod tests {
    use drystone_vfs::{MemVfs, OsClock, SimVfs};

    use super::*;
    use crate::engine::{Batch, Engine as _, Space};

    /// A power cut may bring back a file whose removal no sync has made durable. A list of tables
    /// that comes back is taken for a newer one than the list that was made in its place; the
    /// tables it names are gone.
    #[test]
    fn engine_that_was_cleared_does_not_come_back() {
        for kind in EngineKind::ALL {
            let disk = SimVfs::new(1);
            let options = Options { engine: Some(kind), background: false, ..Options::default() };
            let (vfs, clock) = (Arc::new(disk.clone()), Arc::new(OsClock::new()));
            let (folder, engine) =
                Folder::open(vfs, clock, Path::new("kv"), &options, None).unwrap();
            put(&engine, "v");
            engine.persist().unwrap();
            let other = folder.begin().unwrap();
            folder.adopt().unwrap();
            let within = |disk: &SimVfs| {
                let files = disk.files().into_iter().map(|(path, _)| path);
                files.filter(|path| path.starts_with("kv/engine-a")).collect::<Vec<_>>()
            };
            assert!(!within(&disk).is_empty(), "{kind}: there is something to be cleared");
            folder.clear_other().unwrap();
            for seed in 0..100 {
                assert_eq!(within(&disk.crash_copy(seed)), Vec::<PathBuf>::new(), "{kind} {seed}");
            }
            drop((folder, engine, other));
        }
    }

    fn open(disk: &MemVfs, kind: EngineKind) -> (Folder, AnyEngine) {
        let options = Options { engine: Some(kind), background: false, ..Options::default() };
        let (vfs, clock) = (Arc::new(disk.clone()), Arc::new(OsClock::new()));
        Folder::open(vfs, clock, Path::new("kv"), &options, None).unwrap()
    }

    fn put(engine: &AnyEngine, value: &'static str) {
        let mut batch = Batch::new();
        batch.put(Space::Meta, b"k", value.into());
        engine.write(batch).unwrap();
    }

    fn get(engine: &AnyEngine) -> Option<bytes::Bytes> {
        engine.get(Space::Meta, b"k").unwrap()
    }

    /// The housekeeper clears an engine's folder when the last reader has left, at any time: also
    /// when the next state has been sent by then and is just being built there. What is built would
    /// go on, over files without names, and the next start would find half of it.
    #[test]
    fn engine_that_is_being_filled_is_not_cleared() {
        for kind in EngineKind::ALL {
            let disk = MemVfs::new();
            let (folder, engine) = open(&disk, kind);
            let other = folder.begin().unwrap();
            put(&other, "new");
            other.persist().unwrap();
            folder.clear_other().unwrap();
            put(&other, "newer");
            other.persist().unwrap();
            folder.adopt().unwrap();
            drop((folder, engine, other));
            assert_eq!(get(&open(&disk, kind).1).as_deref(), Some(&b"newer"[..]), "{kind}");
        }
    }

    /// Two states that are sent in a row: the second is built where the engine was that the first
    /// has taken the place of. That one may still be read, and be saving itself.
    #[test]
    fn engine_that_was_replaced_changes_nothing_of_the_one_in_its_folder() {
        for kind in EngineKind::ALL {
            let disk = MemVfs::new();
            let (folder, first) = open(&disk, kind);
            put(&first, "first");
            let second = folder.begin().unwrap();
            folder.adopt().unwrap();
            let third = folder.begin().unwrap();
            put(&third, "third");
            third.persist().unwrap();
            // Whether it can be saved does not matter, as long as nobody finds it.
            drop(first.persist());
            assert_eq!(get(&first).as_deref(), Some(&b"first"[..]), "{kind}: it can be read");
            drop(first);
            folder.adopt().unwrap();
            drop((folder, second, third));
            assert_eq!(get(&open(&disk, kind).1).as_deref(), Some(&b"third"[..]), "{kind}");
        }
    }
}
