//! What the store needs from a storage engine: an ordered map in a few spaces, with cheap
//! snapshots and atomic batches.
//!
//! # The problem
//!
//! The store above keeps every change in a journal before it acknowledges it. The journal is the
//! only thing that is synced for every write; an engine that synced its own log as well would
//! halve the throughput and protect nothing more. But a journal alone grows for ever and cannot
//! be searched. So the state it leads to lives in an engine, which is made durable *now and then*.
//!
//! # The idea
//!
//! ```text
//!     write ──► journal: command 1 2 3 4 5 6 7 8 9          synced for every write
//!                                  │         │
//!               engine, on disk ───┘         └── engine, in memory
//!               applied index 4                  applied index 9
//!
//!     restart = open the engine (it says 4), replay the journal from 5
//! ```
//!
//! The applied index is an ordinary record in [`Space::Meta`], written in the *same batch* as the
//! changes it stands for. The engine knows nothing about it. All it has to promise is that what
//! it finds on opening is the effect of some *prefix* of its batches, each whole, and no shorter
//! a prefix than the last [`Engine::persist`] covered. Replay is then right whatever the crash.
//!
//! Once `persist` has returned, the store may drop the journal up to the index it covered.
//!
//! # Promises an engine makes
//!
//! - **Atomic**: a reader sees a batch in all spaces or in none.
//! - **Ordered**: batches take effect in the order in which `write` was entered; if two threads
//!   race, in one order for every reader and for the disk.
//! - **Isolated**: a snapshot never changes.
//! - **Prefix-durable**: see above; a power cut at any instant leaves a prefix.
//! - **Honest**: damaged bytes give [`EngineError::Corrupt`], never a wrong or missing value, and
//!   an engine that cannot open changes no byte on disk.
//! - **Unhurried**: `persist`, `checkpoint` and `maintain` run beside readers and writers.
//!
//! The suite in [`conformance`](crate::conformance) tests these promises on any engine.
//!
//! # What is left out
//!
//! No transactions, no conflict detection, no iterator over changes, no time to live, and no lock
//! on the folder: there is one writer, the store's apply loop, which has decided everything
//! before it writes, and the store's journal lock keeps other processes out. No `async`: an
//! engine's calls block, and the caller knows which of them may.

mod batch;
mod error;
mod key;
mod space;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

pub use batch::{Batch, Change};
pub use error::EngineError;
pub use key::Key;
pub use space::{Direction, Space};

/// An ordered map of bytes to bytes in each [`Space`].
///
/// All methods take `&self` and may be called from any thread at any time.
pub trait Engine: Send + Sync + 'static {
    /// What [`Engine::snapshot`] returns. It owns what it needs: it may outlive the engine.
    type Snapshot: Snapshot + 'static;

    /// The value of `key` as of the last finished [`Engine::write`].
    ///
    /// Equal to `self.snapshot().get(space, key)`, and cheaper for one key.
    ///
    /// # Errors
    ///
    /// [`EngineError::Corrupt`] or [`EngineError::Io`] if the record cannot be read; an error
    /// never stands in for an absent key, nor an absent key for an error.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// The state as of the last finished [`Engine::write`], frozen.
    ///
    /// Takes constant time, and must be cheap enough to be called for every read request. While a
    /// snapshot lives, the engine keeps what it needs to serve it; it must not stop writes.
    fn snapshot(&self) -> Self::Snapshot;

    /// Applies all changes of `batch` atomically, in their order.
    ///
    /// Visible to every `get` and `snapshot` that starts after the return; durable after the next
    /// [`Engine::persist`] that starts after the return, and maybe sooner.
    ///
    /// # Errors
    ///
    /// After an error none of the batch is visible, and none of it will be after a restart. An
    /// engine that can no longer keep that promise refuses all further writes.
    fn write(&self, batch: Batch) -> Result<(), EngineError>;

    /// Makes all that was visible at the call durable, and returns when it is.
    ///
    /// Expected to be slow, up to writing the whole state. It is called from a thread of its own
    /// while reads and writes go on, and must stop neither. Calls at the same time are allowed
    /// and may wait for one another.
    ///
    /// # Errors
    ///
    /// After an error what was durable before still is, memory is as it was, and `persist` may be
    /// called again. It must then not trust any byte of the failed attempt: a sync that failed
    /// once may lie the next time.
    fn persist(&self) -> Result<(), EngineError>;

    /// Writes a durable copy of the state as of one instant during the call into the folder
    /// `dir`, where an engine of the same kind can open it.
    ///
    /// `dir` is created if it is missing and must hold no engine's files yet. Runs beside reads
    /// and writes as `persist` does; the copy's applied index tells which instant it was.
    ///
    /// # Errors
    ///
    /// After an error `dir` may hold a partial copy, which must not open as a whole one.
    fn checkpoint(&self, dir: &Path) -> Result<(), EngineError>;

    /// How much there is. Takes constant time.
    fn stats(&self) -> EngineStats;

    /// Does a step of upkeep (merging, moving, giving space back) of roughly `budget`, beside
    /// reads and writes, and says whether there is more to do.
    ///
    /// # Errors
    ///
    /// After an error the state is unchanged.
    fn maintain(&self, budget: Duration) -> Result<Progress, EngineError>;

    /// The same on a disk that is nearly full: in pieces that take little room beside what they
    /// replace, and perhaps less of it.
    ///
    /// # Errors
    ///
    /// As for [`Engine::maintain`].
    fn lighten(&self, budget: Duration) -> Result<Progress, EngineError> {
        self.maintain(budget)
    }

    /// Reads a piece of what is on disk, whatever is in memory, and verifies it: the one behind
    /// `after`, which is what the last call returned; `None` is the first. Returns `None` after the
    /// last. Meanwhile `pace` is told now and then how many bytes were read since it was told last,
    /// and may take its time: readers and writers go on. Once it says false, the
    /// rest is left out, and what is returned means nothing.
    ///
    /// # Errors
    ///
    /// [`EngineError::Corrupt`] with the first damage of the piece.
    fn verify_next(
        &self,
        after: Option<u64>,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<u64>, EngineError> {
        let _ = (after, pace);
        Ok(None)
    }
}

/// The state of an engine at one instant.
pub trait Snapshot: Send + Sync {
    /// The value of `key` in this snapshot.
    ///
    /// # Errors
    ///
    /// As [`Engine::get`].
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// The records with `start <= key`, and `key < end` if there is an end, in the order of their
    /// keys or against it.
    ///
    /// An empty `start` begins at the first key; `start >= end` gives nothing. To exclude a start
    /// or include an end, append a zero byte to it: that is the next possible key.
    fn range(
        &self,
        space: Space,
        start: &[u8],
        end: Option<&[u8]>,
        direction: Direction,
    ) -> Records<'_>;
}

/// Records of a range, in the order asked for.
///
/// After an error an iterator returns that error for ever: it never skips what it could not read.
pub type Records<'a> = Box<dyn Iterator<Item = Result<(Key, Bytes), EngineError>> + Send + 'a>;

/// How much an engine holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Bytes taken from the machine for the current state: file size or memory, with all slack.
    pub bytes: u64,
    /// The part of `bytes` that live records need; the rest is slack that upkeep may give back.
    pub bytes_in_use: u64,
    /// What [`Engine::persist`] would have to write now, in bytes and roughly.
    pub persist_bytes: u64,
    /// How much more of the disk that would take, roughly, until what it replaces has gone: nothing
    /// for what is written over space that is free within a file.
    pub growth_bytes: u64,
    /// Live records of each space, by [`Space::index`].
    pub records: [u64; Space::COUNT],
}

/// Whether upkeep has more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is left to do for now.
    Done,
    /// The budget ran out first.
    More,
}
