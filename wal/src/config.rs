//! Every limit and option, validated once.

use crate::error::{Error, Result};
use crate::format::{HEADER_BYTES, POSITION_END};
use crate::types::Lsn;

/// A group's frames never exceed this, so that lengths and positions fit their fields with room.
pub(crate) const GROUP_BYTES_MAX: u64 = 1 << 30;

/// Smallest and largest segment that can be asked for. The upper one keeps a segment's records well
/// below the 2^28 that a frame can tell apart.
const SEGMENT_BYTES_RANGE: std::ops::RangeInclusive<u64> = 4 * HEADER_BYTES..=1 << 30;

/// Who writes: see [`Options::writer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Writer {
    /// Whoever waits while nobody writes, and else a thread of the log's own; a second thread
    /// prepares segments ahead.
    #[default]
    Thread,
    /// Whoever waits for a [`Commit`](crate::Commit) first writes for all. No threads, and thus one
    /// schedule for one sequence of calls: what a simulator needs. Awaiting blocks the poll.
    Caller,
}

/// How to open a log.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) min_lsn: Lsn,
    pub(crate) first_lsn: Option<Lsn>,
    pub(crate) segment_bytes: u64,
    pub(crate) buffer_bytes_max: usize,
    pub(crate) record_bytes_max: usize,
    pub(crate) writer: Writer,
    pub(crate) log_id: Option<u64>,
    pub(crate) lean: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            min_lsn: Lsn::NONE,
            first_lsn: None,
            segment_bytes: 64 << 20,
            buffer_bytes_max: 8 << 20,
            record_bytes_max: 64 << 20,
            writer: Writer::Thread,
            log_id: None,
            lean: false,
        }
    }
}

impl Options {
    /// The last record known, from elsewhere, to have been durable. A log that ends before it is
    /// refused as [`Corrupt`](Error::Corrupt): this is how a lying disk or a lost file is noticed.
    /// Default: none.
    #[must_use]
    pub fn min_lsn(mut self, lsn: Lsn) -> Options {
        self.min_lsn = lsn;
        self
    }

    /// If the directory holds no log, make one whose first record will be `lsn`: the log after a
    /// snapshot that covers everything before. Ignored if there is a log. Default: 1, and only if
    /// `min_lsn` is none.
    #[must_use]
    pub fn first_lsn(mut self, lsn: Lsn) -> Options {
        self.first_lsn = Some(lsn);
        self
    }

    /// Size of a full-grown segment file, 16 KiB to 1 GiB. The first segments are smaller, and a
    /// group that is larger gets a segment of its own. Default: 64 MiB.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Options {
        self.segment_bytes = bytes;
        self
    }

    /// Records waiting to be written, in bytes; [`append`](crate::Wal::append) blocks beyond it.
    /// Two such buffers exist. A single larger group is let through alone. Default: 8 MiB.
    #[must_use]
    pub fn buffer_bytes_max(mut self, bytes: usize) -> Options {
        self.buffer_bytes_max = bytes;
        self
    }

    /// The largest record accepted, at most 512 MiB. Default: 64 MiB.
    #[must_use]
    pub fn record_bytes_max(mut self, bytes: usize) -> Options {
        self.record_bytes_max = bytes;
        self
    }

    /// Who writes. Default: a thread.
    #[must_use]
    pub fn writer(mut self, writer: Writer) -> Options {
        self.writer = writer;
        self
    }

    /// The identity of a fresh log, which keeps its bytes apart from every other log's. Default:
    /// random. Simulations set it, for the same bytes in every run.
    #[must_use]
    pub fn log_id(mut self, id: u64) -> Options {
        self.log_id = Some(id);
        self
    }

    /// Whether to take little room rather than to have it ready. A lean log begins with a hole for
    /// a segment, and has no zeros written into segments to come while its groups are large; when
    /// [`truncate_prefix`](crate::Wal::truncate_prefix) leaves no record, it gives all its files
    /// back but for a small one. The price: the first small writes into a hole pay for a longer
    /// trip to the disk now and then, and a full disk may be noticed by a write that would have
    /// found its room. For a log that belongs to a store, where loads alternate with single writes.
    /// Default: no.
    #[must_use]
    pub fn lean(mut self, yes: bool) -> Options {
        self.lean = yes;
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let check = |holds: bool, option: &'static str, rule: &'static str| {
            if holds { Ok(()) } else { Err(Error::Options { option, rule }) }
        };
        check(
            SEGMENT_BYTES_RANGE.contains(&self.segment_bytes),
            "segment_bytes",
            "must be from 16 KiB to 1 GiB",
        )?;
        check(self.buffer_bytes_max >= 1024, "buffer_bytes_max", "must be at least 1 KiB")?;
        check(
            (1..=512 << 20).contains(&self.record_bytes_max),
            "record_bytes_max",
            "must be from 1 byte to 512 MiB",
        )?;
        let first = self.first_lsn.unwrap_or(Lsn(u64::MAX));
        check(first > Lsn::NONE, "first_lsn", "must be at least 1")?;
        let near = self.first_lsn.is_none_or(|lsn| lsn.0 < POSITION_END / 2);
        check(near, "first_lsn", "must be below 2^61")?;
        check(first > self.min_lsn, "first_lsn", "must be greater than min_lsn")
    }
}
