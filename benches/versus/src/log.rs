//! What a log must do to be compared, and those who do it.
//!
//! | contender | a durable append | settings |
//! |---|---|---|
//! | [`Ours`] | overwrites zeros in a segment | defaults |
//! | [`Raw`] | the same bytes, the same way, nothing else | a file of zeros, or a growing one |
//! | [`OkayWal`] | overwrites zeros likewise | defaults; and files as large as our segments |
//! | [`RaftEngine`] | overwrites zeros of a prefilled file | recycling and prefilling on |
//!
//! Every log is at its steady state before anything counts: segments full-grown, spare ones made,
//! zeros synced. Between turns each lets go of what it no longer needs; that is not timed.

mod entry;
mod okay;
mod ours;
mod raft_engine;
mod raw;

use anyhow::Result;

pub use entry::Entry;
pub use okay::OkayWal;
pub use ours::Ours;
pub use raft_engine::{IndexOfEntry, RaftEngine, Shape};
pub use raw::Raw;

/// Bytes of a segment, for whoever can be told.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// Appends one record and returns when it is durable.
pub type Writer<'a> = Box<dyn FnMut(&[u8]) -> Result<()> + Send + 'a>;

/// A log that is open.
pub trait Log: Sync {
    /// What the table calls it.
    fn name(&self) -> &str;

    /// The appending side for one thread; threads count from 0.
    ///
    /// # Errors
    /// If the log refuses.
    fn writer(&self, thread: usize) -> Result<Writer<'_>>;

    /// Lets go of old records, so that the log stays small. Nobody appends meanwhile.
    ///
    /// # Errors
    /// If the log refuses.
    fn tidy(&self) -> Result<()>;
}

/// Bytes that one record of ours takes on disk: what a raw loop has to write to do equal work.
#[must_use]
pub fn frame_bytes(payload: usize) -> usize {
    (16 + payload).next_multiple_of(8)
}
