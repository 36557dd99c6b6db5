//! What a client may ask of a watch stream, and the limits that it lives under.

use super::history::{Change, ReadLimits};
use super::message::WatchId;
use crate::key_range::KeyRange;

/// What to watch, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchRequest {
    /// The keys.
    pub range: KeyRange,
    /// The first main revision to see, past or future; `None`: from now on.
    pub start: Option<u64>,
    /// The name; `None` takes the next of a counter from 0 that no watcher of the stream bears.
    pub id: Option<WatchId>,
    /// Whether events carry what stood there before.
    pub prev_kv: bool,
    /// Whether an idle watcher gets a message at every tick.
    pub progress: bool,
    /// Leaves puts out.
    pub skip_puts: bool,
    /// Leaves deletes out.
    pub skip_deletes: bool,
    /// Whether the events of one revision may come in several messages.
    pub fragment: bool,
}

impl WatchRequest {
    /// Watches `range` from now on, nothing special.
    pub fn new(range: KeyRange) -> WatchRequest {
        WatchRequest {
            range,
            start: None,
            id: None,
            prev_kv: false,
            progress: false,
            skip_puts: false,
            skip_deletes: false,
            fragment: false,
        }
    }

    /// Whether the filters let `change` through; the range is not looked at.
    pub(crate) fn passes(&self, change: &Change) -> bool {
        if change.is_delete() { !self.skip_deletes } else { !self.skip_puts }
    }
}

/// Why a watcher was not created. The stream says nothing about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A watcher of the stream bears that name.
    #[error("a watcher of the stream has this id already")]
    DuplicateId,
    /// No key can belong to the range.
    #[error("the watched range is empty")]
    EmptyRange,
    /// The stream has [`StreamOptions::watchers_max`] watchers.
    #[error("the stream has too many watchers")]
    TooManyWatchers,
    /// [`StreamOptions::controls_max`] answers wait to be read. Read, then try again: a server
    /// takes no more requests from a client that reads no answers.
    #[error("too many answers wait to be read")]
    Backlog,
    /// The stream has ended.
    #[error("the stream has ended")]
    Ended,
}

/// The limits of one stream. A zero counts as 1.
///
/// A stream holds at most these bytes, however slow its consumer, beside its watchers:
///
/// ```text
///   outbox    max(outbox_bytes_max, one revision)  + outbox_messages_max × 100
///   controls  (controls_max + watchers) × 100
///   catch-up  scan_bytes_max + one revision        (one slice of history at a time)
///   message   message_bytes_max + one revision, with previous values where asked for
/// ```
///
/// "One revision" is what a watcher sees of the largest one. It cannot be less: a revision arrives
/// in one message, unless the client allows fragments. Keys and values are counted where they are
/// referenced; watchers that see the same change share its memory but are each charged for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// Messages that wait unread before watchers start to lag.
    pub outbox_messages_max: usize,
    /// Bytes that wait unread before watchers start to lag ([`Change::bytes`]).
    pub outbox_bytes_max: usize,
    /// Main revisions of one catch-up message.
    pub message_revisions_max: usize,
    /// Bytes of one message after which no further revision is added
    /// ([`super::Event::wire_bytes`]).
    pub message_bytes_max: usize,
    /// Bytes that a fragment does not exceed, unless one event does.
    pub fragment_bytes_max: usize,
    /// Main revisions that a catch-up looks at in one go.
    pub scan_revisions_max: u64,
    /// Bytes that a catch-up takes out of the history in one go.
    pub scan_bytes_max: usize,
    /// Unread `Created` and `Canceled` messages above which no watcher is created.
    pub controls_max: usize,
    /// Watchers of one stream.
    pub watchers_max: usize,
}

impl Default for StreamOptions {
    fn default() -> StreamOptions {
        StreamOptions {
            outbox_messages_max: 1024,
            outbox_bytes_max: 1 << 20,
            message_revisions_max: 1000,
            message_bytes_max: 1 << 20,
            fragment_bytes_max: 2 << 20,
            scan_revisions_max: 4096,
            scan_bytes_max: 1 << 20,
            controls_max: 1024,
            watchers_max: 1 << 18,
        }
    }
}

impl StreamOptions {
    /// The same, zeros raised to 1: with a zero, nothing would ever move.
    pub(crate) fn raised(self) -> StreamOptions {
        StreamOptions {
            outbox_messages_max: self.outbox_messages_max.max(1),
            outbox_bytes_max: self.outbox_bytes_max.max(1),
            message_revisions_max: self.message_revisions_max.max(1),
            message_bytes_max: self.message_bytes_max.max(1),
            fragment_bytes_max: self.fragment_bytes_max.max(1),
            scan_revisions_max: self.scan_revisions_max.max(1),
            scan_bytes_max: self.scan_bytes_max.max(1),
            controls_max: self.controls_max.max(1),
            watchers_max: self.watchers_max.max(1),
        }
    }

    pub(crate) fn read_limits(&self) -> ReadLimits {
        ReadLimits { revisions_max: self.scan_revisions_max, bytes_max: self.scan_bytes_max }
    }
}
