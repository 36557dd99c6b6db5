//! A disk with somebody listening on the line: every call passes by, and may be counted, held up,
//! refused, or answered late.
//!
//! ```text
//!     engine ──► TapVfs ──► Tap::pass(call, go) ── go() ──► the disk beneath
//!                                │
//!                                └── looks, waits, counts, refuses, or does something first
//! ```
//!
//! Failures that follow a plan are ordered from [`SimVfs`](crate::SimVfs); this is for what needs
//! code of the test's own: a gate that holds up a sync, a log of who called what, a meter.
//!
//! A file is called by the name it has at the time of the call, also after it was renamed through
//! this disk.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::path::normal;
use crate::vfs::{File, Lock, OpenMode, Vfs};

/// A call on its way to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are the arguments of the calls, by their names")]
pub enum Call<'a> {
    /// [`Vfs::open`].
    Open { path: &'a Path, mode: OpenMode },
    /// [`Vfs::rename`].
    Rename { from: &'a Path, to: &'a Path },
    /// [`Vfs::remove`].
    Remove { path: &'a Path },
    /// [`Vfs::list`].
    List { dir: &'a Path },
    /// [`Vfs::sync_dir`].
    SyncDir { dir: &'a Path },
    /// [`Vfs::create_dir_all`].
    CreateDirAll { dir: &'a Path },
    /// [`Vfs::lock`] or [`Vfs::lock_shared`].
    Lock { path: &'a Path, shared: bool },
    /// [`File::read_at`] into a buffer of so many bytes.
    Read { path: &'a Path, offset: u64, bytes: usize },
    /// [`File::write_at`] of so many bytes.
    Write { path: &'a Path, offset: u64, bytes: usize },
    /// [`File::sync_data`].
    SyncData { path: &'a Path },
    /// [`File::len`] or [`File::allocated`].
    Len { path: &'a Path },
    /// [`File::set_len`].
    SetLen { path: &'a Path, len: u64 },
}

/// Who listens. A closure of the same shape is one.
pub trait Tap: Send + Sync + 'static {
    /// Passes `call` on by calling `go`, once or not at all, and returns what became of it. Without
    /// an error and without a call of `go` the disk beneath is asked all the same: what is not
    /// refused has to be answered.
    fn pass(&self, call: Call<'_>, go: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()>;
}

impl<F> Tap for F
where
    F: Fn(Call<'_>, &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> + Send + Sync + 'static,
{
    fn pass(&self, call: Call<'_>, go: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        self(call, go)
    }
}

/// A disk whose calls all pass a [`Tap`]. Clones share it.
#[derive(Clone)]
pub struct TapVfs {
    disk: Arc<dyn Vfs>,
    line: Arc<Line>,
}

/// What files and their disk share.
struct Line {
    tap: Arc<dyn Tap>,
    /// The present names of open files.
    names: Mutex<Vec<Weak<Mutex<PathBuf>>>>,
}

impl Line {
    fn pass<T>(&self, call: Call<'_>, make: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let (mut make, mut answer) = (Some(make), None);
        self.tap.pass(call, &mut || {
            let make = make.take().expect("a call is passed on once");
            make().map(|found| answer = Some(found))
        })?;
        match (answer, make) {
            (Some(answer), _) => Ok(answer),
            (None, Some(make)) => make(),
            (None, None) => Err(io::Error::other("the call failed, and the tap said it had not")),
        }
    }
}

impl TapVfs {
    /// Puts `tap` on the line to `disk`.
    pub fn over(disk: impl Vfs, tap: impl Tap) -> TapVfs {
        TapVfs::sharing(Arc::new(disk), Arc::new(tap))
    }

    /// As [`over`](TapVfs::over), for a disk and a tap that others hold as well.
    pub fn sharing(disk: Arc<dyn Vfs>, tap: Arc<dyn Tap>) -> TapVfs {
        TapVfs { disk, line: Arc::new(Line { tap, names: Mutex::default() }) }
    }
}

impl fmt::Debug for TapVfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TapVfs({:?})", self.disk)
    }
}

impl Vfs for TapVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let open = || self.disk.open(path, mode);
        let file = self.line.pass(Call::Open { path, mode }, open)?;
        let name = Arc::new(Mutex::new(path.to_path_buf()));
        let mut names = self.line.names.lock();
        names.retain(|name| name.strong_count() > 0);
        names.push(Arc::downgrade(&name));
        Ok(Arc::new(TapFile { file, name, line: Arc::clone(&self.line) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.line.pass(Call::Rename { from, to }, || self.disk.rename(from, to))?;
        let names = self.line.names.lock();
        for name in names.iter().filter_map(Weak::upgrade) {
            let mut name = name.lock();
            if normal(&name) == normal(from) {
                *name = to.to_path_buf();
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.line.pass(Call::Remove { path }, || self.disk.remove(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.line.pass(Call::List { dir }, || self.disk.list(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.line.pass(Call::SyncDir { dir }, || self.disk.sync_dir(dir))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.line.pass(Call::CreateDirAll { dir }, || self.disk.create_dir_all(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        self.line.pass(Call::Lock { path, shared: false }, || self.disk.lock(path))
    }

    fn lock_shared(&self, path: &Path) -> io::Result<Lock> {
        self.line.pass(Call::Lock { path, shared: true }, || self.disk.lock_shared(path))
    }
}

struct TapFile {
    file: Arc<dyn File>,
    name: Arc<Mutex<PathBuf>>,
    line: Arc<Line>,
}

impl TapFile {
    fn name(&self) -> PathBuf {
        self.name.lock().clone()
    }
}

impl fmt::Debug for TapFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TapFile({})", self.name().display())
    }
}

impl File for TapFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let call = Call::Read { path: &self.name(), offset, bytes: buf.len() };
        self.line.pass(call, || self.file.read_at(buf, offset))
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let bytes = bufs.iter().map(|buf| buf.len()).sum();
        let call = Call::Write { path: &self.name(), offset, bytes };
        self.line.pass(call, || self.file.write_at(bufs, offset))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.line.pass(Call::SyncData { path: &self.name() }, || self.file.sync_data())
    }

    fn len(&self) -> io::Result<u64> {
        self.line.pass(Call::Len { path: &self.name() }, || self.file.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.line.pass(Call::SetLen { path: &self.name(), len }, || self.file.set_len(len))
    }

    fn allocated(&self) -> io::Result<u64> {
        self.line.pass(Call::Len { path: &self.name() }, || self.file.allocated())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::MemVfs;

    // A log of calls that names files by what they were called once would mislead its reader.
    #[test]
    fn a_renamed_file_is_called_by_its_new_name() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&seen);
        let disk = TapVfs::over(MemVfs::new(), move |call: Call<'_>, go: &mut dyn FnMut() -> _| {
            notes.lock().push(format!("{call:?}"));
            go()
        });
        disk.create_dir_all(Path::new("/d")).unwrap();
        let file = disk.open(Path::new("/d/a"), OpenMode::Create).unwrap();
        disk.rename(Path::new("/d/a"), Path::new("/d/b")).unwrap();
        file.write_at(&[IoSlice::new(b"xy")], 3).unwrap();
        let last = seen.lock().last().cloned().unwrap();
        assert_eq!(last, "Write { path: \"/d/b\", offset: 3, bytes: 2 }");
        assert_eq!(file.len().unwrap(), 5);
    }

    // A refused call must not reach the disk, and one that the tap forgot must.
    #[test]
    fn what_is_refused_does_not_happen_and_what_is_not_does() {
        let disk = MemVfs::new();
        disk.create_dir_all(Path::new("/d")).unwrap();
        let refuses = |call: Call<'_>, _: &mut dyn FnMut() -> io::Result<()>| match call {
            Call::Remove { .. } => Err(io::ErrorKind::PermissionDenied.into()),
            _ => Ok(()),
        };
        let tapped = TapVfs::over(disk.clone(), refuses);
        tapped.open(Path::new("/d/a"), OpenMode::Create).unwrap();
        assert!(tapped.remove(Path::new("/d/a")).is_err());
        assert_eq!(disk.list(Path::new("/d")).unwrap(), ["a"]);
    }
}
