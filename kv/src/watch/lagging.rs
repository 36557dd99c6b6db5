//! The lagging watchers of a stream, and whose turn it is to catch up.
//!
//! The problem: one stream may have thousands of watchers behind, some by a revision, some by a
//! million. Serving each alone reads the same history thousands of times; serving the slowest
//! first, and together with all whom its path passes, reads it once, but keeps the one that is a
//! single revision behind waiting for all of them.
//!
//! So turns alternate:
//!
//! ```text
//!   revisions   1 ─────────────────────────────────────────► now
//!   watchers      A    B  C                D        E
//!
//!   sweep turn    A ══════════►                                reads one slice from the slowest
//!                      B  C ══►                                and serves all within it together
//!   fair turn                              D ═════►            next in line; same for its slice
//! ```
//!
//! The sweep alone would end after one pass over the history, and it has every other turn: all
//! turns together read at most twice that. The line makes sure that nobody starves: every watcher
//! has its turn after at most two for each one before it. Watchers of a single key read that
//! key's changes alone, for what these cost, and only stand in line.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::message::WatchId;
use super::watcher::{Standing, Wait, Watcher};

/// How many watchers share one slice at most; bounds the time under the stream's lock.
const TURN_WATCHERS_MAX: usize = 1024;

/// Who lags. Knows names only; the standings are with the watchers.
#[derive(Debug, Default)]
pub(crate) struct Lagging {
    /// Those who wait for the outbox to drain, in order; may name some that have left.
    draining: VecDeque<(u64, WatchId)>,
    /// Those who wait for their turn.
    line: BTreeMap<u64, Waiting>,
    /// Of those, the watchers of ranges, by cursor.
    ranges: BTreeSet<(u64, WatchId)>,
    /// The next number in line.
    ticket: u64,
    /// Whether the last turn was a sweep.
    swept: bool,
}

/// One watcher in line.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    id: WatchId,
    cursor: u64,
    is_range: bool,
}

/// One watcher in the hands of the consumer.
#[derive(Clone, Debug)]
pub(crate) struct InHand {
    pub(crate) watcher: Arc<Watcher>,
    pub(crate) cursor: u64,
    /// Its place in line, should it be put back unserved.
    pub(crate) ticket: u64,
}

impl Lagging {
    /// Lets a watcher wait until `popped` messages have left the outbox.
    pub(crate) fn drain(&mut self, popped: u64, id: WatchId) -> Wait {
        self.draining.push_back((popped, id));
        Wait::Drain(popped)
    }

    /// The next whose wait for the outbox is over.
    pub(crate) fn pop_drained(&mut self, popped: u64) -> Option<(u64, WatchId)> {
        let over = self.draining.front().is_some_and(|(until, _)| *until <= popped);
        if over { self.draining.pop_front() } else { None }
    }

    /// Puts a watcher at the end of the line.
    pub(crate) fn enqueue(&mut self, watcher: &Watcher, cursor: u64) -> Wait {
        self.ticket += 1;
        self.put_back(watcher, cursor, self.ticket)
    }

    /// Puts a watcher into line where it stood.
    pub(crate) fn put_back(&mut self, watcher: &Watcher, cursor: u64, ticket: u64) -> Wait {
        let is_range = watcher.request.range.as_single().is_none();
        self.line.insert(ticket, Waiting { id: watcher.id, cursor, is_range });
        if is_range {
            self.ranges.insert((cursor, watcher.id));
        }
        Wait::Turn(ticket)
    }

    /// Takes a watcher out of line, if it stands there.
    pub(crate) fn remove(&mut self, id: WatchId, standing: Standing) {
        if let Standing::Lagging { cursor, wait: Wait::Turn(ticket) } = standing {
            self.line.remove(&ticket);
            self.ranges.remove(&(cursor, id));
        }
    }

    /// Whether someone waits for a turn.
    pub(crate) fn has_line(&self) -> bool {
        !self.line.is_empty()
    }

    /// Whose turn it is: one watcher of a key, or watchers of ranges whose cursors lie within
    /// `span` revisions of the first one's. They still stand in line; nobody is named only if
    /// nobody does.
    pub(crate) fn choose(&mut self, span: u64) -> Vec<WatchId> {
        self.swept = !self.swept;
        let slowest = self.ranges.first().copied().filter(|_| self.swept);
        let Some(next) = self.line.first_key_value().map(|(_, waiting)| *waiting) else {
            return Vec::new();
        };
        let (from, first) = match slowest {
            Some(slowest) => slowest,
            None if next.is_range => (next.cursor, next.id),
            None => return vec![next.id],
        };
        let end = Bound::Excluded((from.saturating_add(span), WatchId(i64::MIN)));
        let within = self.ranges.range((Bound::Included((from, first)), end));
        within.take(TURN_WATCHERS_MAX).map(|&(_, id)| id).collect()
    }

    #[cfg(test)]
    pub(crate) fn check(&self, lined: usize, lined_ranges: usize) {
        assert_eq!(self.line.len(), lined, "who waits for a turn stands in line");
        assert_eq!(self.ranges.len(), lined_ranges, "the same, by cursor");
    }
}
