//! Positions in the log.

use std::fmt;

use crate::format::POSITION_END;

/// A log sequence number: the position of one record. The first record of a log is 1; 0 means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Before the first record.
    pub const NONE: Lsn = Lsn(0);

    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Lsn {
        Lsn(self.0 + 1)
    }

    /// The position before this one; [`NONE`](Lsn::NONE) stays as it is.
    #[must_use]
    pub fn previous(self) -> Lsn {
        Lsn(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The number of a segment file. Numbers grow by one and are never used twice for different
/// records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SegmentId(pub(crate) u64);

impl SegmentId {
    pub(crate) const FIRST: SegmentId = SegmentId(1);

    pub(crate) fn next(self) -> SegmentId {
        SegmentId(self.0 + 1)
    }

    /// `000000000000002a.wal`.
    pub(crate) fn file_name(self) -> String {
        format!("{:016x}.wal", self.0)
    }

    /// The inverse of [`file_name`](SegmentId::file_name); `None` for any other spelling.
    pub(crate) fn from_file_name(name: &str) -> Option<SegmentId> {
        let id = SegmentId(u64::from_str_radix(name.strip_suffix(".wal")?, 16).ok()?);
        // A number that no log reaches is no segment's; and to count on from it would overflow.
        (id.file_name() == name && id.0 < POSITION_END).then_some(id)
    }
}
