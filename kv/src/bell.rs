//! Waiting for something that others do, without a thread for each waiter.
//!
//! A [`Bell`] is rung after a change. [`Bell::until`] is a future that looks at a condition at once
//! and again after every ring.

use std::future::{Future, poll_fn};
use std::task::{Poll, Waker};

use parking_lot::Mutex;

/// Wakes everyone who waits, at every ring.
#[derive(Debug, Default)]
pub(crate) struct Bell(Mutex<Vec<Waker>>);

impl Bell {
    /// Has every waiter look again. To be called after the change, holding no lock that a
    /// condition takes.
    pub(crate) fn ring(&self) {
        let waiters = std::mem::take(&mut *self.0.lock());
        for waiter in waiters {
            waiter.wake();
        }
    }

    /// Resolves with what `condition` returns once it returns something.
    pub(crate) fn until<T>(
        &self,
        mut condition: impl FnMut() -> Option<T>,
    ) -> impl Future<Output = T> {
        poll_fn(move |context| {
            // Waiting is announced before looking: a change in between rings for us.
            let mut waiters = self.0.lock();
            if !waiters.iter().any(|waiter| waiter.will_wake(context.waker())) {
                waiters.push(context.waker().clone());
            }
            drop(waiters);
            condition().map_or(Poll::Pending, Poll::Ready)
        })
    }
}
