//! A promise that a transaction will be durable.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::error::Result;
use crate::queue::Ticket;
use crate::store::Store;
use crate::types::TxnId;

/// A committed transaction on its way to the disk. Others see it already. Block on
/// [`wait`](Commit::wait), or `.await` it on any runtime: it is a plain [`Future`]. Dropping it
/// does not take the transaction back.
#[derive(Debug)]
#[must_use = "a transaction is not durable until its commit resolves"]
pub struct Commit {
    store: Arc<Store>,
    ticket: Ticket,
    /// Its record in the journal, if commits go there.
    logged: Option<drystone_wal::Commit>,
    registered: Option<Waker>,
}

impl Commit {
    pub(crate) fn new(
        store: Arc<Store>,
        ticket: Ticket,
        logged: Option<drystone_wal::Commit>,
    ) -> Commit {
        Commit { store, ticket, logged, registered: None }
    }

    /// The promise that everything committed so far is durable.
    pub(crate) fn of_the_last(store: Arc<Store>) -> Result<Commit> {
        let ticket = store.core.queue.ticket();
        let logged = store.body.journal.get().map(|_| store.logged()).transpose()?;
        Ok(Commit::new(store, ticket, logged))
    }

    /// The transaction.
    pub fn txn(&self) -> TxnId {
        self.ticket.txn
    }

    /// Blocks until the transaction is durable, and returns the last durable one. Fails if the
    /// flush failed; whether the transaction survives is then unknown.
    pub fn wait(&self) -> Result<TxnId> {
        match &self.logged {
            Some(logged) => self.store.wait_logged(logged),
            None => self.store.core.wait(self.ticket),
        }
    }

    /// The outcome, if there is one yet. Does not block.
    pub fn try_wait(&self) -> Option<Result<TxnId>> {
        if let Some(logged) = &self.logged {
            return logged.try_wait().map(|outcome| self.store.settle_logged(outcome));
        }
        self.store.call(self.ticket);
        self.store.core.queue.outcome(self.ticket)
    }
}

impl Future for Commit {
    type Output = Result<TxnId>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<TxnId>> {
        if let Some(logged) = &mut self.logged {
            let outcome = Pin::new(logged).poll(cx);
            return outcome.map(|outcome| self.store.settle_logged(outcome));
        }
        // A waker handed in once stays with the flush that carries the commit until it is settled.
        let known = self.registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        let outcome = if known {
            self.store.core.queue.outcome(self.ticket)
        } else {
            self.store.core.poll(self.ticket, cx.waker())
        };
        if outcome.is_none() && !known {
            self.registered = Some(cx.waker().clone());
        }
        outcome.map_or(Poll::Pending, Poll::Ready)
    }
}
