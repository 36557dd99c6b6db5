//! Where appenders leave their records and wait: two buffers, one filling, one being written.
//!
//! ```text
//!      append ──► filling ──┐ take                     wake its waiters, outside the lock
//!      append ──► filling   ├────► writing ──► disk ──► durable
//!      append ──► filling ──┘ (the other buffer)
//! ```
//!
//! Everything that is appended while one write is under way becomes the next write: groups form by
//! themselves, as large as the disk is slow. An appender copies its bytes under a short lock; its
//! only system call is the one that wakes an idle writer. Waiters park on the write that carries
//! their record and are woken once, when it is done.

use std::task::Waker;

use parking_lot::{Condvar, Mutex};

use crate::config::{GROUP_BYTES_MAX, Options};
use crate::error::{Error, Result};
use crate::format::{Kind, frame_bytes, push_frame};
use crate::types::Lsn;

/// The appenders' side of a log.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// The writer waits here for records.
    work: Condvar,
    /// Appenders wait here for room.
    room: Condvar,
    buffer_bytes_max: usize,
    record_bytes_max: usize,
}

/// Invariants:
/// * `filling.first == writing_last.next()`, and `filling` holds the records from there to `next`.
/// * Bytes of `filling` exceed `buffer_bytes_max` only if they are one group.
/// * Once `failed` is set it stays, and nothing is ever taken again.
#[derive(Debug)]
struct State {
    next: Lsn,
    filling: Vec<u8>,
    /// Woken when what is in `filling` now has become durable.
    filling_waiters: Vec<Waker>,
    /// The last record handed to the writer.
    writing_last: Lsn,
    writing_waiters: Vec<Waker>,
    /// The emptied buffer, for the next turn.
    spare: Vec<u8>,
    /// The last record known durable, and the number of suffix cuts: see [`Ticket`].
    durable: Lsn,
    cuts: u64,
    failed: Option<Error>,
    writer_idle: bool,
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

/// What an attempt to append without blocking came to.
pub(crate) enum Append {
    Done(Ticket),
    Full,
}

impl Queue {
    pub(crate) fn new(durable: Lsn, options: &Options) -> Queue {
        let state = State {
            next: durable.next(),
            filling: Vec::new(),
            filling_waiters: Vec::new(),
            writing_last: durable,
            writing_waiters: Vec::new(),
            spare: Vec::new(),
            durable,
            cuts: 0,
            failed: None,
            writer_idle: false,
            stop: false,
        };
        Queue {
            state: Mutex::new(state),
            work: Condvar::new(),
            room: Condvar::new(),
            buffer_bytes_max: options.buffer_bytes_max,
            record_bytes_max: options.record_bytes_max,
        }
    }

    /// Appends one group unless the buffer is full. Does not block on the disk.
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
        let wake = std::mem::take(&mut state.writer_idle);
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(Append::Done(ticket))
    }

    /// Blocks until an append may succeed, or the log has failed.
    pub(crate) fn wait_room(&self) {
        let mut state = self.state.lock();
        // Another appender may take the room at once; the caller tries again.
        if state.failed.is_none() && !state.filling.is_empty() {
            self.room.wait(&mut state);
        }
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

    /// A ticket for record `lsn`, in today's numbering.
    pub(crate) fn ticket(&self, lsn: Lsn) -> Ticket {
        Ticket { lsn, cuts: self.state.lock().cuts }
    }

    pub(crate) fn failed(&self) -> Option<Error> {
        self.state.lock().failed.clone()
    }

    /// `Some` once the ticket's record is durable or never will be; else `waker` is kept, to be
    /// woken once, when the write that carries the record (or the next one) is settled.
    pub(crate) fn poll(&self, ticket: Ticket, waker: &Waker) -> Option<Result<Lsn>> {
        let mut state = self.state.lock();
        if let Some(outcome) = state.outcome(ticket) {
            return Some(outcome);
        }
        if ticket.lsn <= state.writing_last {
            state.writing_waiters.push(waker.clone());
        } else {
            state.filling_waiters.push(waker.clone());
        }
        None
    }

    /// As [`poll`](Queue::poll), leaving no trace.
    pub(crate) fn outcome(&self, ticket: Ticket) -> Option<Result<Lsn>> {
        self.state.lock().outcome(ticket)
    }

    /// Whether the ticket's record has been appended, so that writing can settle it.
    pub(crate) fn is_pending(&self, ticket: Ticket) -> bool {
        let state = self.state.lock();
        ticket.lsn < state.next && state.outcome(ticket).is_none()
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
        let load = Load { bytes, first: state.writing_last.next(), last: state.next.previous() };
        assert!(load.first <= load.last, "a buffer with bytes holds records");
        state.writing_last = load.last;
        assert!(state.writing_waiters.is_empty(), "the last write's waiters were woken");
        let State { filling_waiters, writing_waiters, .. } = &mut *state;
        std::mem::swap(filling_waiters, writing_waiters);
        drop(state);
        self.room.notify_all();
        Some(load)
    }

    /// Settles the write that was taken last and wakes its waiters. `woken` is an empty list, kept
    /// by the caller for its memory.
    pub(crate) fn finish(&self, load: Load, woken: &mut Vec<Waker>) {
        let mut state = self.state.lock();
        assert!(load.last == state.writing_last, "writes finish in order");
        state.durable = load.last;
        std::mem::swap(&mut state.writing_waiters, woken);
        let mut bytes = load.bytes;
        bytes.clear();
        // One giant record must not hold its memory for ever.
        bytes.shrink_to(self.buffer_bytes_max);
        state.spare = bytes;
        drop(state);
        woken.drain(..).for_each(Waker::wake);
    }

    /// Ends the log's life: everyone who waits, and everyone who comes later, gets the first
    /// `error`.
    pub(crate) fn fail(&self, error: Error) {
        let mut state = self.state.lock();
        state.failed.get_or_insert(error);
        let mut waiters = std::mem::take(&mut state.writing_waiters);
        waiters.append(&mut state.filling_waiters);
        drop(state);
        self.room.notify_all();
        self.work.notify_all();
        waiters.into_iter().for_each(Waker::wake);
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
            state.writing_last = last;
            state.next = last.next();
            state.cuts += 1;
        }
        Some(outcome)
    }

    /// Blocks the writer's thread until there is something to write; `false` to end.
    pub(crate) fn wait_work(&self) -> bool {
        let mut state = self.state.lock();
        loop {
            if state.failed.is_some() || (state.stop && state.filling.is_empty()) {
                return false;
            }
            if !state.filling.is_empty() {
                state.writer_idle = false;
                return true;
            }
            state.writer_idle = true;
            self.work.wait(&mut state);
        }
    }

    /// Tells the writer's thread to end once everything is written.
    pub(crate) fn stop(&self) {
        self.state.lock().stop = true;
        self.work.notify_all();
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
}
