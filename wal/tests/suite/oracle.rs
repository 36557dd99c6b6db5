//! What the log was told and what it answered, and what it may therefore hold: the judge of every
//! random crash test that has one thread.
//!
//! ```text
//!     records   1 ....... low ....... first ............ durable ......... last appended
//!     found         start ≤ first,  start ≥ low          end ≥ durable, end of a group
//! ```

use std::collections::BTreeSet;

use drystone_wal::{Commit, Lsn, Result, Wal};

/// Invariants:
/// * `records[i]` is record `i + 1` in its newest edition; every group ends at one of `ends`.
/// * Records up to `durable` were acknowledged.
/// * Records before `first` may be gone; those before `low` are.
/// * While a suffix cut is under way, the log is as it was, or ends exactly at `cutting`.
#[derive(Debug, Default, Clone)]
pub(crate) struct Oracle {
    records: Vec<Vec<u8>>,
    ends: BTreeSet<u64>,
    durable: u64,
    first: u64,
    low: u64,
    cutting: Option<u64>,
}

impl Oracle {
    pub(crate) fn last(&self) -> u64 {
        self.records.len() as u64
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    /// The record at `lsn`, if one was appended there.
    pub(crate) fn record(&self, lsn: u64) -> Option<&[u8]> {
        self.records.get(lsn as usize - 1).map(|record| &record[..])
    }

    /// Appends one group; it is written down first, because a crash within may keep it.
    pub(crate) fn append(&mut self, wal: &Wal, group: &[Vec<u8>]) -> Result<Commit> {
        assert_eq!(wal.next_lsn().0, self.last() + 1, "the next record's number");
        self.records.extend_from_slice(group);
        self.ends.insert(self.last());
        let refs: Vec<&[u8]> = group.iter().map(|record| &record[..]).collect();
        let commit = wal.append(&refs)?;
        assert_eq!(commit.lsn().0, self.last());
        Ok(commit)
    }

    /// Waits for `commit`; what it promises is a promise from then on.
    pub(crate) fn wait(&mut self, commit: &Commit) -> Result<()> {
        let durable = commit.wait()?;
        assert!(durable >= commit.lsn(), "durable up to {durable} does not cover the commit");
        self.durable = self.durable.max(commit.lsn().0);
        Ok(())
    }

    pub(crate) fn cut_prefix(&mut self, wal: &Wal, lsn: u64) -> Result<()> {
        self.first = self.first.max(lsn);
        wal.truncate_prefix(Lsn(lsn))?;
        assert!(wal.first_lsn().0 <= self.first.max(1), "more went than was let go of");
        self.low = wal.first_lsn().0;
        Ok(())
    }

    pub(crate) fn cut_suffix(&mut self, wal: &Wal, last: u64) -> Result<()> {
        self.cutting = Some(last);
        wal.truncate_suffix(Lsn(last))?;
        self.cutting = None;
        self.end_at(last.min(self.last()));
        assert_eq!(wal.next_lsn().0, self.last() + 1);
        Ok(())
    }

    /// A clean close makes everything durable.
    pub(crate) fn close(&mut self, wal: Wal) -> Result<()> {
        wal.close()?;
        self.durable = self.last();
        Ok(())
    }

    /// Judges what an open brought, and takes it for the log from then on.
    #[track_caller]
    pub(crate) fn settle(&mut self, wal: &Wal, found: &[(u64, Vec<u8>)], what: &str) {
        self.judge(wal, found, what);
        self.cutting = None;
        self.end_at(wal.next_lsn().0 - 1);
    }

    /// I1: all that was acknowledged is there. I2: a prefix of what was appended, groups whole. I3:
    /// nothing else, nothing cut away.
    #[track_caller]
    pub(crate) fn judge(&self, wal: &Wal, found: &[(u64, Vec<u8>)], what: &str) {
        let (start, end) = (wal.first_lsn().0, wal.next_lsn().0 - 1);
        assert!(start <= self.first.max(1), "{what}: starts at {start}, needed {}", self.first);
        assert!(start >= self.low, "{what}: starts at {start}, was cut to {}", self.low);
        if self.cutting != Some(end) {
            let durable = self.durable;
            assert!(end >= durable, "{what}: ends at {end}, but {durable} was acknowledged");
            assert!(end <= self.last(), "{what}: ends at {end}, behind all that was appended");
            let whole = end == 0 || self.ends.contains(&end);
            assert!(whole, "{what}: ends at {end}, within a group");
        }
        assert_eq!(found.len() as u64, end + 1 - start, "{what}: number of records");
        for ((lsn, bytes), expected) in found.iter().zip(start..) {
            assert_eq!(*lsn, expected, "{what}: gap");
            let same = *bytes == self.records[expected as usize - 1];
            assert!(same, "{what}: record {lsn} is stale or invented");
        }
    }

    fn end_at(&mut self, last: u64) {
        self.records.truncate(last as usize);
        self.ends.retain(|end| *end <= last);
        self.ends.insert(last);
        self.durable = last;
    }
}
