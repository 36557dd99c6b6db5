//! Transactions under way, and what they lock until their effect can be seen.
//!
//! ```text
//!   start ──► open ── done at r ───► landed ── the copy is at r ───────────────► settled
//!               └──── refused at r ─► landed ── the copy is at r, or a pause ──► settled
//! ```
//!
//! A refusal says at which revision the store was; what was in the way was changed at or before
//! it. In a store that is shared with others the copy may never reach that revision by itself, for
//! it is told of its own keys alone: hence the pause.

use std::collections::{BTreeMap, HashSet};

use super::Outcome;
use crate::keys::Key;
use crate::types::{Revision, RunId, TaskKey, UnixMs};

/// A transaction under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlightId(pub u64);

/// What a transaction is about.
#[derive(Clone, Debug, Default)]
pub(super) struct Flight {
    /// What it changes.
    pub(super) locks: Vec<Key>,
    /// Runs that it binds.
    pub(super) binds: Vec<Binding>,
}

/// A run that is being bound.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    pub(super) task: TaskKey,
    pub(super) run: RunId,
}

impl Flight {
    /// One that changes this alone.
    pub(super) fn of(key: Key) -> Flight {
        Flight { locks: vec![key], binds: Vec::new() }
    }
}

#[derive(Debug)]
struct Landed {
    flight: Flight,
    seen_at: Revision,
    give_up: Option<UnixMs>,
}

/// All that are under way.
#[derive(Debug, Default)]
pub(super) struct Flights {
    next: u64,
    open: BTreeMap<FlightId, Flight>,
    landed: Vec<Landed>,
    locks: HashSet<Key>,
}

impl Flights {
    pub(super) fn count(&self) -> usize {
        self.open.len()
    }

    /// Whether nothing under way changes this.
    pub(super) fn is_free(&self, key: &Key) -> bool {
        !self.locks.contains(key)
    }

    pub(super) fn start(&mut self, flight: Flight) -> FlightId {
        for key in &flight.locks {
            assert!(self.locks.insert(key.clone()), "{key} is decided twice at once");
        }
        let id = FlightId(self.next);
        self.next += 1;
        self.open.insert(id, flight);
        id
    }

    /// Its end is known. Returns what it was about.
    pub(super) fn land(&mut self, id: FlightId, outcome: Outcome, pause: UnixMs) -> Flight {
        let flight = self.open.remove(&id).expect("a flight lands once");
        let mut kept = flight.clone();
        let (seen_at, give_up) = match outcome {
            Outcome::Done(revision) => (revision, None),
            Outcome::Refused(revision) => {
                kept.binds.clear();
                (revision, Some(pause))
            }
        };
        self.landed.push(Landed { flight: kept, seen_at, give_up });
        flight
    }

    /// Unlocks what the copy, at this revision, shows.
    pub(super) fn settle(&mut self, revision: Revision, now: UnixMs) -> Vec<Flight> {
        let over = |landed: &mut Landed| {
            landed.seen_at <= revision || landed.give_up.is_some_and(|at| at <= now)
        };
        let settled: Vec<Flight> =
            self.landed.extract_if(.., over).map(|landed| landed.flight).collect();
        for key in settled.iter().flat_map(|flight| &flight.locks) {
            assert!(self.locks.remove(key), "what is unlocked was locked");
        }
        settled
    }

    /// No pause lasts longer than until then.
    pub(super) fn rest_until(&mut self, latest: UnixMs) {
        for landed in &mut self.landed {
            landed.give_up = landed.give_up.map(|at| at.min(latest));
        }
    }

    /// When a pause is over.
    pub(super) fn wake_at(&self) -> Option<UnixMs> {
        self.landed.iter().filter_map(|landed| landed.give_up).min()
    }
}
