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
            // Most find at once what they look for, and need no bell. Whoever was announced stays
            // in the list until it rings, which may be long after.
            if let Some(found) = condition() {
                return Poll::Ready(found);
            }
            // Waiting is announced before looking again: a change in between rings for us.
            let mut waiters = self.0.lock();
            if !waiters.iter().any(|waiter| waiter.will_wake(context.waker())) {
                waiters.push(context.waker().clone());
            }
            drop(waiters);
            condition().map_or(Poll::Pending, Poll::Ready)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::{Context, Wake, Waker};

    use super::*;

    struct Nobody;

    impl Wake for Nobody {
        fn wake(self: Arc<Nobody>) {}
    }

    // A list of all who ever asked grows for ever, and each who asks looks through it.
    #[test]
    fn only_who_waits_is_in_the_list() {
        let bell = Bell::default();
        for round in 0..100 {
            // Each has a waker of its own, as tasks have.
            let waker = Waker::from(Arc::new(Nobody));
            let mut look = std::pin::pin!(bell.until(|| (round != 50).then_some(())));
            assert_eq!(
                look.as_mut().poll(&mut Context::from_waker(&waker)).is_ready(),
                round != 50
            );
        }
        assert_eq!(bell.0.lock().len(), 1);
        bell.ring();
        assert_eq!(bell.0.lock().len(), 0);
    }
}
