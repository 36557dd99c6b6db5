//! One signal for everybody: it is time to stop.
//!
//! ```text
//!   SIGTERM ──► Trigger::fire ──► acceptors stop taking connections
//!                            ──► connections say GOAWAY and finish what is under way
//!                            ──► streams that never end by themselves (watches) end
//! ```

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::watch;

/// Fires the signal, once.
#[derive(Debug)]
pub(crate) struct Trigger(watch::Sender<bool>);

/// Waits for the signal. Clones wait for the same one.
#[derive(Clone, Debug)]
pub(crate) struct Shutdown(watch::Receiver<bool>);

/// The signal as a value to be polled, for streams written by hand.
pub(crate) struct Fired(Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>);

/// A trigger and what it fires.
pub(crate) fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(sender), Shutdown(receiver))
}

impl Trigger {
    /// Tells everybody.
    pub(crate) fn fire(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Resolves when the signal was fired, or never will be.
    pub(crate) async fn fired(&mut self) {
        // An error means that the trigger is gone: the program is ending.
        let _ = self.0.wait_for(|fired| *fired).await;
    }

    /// Whether the signal was fired.
    pub(crate) fn has_fired(&self) -> bool {
        *self.0.borrow()
    }

    /// The same as [`Shutdown::fired`], to be polled.
    pub(crate) fn pollable(&self) -> Fired {
        let mut shutdown = self.clone();
        Fired(Some(Box::pin(async move { shutdown.fired().await })))
    }
}

impl Fired {
    /// Whether the signal was fired.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(waiting) = &mut self.0 {
            std::task::ready!(waiting.as_mut().poll(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }
}
