//! Writes that are under way, and the promises that wait for them.
//!
//! A node promises nothing that a crash could make it forget. Its promises are messages: "I vote
//! for you", "I have entry 7", "vote for me in term 5". Each is held here until every write asked
//! for before it is durable, and leaves on its own then. The driver may complete writes in any
//! order and has none to get wrong.
//!
//! ```text
//!     write 3 ─ done     write 4 ─ under way     write 5 ─ done
//!        │                  │                       │
//!     Accepted 7         Accepted 9              Ballot: yes      wait behind 4, because a crash
//!     has left           waits                   waits            now may leave 3 alone
//! ```
//!
//! A write that was overtaken does not count for what replaced it: cutting the log shortens the
//! writes under way (the ABA of entries written, cut off, and written again).

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use crate::types::{Index, NodeId, Position, WriteId};

/// One write that is under way.
#[derive(Debug)]
struct Flight {
    id: WriteId,
    /// Its last entry, less what was cut off since; 0 if it has none.
    last: Index,
    /// Whether the term and vote are in it.
    hard: bool,
    asked: u64,
    done: bool,
}

/// What is said once the disk holds what makes it true. All are of the current term.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Promise {
    /// The log is like the leader's up to here.
    Accepted { matched: Index, round: u64 },
    /// Vote for me, as I do.
    Vote { last: Position, forced: bool },
    /// You have my vote.
    Granted { last: Position },
}

/// A promise, to whom it is made, and the write that it waits for.
#[derive(Debug)]
struct Held {
    behind: WriteId,
    to: NodeId,
    promise: Promise,
}

/// The writes under way, in order, and the promises behind them.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    latest: WriteId,
    /// In a box of its own, which a node that has been idle for long does not have.
    queues: Option<Box<Queues>>,
}

#[derive(Debug, Default)]
struct Queues {
    flights: VecDeque<Flight>,
    held: VecDeque<Held>,
}

impl Writes {
    /// Begins a write that ends with entry `last`; 0 if it has none.
    pub(crate) fn begin(&mut self, now: u64, last: Index, hard: bool) -> WriteId {
        self.latest = WriteId(self.latest.0 + 1);
        let (id, asked) = (self.latest, now);
        self.queues().flights.push_back(Flight { id, last, hard, asked, done: false });
        id
    }

    fn queues(&mut self) -> &mut Queues {
        self.queues.get_or_insert_default()
    }

    fn flights(&self) -> impl Iterator<Item = &Flight> {
        self.queues.iter().flat_map(|queues| &queues.flights)
    }

    fn front(&self) -> Option<&Flight> {
        self.queues.as_ref()?.flights.front()
    }

    /// The log was cut behind `last`: what is under way beyond it does not count.
    pub(crate) fn cut(&mut self, last: Index) {
        for flight in self.queues.iter_mut().flat_map(|queues| &mut queues.flights) {
            flight.last = flight.last.min(last);
        }
    }

    /// Takes note that a write is durable. Ids that are not under way are ignored.
    pub(crate) fn stored(&mut self, id: WriteId) {
        let Some(queues) = &mut self.queues else { return };
        if let Some(flight) = queues.flights.iter_mut().find(|flight| flight.id == id) {
            flight.done = true;
        }
    }

    /// The next write, in order, that is durable like all before it: the index of its last entry.
    pub(crate) fn land(&mut self) -> Option<Index> {
        let queues = self.queues.as_mut()?;
        if !queues.flights.front()?.done {
            return None;
        }
        queues.flights.pop_front().map(|flight| flight.last)
    }

    /// Holds a promise until all that was asked for so far is durable, and with `and_next` the
    /// write that is asked for next.
    pub(crate) fn hold(&mut self, to: NodeId, promise: Promise, and_next: bool) {
        let behind = WriteId(self.latest.0 + u64::from(and_next));
        self.queues().held.push_back(Held { behind, to, promise });
    }

    /// The next promise that waits for nothing any more.
    pub(crate) fn release(&mut self) -> Option<(NodeId, Promise)> {
        let queues = self.queues.as_mut()?;
        let &Held { behind, to, promise } = queues.held.front()?;
        if queues.flights.front().is_some_and(|oldest| behind >= oldest.id) {
            return None;
        }
        queues.held.pop_front();
        Some((to, promise))
    }

    /// The term has passed: what was promised in it is void.
    pub(crate) fn forget(&mut self) {
        if let Some(queues) = &mut self.queues {
            queues.held.clear();
        }
    }

    /// Whether a term or a vote is under way.
    pub(crate) fn has_hard(&self) -> bool {
        self.flights().any(|flight| flight.hard)
    }

    /// Since when the oldest write has been under way.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.front().map(|flight| flight.asked)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.queues
            .as_ref()
            .is_none_or(|queues| queues.flights.is_empty() && queues.held.is_empty())
    }

    /// Gives back memory that nothing is in.
    pub(crate) fn shrink(&mut self) {
        if self.is_idle() {
            self.queues = None;
        }
    }

    pub(crate) fn check(&self) {
        let Some(Queues { flights, held }) = self.queues.as_deref() else { return };
        assert!(flights.iter().is_sorted_by_key(|flight| flight.id), "writes have an order");
        assert!(held.iter().is_sorted_by_key(|held| held.behind), "promises keep theirs");
        let first = flights.front();
        assert!(first.is_none_or(|flight| !flight.done), "what is durable has landed");
    }
}
