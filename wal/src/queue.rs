//! Where appenders leave their records and wait: two buffers, one filling, one being written.
//!
//! ```text
//!      append ──► filling ──┐ take                      ring its bell, outside the lock
//!      append ──► filling   ├────► writing ──► disk ──► durable
//!      append ──► filling ──┘ (the other buffer)
//! ```
//!
//! Everything that is appended while one write is under way becomes the next write: groups form by
//! themselves, as large as the disk is slow. An appender copies its bytes under a short lock and
//! makes no system call.
//!
//! **Waiting.** There are two bells, one for each buffer. Who waits listens to the bell of the
//! buffer that holds its record; the bell is rung once, when that buffer's write is settled, and
//! wakes all of its listeners and none of the other's. The woken look at an atomic counter and go:
//! there is no lock that they would all queue for.
//!
//! **Writing.** Whoever is to write holds the *pen*, of which there is one. Two kinds of thread may
//! take it: one that waits for its record while nobody writes, and the log's own *scribe*. Who may
//! when is in [`core`](crate::core); here are the steps, each atomic, those of the scribe in
//! [`scribe`].

mod scribe;

use std::sync::atomic::Ordering;
use std::task::Waker;

use self::scribe::Scribe;
use crate::config::{GROUP_BYTES_MAX, Options};
use crate::error::{Error, Result};
use crate::format::{Kind, frame_bytes, push_frame};
use crate::sync::{AtomicU64, Bell, Condvar, Mutex};
use crate::types::Lsn;

/// The appenders' side of a log.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// As `State::durable`, for those who hold no lock.
    durable: AtomicU64,
    /// By buffer: see [`State::turn`].
    bells: [Bell; 2],
    /// The scribe waits here.
    work: Condvar,
    /// Appenders wait here for room.
    room: Condvar,
    buffer_bytes_max: usize,
    record_bytes_max: usize,
}

/// Invariants:
/// * `filling` holds the records after `writing_last` and before `next`.
/// * Bytes of `filling` exceed `buffer_bytes_max` only if they are one group.
/// * If `wanted`, then the pen is held, or there is no scribe; and who lays the pen down then has
///   called the scribe, or rung for those who wait.
/// * Once `failed` is set it stays, and nothing is ever taken again.
#[derive(Debug)]
struct State {
    next: Lsn,
    filling: Vec<u8>,
    /// Woken when what is in `filling` now has become durable.
    filling_wakers: Vec<Waker>,
    /// The last record handed to the writer.
    writing_last: Lsn,
    writing_wakers: Vec<Waker>,
    /// The emptied buffer, for the next turn.
    spare: Vec<u8>,
    /// The emptied list, likewise.
    spare_wakers: Vec<Waker>,
    /// Which of the two buffers, and bells, is the filling one.
    turn: usize,
    /// How many were sent to listen to each bell.
    listeners: [usize; 2],
    /// The last record known durable, and the number of suffix cuts: see [`Ticket`].
    durable: Lsn,
    cuts: u64,
    failed: Option<Error>,
    /// `filling` should be written at once: somebody waits for a record of it, or has asked for it,
    /// or it is half full.
    wanted: bool,
    pen_held: bool,
    scribe: Scribe,
    stop: bool,
}

/// What a waiter waits for: a record, as numbered before any later suffix cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    pub(crate) lsn: Lsn,
    cuts: u64,
}

/// One buffer on its way to the disk.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) bytes: Vec<u8>,
    pub(crate) first: Lsn,
    pub(crate) last: Lsn,
}

/// A write that is over: whom to tell.
#[derive(Debug)]
#[must_use = "waiters are told by `Queue::tell`"]
pub(crate) struct Settled {
    turn: usize,
    listeners: usize,
    wakers: Vec<Waker>,
}

/// What an attempt to append without blocking came to.
pub(crate) enum Append {
    Done(Ticket),
    Full,
}

/// What a waiter is to do.
#[derive(Debug)]
pub(crate) enum Claim {
    /// Nothing more: the record is durable, or never will be.
    Settled(Result<Lsn>),
    /// Listen: somebody else writes.
    Listen(Ear),
    /// Write: the pen is yours.
    Lead,
}

/// A bell, and its strokes when the listener came.
#[derive(Debug)]
pub(crate) struct Ear {
    turn: usize,
    heard: u32,
}

impl Queue {
    pub(crate) fn new(durable: Lsn, options: &Options, has_scribe: bool) -> Queue {
        let state = State {
            next: durable.next(),
            filling: Vec::new(),
            filling_wakers: Vec::new(),
            writing_last: durable,
            writing_wakers: Vec::new(),
            spare: Vec::new(),
            spare_wakers: Vec::new(),
            turn: 0,
            listeners: [0; 2],
            durable,
            cuts: 0,
            failed: None,
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
            room: Condvar::new(),
            buffer_bytes_max: options.buffer_bytes_max,
            record_bytes_max: options.record_bytes_max,
        }
    }

    /// Appends one group unless the buffer is full. Blocks on nothing.
    pub(crate) fn append(&self, records: &[&[u8]]) -> Result<Append> {
        let bytes = self.group_bytes(records)?;
        let mut state = self.state.lock();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        if !state.filling.is_empty() && state.filling.len() as u64 + bytes > self.bytes_max() {
            return Ok(Append::Full);
        }
        let State { filling, next, .. } = &mut *state;
        filling.reserve(bytes as usize);
        for (i, record) in records.iter().enumerate() {
            let ends = i + 1 == records.len();
            push_frame(filling, if ends { Kind::GroupEnd } else { Kind::Record }, *next, record);
            *next = next.next();
        }
        let ticket = Ticket { lsn: state.next.previous(), cuts: state.cuts };
        if !state.wanted && state.filling.len() as u64 > self.bytes_max() / 2 {
            self.want(&mut state);
        }
        // From its naps the scribe comes by itself; only a sleeper must be told that there is life.
        let wake = state.scribe == Scribe::Asleep;
        if wake {
            state.scribe = Scribe::Napping;
        }
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(Append::Done(ticket))
    }

    fn bytes_max(&self) -> u64 {
        self.buffer_bytes_max as u64
    }

    fn group_bytes(&self, records: &[&[u8]]) -> Result<u64> {
        let mut sum = 0;
        for record in records {
            if record.len() > self.record_bytes_max {
                let (bytes, bytes_max) = (record.len() as u64, self.record_bytes_max as u64);
                return Err(Error::TooLarge { bytes, bytes_max });
            }
            sum += frame_bytes(record.len());
        }
        if sum > GROUP_BYTES_MAX {
            return Err(Error::TooLarge { bytes: sum, bytes_max: GROUP_BYTES_MAX });
        }
        Ok(sum)
    }

    pub(crate) fn next_lsn(&self) -> Lsn {
        self.state.lock().next
    }

    /// The last durable record.
    pub(crate) fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    /// A ticket for record `lsn`, in today's numbering.
    pub(crate) fn ticket(&self, lsn: Lsn) -> Ticket {
        Ticket { lsn, cuts: self.state.lock().cuts }
    }

    pub(crate) fn failed(&self) -> Option<Error> {
        self.state.lock().failed.clone()
    }

    /// What became of the ticket's record, if that is settled.
    pub(crate) fn outcome(&self, ticket: Ticket) -> Option<Result<Lsn>> {
        self.state.lock().outcome(ticket)
    }

    /// What the ticket's holder, who is going to block, has to do.
    pub(crate) fn claim(&self, ticket: Ticket) -> Claim {
        let mut state = self.state.lock();
        if let Some(outcome) = state.outcome(ticket) {
            return Claim::Settled(outcome);
        }
        if state.is_filling(ticket) && !state.pen_held {
            state.pen_held = true;
            return Claim::Lead;
        }
        let turn = if ticket.lsn <= state.writing_last { 1 - state.turn } else { state.turn };
        state.wanted |= ticket.lsn > state.writing_last;
        state.listeners[turn] += 1;
        Claim::Listen(Ear { turn, heard: self.bells[turn].strokes() })
    }

    /// Blocks until the bell is rung. `Some` if the ticket's record is durable; else ask again.
    pub(crate) fn listen(&self, ear: &Ear, ticket: Ticket) -> Option<Lsn> {
        self.bells[ear.turn].wait(ear.heard);
        Some(self.durable()).filter(|durable| *durable >= ticket.lsn)
    }

    /// As [`claim`](Queue::claim) for one who cannot block: `Some` once it is settled; else `waker`
    /// is kept, to be woken once, when the write that carries the record (or the next one) is
    /// settled, and somebody has the pen.
    pub(crate) fn poll(&self, ticket: Ticket, waker: &Waker) -> Option<Result<Lsn>> {
        let mut state = self.state.lock();
        if let Some(outcome) = state.outcome(ticket) {
            return Some(outcome);
        }
        if ticket.lsn <= state.writing_last {
            state.writing_wakers.push(waker.clone());
        } else {
            state.filling_wakers.push(waker.clone());
        }
        self.call_for(ticket, &mut state);
        None
    }

    /// Sees to it that the ticket's record is written though nobody blocks for it.
    pub(crate) fn call(&self, ticket: Ticket) {
        if self.durable() < ticket.lsn {
            self.call_for(ticket, &mut self.state.lock());
        }
    }

    fn call_for(&self, ticket: Ticket, state: &mut State) {
        if state.is_filling(ticket) {
            self.want(state);
        }
    }

    /// Has what is in `filling` written: after the present write, if there is one.
    fn want(&self, state: &mut State) {
        state.wanted = true;
        if !state.pen_held {
            self.hand_over(state);
        }
    }

    /// Lays the pen down. What is wanted meanwhile is given to the scribe with it; what is not, it
    /// finds by itself.
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
            // One of those who wait has to write: let them look who.
            let turn = state.turn;
            drop(state);
            self.bells[turn].ring();
            self.room.notify_all();
        } else {
            self.hand_over(&mut state);
        }
    }

    /// Takes the pen to make room, if nobody holds it. Else blocks until an append may succeed, or
    /// the log has failed.
    pub(crate) fn claim_room(&self) -> bool {
        let mut state = self.state.lock();
        // Another appender may take the room at once; the caller tries again.
        if state.failed.is_some() || state.filling.is_empty() {
            return false;
        }
        if state.pen_held {
            state.wanted = true;
            self.room.wait(&mut state);
            return false;
        }
        state.pen_held = true;
        true
    }

    /// Takes everything appended, for writing. `None` if there is nothing, or the log has failed.
    pub(crate) fn take(&self) -> Option<Load> {
        let mut state = self.state.lock();
        if state.failed.is_some() || state.filling.is_empty() {
            return None;
        }
        assert!(state.writing_last == state.durable, "one write is in flight at a time");
        let empty = std::mem::take(&mut state.spare);
        let bytes = std::mem::replace(&mut state.filling, empty);
        let (first, last) = (state.writing_last.next(), state.next.previous());
        assert!(first <= last, "a buffer with bytes holds records");
        state.writing_last = last;
        state.turn = 1 - state.turn;
        state.wanted = false;
        assert!(state.writing_wakers.is_empty(), "the last write's waiters were woken");
        let State { filling_wakers, writing_wakers, .. } = &mut *state;
        std::mem::swap(filling_wakers, writing_wakers);
        drop(state);
        self.room.notify_all();
        Some(Load { bytes, first, last })
    }

    /// Settles the write that was taken last.
    pub(crate) fn finish(&self, load: Load) -> Settled {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        assert!(load.last == state.writing_last, "writes finish in order");
        state.durable = load.last;
        self.durable.store(load.last.0, Ordering::Release);
        let empty = std::mem::take(&mut state.spare_wakers);
        let wakers = std::mem::replace(&mut state.writing_wakers, empty);
        let mut bytes = load.bytes;
        bytes.clear();
        // One giant record must not hold its memory for ever.
        bytes.shrink_to(self.buffer_bytes_max);
        state.spare = bytes;
        let turn = 1 - state.turn;
        let listeners = std::mem::take(&mut state.listeners[turn]);
        Settled { turn, listeners, wakers }
    }

    /// Wakes the waiters of a settled write, holding no lock.
    pub(crate) fn tell(&self, settled: Settled) {
        let Settled { turn, listeners, mut wakers } = settled;
        if listeners > 0 {
            self.bells[turn].ring();
        }
        if wakers.capacity() > 0 {
            wakers.drain(..).for_each(Waker::wake);
            self.state.lock().spare_wakers = wakers;
        }
    }

    /// Ends the log's life: everyone who waits, and everyone who comes later, gets the first
    /// `error`.
    pub(crate) fn fail(&self, error: Error) {
        let mut state = self.state.lock();
        state.failed.get_or_insert(error);
        let mut wakers = std::mem::take(&mut state.writing_wakers);
        wakers.append(&mut state.filling_wakers);
        drop(state);
        self.room.notify_all();
        self.work.notify_all();
        self.bells.iter().for_each(Bell::ring);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Runs `cut` while nothing is appended or in flight, then numbers on from `last`. `None` if
    /// records are waiting to be written: write them, then try again.
    pub(crate) fn cut_suffix(
        &self,
        last: Lsn,
        cut: impl FnOnce() -> Result<()>,
    ) -> Option<Result<()>> {
        let mut state = self.state.lock();
        if let Some(error) = &state.failed {
            return Some(Err(error.clone()));
        }
        if !state.filling.is_empty() {
            return None;
        }
        assert!(state.writing_last == state.durable, "nothing is in flight");
        if last >= state.durable {
            return Some(Ok(()));
        }
        let outcome = cut();
        if outcome.is_ok() {
            state.durable = last;
            self.durable.store(last.0, Ordering::Release);
            state.writing_last = last;
            state.next = last.next();
            state.cuts += 1;
        }
        Some(outcome)
    }
}

impl State {
    fn outcome(&self, ticket: Ticket) -> Option<Result<Lsn>> {
        // A suffix cut writes everything first: what was appended before one was durable then.
        if ticket.lsn <= self.durable || ticket.cuts != self.cuts {
            return Some(Ok(self.durable));
        }
        self.failed.clone().map(Err)
    }

    fn is_filling(&self, ticket: Ticket) -> bool {
        self.writing_last < ticket.lsn && ticket.lsn < self.next
    }
}
