//! The messages that wait for a stream's consumer, oldest first.
//!
//! Events come in only while there is room, by count and by bytes; the limits and what happens
//! beyond them are told at [`StreamOptions`]. `Created` and `Canceled` always come in: for them
//! the stream refuses to create watchers while too many wait.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;

use super::history::Change;
use super::message::WatchMessage;
use super::request::StreamOptions;
use super::watcher::Watcher;

/// Changes of one main revision, shared with everyone else who watches them.
pub(crate) type Changes = SmallVec<[Arc<Change>; 2]>;

/// One waiting message.
#[derive(Debug)]
pub(crate) enum Entry {
    /// Live events: all that `watcher` sees of one main revision. They become a message when they
    /// leave, since previous values are looked up on the consumer's time.
    Live { watcher: Arc<Watcher>, revision: u64, changes: Changes },
    /// Anything but events.
    Control(WatchMessage),
}

/// A bounded queue of entries.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    entries: VecDeque<Entry>,
    /// Sum of the bytes of the live entries.
    bytes: usize,
    /// Events in the live entries.
    events: usize,
    /// How many entries are neither events nor progress.
    controls: usize,
    /// How many entries ever left.
    popped: u64,
}

impl Outbox {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn events(&self) -> usize {
        self.events
    }

    pub(crate) fn controls(&self) -> usize {
        self.controls
    }

    /// How many entries ever left.
    pub(crate) fn popped(&self) -> u64 {
        self.popped
    }

    /// How many entries ever came in: once so many have left, everything of now has.
    pub(crate) fn pushed(&self) -> u64 {
        self.popped + self.entries.len() as u64
    }

    /// Queues live events, or gives up because there is no room. Where no other events wait, there
    /// is room for any number of bytes: a revision cannot be cut.
    #[must_use]
    pub(crate) fn push_live(
        &mut self,
        watcher: &Arc<Watcher>,
        revision: u64,
        changes: Changes,
        options: &StreamOptions,
    ) -> bool {
        let bytes = bytes_of(&changes);
        let fits = self.bytes == 0 || self.bytes + bytes <= options.outbox_bytes_max;
        if !fits || self.entries.len() >= options.outbox_messages_max {
            return false;
        }
        self.bytes += bytes;
        self.events += changes.len();
        self.entries.push_back(Entry::Live { watcher: Arc::clone(watcher), revision, changes });
        true
    }

    /// Queues a progress message, or gives up because there is no room.
    #[must_use]
    pub(crate) fn push_progress(&mut self, message: WatchMessage, options: &StreamOptions) -> bool {
        if self.entries.len() >= options.outbox_messages_max {
            return false;
        }
        self.entries.push_back(Entry::Control(message));
        true
    }

    /// Queues `Created` or `Canceled`.
    pub(crate) fn push_control(&mut self, message: WatchMessage) {
        self.controls += 1;
        self.entries.push_back(Entry::Control(message));
    }

    /// The oldest entry.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.popped += 1;
        match &entry {
            Entry::Live { changes, .. } => {
                self.bytes -= bytes_of(changes);
                self.events -= changes.len();
            }
            Entry::Control(WatchMessage::Progress { .. }) => {}
            Entry::Control(_) => self.controls -= 1,
        }
        Some(entry)
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        while self.pop().is_some() {}
    }

    #[cfg(test)]
    pub(crate) fn check(&self) {
        let live = self.entries.iter().map(|entry| match entry {
            Entry::Live { changes, .. } => bytes_of(changes),
            Entry::Control(_) => 0,
        });
        assert_eq!(live.sum::<usize>(), self.bytes, "bytes are counted");
        let events = self.entries.iter().map(|entry| match entry {
            Entry::Live { changes, .. } => changes.len(),
            Entry::Control(_) => 0,
        });
        assert_eq!(events.sum::<usize>(), self.events, "and so are events");
    }
}

fn bytes_of(changes: &[Arc<Change>]) -> usize {
    changes.iter().map(|change| change.bytes()).sum()
}
