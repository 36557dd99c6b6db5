//! Why a call to the tree failed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::meta::BadRecord;
use crate::types::{PageId, TxnId};

/// What every fallible call of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation failed. Cheap to clone: one failure is told to many waiters, and an iterator
/// repeats it for ever.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Bytes that were promised to be durable are damaged or gone.
    #[error("{}: at byte {offset}: {what}", file.display())]
    Corrupt {
        /// The database file.
        file: Arc<Path>,
        /// Where in the file, from 0: the beginning of the page.
        offset: u64,
        /// What is wrong there.
        what: Damage,
    },

    /// A write or sync failed earlier. Nobody knows what is on disk, so the database takes no more
    /// writes; open it again to find out.
    #[error("database is poisoned: writing {} failed", file.display())]
    Poisoned {
        /// The file that could not be written or synced.
        file: PathBuf,
        /// The first failure.
        #[source]
        cause: Arc<io::Error>,
    },

    /// The disk is full, or the file has all the pages it can have.
    #[error("no space left for {}", file.display())]
    NoSpace {
        /// The file that could not be grown or written.
        file: PathBuf,
        /// The first failure.
        #[source]
        cause: Arc<io::Error>,
    },

    /// Another opener, in this process or another, holds the database.
    #[error("{} is in use by another opener", file.display())]
    Locked {
        /// The database file.
        file: PathBuf,
    },

    /// The file was written by another version of this crate. Nothing was changed on disk.
    #[error("{}: format version {version} is not supported", file.display())]
    Unsupported {
        /// The database file.
        file: PathBuf,
        /// The version it names.
        version: u32,
    },

    /// A key, a value or a name is larger than a tree accepts.
    #[error("{bytes} bytes exceed the limit of {bytes_max}")]
    TooLarge {
        /// The size offered.
        bytes: u64,
        /// The size accepted.
        bytes_max: u64,
    },

    /// The database was opened for reading alone.
    #[error("database is open for reading alone")]
    ReadOnly,

    /// The database was closed.
    #[error("database is closed")]
    Closed,

    /// There is no tree of that name (any more) in this transaction.
    #[error("there is no such tree")]
    NoTree,

    /// The database has as many trees as it can have.
    #[error("more than {max} trees")]
    TooManyTrees {
        /// The limit.
        max: usize,
    },

    /// The savepoint belongs to another transaction, or was undone by a rollback to an older one.
    #[error("savepoint is not (or no longer) part of this transaction")]
    NoSavepoint,

    /// The options contradict themselves or exceed a limit.
    #[error("option {option}: {rule}")]
    Options {
        /// The option at fault.
        option: &'static str,
        /// The rule it breaks.
        rule: &'static str,
    },

    /// The log beside the file, for [`Sync::Journal`](crate::Sync::Journal), is damaged.
    #[error("journal of the database: {source}")]
    Journal {
        /// What is wrong, and where.
        #[source]
        source: Arc<drystone_wal::Error>,
    },

    /// The file system refused while opening or reading.
    #[error("{}: cannot {action}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
}

/// What is wrong with bytes that should be a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The page is not what its parent says it is.
    #[error("page checksum does not match")]
    Checksum,
    /// The page is sound in itself and belongs elsewhere.
    #[error("page says it is page {0}")]
    Misplaced(PageId),
    /// A pointer leads outside of the file, or to a meta page.
    #[error("pointer to page {0}, which cannot be")]
    Pointer(PageId),
    /// The file ends before the page does.
    #[error("file ends early")]
    FileEnds,
    /// The header names a type, a level or a size that cannot be.
    #[error("page header makes no sense")]
    Header,
    /// A slot points outside of the page, or the cells do not add up.
    #[error("slot {0} makes no sense")]
    Slot(u16),
    /// A key is not above the one before it.
    #[error("key of slot {0} is out of order")]
    Order(u16),
    /// The part of a key that is kept in its slot differs from the key.
    #[error("head of slot {0} differs from its key")]
    Head(u16),
    /// A child is not exactly one level below its parent.
    #[error("page is at the wrong level of the tree")]
    Level,
    /// A key lies outside of what the parent promises.
    #[error("key of slot {0} is outside of the range of its page")]
    Bounds(u16),
    /// Two pointers lead to one page.
    #[error("page is used twice")]
    Twice,
    /// The tree holds another number of records than its catalog says.
    #[error("tree holds {found} records, but the catalog says {expected}")]
    Count {
        /// What was counted.
        found: u64,
        /// What the catalog says.
        expected: u64,
    },
    /// A record of the catalog makes no sense.
    #[error("catalog record makes no sense")]
    Catalog,
    /// The database is sound but older than the caller knows it was.
    #[error("last transaction is {found}, but {expected} was durable")]
    EndsEarly {
        /// The last transaction found.
        found: TxnId,
        /// The last transaction the caller knows of.
        expected: TxnId,
    },
    /// A page of a tree is free at once.
    #[error("page is used, and free")]
    Free,
    /// Neither slot of the meta page leads to a state: why, by slot.
    #[error("no state is left: slot 0: {0}; slot 1: {1}")]
    Slots(BadRecord, BadRecord),
    /// The disk cannot read it; only a [`survey`](crate::survey) takes this for damage.
    #[error("the disk cannot read it")]
    Unreadable,
    /// The file goes on in a log, which is not there or has lost its beginning.
    #[error("the journal that the file goes on in is missing")]
    JournalMissing,
    /// The log beside the file was begun by another database.
    #[error("the journal beside the file is that of another database")]
    JournalOfAnother,
    /// The log beside the file has what the file has never known of.
    #[error("the journal beside the file is newer than the file")]
    JournalAhead,
    /// A record of the log is sound, and no transaction.
    #[error("record {0} of the journal makes no sense")]
    JournalRecord(u64),
    /// The meta page holds records of two databases.
    #[error("the meta page is that of two databases")]
    Strangers,
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Error {
        let (path, source) = (path.to_path_buf(), Arc::new(source));
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::NoSpace { file: path, cause: source }
            }
            _ => Error::Io { action, path, source },
        }
    }

    /// The error that everyone gets after `file` could not be written.
    pub(crate) fn poison(file: &Path, cause: io::Error) -> Error {
        let (file, cause) = (file.to_path_buf(), Arc::new(cause));
        match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::NoSpace { file, cause }
            }
            _ => Error::Poisoned { file, cause },
        }
    }
}
