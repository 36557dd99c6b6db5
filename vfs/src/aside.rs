//! A disk for whoever only looks, beside those who write: it changes nothing, and locks nothing.
//!
//! **The problem.** Somebody wants to know what is in the files of a server that is running. A
//! shared lock would be refused; and if it were not, a server that starts just now would be.
//!
//! **The idea.** Everything that could be noticed by others is refused or pretended:
//!
//! ```text
//!     open(Read), list ──► the disk beneath
//!     lock_shared      ──► granted, and not asked for
//!     everything else  ──► ReadOnlyFilesystem
//! ```
//!
//! **What it costs.** Nothing keeps writers out: what is read may be of several moments. Whoever
//! reads through this has checksums, and looks again before it believes in damage.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::vfs::{File, Lock, OpenMode, Vfs};

/// A disk that can be looked at alone, whatever others do with it meanwhile.
#[derive(Debug, Clone)]
pub struct AsideVfs {
    disk: Arc<dyn Vfs>,
}

impl AsideVfs {
    /// Looks at `disk`.
    pub fn over(disk: Arc<dyn Vfs>) -> AsideVfs {
        AsideVfs { disk }
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Vfs for AsideVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        match mode {
            OpenMode::Read => self.disk.open(path, mode),
            OpenMode::Write | OpenMode::Create | OpenMode::CreateNew => refused(),
        }
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.disk.list(dir)
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        refused()
    }

    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        refused()
    }

    fn lock(&self, _path: &Path) -> io::Result<Lock> {
        refused()
    }

    fn lock_shared(&self, _path: &Path) -> io::Result<Lock> {
        Ok(Lock::new(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::MemVfs;

    // Whoever looks beside a server must be unable to disturb it, by any call there is.
    #[test]
    fn whoever_looks_changes_nothing_and_keeps_nobody_out() {
        let disk = MemVfs::new();
        let (dir, file) = (Path::new("/d"), Path::new("/d/a"));
        disk.create_dir_all(dir).unwrap();
        disk.open(file, OpenMode::Create).unwrap();
        let aside = AsideVfs::over(Arc::new(disk.clone()));
        let refused = |outcome: io::Result<()>| {
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
        };
        for mode in [OpenMode::Write, OpenMode::Create, OpenMode::CreateNew] {
            refused(aside.open(file, mode).map(drop));
        }
        refused(aside.rename(file, Path::new("/d/b")));
        refused(aside.remove(file));
        refused(aside.sync_dir(dir));
        refused(aside.create_dir_all(Path::new("/e")));
        refused(aside.lock(file).map(drop));
        assert!(aside.open(file, OpenMode::Read).is_ok());
        assert_eq!(aside.list(dir).unwrap(), ["a"]);
        let held = disk.lock(file).unwrap();
        let _looking = aside.lock_shared(file).unwrap();
        drop(held);
        assert!(disk.lock(file).is_ok(), "nothing was locked");
    }
}
