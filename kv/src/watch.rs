//! Watches: tells clients what changes, from any revision that is still readable, for ever.
//!
//! **The problem.** A client that asks for every change of some keys must get each one once and in
//! order, however slowly it reads, without the store keeping an unbounded queue for it and without
//! a write ever waiting for it.
//!
//! **The idea.** The store keeps its history anyway, so a queue need not. A watcher that keeps up
//! is *synced*: the [`Hub`] puts each change into the bounded *outbox* of its stream as it happens.
//! When the outbox is full, the watcher is not waited for; it merely remembers the revision, and
//! *lags*. Once its client has read the outbox, the client's own poll reads on in the [`History`],
//! a slice at a time, and when it has come to where the hub is, the watcher is synced again.
//!
//! ```text
//!   revision   1 ── 2 ── 3 ── 4 ── 5 ── 6 ── 7 ── 8 ── 9 ──►
//!              │              │         │         │    │
//!              compacted      │         │         │    newest: published by the writer
//!                             │         │         notified: the hub has told the synced
//!                             │         cursor of a lagging watcher
//!                             start of a new watcher: lags from here
//! ```
//!
//! **What holds**, for each watcher:
//!
//! - `Created` comes first, `Canceled` last, and between them every change of its range, filters
//!   applied, from its start on: none lost, none twice, in order of revision.
//! - The changes of one revision come in one message, unless it allows fragments. A live message
//!   carries one revision; a catch-up message up to [`StreamOptions::message_revisions_max`].
//! - It is canceled only by request, or when the history that it still had to see is compacted.
//! - A start in the future waits; a start at the compacted revision itself is served.
//! - Progress told is true: all events up to there have come before.
//!
//! And for the store: a write costs one look-up of its key and a push for each watcher that is
//! concerned; a stream holds no more bytes than [`StreamOptions`] says.
//!
//! **Left out.** No clock ([`WatchControl::tick_progress`] is called by whoever has one), no
//! thread and no runtime: [`WatchStream::poll_next`] speaks [`std::task`], and does the reading.
//! The server maps messages to its protocol. The order of messages of different watchers is not
//! promised, except by progress.

mod control;
mod dispatch;
mod history;
mod hub;
mod interval;
mod lagging;
mod message;
mod outbox;
mod request;
mod slice;
mod stream;
mod stream_state;
#[cfg(test)]
mod tests;
mod watcher;

pub use control::{Backlog, WatchControl};
pub use history::{Change, History, HistoryError, ReadLimits, Unreadable};
pub use hub::Hub;
pub use message::{CancelReason, Event, EventKind, WatchId, WatchMessage};
pub use request::{CreateError, StreamOptions, WatchRequest};
pub use stream::WatchStream;
