//! Ordering a failure: which call, how often, and what it does.

use std::ffi::OsString;
use std::io;
use std::path::Path;

/// A kind of call that a [`Fault`] can strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// `File::read_at`.
    Read,
    /// `File::write_at`.
    Write,
    /// `File::set_len`.
    SetLen,
    /// `File::sync_data`.
    Sync,
    /// `Vfs::open` of a file that must be made.
    Create,
    /// `Vfs::rename`.
    Rename,
    /// `Vfs::remove`.
    Remove,
    /// `Vfs::sync_dir`.
    SyncDir,
}

/// What happens to the call that is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// It does nothing and fails with an I/O error (`EIO`).
    Error,
    /// It does nothing and fails with `StorageFull` (`ENOSPC`).
    NoSpace,
    /// A write lands in part, then fails with an I/O error. Other calls: as `Error`.
    Torn,
    /// A sync fails, and the bytes it should have saved revert to the last durable state, so that
    /// the next sync "succeeds" without them. Other calls: as `Error`.
    Drops,
    /// A sync fails, and the kernel calls the bytes clean all the same: reads go on seeing them, no
    /// later sync saves them (unless they are written again), a crash loses them. Other calls: as
    /// `Error`.
    Forgets,
    /// A sync answers `Ok` and makes nothing durable. Other calls go through unharmed.
    Lies,
}

/// One ordered failure. By default it strikes the first matching call, once, on any file.
#[derive(Debug, Clone)]
pub struct Fault {
    pub(crate) op: Op,
    pub(crate) harm: Harm,
    pub(crate) skip: u64,
    pub(crate) times: u64,
    pub(crate) name: Option<OsString>,
}

impl Fault {
    /// Strikes calls of one kind.
    pub fn new(op: Op, harm: Harm) -> Fault {
        Fault { op, harm, skip: 0, times: 1, name: None }
    }

    /// Lets this many matching calls pass first.
    #[must_use]
    pub fn after(mut self, count: u64) -> Fault {
        self.skip = count;
        self
    }

    /// Strikes this many matching calls instead of one.
    #[must_use]
    pub fn times(mut self, count: u64) -> Fault {
        self.times = count;
        self
    }

    /// Strikes every matching call from then on.
    #[must_use]
    pub fn forever(self) -> Fault {
        self.times(u64::MAX)
    }

    /// Strikes only files with this last name.
    #[must_use]
    pub fn named(mut self, name: impl Into<OsString>) -> Fault {
        self.name = Some(name.into());
        self
    }

    /// Whether this call is to be harmed; counts it.
    pub(crate) fn strikes(&mut self, op: Op, path: &Path) -> bool {
        let matches =
            op == self.op && self.name.as_deref().is_none_or(|name| path.file_name() == Some(name));
        if !matches || self.times == 0 {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times -= 1;
        true
    }
}

/// How many calls of each kind went through or were struck.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// `File::read_at`.
    pub reads: u64,
    /// `File::write_at`.
    pub writes: u64,
    /// `File::sync_data`.
    pub syncs: u64,
    /// `Vfs::sync_dir`.
    pub dir_syncs: u64,
    /// `set_len`, `rename`, `remove`, and opens that made a file.
    pub others: u64,
    /// Bytes handed to `File::write_at`.
    pub bytes_written: u64,
}

impl Counts {
    /// Every call that could change the disk: all but reads.
    pub fn changes(&self) -> u64 {
        self.writes + self.syncs + self.dir_syncs + self.others
    }

    pub(crate) fn count(&mut self, op: Op) {
        match op {
            Op::Read => self.reads += 1,
            Op::Write => self.writes += 1,
            Op::Sync => self.syncs += 1,
            Op::SyncDir => self.dir_syncs += 1,
            Op::SetLen | Op::Create | Op::Rename | Op::Remove => self.others += 1,
        }
    }
}

/// The operating system's own "input/output error".
pub(crate) fn eio() -> io::Error {
    rustix::io::Errno::IO.into()
}
