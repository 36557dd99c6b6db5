//! Who flushes: the rules of the pen.
//!
//! A thread that commits and waits is served fastest if it flushes itself: handing the work to
//! another thread and being woken again costs two context switches for each sync. Many threads are
//! served best by one that does nothing else. So both may, by need; the one who flushes holds the
//! *pen*:
//!
//! ```text
//!               a waiter finds the pen free            its flush is done, and others wait
//!      free ──────────────────────────────► a waiter ───────────────────────────────► the scribe
//!       ▲ ▲                                     │                                      │     │
//!       │ └─── its flush is done, nobody waits ─┘                 one flush after the  │     │
//!       │                                                       other while they wait  ┘     │
//!       └──────────────────────────────────── nobody waits ──────────────────────────────────┘
//! ```
//!
//! The scribe is the database's own thread. It also flushes what nobody blocks for: it is called
//! when a [`Commit`](crate::Commit) is polled or tried, and while commits come at all it looks
//! every [`NAP`] by itself; so one that nobody waits for is on its way within that time. For those
//! who wait it does not let more gather before it starts: those it has just woken commit while it
//! makes the next flush.

use std::io;
use std::path::Path;
use std::task::Waker;
use std::thread;
use std::time::Duration;

use crate::config::Writer as Mode;
use crate::error::{Error, Result};
use crate::queue::{Claim, Queue, Settled, Ticket};
use crate::sync::Mutex;
use crate::types::TxnId;

/// How long a commit that nobody waits for lies in memory, and how long the scribe stays half awake
/// when no more come.
const NAP: Duration = Duration::from_millis(10);

/// The heart that handles, commits and the thread share.
///
/// Locks are taken in this order: `flusher`, then `space`, then the queue's and the readers'.
#[derive(Debug)]
pub(crate) struct Core<F> {
    pub(crate) queue: Queue,
    pub(crate) flusher: Mutex<F>,
    pub(crate) mode: Mode,
}

/// One who can flush what a queue holds: the database's flusher, or a model of it.
pub(crate) trait Step {
    /// Takes what is committed, writes and syncs it. `None` if there was nothing, or it failed.
    fn step(&mut self, queue: &Queue) -> Option<Settled>;
}

impl<F: Step> Core<F> {
    pub(crate) fn new(queue: Queue, flusher: F, mode: Mode) -> Core<F> {
        Core { queue, flusher: Mutex::new(flusher), mode }
    }

    /// Blocks until the ticket's commit is durable. Returns the last durable commit.
    pub(crate) fn wait(&self, ticket: Ticket) -> Result<TxnId> {
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

    /// As [`wait`](Core::wait), for a future. Where there is no scribe, the poll has to flush.
    pub(crate) fn poll(&self, ticket: Ticket, waker: &Waker) -> Option<Result<TxnId>> {
        if self.mode == Mode::Caller
            && let Claim::Lead = self.queue.claim(ticket)
        {
            self.lead();
        }
        self.queue.poll(ticket, waker)
    }

    /// One flush by a waiter, who has been given the pen.
    fn lead(&self) {
        let _guard = FailOnPanic(&self.queue);
        let settled = self.flusher.lock().step(&self.queue);
        // First the pen, so that the next flush starts, then the others.
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
                let settled = self.flusher.lock().step(&self.queue);
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

/// If whoever flushes panics, waiters must not hang.
struct FailOnPanic<'a>(&'a Queue);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let cause = io::Error::other("the thread that flushes has panicked");
            self.0.fail(Error::poison(Path::new("a thread"), cause));
        }
    }
}

#[cfg(all(test, loom))]
mod model;
