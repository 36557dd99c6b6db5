//! What a watch needs of the store's past.
//!
//! The hub tells watchers what happens; the *history* tells those who came late, or read slowly,
//! what has happened. [`History`] is the only seam between watches and the rest of the store.
//!
//! ```text
//!   compacted                          notified   newest
//!       │                                  │         │
//!   ────┼──────────────────────────────────┼─────────┼──►  main revision
//!   gone│  `changes` and `key_changes`     │ published, the hub is about to hear of it
//! ```

use std::error::Error;

use bytes::Bytes;

use crate::record::Record;
use crate::types::{KeyValue, Revision};

/// One change of one key. A delete carries the key and nothing else, by construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub revision: Revision,
    /// What: a put's `mod_revision` is `revision.main`.
    pub record: Record,
}

impl Change {
    /// The key that changed.
    pub fn key(&self) -> &Bytes {
        self.record.key()
    }

    /// Whether the key was deleted.
    pub fn is_delete(&self) -> bool {
        matches!(self.record, Record::Tombstone { .. })
    }

    /// Whether the key was not there before.
    pub(crate) fn is_create(&self) -> bool {
        matches!(&self.record, Record::Put(kv) if kv.create_revision == self.revision.main)
    }

    /// Memory that one copy holds, bytes: itself, its key and its value.
    pub fn bytes(&self) -> usize {
        let value_bytes = match &self.record {
            Record::Tombstone { .. } => 0,
            Record::Put(kv) => kv.value.len(),
        };
        size_of::<Change>() + self.key().len() + value_bytes
    }
}

/// Where a read of the history stops. Whichever is reached first ends it, after the revision that
/// reached it: revisions are read whole, and at least one is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Main revisions looked at, whether or not anything in them was wanted.
    pub revisions_max: u64,
    /// Sum of [`Change::bytes`] put out.
    pub bytes_max: usize,
}

/// Why the history was not read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// It begins later: `from` lies below the oldest readable revision.
    #[error("history compacted: the oldest readable revision is {compacted}")]
    Compacted {
        /// The oldest readable main revision.
        compacted: u64,
    },
    /// The world refused.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// The history cannot be read: the engine failed. A watch stream ends with it.
#[derive(Debug, thiserror::Error)]
#[error("the history of changes cannot be read")]
pub struct Unreadable(#[source] Box<dyn Error + Send + Sync>);

impl Unreadable {
    /// Wraps what went wrong.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Unreadable {
        Unreadable(source.into())
    }
}

/// The store's past, as watches read it: from any thread, on the thread of whoever polls a stream,
/// with no lock of the hub held.
///
/// # Contract
///
/// - What [`History::newest`] covers can be read. It moves before the hub is told.
/// - Every change from `from` on that is wanted comes out, in order of revision, main revisions
///   whole, up to where the answer says. At `from == compacted`, the changes of that revision still
///   count, a tombstone included.
/// - Below [`History::compacted`] nothing is promised: the hub looks at it again after each read
///   and discards the answer when the compaction has overtaken it. So an implementation may let
///   records vanish while it reads, once `compacted` says that they may.
pub trait History: Send + Sync {
    /// The newest main revision that can be read.
    fn newest(&self) -> u64;

    /// The oldest readable main revision; 0 when nothing was ever compacted.
    fn compacted(&self) -> u64;

    /// Appends the changes from main revision `from` on whose key `want`s, and returns the main
    /// revision to read from next: above `from` if `from <= newest`.
    ///
    /// # Errors
    ///
    /// [`HistoryError::Compacted`] when `from` lies below the oldest readable revision.
    fn changes(
        &self,
        from: u64,
        limits: ReadLimits,
        want: &dyn Fn(&[u8]) -> bool,
        out: &mut Vec<Change>,
    ) -> Result<u64, HistoryError>;

    /// As [`History::changes`], for one key. It should cost what it returns: `revisions_max` then
    /// counts revisions of that key, and the answer after the last change is `newest + 1`.
    ///
    /// # Errors
    ///
    /// As [`History::changes`].
    fn key_changes(
        &self,
        key: &[u8],
        from: u64,
        limits: ReadLimits,
        out: &mut Vec<Change>,
    ) -> Result<u64, HistoryError>;

    /// The key as it stood just before main revision `main`; `None` if it was not there, or if
    /// `main - 1` lies below the oldest readable revision.
    ///
    /// # Errors
    ///
    /// Only when the engine fails.
    fn before(&self, key: &[u8], main: u64) -> Result<Option<KeyValue>, Unreadable>;
}
