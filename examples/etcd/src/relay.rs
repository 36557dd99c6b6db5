//! Wakes that come from another thread, gathered.
//!
//! The store answers a whole group of commands at once, from its own thread. Waking a task on a
//! runtime from outside costs a system call each; a hundred answers would cost a hundred, most of
//! them to a thread that is awake already. So the tasks of a worker are not woken from outside:
//! their wakers are left in the worker's *relay*, whose one task is woken when the first arrives,
//! and wakes them all from inside, where it costs next to nothing.
//!
//! ```text
//!   apply thread                        worker
//!     answer ─┐
//!     answer ─┼─► relay [w w w] ──one──► relay task ──► wakes three tasks
//!     answer ─┘                  wake
//! ```

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use futures_util::FutureExt as _;
use parking_lot::Mutex;

thread_local! {
    /// The relay of the worker that runs on this thread.
    static RELAY: RefCell<Option<Arc<Relay>>> = const { RefCell::new(None) };
}

/// Where wakes for one worker are left. It holds at most one for each call under way.
#[derive(Default)]
struct Relay(Mutex<Inbox>);

#[derive(Default)]
struct Inbox {
    wakers: Vec<Waker>,
    /// The relay's task, while it sleeps.
    task: Option<Waker>,
}

impl Relay {
    fn leave(&self, waker: Waker) {
        let mut inbox = self.0.lock();
        inbox.wakers.push(waker);
        let task = inbox.task.take();
        drop(inbox);
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// A waker that is left in a relay when it is used.
struct Left {
    relay: Arc<Relay>,
    waker: Waker,
}

impl Wake for Left {
    fn wake(self: Arc<Left>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Left>) {
        self.relay.leave(self.waker.clone());
    }
}

/// Makes the current thread's worker gather the wakes of [`relayed`] futures. The task that it
/// spawns ends with the runtime, in whose context this must be called.
pub(crate) fn install() {
    let relay = Arc::new(Relay::default());
    RELAY.set(Some(relay.clone()));
    tokio::spawn(async move {
        loop {
            let wakers = poll_fn(|context| {
                let mut inbox = relay.0.lock();
                if inbox.wakers.is_empty() {
                    inbox.task = Some(context.waker().clone());
                    return Poll::Pending;
                }
                Poll::Ready(std::mem::take(&mut inbox.wakers))
            });
            for waker in wakers.await {
                waker.wake();
            }
            // Whatever was woken has its turn first; what the store answers meanwhile gathers.
            tokio::task::yield_now().await;
        }
    });
}

/// Awaits `future`, which is woken from another thread, through the worker's relay. On a thread
/// without one it is simply awaited. The future is the caller's to pin: taken by value, it would
/// be held twice, as it was given and as it is polled.
pub(crate) async fn relayed<F: Future + Unpin>(mut future: F) -> F::Output {
    let relay = RELAY.with_borrow(Clone::clone);
    poll_fn(|context| {
        let Some(relay) = &relay else { return future.poll_unpin(context) };
        let left = Left { relay: relay.clone(), waker: context.waker().clone() };
        let waker = Arc::new(left).into();
        future.poll_unpin(&mut Context::from_waker(&waker))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use tokio::sync::oneshot;

    // A lost wake is a client that waits for ever.
    #[test]
    fn every_answer_from_another_thread_arrives() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            install();
            for _ in 0..50 {
                let (senders, receivers): (Vec<_>, Vec<_>) =
                    (0..100).map(|_| oneshot::channel()).unzip();
                let answering = std::thread::spawn(move || {
                    for (number, sender) in senders.into_iter().enumerate() {
                        sender.send(number).unwrap();
                    }
                });
                let tasks: Vec<_> = receivers
                    .into_iter()
                    .map(|receiver| tokio::spawn(async { relayed(receiver).await.unwrap() }))
                    .collect();
                for (number, task) in tasks.into_iter().enumerate() {
                    assert_eq!(task.await.unwrap(), number);
                }
                answering.join().unwrap();
            }
        });
    }

    // Housekeeping tasks propose too, and have no worker.
    #[test]
    fn a_thread_without_a_relay_just_waits() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(relayed(pin!(async { 7 }))), 7);
    }
}
