//! A promise that some records will be durable.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::core::Core;
use crate::error::Result;
use crate::queue::Ticket;
use crate::types::Lsn;
use crate::writer::Writer;

/// An appended group on its way to the disk. Block on [`wait`](Commit::wait), or `.await` it on any
/// runtime: it is a plain [`Future`]. Dropping it does not take the records back: they are written
/// all the same, within some ten milliseconds.
#[derive(Debug)]
#[must_use = "records are not durable until the commit resolves"]
pub struct Commit {
    core: Arc<Core<Writer>>,
    ticket: Ticket,
    registered: Option<Waker>,
}

impl Commit {
    pub(crate) fn new(core: Arc<Core<Writer>>, ticket: Ticket) -> Commit {
        Commit { core, ticket, registered: None }
    }

    /// The last record of the group.
    pub fn lsn(&self) -> Lsn {
        self.ticket.lsn
    }

    /// Blocks until the group is durable, and returns the last durable record. Fails if the log
    /// failed first; whether the group survives is then unknown.
    pub fn wait(&self) -> Result<Lsn> {
        self.core.wait(self.ticket)
    }

    /// The outcome, if there is one yet. Does not block.
    pub fn try_wait(&self) -> Option<Result<Lsn>> {
        self.core.queue.call(self.ticket);
        self.core.queue.outcome(self.ticket)
    }
}

impl Future for Commit {
    type Output = Result<Lsn>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Lsn>> {
        // A waker handed in once stays with the write that carries the group until that is settled.
        let known = self.registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        let outcome = if known {
            self.core.queue.outcome(self.ticket)
        } else {
            self.core.poll(self.ticket, cx.waker())
        };
        if outcome.is_none() && !known {
            self.registered = Some(cx.waker().clone());
        }
        outcome.map_or(Poll::Pending, Poll::Ready)
    }
}
