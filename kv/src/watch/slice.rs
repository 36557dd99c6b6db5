//! A stretch of history, read once for several lagging watchers.
//!
//! ```text
//!   revisions      from                         next
//!                   ├────────── changes ─────────┤
//!   watchers      A ├────────────────────────────►     served one after another, each with what
//!                 B      ├───────────────────────►     its range, filters and cursor leave of it
//! ```
//!
//! The slice is the only history that a stream holds. It is read by the consumer, and the next one
//! not before every watcher of this one is served and its messages are taken.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::history::{Change, History, HistoryError, ReadLimits};
use super::lagging::InHand;
use super::watcher::Watcher;
use crate::key_range::KeyRange;

/// A stretch of history and the watchers that it was read for.
pub(crate) struct Slice {
    /// In order of revision.
    changes: Vec<Arc<Change>>,
    /// Indexes into `changes`, ordered by key.
    by_key: Vec<u32>,
    /// The first main revision that was read.
    from: u64,
    /// The main revision to go on with.
    next: u64,
    /// Not served yet; no cursor lies beyond `next`.
    waiting: VecDeque<InHand>,
}

/// What became of an attempt to read.
pub(crate) struct Reading {
    /// What was read, unless all was compacted away.
    pub(crate) slice: Option<Slice>,
    /// Those whom the slice did not reach.
    pub(crate) unreached: Vec<InHand>,
    /// Those whose cursor is compacted away, and the oldest readable revision.
    pub(crate) compacted: Option<(u64, Vec<InHand>)>,
}

impl Slice {
    /// Reads from the smallest cursor of `turn`, not beyond main revision `notified`.
    ///
    /// What is published but not notified yet is left to the hub, so that a watcher which has
    /// caught up is never ahead of it.
    pub(crate) fn read(
        history: &dyn History,
        mut turn: Vec<InHand>,
        notified: u64,
        limits: ReadLimits,
    ) -> Result<Reading, HistoryError> {
        turn.sort_by_key(|in_hand| in_hand.cursor);
        let from = turn.first().expect("a turn is somebody's").cursor;
        let mut changes = Vec::new();
        let read = read(history, &turn, from, notified, limits, &mut changes);
        let compacted = match read {
            Err(HistoryError::Compacted { compacted }) => compacted,
            // Whatever was read may have holes by now if a compaction has come past `from`.
            Ok(_) => history.compacted(),
            Err(unreadable) => return Err(unreadable),
        };
        if from < compacted {
            let rest = turn.split_off(turn.partition_point(|in_hand| in_hand.cursor < compacted));
            return Ok(Reading {
                slice: None,
                unreached: rest,
                compacted: Some((compacted, turn)),
            });
        }
        let next = read?;
        changes.retain(|change| change.revision.main < next);
        let unreached = turn.split_off(turn.partition_point(|in_hand| in_hand.cursor <= next));
        let changes: Vec<Arc<Change>> = changes.into_iter().map(Arc::new).collect();
        let count = u32::try_from(changes.len()).expect("a slice is bounded far below 2^32");
        let mut by_key: Vec<u32> = (0..count).collect();
        by_key.sort_by(|a, b| changes[*a as usize].key().cmp(changes[*b as usize].key()));
        let slice = Slice { changes, by_key, from, next, waiting: turn.into() };
        Ok(Reading { slice: Some(slice), unreached, compacted: None })
    }

    /// The main revision to go on with after this slice.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// How many main revisions were read.
    pub(crate) fn revisions(&self) -> u64 {
        self.next - self.from
    }

    /// Whether nobody waits for this slice any more.
    pub(crate) fn is_served(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next watcher to serve, and what it sees of the slice.
    pub(crate) fn serve(&mut self) -> (Arc<Watcher>, VecDeque<Arc<Change>>) {
        let in_hand = self.waiting.pop_front().expect("a slice goes with the last watcher of it");
        let InHand { watcher, cursor, .. } = in_hand;
        let KeyRange { start, end } = &watcher.request.range;
        let below = |bound: &Bytes| {
            self.by_key.partition_point(|index| self.changes[*index as usize].key() < bound)
        };
        let (first, last) = (below(start), end.as_ref().map_or(self.by_key.len(), below));
        let mut seen: Vec<u32> = self.by_key[first..last].to_vec();
        seen.sort_unstable();
        let seen = seen.into_iter().map(|index| &self.changes[index as usize]);
        let seen =
            seen.filter(|change| cursor <= change.revision.main && watcher.request.passes(change));
        let seen = seen.cloned().collect();
        (watcher, seen)
    }
}

/// Appends what the watchers of `turn` may see from `from` on; returns where to go on.
fn read(
    history: &dyn History,
    turn: &[InHand],
    from: u64,
    notified: u64,
    limits: ReadLimits,
    changes: &mut Vec<Change>,
) -> Result<u64, HistoryError> {
    if from > notified {
        // The hub is about to tell of `from`: nothing is missing before it.
        return Ok(from);
    }
    let range = &turn[0].watcher.request.range;
    let next = match (turn.len(), range.as_single()) {
        (1, Some(key)) => history.key_changes(key, from, limits, changes)?,
        (1, None) => history.changes(from, limits, &|key| range.contains(key), changes)?,
        _ => {
            let union = union(turn.iter().map(|in_hand| &in_hand.watcher.request.range));
            history.changes(from, limits, &|key| holds(&union, key), changes)?
        }
    };
    assert!(next > from, "a read of the history looks at one revision at least");
    debug_assert!(
        changes.is_sorted_by(|a, b| a.revision < b.revision)
            && changes.iter().all(|c| from <= c.revision.main && c.revision.main < next),
        "the history answers in order, and only what was asked for"
    );
    Ok(next.min(notified + 1))
}

/// The same keys as disjoint ranges in ascending order.
fn union<'a>(ranges: impl Iterator<Item = &'a KeyRange>) -> Vec<KeyRange> {
    let mut ranges: Vec<&KeyRange> = ranges.collect();
    ranges.sort_by_key(|range| &range.start);
    let mut union: Vec<KeyRange> = Vec::new();
    for range in ranges {
        match union.last_mut() {
            Some(last) if last.end.as_ref().is_none_or(|end| range.start <= *end) => {
                let both = last.end.take().zip(range.end.clone());
                last.end = both.map(|(a, b)| a.max(b));
            }
            _ => union.push(range.clone()),
        }
    }
    union
}

fn holds(union: &[KeyRange], key: &[u8]) -> bool {
    let after = union.partition_point(|range| range.start.as_ref() <= key);
    after > 0 && union[after - 1].contains(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: &'static str, end: Option<&'static str>) -> KeyRange {
        KeyRange { start: Bytes::from(start), end: end.map(Bytes::from) }
    }

    // A shared read that wants too little loses events; merging is where it would.
    #[test]
    fn union_holds_what_any_of_the_ranges_holds() {
        let ranges = [
            range("m", Some("p")),
            range("a", Some("c")),
            range("b", Some("d")),
            range("d", Some("e")),
            range("n", Some("o")),
            range("x", None),
            range("z", Some("zz")),
        ];
        let union = union(ranges.iter());
        assert_eq!(union.len(), 3);
        for key in "a b c cc d e f m n o p w x y z zz".split(' ') {
            let any = ranges.iter().any(|range| range.contains(key.as_bytes()));
            assert_eq!(holds(&union, key.as_bytes()), any, "key {key}");
        }
    }
}
