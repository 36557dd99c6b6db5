//! One watcher: what it asked for, and where it stands.
//!
//! ```text
//!                       outbox full, or the hub was passed by
//!            ┌────────────────────────────────────────────────────┐
//!   start    │                                                    ▼
//!  ahead ─► Synced { slot }                            Lagging { cursor, wait }  ◄─ start behind
//!            ▲                                                    │
//!            └────────────── cursor beyond the hub ───────────────┘
//! ```

use std::sync::atomic::{AtomicBool, Ordering};

use super::dispatch::SlotId;
use super::message::WatchId;
use super::request::WatchRequest;

/// What a watcher asked for. Two watchers are the same if they are the same allocation: a name may
/// be used again after its first bearer has ended.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) id: WatchId,
    pub(crate) request: WatchRequest,
    /// Whether events went out since the last tick.
    sent: AtomicBool,
}

impl Watcher {
    pub(crate) fn new(id: WatchId, request: WatchRequest) -> Watcher {
        Watcher { id, request, sent: AtomicBool::new(false) }
    }

    /// Remembers that events went out.
    pub(crate) fn mark_sent(&self) {
        self.sent.store(true, Ordering::Relaxed);
    }

    /// Whether events went out since this was last asked.
    pub(crate) fn take_sent(&self) -> bool {
        self.sent.swap(false, Ordering::Relaxed)
    }
}

/// Where a watcher stands. Changes only under the lock of its stream; in and out of `Synced`, only
/// under the hub's lock as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// In the hub's table; everything that the hub was told of is delivered or in the outbox.
    Synced(SlotId),
    /// Everything below main revision `cursor` is delivered, in the outbox, or in the hands of the
    /// consumer; from there on it has to be read from the history.
    Lagging {
        /// The main revision to read next.
        cursor: u64,
        /// For what it waits.
        wait: Wait,
    },
}

/// For what a lagging watcher waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Until so many messages have ever left the outbox: some of its own are in there.
    Drain(u64),
    /// For its turn; the smaller number comes first.
    Turn(u64),
    /// For nothing: the consumer has it in hand.
    Served,
}
