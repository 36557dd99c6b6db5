//! Which feed may be joined, for each range and asker.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::feed::Command;
use crate::proxy::asker::Asker;

/// What a feed shows, and to whom. The range is as members know it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Topic {
    pub(super) asker: Asker,
    pub(super) key: Bytes,
    pub(super) end: Bytes,
}

/// A feed that may be joined.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    /// Its `next`; the largest number until it knows.
    pub(super) next: Arc<AtomicI64>,
    pub(super) commands: mpsc::UnboundedSender<Command>,
}

/// All feeds that may be joined.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    shared: Mutex<HashMap<Topic, Shared>>,
    sessions: AtomicU64,
    /// Watchers with feeds, and feeds.
    watchers: AtomicI64,
    feeds: AtomicI64,
    /// What was sent to clients beyond what members sent.
    spared: AtomicU64,
}

impl Hub {
    /// The feed of that topic, if there is one.
    pub(super) fn find(&self, topic: &Topic) -> Option<Shared> {
        self.shared.lock().get(topic).cloned()
    }

    /// Makes a feed the one of its topic, if there is none.
    pub(super) fn offer(&self, topic: &Topic, feed: Shared) -> bool {
        let mut shared = self.shared.lock();
        if shared.contains_key(topic) {
            return false;
        }
        shared.insert(topic.clone(), feed);
        true
    }

    /// Nobody is to join this feed any more.
    pub(super) fn withdraw(&self, topic: &Topic, next: &Arc<AtomicI64>) {
        let mut shared = self.shared.lock();
        if shared.get(topic).is_some_and(|feed| Arc::ptr_eq(&feed.next, next)) {
            shared.remove(topic);
        }
    }

    /// A number for a stream.
    pub(super) fn number(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }

    /// Feeds or watchers have come or gone.
    pub(super) fn count(&self, feeds: i64, watchers: i64) {
        self.feeds.fetch_add(feeds, Ordering::Relaxed);
        self.watchers.fetch_add(watchers, Ordering::Relaxed);
    }

    /// A message of a member went to so many watchers.
    pub(super) fn spare(&self, watchers: usize) {
        self.spared.fetch_add((watchers as u64).saturating_sub(1), Ordering::Relaxed);
    }

    /// Watchers that cost the members nothing.
    pub(crate) fn coalesced(&self) -> i64 {
        let feeds = self.feeds.load(Ordering::Relaxed);
        (self.watchers.load(Ordering::Relaxed) - feeds).max(0)
    }

    /// Messages that cost the members nothing.
    pub(crate) fn messages_spared(&self) -> u64 {
        self.spared.load(Ordering::Relaxed)
    }
}
