//! Events as they come, for those who keep up.
//!
//! The driver never waits for a watcher. Events go round in a ring of [`EVENTS_MAX`]; a watcher
//! that is more than a ring behind has missed some, is told how many, and goes on with the oldest
//! that is there. It can look at the [members](super::Membership::members) then: they are right.
//!
//! A watch is a [`Stream`], too, for those who merge it with others or map it. Its receiver can be
//! waited for, and not polled; so it goes into the future that waits and comes out with the event.
//! That future stays in the watch: who gives up waiting loses no event.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
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
pub struct Watch {
    events: Events,
}

/// Where the receiver is.
enum Events {
    Here(Receiver<Event>),
    Awaited(Pin<Box<dyn Future<Output = Received> + Send + Sync>>),
    /// The member has stopped.
    Over,
}

/// What has come, and the receiver.
type Received = (Result<Event, RecvError>, Receiver<Event>);

impl Watch {
    /// Of a member that runs, if there is a receiver.
    pub(super) fn new(events: Option<Receiver<Event>>) -> Watch {
        Watch { events: events.map_or(Events::Over, Events::Here) }
    }

    /// The next event; none when the member has stopped. It can be given up without losing any.
    pub async fn next(&mut self) -> Option<Result<Event, Lagged>> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Event, Lagged>>> {
        let mut awaited = match std::mem::replace(&mut self.events, Events::Over) {
            Events::Here(events) => Box::pin(receive(events)),
            Events::Awaited(awaited) => awaited,
            Events::Over => return Poll::Ready(None),
        };
        let Poll::Ready((received, events)) = awaited.as_mut().poll(context) else {
            self.events = Events::Awaited(awaited);
            return Poll::Pending;
        };
        let event = match received {
            Ok(event) => Ok(event),
            Err(RecvError::Lagged(missed)) => Err(Lagged(missed)),
            Err(RecvError::Closed) => return Poll::Ready(None),
        };
        self.events = Events::Here(events);
        Poll::Ready(Some(event))
    }
}

async fn receive(mut events: Receiver<Event>) -> Received {
    (events.recv().await, events)
}

impl Stream for Watch {
    type Item = Result<Event, Lagged>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll(context)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.events {
            Events::Here(_) => "Watch(idle)",
            Events::Awaited(_) => "Watch(waited for)",
            Events::Over => "Watch(over)",
        })
    }
}
