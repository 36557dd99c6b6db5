//! One number that stands for all readable history, so that copies of a store can be compared.
//!
//! The hash covers every record, oldest first, that belongs to the store *logically*: those above
//! the compacted revision, and of those below it what a compaction keeps. Whether the sweep has
//! been there yet makes no difference, nor does the engine.

use crate::engine::{Direction, Engine, Snapshot, Space};
use crate::error::{Error, Refusal};
use crate::held::Grip;
use crate::record::{decode, revision_of};
use crate::store::Store;
use crate::types::Revision;

/// How many records are judged in one turn of the store's lock.
const TURN_RECORDS_MAX: usize = 1024;

/// What every hash begins with.
const SEED: &[u8] = b"drystone-kv history";

/// The hash of a store's history, and what it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashReply {
    /// CRC-32 (IEEE) over a fixed seed and the pairs of revision and record, in order.
    pub hash: u32,
    /// The newest main revision when it was taken.
    pub revision: u64,
    /// The newest main revision that it covers.
    pub hash_revision: u64,
    /// The compacted revision that it takes into account.
    pub compacted: Option<u64>,
}

impl<E: Engine> Store<E> {
    /// Hashes the history up to main revision `revision`; `None` is the newest.
    ///
    /// Two stores agree on the hash of a revision if they agree on its history and are compacted
    /// at the same revision.
    pub fn hash(&self, revision: Option<u64>) -> Result<HashReply, Error> {
        loop {
            // What a compaction keeps is judged by the index, so a store whose content was replaced
            // in the midst of it is hashed from the beginning.
            if let Some(reply) = self.hash_undisturbed(revision)? {
                return Ok(reply);
            }
        }
    }

    /// The hash, unless the store's content is replaced meanwhile.
    fn hash_undisturbed(&self, revision: Option<u64>) -> Result<Option<HashReply>, Error> {
        let held = self.held.read();
        let state = &held.state;
        let newest = state.revision;
        let compacted = state.compacted;
        let at = state.readable(revision, newest)?;
        // Nothing at or above the compacted revision may be swept while we read.
        let grip = held.grip(compacted.unwrap_or(0));
        let snapshot = held.engine.snapshot();
        drop(held);

        let end = at.checked_add(1).ok_or(Refusal::FutureRevision { newest })?;
        let end = Revision::new(end, 0).to_bytes();
        // Seeded, so that an empty history has a hash too: 0 reads as "none" on many wires.
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(SEED);
        let mut turn = Vec::with_capacity(TURN_RECORDS_MAX);
        for entry in snapshot.range(Space::Record, &[], Some(&end), Direction::Forward) {
            let (key, bytes) = entry?;
            turn.push((revision_of(&key)?, bytes));
            if turn.len() == TURN_RECORDS_MAX
                && !self.hash_turn(&grip, &mut turn, compacted, &mut hasher)?
            {
                return Ok(None);
            }
        }
        if !self.hash_turn(&grip, &mut turn, compacted, &mut hasher)? {
            return Ok(None);
        }
        let hash = hasher.finalize();
        Ok(Some(HashReply { hash, revision: newest, hash_revision: at, compacted }))
    }

    /// Hashes a few records; `false` if the store's content is no longer what `grip` is on.
    fn hash_turn(
        &self,
        grip: &Grip<E>,
        turn: &mut Vec<(Revision, bytes::Bytes)>,
        compacted: Option<u64>,
        hasher: &mut crc32fast::Hasher,
    ) -> Result<bool, Error> {
        let held = self.held.read();
        if !held.has(grip) {
            return Ok(false);
        }
        for (revision, bytes) in turn.drain(..) {
            if let Some(compacted) = compacted.filter(|&compacted| revision.main <= compacted) {
                let record = decode(revision, bytes.clone())?;
                if !held.state.index.kept(record.key(), revision, compacted) {
                    continue;
                }
            }
            hasher.update(&revision.to_bytes());
            hasher.update(&bytes);
        }
        Ok(true)
    }
}
