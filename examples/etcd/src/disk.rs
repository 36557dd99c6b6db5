//! The disk, and how long it takes.
//!
//! The store reaches its files through `drystone_vfs` alone, so that is where it can be timed,
//! without a word in the libraries: what lies under `raft/` or in the directory of `--wal-dir` is
//! the log, what lies under `engine-…` is the engine.
//!
//! ```text
//!   log, engine ──► Timed ──► Roomy ──► OsVfs
//!                     │ writes to the log: time, bytes     syncs of the log: time
//!                     ▼ syncs of the engine: time          syncs of states that come in: time
//!                   Times
//! ```
//!
//! (`drystone_vfs::TapVfs` could tell as much, but copies the name of the file for each call. Here
//! a file knows what it is a part of when it is opened, and what is not timed is not touched.)

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Component, Path};
use std::sync::Arc;
use std::time::{Duration, Instant};

use drystone_vfs::{File, Lock, OpenMode, Vfs};

use crate::metrics::Counter;
use crate::metrics::histogram::{DISK, Histogram};
use crate::space::Roomy;

/// A sync of the log that takes longer is written down: nothing is acknowledged meanwhile.
const SLOW_SYNC: Duration = Duration::from_secs(1);

/// How long the disk took.
#[derive(Debug)]
pub(crate) struct Times {
    /// Syncs of the log.
    pub(crate) log_syncs: Histogram,
    /// Writes to the log, which are not durable before a sync.
    pub(crate) log_writes: Histogram,
    /// Bytes of them.
    pub(crate) log_bytes: Counter,
    /// Syncs of the engine's files.
    pub(crate) engine_syncs: Histogram,
    /// Syncs of whole states.
    pub(crate) state_syncs: Histogram,
}

impl Times {
    /// Nothing has been done yet.
    pub(crate) fn new() -> Times {
        Times {
            log_syncs: Histogram::new(DISK),
            log_writes: Histogram::new(DISK),
            log_bytes: Counter::default(),
            engine_syncs: Histogram::new(DISK),
            state_syncs: Histogram::new(DISK),
        }
    }
}

/// The disk of the operating system, timed.
#[derive(Debug)]
pub(crate) struct Timed {
    disk: Roomy,
    times: Arc<Times>,
}

impl Timed {
    /// Tells `times` how long everything takes on `disk`.
    pub(crate) fn new(disk: Roomy, times: Arc<Times>) -> Timed {
        Timed { disk, times }
    }

    fn time(&self, path: &Path, file: Arc<dyn File>) -> Arc<dyn File> {
        match Part::of(path, self.disk.log_dir()) {
            Part::Other => file,
            part => Arc::new(TimedFile { file, part, times: self.times.clone() }),
        }
    }
}

impl Vfs for Timed {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(self.time(path, self.disk.open(path, mode)?))
    }

    fn create_dispensable(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.time(path, self.disk.create_dispensable(path)?))
    }

    fn create_sized(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn File>> {
        Ok(self.time(path, self.disk.create_sized(path, bytes)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.disk.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
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

/// What a file is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The log.
    Log,
    /// The engine's files.
    Engine,
    /// A whole state, as members send it to each other.
    State,
    /// Anything else.
    Other,
}

impl Part {
    /// By the folders that it lies in, the nearest first: whoever runs the server names the others.
    /// A log that is kept apart is in `log_dir`.
    pub(crate) fn of(path: &Path, log_dir: Option<&Path>) -> Part {
        if log_dir.is_some_and(|log_dir| path.starts_with(log_dir)) {
            return Part::Log;
        }
        let folders = path.parent().into_iter().flat_map(Path::components).rev();
        let names = folders.filter_map(|component| match component {
            Component::Normal(name) => name.to_str(),
            _ => None,
        });
        for name in names {
            match name {
                "snapshots" => return Part::State,
                "raft" => return Part::Log,
                "engine-a" | "engine-b" => return Part::Engine,
                "replica" => return Part::Other,
                _ => {}
            }
        }
        Part::Other
    }
}

/// A file, timed.
#[derive(Debug)]
struct TimedFile {
    file: Arc<dyn File>,
    part: Part,
    times: Arc<Times>,
}

impl File for TimedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        if self.part != Part::Log {
            return self.file.write_at(bufs, offset);
        }
        let began = Instant::now();
        self.file.write_at(bufs, offset)?;
        self.times.log_writes.observe(began.elapsed());
        self.times.log_bytes.add(bufs.iter().map(|buf| buf.len() as u64).sum());
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let began = Instant::now();
        self.file.sync_data()?;
        match self.part {
            Part::Log => {
                let took = began.elapsed();
                self.times.log_syncs.observe(took);
                if took > SLOW_SYNC {
                    let (took, expected) = (format!("{took:?}"), format!("{SLOW_SYNC:?}"));
                    tracing::warn!(took, expected_duration = expected, "slow fdatasync");
                }
            }
            Part::Engine => self.times.engine_syncs.observe(began.elapsed()),
            Part::State => self.times.state_syncs.observe(began.elapsed()),
            Part::Other => {}
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocated(&self) -> io::Result<u64> {
        self.file.allocated()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A user's folder may be called anything, and must not turn the engine into the log.
    #[test]
    fn the_nearest_folder_says_what_a_file_is() {
        let part = |path: &str| Part::of(Path::new(path), Some(Path::new("/x/wal")));
        assert_eq!(part("/raft/replica/raft/log/0001.wal"), Part::Log);
        assert_eq!(part("/raft/replica/engine-b/data"), Part::Engine);
        assert_eq!(part("/x/replica/raft/snapshots/7"), Part::State);
        assert_eq!(part("/raft/replica/ENGINE"), Part::Other);
        assert_eq!(part("/tmp/raft"), Part::Other);
        assert_eq!(part("/x/wal/log-1/0001.wal"), Part::Log);
        assert_eq!(part("/x/wals/log-1/0001.wal"), Part::Other);
    }
}
