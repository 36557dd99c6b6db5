//! Loading the records of many revisions at once.
//!
//! **The problem.** A page of a thousand keys is a thousand records, and a search for each of them
//! starts at the root of the engine's tree.
//!
//! **The idea.** Keys that were written one after the other have revisions one after the other, and
//! records lie in the order of their revisions. So the revisions of a page are sorted, and wherever
//! they are close to each other the records are walked over instead of being searched for:
//!
//! ```text
//!   wanted      7  8  9  10      412      955 957 958 959
//!               └─ a walk ─┘   a search   └── a walk ───┘      956 is passed over
//! ```
//!
//! A walk that would pass over too many records is given up for a search, so that the whole never
//! costs more than a few records for each one wanted.

use bytes::Bytes;

use crate::engine::{Direction, Engine, Records, Snapshot, Space};
use crate::error::Error;
use crate::record::{decode_put, load_put, missing};
use crate::types::{KeyValue, Revision};

/// Fewer than this are searched for one by one: a walk has a beginning, too.
const WALK_RECORDS_MIN: usize = 8;
/// A walk passes over at most this many records on its way to the next one wanted.
const PASS_OVER_MAX: u64 = 8;

/// The puts that the engine holds at `revisions`, in their order.
pub(crate) fn load_puts(
    engine: &impl Engine,
    revisions: &[Revision],
) -> Result<Vec<KeyValue>, Error> {
    if revisions.len() < WALK_RECORDS_MIN {
        return revisions.iter().map(|&revision| load_put(engine, revision)).collect();
    }
    let mut order: Vec<usize> = (0..revisions.len()).collect();
    order.sort_unstable_by_key(|&at| revisions[at]);
    let snapshot = engine.snapshot();
    let mut walk = Walk { snapshot: &snapshot, records: None };
    let mut found: Vec<Option<KeyValue>> = vec![None; revisions.len()];
    for (i, &at) in order.iter().enumerate() {
        let next = order.get(i + 1).map(|&next| revisions[next]);
        found[at] = Some(walk.load(revisions[at], next)?);
    }
    Ok(found.into_iter().map(|kv| kv.expect("each was loaded")).collect())
}

/// Goes up through the records of a snapshot.
struct Walk<'s, S> {
    snapshot: &'s S,
    /// What comes behind the record loaded last, while that is worth knowing.
    records: Option<Records<'s>>,
}

impl<S: Snapshot> Walk<'_, S> {
    /// The put at `revision`, which is behind the one before; `next` will be asked for after it.
    fn load(&mut self, revision: Revision, next: Option<Revision>) -> Result<KeyValue, Error> {
        let is_near = |next: Revision| next.main - revision.main <= PASS_OVER_MAX;
        let key = revision.to_bytes();
        if self.records.is_none() {
            if !next.is_some_and(is_near) {
                return self.search(revision);
            }
            self.records = Some(self.snapshot.range(Space::Record, &key, None, Direction::Forward));
        }
        let bytes = self.walk_to(&key)?;
        if !next.is_some_and(is_near) {
            self.records = None;
        }
        match bytes {
            Some(bytes) => decode_put(revision, bytes),
            None => self.search(revision),
        }
    }

    /// The record of `key`, if the walk comes to it soon; otherwise the walk is over.
    fn walk_to(&mut self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let Some(records) = &mut self.records else { return Ok(None) };
        for record in records.take(PASS_OVER_MAX as usize + 1) {
            let (found, bytes) = record?;
            match found.as_slice().cmp(key) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Ok(Some(bytes)),
                std::cmp::Ordering::Greater => break,
            }
        }
        self.records = None;
        Ok(None)
    }

    fn search(&self, revision: Revision) -> Result<KeyValue, Error> {
        let bytes = self.snapshot.get(Space::Record, &revision.to_bytes())?;
        decode_put(revision, bytes.ok_or_else(|| missing(revision))?)
    }
}
