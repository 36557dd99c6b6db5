//! What an open tells of the log it found.

use std::path::PathBuf;

use crate::error::Damage;
use crate::types::Lsn;

/// How a log was found when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The first record in the log; one past `last` if it is empty.
    pub first: Lsn,
    /// The last record in the log.
    pub last: Lsn,
    /// Segment files in use.
    pub segments: usize,
    /// The last process closed the log.
    pub closed: bool,
    /// The directory held no log, and a fresh one was made.
    pub fresh: bool,
    /// What was cut from the tail, if anything.
    pub cut: Option<Cut>,
    /// The newest file was shorter than it was made, if so.
    pub short: Option<Short>,
}

/// A torn tail: bytes written but never acknowledged, cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cut {
    /// The segment file.
    pub file: PathBuf,
    /// The first byte cut.
    pub offset: u64,
    /// From there to the last byte that was not zero.
    pub bytes: u64,
    /// What was wrong with the first frame that did not count.
    pub reason: Damage,
}

/// A segment file that somebody cut, behind the end of the log: nothing that was promised is lost.
/// Opening makes it as long as it was, with zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Short {
    /// The segment file.
    pub file: PathBuf,
    /// Its length as found.
    pub bytes: u64,
    /// Its length as made.
    pub capacity: u64,
}
