//! Events as they come, for those who keep up.
//!
//! The driver never waits for a watcher. Events go round in a ring of [`EVENTS_MAX`]; a watcher
//! that is more than a ring behind has missed some, is told how many, and goes on with the oldest
//! that is there. It can look at the [members](super::Membership::members) then: they are right.

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::effect::Event;

/// How far behind a watcher may be.
pub const EVENTS_MAX: usize = 1024;

/// So many events went past a watcher that was too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} events were missed")]
pub struct Lagged(pub u64);

/// The events of a member, from when this was made.
#[derive(Debug)]
pub struct Watch {
    /// None if the member had stopped already.
    pub(super) events: Option<Receiver<Event>>,
}

impl Watch {
    /// The next event; none when the member has stopped. It can be given up without losing any.
    pub async fn next(&mut self) -> Option<Result<Event, Lagged>> {
        match self.events.as_mut()?.recv().await {
            Ok(event) => Some(Ok(event)),
            Err(RecvError::Lagged(missed)) => Some(Err(Lagged(missed))),
            Err(RecvError::Closed) => None,
        }
    }
}
