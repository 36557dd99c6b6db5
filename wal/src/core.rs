//! The heart that handles, commits and threads share: the queue, the writer, the catalog.

use std::cell::LazyCell;
use std::io;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};

use parking_lot::Mutex;

use crate::catalog::Catalog;
use crate::config::Writer as Mode;
use crate::error::{Error, Result};
use crate::queue::{Queue, Ticket};
use crate::types::Lsn;
use crate::writer::Writer;

/// Locks are taken in this order: `writer`, then the queue's, then the catalog's.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) queue: Queue,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) mode: Mode,
}

impl Core {
    /// Blocks until the ticket's record is durable, writing it if there is no thread that would.
    /// Returns the last durable record.
    pub(crate) fn wait(&self, ticket: Ticket) -> Result<Lsn> {
        if self.mode == Mode::Caller {
            self.write_up_to(ticket);
        }
        UNPARK.with(|waker| {
            loop {
                if let Some(outcome) = self.queue.poll(ticket, waker) {
                    return outcome;
                }
                thread::park();
            }
        })
    }

    /// Writes until the ticket's record, if it has been appended, is settled.
    pub(crate) fn write_up_to(&self, ticket: Ticket) {
        if self.queue.is_pending(ticket) {
            let mut writer = self.writer.lock();
            while self.queue.outcome(ticket).is_none() && writer.step(&self.queue) {}
        }
    }

    /// What the writer's thread does until it is told to stop.
    pub(crate) fn run(&self) {
        let _guard = FailOnPanic(&self.queue);
        while self.queue.wait_work() {
            self.writer.lock().step(&self.queue);
        }
    }
}

/// A writer that dies of a bug must not leave its waiters waiting.
struct FailOnPanic<'a>(&'a Queue);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let cause = io::Error::other("the writer panicked");
            self.0.fail(Error::poison(std::path::Path::new("log"), cause));
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    /// Wakes this thread. Made once, so that waiting allocates nothing.
    static UNPARK: LazyCell<Waker> =
        LazyCell::new(|| Waker::from(Arc::new(Unpark(thread::current()))));
}
