//! A disk in memory: obedient, fast, and gone when dropped.
//!
//! For tests and caches that do not care about crashes. Nothing here can fail except by misuse; for
//! a disk that fights back see [`SimVfs`](crate::SimVfs).

mod blocks;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard, RwLock};

use self::blocks::Blocks;
use crate::locks::{Locks, Mode};
use crate::path::{name, normal, not_found, parent};
use crate::vfs::{File, Lock, OpenMode, Vfs};

/// A file system in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemVfs {
    tree: Arc<Mutex<Tree>>,
}

#[derive(Debug, Default)]
struct Tree {
    files: BTreeMap<PathBuf, Arc<RwLock<Blocks>>>,
    dirs: BTreeSet<PathBuf>,
    locks: Locks,
}

impl MemVfs {
    /// An empty disk.
    pub fn new() -> MemVfs {
        MemVfs::default()
    }

    fn take(&self, mut tree: MutexGuard<'_, Tree>, path: PathBuf, mode: Mode) -> io::Result<Lock> {
        tree.locks.take(&path, mode)?;
        Ok(Lock::new(MemLock { tree: Arc::clone(&self.tree), path }))
    }
}

impl Tree {
    fn has_dir(&self, dir: &Path) -> bool {
        dir.as_os_str().is_empty() || self.dirs.contains(dir)
    }

    fn create(&mut self, path: &Path) -> io::Result<Arc<RwLock<Blocks>>> {
        name(path)?;
        if self.has_dir(path) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !self.has_dir(&parent(path)) {
            return Err(not_found(&parent(path)));
        }
        Ok(Arc::clone(self.files.entry(path.to_path_buf()).or_default()))
    }
}

impl Vfs for MemVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let path = normal(path);
        let mut tree = self.tree.lock();
        let present = tree.files.get(&path).cloned();
        let bytes = match (mode, present) {
            (OpenMode::CreateNew, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (_, Some(bytes)) => bytes,
            (OpenMode::Read | OpenMode::Write, None) => return Err(not_found(&path)),
            (OpenMode::Create | OpenMode::CreateNew, None) => tree.create(&path)?,
        };
        Ok(Arc::new(MemFile { bytes, read_only: mode == OpenMode::Read }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (normal(from), normal(to));
        let mut tree = self.tree.lock();
        if !tree.has_dir(&parent(&to)) {
            return Err(not_found(&parent(&to)));
        }
        let bytes = tree.files.remove(&from).ok_or_else(|| not_found(&from))?;
        tree.files.insert(to, bytes);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let path = normal(path);
        self.tree.lock().files.remove(&path).map(drop).ok_or_else(|| not_found(&path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let dir = normal(dir);
        let tree = self.tree.lock();
        if !tree.has_dir(&dir) {
            return Err(not_found(&dir));
        }
        let paths = tree.files.keys().chain(&tree.dirs);
        let mut names: Vec<OsString> =
            paths.filter(|p| parent(p) == dir).filter_map(|p| name(p).ok()).collect();
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = normal(dir);
        if self.tree.lock().has_dir(&dir) { Ok(()) } else { Err(not_found(&dir)) }
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let dir = normal(dir);
        let mut tree = self.tree.lock();
        for at in dir.ancestors().filter(|at| !at.as_os_str().is_empty()) {
            if tree.files.contains_key(at) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            tree.dirs.insert(at.to_path_buf());
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        let path = normal(path);
        let mut tree = self.tree.lock();
        tree.create(&path)?;
        self.take(tree, path, Mode::Exclusive)
    }

    fn lock_shared(&self, path: &Path) -> io::Result<Lock> {
        let path = normal(path);
        let tree = self.tree.lock();
        if !tree.files.contains_key(&path) {
            return Err(not_found(&path));
        }
        self.take(tree, path, Mode::Shared)
    }
}

struct MemLock {
    tree: Arc<Mutex<Tree>>,
    path: PathBuf,
}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.tree.lock().locks.release(&self.path);
    }
}

#[derive(Debug)]
struct MemFile {
    bytes: Arc<RwLock<Blocks>>,
    read_only: bool,
}

impl MemFile {
    fn writable(&self) -> io::Result<()> {
        if self.read_only { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }
}

impl File for MemFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(self.bytes.read().read(buf, start))
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.writable()?;
        let mut at = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = self.bytes.write();
        for buf in bufs.iter().filter(|buf| !buf.is_empty()) {
            bytes.write(buf, at);
            at += buf.len();
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.read().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.writable()?;
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.bytes.write().resize(len);
        Ok(())
    }
}
