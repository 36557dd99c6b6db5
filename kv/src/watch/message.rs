//! What a watch stream says.
//!
//! ```text
//!   Created ──► Events* ──► Canceled        for each watcher; Progress in between
//! ```

use bytes::Bytes;

use super::history::Change;
use crate::record::Record;
use crate::types::{KeyValue, LeaseId};

/// The name of a watcher within its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub i64);

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was set.
    Put,
    /// It was deleted.
    Delete,
}

/// One change, as a watcher sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The key-value as it now stands; of a delete, only `key` and `mod_revision` are set.
    pub kv: KeyValue,
    /// The key-value as it stood before, if the watcher asked, it was there, and the revision
    /// before is not compacted away.
    pub prev: Option<KeyValue>,
}

impl Event {
    /// At most so many bytes go on the wire beside key and value: tags, lengths, five numbers.
    const WIRE_BYTES: usize = 64;

    pub(crate) fn new(change: Change, prev: Option<KeyValue>) -> Event {
        let main = change.revision.main;
        match change.record {
            Record::Put(kv) => Event { kind: EventKind::Put, kv, prev },
            Record::Tombstone { key } => {
                let kv = KeyValue {
                    key,
                    value: Bytes::new(),
                    create_revision: 0,
                    mod_revision: main,
                    version: 0,
                    lease: LeaseId::NONE,
                };
                Event { kind: EventKind::Delete, kv, prev }
            }
        }
    }

    /// An upper bound of the event's size on etcd's wire, bytes.
    pub fn wire_bytes(&self) -> usize {
        let kv_bytes = |kv: &KeyValue| Event::WIRE_BYTES + kv.key.len() + kv.value.len();
        kv_bytes(&self.kv) + self.prev.as_ref().map_or(0, kv_bytes)
    }
}

/// Why a watcher has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelReason {
    /// The client asked for it.
    Requested,
    /// Its keys are not to be watched any longer: see [`super::WatchControl::retain`].
    Denied,
    /// The next revision that it had to see has been compacted away.
    Compacted {
        /// The oldest readable main revision.
        compacted: u64,
    },
}

/// One message of a stream. `revision` is what etcd writes in the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchMessage {
    /// A watcher stands. Comes before anything else of that id.
    Created {
        /// The watcher.
        id: WatchId,
        /// The newest revision; a watcher "from now on" sees what is newer.
        revision: u64,
    },
    /// Something happened, in order of revision; the changes of one main revision are together.
    Events {
        /// The watcher.
        id: WatchId,
        /// Of a live message, the one revision that it carries; of a catch-up, the newest.
        revision: u64,
        /// Never empty.
        events: Vec<Event>,
        /// Whether the last revision continues in the next message of this id; only ever set when
        /// the watcher allowed fragments.
        more_fragments: bool,
    },
    /// Every event up to `revision` has come before this message.
    Progress {
        /// Whom it is true of; `None`: of every watcher of the stream.
        id: Option<WatchId>,
        /// Up to here.
        revision: u64,
    },
    /// A watcher has ended; nothing of that id comes after.
    Canceled {
        /// The watcher.
        id: WatchId,
        /// The newest revision. (etcd writes 0 when the reason is compaction.)
        revision: u64,
        /// Why.
        reason: CancelReason,
    },
}
