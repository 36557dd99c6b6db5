//! Where commits wait for the disk.
//!
//! ```text
//!      commit ──► gathering ──┐ take                      ring its bell, outside the lock
//!      commit ──► gathering   ├────► flushing ──► disk ──► durable
//!      commit ──► gathering ──┘
//! ```
//!
//! A commit is a number here: what it changed is in memory already, in the mirror and in `space`.
//! Everything committed while one flush is under way is flushed by the next one, together: one
//! write for each page, however many commits have changed it, and one sync.
//!
//! **Waiting.** There are two bells: one for those whose commit is being flushed, one for those who
//! come after. Who waits listens to the bell of its commit; it is rung once, when that flush is
//! settled, and wakes all of its listeners and none of the other's. The woken look at an atomic
//! counter and go: there is no lock that they would all queue for.
//!
//! **Flushing.** Whoever is to flush holds the *pen*, of which there is one. Two kinds of thread
//! may take it: one that waits for its commit while nobody flushes, and the database's own
//! *scribe*. Who may when is in [`core`](crate::core); here are the steps, each atomic, those of
//! the scribe in [`scribe`].
//!
//! **Failure.** With [`Sync::EveryCommit`](crate::Sync::EveryCommit) the first failed flush ends
//! the queue for everyone. With [`Sync::OnRequest`](crate::Sync::OnRequest) it ends the attempt:
//! those who wait are told, and the commits gather again.

mod scribe;

use std::sync::atomic::Ordering;
use std::task::Waker;

use self::scribe::Scribe;
use crate::error::{Error, Result};
use crate::sync::{AtomicU64, Bell, Condvar, Mutex};
use crate::types::TxnId;

/// See the module.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// As `State::durable`, for those who hold no lock.
    durable: AtomicU64,
    /// By turn: see [`State::turn`].
    bells: [Bell; 2],
    /// The scribe waits here.
    work: Condvar,
    /// Whether commits are flushed without being asked for.
    eager: bool,
}

/// Invariants:
/// * `durable <= flushing <= committed`; a flush is under way exactly if `durable < flushing`.
/// * If somebody waits for a gathering commit, then the pen is held; and who lays the pen down
///   while there are such has called the scribe.
/// * Once `failed` is set it stays, and nothing is ever taken again.
#[derive(Debug)]
struct State {
    /// The last commit.
    committed: TxnId,
    /// The last commit handed to whoever flushes.
    flushing: TxnId,
    durable: TxnId,
    gathering_wakers: Vec<Waker>,
    flushing_wakers: Vec<Waker>,
    /// Which bell is that of the gathering commits.
    turn: usize,
    /// How many were sent to listen to each bell.
    listeners: [usize; 2],
    failed: Option<Error>,
    /// Attempts that failed without ending the queue, and how the last one did.
    failures: u64,
    failure: Option<Error>,
    /// Somebody waits for what gathers, or has asked for it to be flushed: at once, then.
    wanted: bool,
    pen_held: bool,
    scribe: Scribe,
    stop: bool,
}

/// What a waiter waits for: a commit, and the attempts that had failed when it began to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    pub(crate) txn: TxnId,
    failures: u64,
}

/// A flush that is over: whom to tell.
#[derive(Debug)]
#[must_use = "waiters are told by `Queue::tell`"]
pub(crate) struct Settled {
    turn: usize,
    listeners: usize,
    wakers: Vec<Waker>,
}

/// What a waiter is to do.
#[derive(Debug)]
pub(crate) enum Claim {
    /// Nothing more: the commit is durable, or this attempt or all have failed.
    Settled(Result<TxnId>),
    /// Listen: somebody else flushes.
    Listen(Ear),
    /// Flush: the pen is yours.
    Lead,
}

/// A bell, and its strokes when the listener came.
#[derive(Debug)]
pub(crate) struct Ear {
    turn: usize,
    heard: u32,
}

impl Queue {
    pub(crate) fn new(durable: TxnId, eager: bool, has_scribe: bool) -> Queue {
        let state = State {
            committed: durable,
            flushing: durable,
            durable,
            gathering_wakers: Vec::new(),
            flushing_wakers: Vec::new(),
            turn: 0,
            listeners: [0; 2],
            failed: None,
            failures: 0,
            failure: None,
            wanted: false,
            pen_held: false,
            scribe: if has_scribe { Scribe::Napping } else { Scribe::Absent },
            stop: false,
        };
        Queue {
            state: Mutex::new(state),
            durable: AtomicU64::new(durable.0),
            bells: Default::default(),
            work: Condvar::new(),
            eager,
        }
    }

    /// A commit comes. Commits come in order.
    pub(crate) fn push(&self, txn: TxnId) -> Result<Ticket> {
        let mut state = self.state.lock();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        assert!(state.committed < txn, "commits come in order");
        state.committed = txn;
        let ticket = Ticket { txn, failures: state.failures };
        // From its naps the scribe comes by itself; only a sleeper must be told that there is life.
        let wake = self.eager && state.scribe == Scribe::Asleep;
        if wake {
            state.scribe = Scribe::Napping;
        }
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(ticket)
    }

    /// The last durable commit.
    pub(crate) fn durable(&self) -> TxnId {
        TxnId(self.durable.load(Ordering::Acquire))
    }

    /// A ticket for everything that was committed so far.
    pub(crate) fn ticket(&self) -> Ticket {
        let state = self.state.lock();
        Ticket { txn: state.committed, failures: state.failures }
    }

    /// Why nothing can be committed any more.
    pub(crate) fn failed(&self) -> Option<Error> {
        self.state.lock().failed.clone()
    }

    /// What became of the ticket's commit, if that is settled.
    pub(crate) fn outcome(&self, ticket: Ticket) -> Option<Result<TxnId>> {
        self.state.lock().outcome(ticket)
    }

    /// What the ticket's holder, who is going to block, has to do.
    pub(crate) fn claim(&self, ticket: Ticket) -> Claim {
        let mut state = self.state.lock();
        if let Some(outcome) = state.outcome(ticket) {
            return Claim::Settled(outcome);
        }
        if state.is_gathering(ticket) && !state.pen_held {
            state.pen_held = true;
            return Claim::Lead;
        }
        let turn = if ticket.txn <= state.flushing { 1 - state.turn } else { state.turn };
        state.wanted |= ticket.txn > state.flushing;
        state.listeners[turn] += 1;
        Claim::Listen(Ear { turn, heard: self.bells[turn].strokes() })
    }

    /// Blocks until the bell is rung. `Some` if the ticket's commit is durable; else ask again.
    pub(crate) fn listen(&self, ear: &Ear, ticket: Ticket) -> Option<TxnId> {
        self.bells[ear.turn].wait(ear.heard);
        Some(self.durable()).filter(|durable| *durable >= ticket.txn)
    }

    /// As [`claim`](Queue::claim) for one who cannot block: `Some` once it is settled; else `waker`
    /// is kept, to be woken once, when the flush that carries the commit is settled, and somebody
    /// has the pen.
    pub(crate) fn poll(&self, ticket: Ticket, waker: &Waker) -> Option<Result<TxnId>> {
        let mut state = self.state.lock();
        if let Some(outcome) = state.outcome(ticket) {
            return Some(outcome);
        }
        if ticket.txn <= state.flushing {
            state.flushing_wakers.push(waker.clone());
        } else {
            state.gathering_wakers.push(waker.clone());
        }
        self.call_for(ticket, &mut state);
        None
    }

    /// Sees to it that the ticket's commit is flushed though nobody blocks for it.
    pub(crate) fn call(&self, ticket: Ticket) {
        if self.durable() < ticket.txn {
            self.call_for(ticket, &mut self.state.lock());
        }
    }

    fn call_for(&self, ticket: Ticket, state: &mut State) {
        if state.is_gathering(ticket) {
            state.wanted = true;
            if !state.pen_held {
                self.hand_over(state);
            }
        }
    }

    /// Lays the pen down. What is wanted meanwhile is given to the scribe with it; what is not, and
    /// is flushed all the same, it finds by itself.
    pub(crate) fn lay_down(&self) {
        let mut state = self.state.lock();
        assert!(state.pen_held, "who lays the pen down holds it");
        state.pen_held = false;
        if state.stop {
            self.work.notify_all();
        }
        if !state.wanted || state.failed.is_some() {
            return;
        }
        if state.scribe == Scribe::Absent {
            // One of those who wait has to flush: let them look who.
            let turn = state.turn;
            drop(state);
            self.bells[turn].ring();
        } else {
            self.hand_over(&mut state);
        }
    }

    /// Whether there is something that should be flushed, soon if not now.
    fn is_due(&self, state: &State) -> bool {
        state.failed.is_none() && state.flushing < state.committed && (self.eager || state.wanted)
    }

    /// Takes everything committed, for flushing. `None` if there is nothing, or all has failed.
    pub(crate) fn take(&self) -> Option<TxnId> {
        let mut state = self.state.lock();
        if state.failed.is_some() || state.flushing == state.committed {
            return None;
        }
        assert!(state.flushing == state.durable, "one flush is under way at a time");
        state.flushing = state.committed;
        state.turn = 1 - state.turn;
        state.wanted = false;
        assert!(state.flushing_wakers.is_empty(), "the last flush's waiters were woken");
        let State { gathering_wakers, flushing_wakers, .. } = &mut *state;
        std::mem::swap(gathering_wakers, flushing_wakers);
        Some(state.flushing)
    }

    /// Settles the flush that was taken last.
    pub(crate) fn finish(&self, txn: TxnId) -> Settled {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        assert!(txn == state.flushing, "flushes finish in order");
        state.durable = txn;
        self.durable.store(txn.0, Ordering::Release);
        let turn = 1 - state.turn;
        Settled {
            turn,
            listeners: std::mem::take(&mut state.listeners[turn]),
            wakers: std::mem::take(&mut state.flushing_wakers),
        }
    }

    /// Wakes the waiters of a settled flush, holding no lock.
    pub(crate) fn tell(&self, settled: Settled) {
        if settled.listeners > 0 {
            self.bells[settled.turn].ring();
        }
        settled.wakers.into_iter().for_each(Waker::wake);
    }

    /// Ends the queue: everyone who waits, and everyone who comes later, gets the first `error`.
    pub(crate) fn fail(&self, error: Error) {
        let mut state = self.state.lock();
        state.failed.get_or_insert(error);
        let wakers = state.all_wakers();
        drop(state);
        self.ring_all(wakers);
    }

    /// The flush that was taken last has failed, and may be tried again.
    pub(crate) fn give_up(&self, error: Error) {
        let mut state = self.state.lock();
        state.flushing = state.durable;
        state.failures += 1;
        state.failure = Some(error);
        state.wanted = false;
        let wakers = state.all_wakers();
        drop(state);
        self.ring_all(wakers);
    }

    fn ring_all(&self, wakers: Vec<Waker>) {
        self.work.notify_all();
        self.bells.iter().for_each(Bell::ring);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl State {
    fn outcome(&self, ticket: Ticket) -> Option<Result<TxnId>> {
        if ticket.txn <= self.durable {
            return Some(Ok(self.durable));
        }
        if let Some(error) = &self.failed {
            return Some(Err(error.clone()));
        }
        let failed = self.failures > ticket.failures;
        self.failure.clone().filter(|_| failed).map(Err)
    }

    fn is_gathering(&self, ticket: Ticket) -> bool {
        self.flushing < ticket.txn && ticket.txn <= self.committed
    }

    fn all_wakers(&mut self) -> Vec<Waker> {
        let mut wakers = std::mem::take(&mut self.flushing_wakers);
        wakers.append(&mut self.gathering_wakers);
        wakers
    }
}
