//! A command on its way: proposed, not yet answered.
//!
//! A [`Proposal`] can be waited on by a thread or awaited under any runtime. Dropping it does not
//! take the command back: once proposed, it may happen whether or not anybody listens.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use parking_lot::Mutex;

use crate::error::Error;
use crate::reply::Reply;

/// The answer to a proposed command, when there is one.
#[derive(Debug)]
#[must_use = "a proposal that nobody waits for may not have happened yet"]
pub struct Proposal {
    slot: Arc<Slot>,
}

/// The other end of a [`Proposal`].
#[derive(Debug)]
pub(crate) struct Answer {
    slot: Arc<Slot>,
}

#[derive(Debug, Default)]
struct Slot(Mutex<Stage>);

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Silent,
    Awaited(Waker),
    Answered(Result<Reply, Error>),
    Taken,
}

/// A proposal, and the means to answer it.
pub(crate) fn proposal() -> (Proposal, Answer) {
    let slot = Arc::new(Slot::default());
    (Proposal { slot: slot.clone() }, Answer { slot })
}

impl Proposal {
    /// A proposal that was answered before it was made.
    pub(crate) fn answered(result: Result<Reply, Error>) -> Proposal {
        Proposal { slot: Arc::new(Slot(Mutex::new(Stage::Answered(result)))) }
    }

    /// Blocks until the answer is there.
    pub fn wait(self) -> Result<Reply, Error> {
        block_on(self)
    }
}

impl Future for Proposal {
    type Output = Result<Reply, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut stage = self.slot.0.lock();
        match std::mem::replace(&mut *stage, Stage::Taken) {
            Stage::Answered(result) => Poll::Ready(result),
            Stage::Taken => panic!("a proposal was polled after it was answered"),
            Stage::Silent | Stage::Awaited(_) => {
                *stage = Stage::Awaited(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Answer {
    /// Answers, and returns whom to wake: the caller does so when it holds no lock.
    pub(crate) fn give(self, result: Result<Reply, Error>) -> Option<Waker> {
        self.answer(result)
    }

    fn answer(&self, result: Result<Reply, Error>) -> Option<Waker> {
        let mut stage = self.slot.0.lock();
        match std::mem::replace(&mut *stage, Stage::Answered(result)) {
            Stage::Awaited(waker) => Some(waker),
            Stage::Silent => None,
            given @ (Stage::Answered(_) | Stage::Taken) => {
                *stage = given;
                None
            }
        }
    }
}

impl Drop for Answer {
    /// An answer that was never given is given as "stopped": nobody waits for ever.
    fn drop(&mut self) {
        if let Some(waker) = self.answer(Err(Error::Stopped)) {
            waker.wake();
        }
    }
}

/// Runs a future on the calling thread, parked while there is nothing to do.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::{CompactReply, Reply};

    fn reply() -> Reply {
        Reply::Compact(CompactReply { revision: 7 })
    }

    // The waiter may come before the answer, or after it.
    #[test]
    fn an_answer_reaches_a_waiter_whoever_comes_first() {
        let (proposal, answer) = proposal();
        assert!(answer.give(Ok(reply())).is_none());
        assert_eq!(proposal.wait().ok(), Some(reply()));

        let (proposal, answer) = super::proposal();
        let waiter = thread::spawn(move || proposal.wait());
        if let Some(waker) = answer.give(Ok(reply())) {
            waker.wake();
        }
        assert_eq!(waiter.join().unwrap().ok(), Some(reply()));
    }

    // A store that stops with commands under way must not leave clients hanging.
    #[test]
    fn a_dropped_answer_is_given_as_stopped() {
        let (proposal, answer) = proposal();
        drop(answer);
        assert!(matches!(proposal.wait(), Err(Error::Stopped)));
    }
}
