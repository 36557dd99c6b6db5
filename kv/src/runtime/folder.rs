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
    /// Which of the two engines is in use.
    current: Mutex<usize>,
    _lock: DataDir,
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
        let current = Mutex::new(read_pointer(&*vfs, &dir.join(POINTER))?);
        let dir = dir.to_path_buf();
        let folder = Folder { dir, vfs, clock, config, current, _lock: lock };
        let current = *folder.current.lock();
        let engine = folder.open_engine(current)?;
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
        self.dir.join(ENGINES[*self.current.lock()])
    }

    /// A new, empty engine beside the one in use.
    pub fn begin(&self) -> Result<AnyEngine, Error> {
        let other = 1 - *self.current.lock();
        self.clear(other).map_err(|error| self.failed(other, error))?;
        self.open_engine(other)
    }

    /// From now on the engine that was begun is the one, after a restart too. All that it must hold
    /// is durable.
    pub fn adopt(&self) -> Result<(), Error> {
        let mut current = self.current.lock();
        let other = 1 - *current;
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
        *current = other;
        Ok(())
    }

    /// Removes the files of the engine that is not in use; nobody may be using it any more.
    pub fn clear_other(&self) -> io::Result<()> {
        let current = self.current.lock();
        self.clear(1 - *current)
    }

    /// Removes what a process that died may have left half built. Only once it is known that the
    /// engine in use is the right one.
    pub(crate) fn tidy(&self) -> Result<(), Error> {
        let other = 1 - *self.current.lock();
        self.clear(other).map_err(|error| self.failed(other, error))
    }

    fn open_engine(&self, which: usize) -> Result<AnyEngine, Error> {
        let dir = self.dir.join(ENGINES[which]);
        Ok(AnyEngine::open(self.vfs.clone(), self.clock.clone(), &dir, &self.config)?)
    }

    fn clear(&self, which: usize) -> io::Result<()> {
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
    use drystone_vfs::{OsClock, SimVfs};

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
            let other = folder.begin().unwrap();
            let mut batch = Batch::new();
            batch.put(Space::Meta, b"k", "v".into());
            other.write(batch).unwrap();
            other.persist().unwrap();
            drop(other);
            let within = |disk: &SimVfs| {
                let files = disk.files().into_iter().map(|(path, _)| path);
                files.filter(|path| path.starts_with("kv/engine-b")).collect::<Vec<_>>()
            };
            assert!(!within(&disk).is_empty(), "{kind}: there is something to be cleared");
            folder.clear_other().unwrap();
            for seed in 0..100 {
                assert_eq!(within(&disk.crash_copy(seed)), Vec::<PathBuf>::new(), "{kind} {seed}");
            }
            drop((folder, engine));
        }
    }
}
