//! Who writes: the rules of the pen.
//!
//! **The problem.** A thread that appends one record and waits for it is served fastest if it
//! writes itself: handing the work to another thread and being woken again costs two context
//! switches for each sync. Many threads are served best by one that does nothing else: it starts
//! the next write the moment the last one is done, while the woken are still waking.
//!
//! **The idea.** Both, by need. The one who writes holds the *pen*:
//!
//! ```text
//!               a waiter finds the pen free            its write is done, and others wait
//!      free ──────────────────────────────► a waiter ───────────────────────────────► the scribe
//!       ▲ ▲                                     │                                      │     │
//!       │ └─── its write is done, nobody waits ─┘                 one write after the  │     │
//!       │                                                       other while they wait  ┘     │
//!       └──────────────────────────────────── nobody waits ──────────────────────────────────┘
//! ```
//!
//! The scribe is the log's own thread. It also writes what nobody blocks for: it is called when a
//! [`Commit`](crate::Commit) is polled or tried, and when the buffer is half full, and while
//! records come at all it looks every [`NAP`] by itself; so a record lies in memory for no longer
//! than that. Records that nobody waits for are left to gather for a nap: synced as fast as they
//! come, they took 4,500 syncs a second, and whoever appended them was interrupted twice for each.
//!
//! **No delay.** For those who wait, the scribe does not wait for more to gather before it writes,
//! although the threads it has just woken are about to append again. They are on their way while it
//! makes the next write: groups of 16 threads come to 11 to 15 by themselves. To yield to them
//! first was tried, and cost a log on a busy machine nine tenths of its speed
//! (`docs/decisions/0004`). So no clock is read.

use std::io;
use std::path::Path;
use std::task::Waker;
use std::thread;
use std::time::Duration;

use crate::config::Writer as Mode;
use crate::error::{Error, Result};
use crate::queue::{Append, Claim, Queue, Settled, Ticket};
use crate::sync::Mutex;
use crate::types::Lsn;

/// How long a record that nobody waits for lies in memory, and how long the scribe stays half
/// awake when no more come.
const NAP: Duration = Duration::from_millis(10);

/// The heart that handles, commits and threads share.
///
/// Locks are taken in this order: `writer`, then the queue's, then the catalog's.
#[derive(Debug)]
pub(crate) struct Core<W> {
    pub(crate) queue: Queue,
    pub(crate) writer: Mutex<W>,
    pub(crate) mode: Mode,
}

/// One who can write what a queue holds: the log's writer, or a model of it.
pub(crate) trait Step {
    /// Takes what is queued, writes and syncs it. `None` if there was nothing, or the log has
    /// failed.
    fn step(&mut self, queue: &Queue) -> Option<Settled>;
}

impl<W: Step> Core<W> {
    /// Appends one group; blocks only while the buffer is full.
    pub(crate) fn append(&self, records: &[&[u8]]) -> Result<Ticket> {
        loop {
            match self.queue.append(records)? {
                Append::Done(ticket) => return Ok(ticket),
                Append::Full if self.queue.claim_room() => self.lead(),
                Append::Full => {}
            }
        }
    }

    /// Blocks until the ticket's record is durable. Returns the last durable record.
    pub(crate) fn wait(&self, ticket: Ticket) -> Result<Lsn> {
        loop {
            match self.queue.claim(ticket) {
                Claim::Settled(outcome) => return outcome,
                Claim::Lead => self.lead(),
                Claim::Listen(ear) => {
                    if let Some(durable) = self.queue.listen(&ear, ticket) {
                        return Ok(durable);
                    }
                }
            }
        }
    }

    /// As [`wait`](Core::wait), for a future. Where there is no scribe, the poll has to write.
    pub(crate) fn poll(&self, ticket: Ticket, waker: &Waker) -> Option<Result<Lsn>> {
        if self.mode == Mode::Caller
            && let Claim::Lead = self.queue.claim(ticket)
        {
            self.lead();
        }
        self.queue.poll(ticket, waker)
    }

    /// One write by a waiter, who has been given the pen.
    fn lead(&self) {
        let _guard = FailOnPanic(&self.queue);
        let settled = self.writer.lock().step(&self.queue);
        // First the pen, so that the next write starts, then the others.
        self.queue.lay_down();
        if let Some(settled) = settled {
            self.queue.tell(settled);
        }
    }

    /// The scribe's life, until it is told to stop.
    pub(crate) fn run(&self) {
        let _guard = FailOnPanic(&self.queue);
        while self.queue.rest(NAP) {
            loop {
                let settled = self.writer.lock().step(&self.queue);
                if let Some(settled) = settled {
                    self.queue.tell(settled);
                }
                if !self.queue.more() {
                    break;
                }
            }
        }
    }
}

/// A writer that dies of a bug must not leave its waiters waiting.
struct FailOnPanic<'a>(&'a Queue);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let cause = io::Error::other("the writer panicked");
            self.0.fail(Error::poison(Path::new("log"), cause));
        }
    }
}

#[cfg(all(test, loom))]
mod model;
