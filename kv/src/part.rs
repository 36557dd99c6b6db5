//! A part of the history as one number, so that copies of a store can be compared bit by bit.
//!
//! **The problem.** [`Store::hash`] reads everything. Members that are to be compared all the time
//! cannot do that, and a number over everything says nothing about where two of them differ.
//!
//! **The idea.** History is cut between revisions. Whoever leads the comparison reads on from where
//! it was, until it has seen enough, and asks the others for the same part, under the same
//! compaction:
//!
//! ```text
//!   revision   2 ────────── 700 ─────────── 1431 ──────── … ──── newest
//!              │   part 1    │    part 2      │
//!              ▼             ▼
//!            CRC-32 of each record of the part that belongs to the store, in order:
//!              revision, 17 bytes │ record │ 1 byte: whether the index knows it
//! ```
//!
//! As in [`Store::hash`], neither the sweep nor the engine makes a difference. Beside the record
//! the index is asked, for it is what a client's read goes by: an index whose memory was hurt is a
//! store that is wrong, although each record is right.

use crate::engine::{Direction, Engine, Snapshot, Space};
use crate::error::{Error, Refusal};
use crate::held::Grip;
use crate::record::{Record, decode, revision_of};
use crate::store::Store;
use crate::types::Revision;

/// How many records are judged in one turn of the store's lock.
const TURN_RECORDS_MAX: usize = 256;
/// What every hash begins with.
const SEED: &[u8] = b"drystone-kv part";

/// Which part is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The first main revision of it.
    pub first: u64,
    /// Where it ends.
    pub end: PartEnd,
    /// The compaction that it is looked at under; `None` if there was none.
    pub compacted: Option<u64>,
}

/// Where a part ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartEnd {
    /// With this main revision.
    At(u64),
    /// With the main revision that brings it to so many bytes of records, or with the newest.
    Bytes(u64),
}

/// A part, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartHash {
    /// The number.
    pub hash: u32,
    /// The last main revision of it.
    pub last: u64,
    /// How many records that were.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Nothing follows it: it ends with the newest revision.
    pub is_end: bool,
}

/// What a store says that is asked for a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartReply {
    /// This.
    Hash(PartHash),
    /// It has not come so far.
    Behind,
    /// It is compacted elsewhere: there.
    Compacted(Option<u64>),
}

impl<E: Engine> Store<E> {
    /// Hashes a part of the history.
    ///
    /// # Errors
    /// [`Error::Engine`] if a record cannot be read, [`Error::BadRecord`] if it is none.
    pub fn hash_part(&self, part: Part) -> Result<PartReply, Error> {
        loop {
            // A store whose content was replaced in the midst of it is asked again.
            if let Some(reply) = self.hash_part_undisturbed(part)? {
                return Ok(reply);
            }
        }
    }

    fn hash_part_undisturbed(&self, part: Part) -> Result<Option<PartReply>, Error> {
        let held = self.read()?;
        let state = &held.state;
        let newest = state.revision;
        if state.compacted != part.compacted {
            return Ok(Some(PartReply::Compacted(state.compacted)));
        }
        let (end, bytes_max) = match part.end {
            PartEnd::At(last) => (last, u64::MAX),
            PartEnd::Bytes(bytes) => (newest, bytes),
        };
        if end > newest {
            return Ok(Some(PartReply::Behind));
        }
        // Nothing at or above the compacted revision may be swept while we read.
        let grip = held.grip(state.compacted.unwrap_or(0));
        let snapshot = held.engine.snapshot();
        drop(held);
        let start = Revision::new(part.first, 0).to_bytes();
        let beyond = end.checked_add(1).ok_or(Refusal::FutureRevision { newest })?;
        let beyond = Revision::new(beyond, 0).to_bytes();
        let mut sum = Sum::new(part.compacted);
        let mut turn = Vec::with_capacity(TURN_RECORDS_MAX);
        let (mut last, mut seen) = (None, 0);
        for entry in snapshot.range(Space::Record, &start, Some(&beyond), Direction::Forward) {
            let (key, bytes) = entry?;
            let revision = revision_of(&key)?;
            if seen >= bytes_max && last.is_some_and(|last| last < revision.main) {
                break;
            }
            (last, seen) = (Some(revision.main), seen + bytes.len() as u64);
            turn.push((revision, bytes));
            if turn.len() == TURN_RECORDS_MAX && !self.add_turn(&grip, &mut turn, &mut sum)? {
                return Ok(None);
            }
        }
        if !self.add_turn(&grip, &mut turn, &mut sum)? {
            return Ok(None);
        }
        // A part that was not cut short ends where it was to, whether or not a record is there.
        let last = if seen < bytes_max { end } else { last.unwrap_or(end) };
        Ok(Some(PartReply::Hash(PartHash {
            hash: sum.crc.finalize(),
            last,
            records: sum.records,
            bytes: sum.bytes,
            is_end: last == newest,
        })))
    }

    /// Adds a few records; `false` if the store's content is no longer what `grip` is on.
    fn add_turn(
        &self,
        grip: &Grip<E>,
        turn: &mut Vec<(Revision, bytes::Bytes)>,
        sum: &mut Sum,
    ) -> Result<bool, Error> {
        let held = self.held.read();
        if !held.has(grip) {
            return Ok(false);
        }
        let index = &held.state.index;
        for (revision, bytes) in turn.drain(..) {
            let record = decode(revision, bytes.clone())?;
            let known = match sum.compacted.filter(|&compacted| revision.main <= compacted) {
                Some(compacted) if !index.kept(record.key(), revision, compacted) => continue,
                Some(_) => true,
                // A key that was compacted away since is not asked for: a compaction that has come
                // meanwhile may have taken it out of the index.
                None if held.state.compacted.is_some_and(|now| revision.main < now) => true,
                None => {
                    let found = index.at(record.key(), revision.main);
                    match record {
                        Record::Put(_) => found == Some(revision),
                        Record::Tombstone { .. } => found.is_none(),
                    }
                }
            };
            sum.add(revision, &bytes, known);
        }
        Ok(true)
    }
}

/// The sum so far.
struct Sum {
    compacted: Option<u64>,
    crc: crc32fast::Hasher,
    records: u64,
    bytes: u64,
}

impl Sum {
    fn new(compacted: Option<u64>) -> Sum {
        let mut crc = crc32fast::Hasher::new();
        crc.update(SEED);
        Sum { compacted, crc, records: 0, bytes: 0 }
    }

    fn add(&mut self, revision: Revision, bytes: &[u8], known: bool) {
        self.crc.update(&revision.to_bytes());
        self.crc.update(bytes);
        self.crc.update(&[u8::from(known)]);
        self.records += 1;
        self.bytes += bytes.len() as u64;
    }
}
