//! Reading a range too large to be held: the same answer, a turn at a time.
//!
//! **The problem.** The answer to a range is one list. Four clients that each ask for all of 300 MB
//! would have the server hold 1.2 GB, and once more while it is encoded.
//!
//! **The idea.** Everything visible at one revision stays where it is while the revision is pinned.
//! So a read can stop between two keys for as long as it likes and go on with what it would have
//! found, and can even begin again: once to add up what it will send, once to send it.
//!
//! ```text
//!   turn ── lock: up to n keys from `rest` on ──► unlock: load their records ──► key-values
//!    ▲                                                                             │
//!    └───────────── rest = what is behind the last key ◄────────────────────────────┘
//! ```
//!
//! **The price.** A pin holds back the sweep of garbage, so whoever keeps a scan and does not go on
//! with it keeps what was compacted since from being removed. The reader bounds that, not this.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::bulk::load_puts;
use crate::command::{RangeRequest, SortBy};
use crate::engine::Engine;
use crate::error::Error;
use crate::held::{Grip, Held};
use crate::index::Direction;
use crate::key_range::{KeyRange, successor};
use crate::range::Plan;
use crate::store::Store;
use crate::types::{KeyValue, Revision};

/// How many keys a read looks up before it lets writers in.
pub(crate) const TURN_KEYS_MAX: usize = 1024;

/// A place among the live keys of a range at a pinned revision.
pub(crate) struct Walk<E> {
    rest: KeyRange,
    at: u64,
    direction: Direction,
    /// How many keys are still wanted.
    left: usize,
    grip: Grip<E>,
}

impl<E: Engine> Walk<E> {
    /// Before the first key of `range`. `grip` is on the revision of the plan.
    pub(crate) fn new(range: KeyRange, plan: &Plan, left: usize, grip: Grip<E>) -> Walk<E> {
        Walk { rest: range, at: plan.at, direction: plan.direction, left, grip }
    }

    /// Whether there are no more.
    pub(crate) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// The next key-values, at most `keys_max` and at most [`TURN_KEYS_MAX`].
    pub(crate) fn turn(
        &mut self,
        held: &RwLock<Held<E>>,
        keys_max: usize,
    ) -> Result<Vec<KeyValue>, Error> {
        let turn_max = keys_max.min(TURN_KEYS_MAX).min(self.left);
        let mut revisions: Vec<Revision> = Vec::with_capacity(turn_max);
        let held = held.read();
        held.renew(&mut self.grip, self.at)?;
        let visit = |_: &[u8], revision| revisions.push(revision);
        held.state.index.range(&self.rest, self.at, self.direction, turn_max, visit);
        drop(held);
        let kvs = load_puts(self.grip.engine(), &revisions)?;
        self.left = if kvs.len() < turn_max { 0 } else { self.left - kvs.len() };
        if let Some(last) = kvs.last() {
            match self.direction {
                Direction::Ascending => self.rest.start = successor(&last.key),
                Direction::Descending => self.rest.end = Some(last.key.clone()),
            }
        }
        Ok(kvs)
    }
}

/// A range that is read in turns, at one revision throughout. See [`Store::scan`].
pub struct Scan<E: Engine> {
    store: Arc<Store<E>>,
    range: KeyRange,
    keys_only: bool,
    wanted: usize,
    walk: Walk<E>,
    revision: u64,
    count: u64,
}

impl<E: Engine> fmt::Debug for Scan<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scan { range, revision, count, .. } = self;
        write!(f, "Scan {{ range: {range:?}, revision: {revision}, count: {count} }}")
    }
}

impl<E: Engine> Scan<E> {
    /// The newest revision of the store when the scan began.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How many keys the range has, whatever the limit.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether the range has more keys than the limit lets through.
    pub fn more(&self) -> bool {
        self.count > self.wanted as u64
    }

    /// The next key-values, at most `keys_max`, which must not be zero. None means that there are
    /// no more.
    ///
    /// # Errors
    /// [`Error::Engine`]. [`Error::Refused`] if the store was given another's state, in which the
    /// revision cannot be read.
    pub fn turn(&mut self, keys_max: usize) -> Result<Vec<KeyValue>, Error> {
        let mut kvs = self.walk.turn(&self.store.held, keys_max)?;
        if self.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value.clear());
        }
        Ok(kvs)
    }

    /// Goes back to the first key. What follows is what came before.
    pub fn rewind(&mut self) {
        (self.walk.rest, self.walk.left) = (self.range.clone(), self.wanted);
    }
}

impl RangeRequest {
    /// Whether the answer comes in the order in which the store keeps keys, from either end, and
    /// leaves none out between them: only then can it be given before all of it is known.
    pub fn is_native(&self) -> bool {
        self.sort.is_none_or(|sort| sort.by == SortBy::Key) && self.bounds.is_open()
    }
}

impl<E: Engine> Store<E> {
    /// Reads a range in turns: together they are the answer of [`Store::range`].
    ///
    /// # Errors
    /// As for [`Store::range`].
    ///
    /// # Panics
    /// If the request is not [native](RangeRequest::is_native), or asks for the count alone.
    pub fn scan(self: &Arc<Self>, request: &RangeRequest) -> Result<Scan<E>, Error> {
        assert!(request.is_native() && !request.count_only, "a scan has an order, and keys");
        let held = self.read()?;
        let state = &held.state;
        state.refuse_if_corrupt_at(self.own())?;
        let plan = Plan::new(request, state, state.revision)?;
        let count = state.index.count(&request.range, plan.at);
        let grip = held.grip(plan.at);
        drop(held);
        let limit = if request.limit == 0 { usize::MAX } else { request.limit };
        let wanted = limit.min(usize::try_from(count).unwrap_or(usize::MAX));
        let range = request.range.clone();
        let walk = Walk::new(range.clone(), &plan, wanted, grip);
        let (store, keys_only) = (Arc::clone(self), request.keys_only);
        Ok(Scan { store, range, keys_only, wanted, walk, revision: plan.newest, count })
    }
}
