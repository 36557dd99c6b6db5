//! A disk that writes down what the log asks of it, in order.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_vfs::{File, Lock, OpenMode, SimVfs, Vfs};
use parking_lot::Mutex;

/// One call that reached the disk, and the last name of the path it was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) op: &'static str,
    pub(crate) name: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.op, self.name)
    }
}

/// A [`SimVfs`] with a record of its changing calls, and of the largest read.
#[derive(Debug, Clone)]
pub(crate) struct Spy {
    pub(crate) disk: SimVfs,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The present name of every file opened.
    names: Vec<Arc<Mutex<PathBuf>>>,
    calls: Vec<Call>,
    read_bytes_max: usize,
}

impl Spy {
    pub(crate) fn over(disk: SimVfs) -> Spy {
        Spy { disk, seen: Arc::default() }
    }

    /// The changing calls since this was asked last, as `op name`.
    pub(crate) fn take(&self) -> Vec<String> {
        self.seen.lock().calls.drain(..).map(|call| call.to_string()).collect()
    }

    /// The largest buffer that was ever offered for reading into.
    pub(crate) fn read_bytes_max(&self) -> usize {
        self.seen.lock().read_bytes_max
    }

    fn saw(&self, op: &'static str, path: &Path) {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        self.seen.lock().calls.push(Call { op, name });
    }
}

impl Vfs for Spy {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let creates = matches!(mode, OpenMode::Create | OpenMode::CreateNew);
        if creates && self.disk.open(path, OpenMode::Read).is_err() {
            self.saw("create", path);
        }
        let file = self.disk.open(path, mode)?;
        let name = Arc::new(Mutex::new(path.to_path_buf()));
        self.seen.lock().names.push(Arc::clone(&name));
        Ok(Arc::new(SpyFile { spy: self.clone(), path: name, file }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.saw("rename to", to);
        self.disk.rename(from, to)?;
        let seen = self.seen.lock();
        let renamed = seen.names.iter().filter(|name| *name.lock() == from);
        renamed.for_each(|name| *name.lock() = to.to_path_buf());
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.saw("remove", path);
        self.disk.remove(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.disk.list(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.saw("sync dir", dir);
        self.disk.sync_dir(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Lock> {
        self.disk.lock(path)
    }
    fn lock_shared(&self, path: &Path) -> io::Result<Lock> {
        self.disk.lock_shared(path)
    }
}

#[derive(Debug)]
struct SpyFile {
    spy: Spy,
    path: Arc<Mutex<PathBuf>>,
    file: Arc<dyn File>,
}

impl File for SpyFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut seen = self.spy.seen.lock();
        seen.read_bytes_max = seen.read_bytes_max.max(buf.len());
        drop(seen);
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.spy.saw("write", &self.path.lock());
        self.file.write_at(bufs, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.spy.saw("sync", &self.path.lock());
        self.file.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.spy.saw("set length", &self.path.lock());
        self.file.set_len(len)
    }
}
