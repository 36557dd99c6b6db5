//! The store's past, as watches read it: the records themselves are the log of changes.
//!
//! Records lie in the engine in the order of their revisions, so "what happened since" is a scan;
//! for a single key the index knows its revisions, and the cost is that key's alone. Nothing is
//! kept for watches that the store does not keep anyway.

use crate::engine::{Direction, Engine, Records, Snapshot, Space};
use crate::error::Error;
use crate::record::{Record, decode, load, revision_of};
use crate::store::Store;
use crate::types::{KeyValue, Revision};
use crate::watch::{Change, History, HistoryError, ReadLimits, Unreadable};

impl<E: Engine> History for Store<E> {
    fn newest(&self) -> u64 {
        self.revision()
    }

    fn compacted(&self) -> u64 {
        self.held.read().state.compacted.unwrap_or(0)
    }

    fn changes(
        &self,
        from: u64,
        limits: ReadLimits,
        want: &dyn Fn(&[u8]) -> bool,
        out: &mut Vec<Change>,
    ) -> Result<u64, HistoryError> {
        let held = self.held.read();
        refuse_compacted(from, held.state.compacted)?;
        let newest = held.state.revision;
        // Under the lock, so that the snapshot holds what `newest` promises and nothing newer.
        let snapshot = held.engine.snapshot();
        drop(held);
        // Every main revision above a compaction has a record, so revisions count themselves.
        let last = newest.min(from.saturating_add(limits.revisions_max.max(1) - 1));
        let start = Revision::new(from, 0).to_bytes();
        let end = Revision::new(last.saturating_add(1), 0).to_bytes();
        let records = snapshot.range(Space::Record, &start, Some(&end), Direction::Forward);
        let stopped =
            take_changes(records, limits.bytes_max, want, out).map_err(Unreadable::new)?;
        Ok(stopped.unwrap_or(last + 1).max(from))
    }

    fn key_changes(
        &self,
        key: &[u8],
        from: u64,
        limits: ReadLimits,
        out: &mut Vec<Change>,
    ) -> Result<u64, HistoryError> {
        let held = self.held.read();
        let state = &held.state;
        refuse_compacted(from, state.compacted)?;
        let newest = state.revision;
        let revisions_max = usize::try_from(limits.revisions_max).unwrap_or(usize::MAX).max(1);
        let mut revisions: Vec<Revision> = Vec::new();
        let mut next = newest.saturating_add(1);
        for (revision, _) in state.index.revisions(key, from) {
            let turned = revisions.last().is_some_and(|last| last.main != revision.main);
            if turned && revisions.len() >= revisions_max {
                next = revision.main;
                break;
            }
            revisions.push(revision);
        }
        // From `from` on nothing may be swept while the records are loaded.
        let grip = held.grip(from);
        drop(held);
        let mut bytes = 0;
        let mut previous = None;
        for revision in revisions {
            let turned = previous.is_some_and(|main| main != revision.main);
            if turned && bytes >= limits.bytes_max {
                return Ok(revision.main);
            }
            previous = Some(revision.main);
            let record = load(grip.engine(), revision).map_err(Unreadable::new)?;
            let change = Change { revision, record };
            bytes += change.bytes();
            out.push(change);
        }
        Ok(next.max(from))
    }

    fn before(&self, key: &[u8], main: u64) -> Result<Option<KeyValue>, Unreadable> {
        let Some(at) = main.checked_sub(1) else { return Ok(None) };
        let held = self.held.read();
        let state = &held.state;
        if state.compacted.is_some_and(|compacted| at < compacted) {
            return Ok(None);
        }
        let Some(revision) = state.index.at(key, at) else { return Ok(None) };
        let grip = held.grip(at);
        drop(held);
        match load(grip.engine(), revision).map_err(Unreadable::new)? {
            Record::Put(kv) => Ok(Some(kv)),
            Record::Tombstone { .. } => Ok(None),
        }
    }
}

fn refuse_compacted(from: u64, compacted: Option<u64>) -> Result<(), HistoryError> {
    match compacted {
        Some(compacted) if from < compacted => Err(HistoryError::Compacted { compacted }),
        _ => Ok(()),
    }
}

/// Collects the changes that are wanted, whole main revisions, until `bytes_max` is reached.
/// Returns the main revision that it stopped before, or `None` at the end of the records.
fn take_changes(
    records: Records<'_>,
    bytes_max: usize,
    want: &dyn Fn(&[u8]) -> bool,
    out: &mut Vec<Change>,
) -> Result<Option<u64>, Error> {
    let mut bytes = 0;
    let mut previous = None;
    for entry in records {
        let (key, value) = entry?;
        let revision = revision_of(&key)?;
        if bytes >= bytes_max && previous.is_some_and(|main| main != revision.main) {
            return Ok(Some(revision.main));
        }
        previous = Some(revision.main);
        let record = decode(revision, value)?;
        if want(record.key()) {
            let change = Change { revision, record };
            bytes += change.bytes();
            out.push(change);
        }
    }
    Ok(None)
}
