//! What a leader knows of one other member.
//!
//! ```text
//!              matched           next                      last
//!     ────────────┼────────────────┼─────────────────────────┤   the leader's log
//!      is there   │   on its way   │        to be sent       │
//!
//!   Probe      one message at a time, until it is known where the two logs meet
//!   Replicate  as many messages under way as the window allows, none waited for
//!   Snapshot   the log does not reach back far enough; entries wait until it has a snapshot
//! ```
//!
//! What is on its way may be lost. It is not waited for with a timer: the answer to a heartbeat
//! says how far the follower has seen, and what was sent before that heartbeat and is not seen was
//! lost.

use alloc::collections::VecDeque;

use crate::entry::Entry;
use crate::types::{Index, NodeId};

/// How entries are sent to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// One at a time; `asked` when one is under way.
    Probe {
        asked: bool,
    },
    Replicate,
    /// Waiting for a snapshot since then, up to this index; 0 while it is not known.
    Snapshot {
        since: u64,
        index: Index,
    },
}

/// What a leader says of one other member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Follower {
    /// Its name.
    pub id: NodeId,
    /// Durable there, and like the leader's log, up to here.
    pub matched: Index,
    /// It has answered one of the last heartbeats.
    pub in_touch: bool,
}

/// What a leader knows of one other member.
///
/// * matched < next.
/// * The window holds rising indexes, all in matched+1 .. next.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) id: NodeId,
    /// Commands behind this entry are withheld from it: it is a witness from there on. It learns so
    /// from the entry itself, and must be able to apply what is before.
    pub(crate) witness: Option<Index>,
    pub(crate) pace: Pace,
    /// Durable there, and like the leader's log, up to here.
    pub(crate) matched: Index,
    /// The next entry to send.
    pub(crate) next: Index,
    pub(crate) window: Window,
    /// The latest round of contact that it has acknowledged.
    pub(crate) round: u64,
    /// The round of the last heartbeat or append sent to it.
    pub(crate) round_sent: u64,
    /// When a heartbeat of this round was sent, `next` stood here.
    pub(crate) mark: (u64, Index),
    /// The commit index that it was last told.
    pub(crate) commit_sent: Index,
    /// Whether a read of the log is under way on its behalf.
    pub(crate) loading: bool,
    /// Which of its lives acknowledged last. 0 before the first word.
    pub(crate) life: u64,
    /// The latest of its lives that was heard of: words of earlier ones are void.
    pub(crate) latest_life: u64,
}

impl Progress {
    pub(crate) fn new(id: NodeId, witness: Option<Index>, next: Index) -> Progress {
        Progress {
            id,
            witness,
            pace: Pace::Probe { asked: false },
            matched: Index(0),
            next,
            window: Window::default(),
            round: 0,
            round_sent: 0,
            mark: (0, Index(0)),
            commit_sent: Index(0),
            loading: false,
            life: 0,
            latest_life: 0,
        }
    }

    /// Takes note that its log is like the leader's up to `matched`. Says whether that is news.
    pub(crate) fn accept(&mut self, matched: Index) -> bool {
        let news = matched > self.matched;
        self.matched = self.matched.max(matched);
        self.next = self.next.max(self.matched.next());
        self.window.release(self.matched);
        news
    }

    /// Sends from behind `seen` again: what was after it is lost, or was never right.
    pub(crate) fn rewind(&mut self, seen: Index) {
        self.next = seen.max(self.matched).next();
        self.window.clear();
        self.loading = false;
    }

    pub(crate) fn probe(&mut self, next: Index) {
        self.rewind(next.prev());
        self.pace = Pace::Probe { asked: false };
    }

    /// Whether a message of entries may be sent, by what is under way.
    pub(crate) fn may_send(&self, messages_max: usize, bytes_max: usize) -> bool {
        match self.pace {
            Pace::Probe { asked } => !asked && !self.loading,
            Pace::Replicate => {
                !self.loading
                    && self.window.sent.len() < messages_max
                    && self.window.bytes < bytes_max
            }
            Pace::Snapshot { .. } => false,
        }
    }

    /// Takes note that entries up to `last` were sent.
    pub(crate) fn sent(&mut self, last: Index, bytes: usize) {
        match &mut self.pace {
            Pace::Probe { asked } => *asked = true,
            Pace::Replicate if last >= self.next => {
                self.window.push(last, bytes);
                self.next = last.next();
            }
            Pace::Replicate | Pace::Snapshot { .. } => {}
        }
    }

    /// An entry as it is sent to this member.
    pub(crate) fn dress(&self, entry: &Entry) -> Entry {
        match self.witness {
            Some(since) if entry.index > since => entry.withheld(),
            _ => entry.clone(),
        }
    }

    pub(crate) fn check(&self) {
        assert!(self.matched < self.next, "what is matched is not sent again");
        let sent = &self.window.sent;
        assert!(sent.iter().is_sorted_by_key(|(last, _)| *last), "messages under way are in order");
        let inside = sent.iter().all(|(last, _)| self.matched < *last && *last < self.next);
        assert!(inside, "the window lies between matched and next");
        let bytes: usize = sent.iter().map(|(_, bytes)| bytes).sum();
        assert_eq!(bytes, self.window.bytes, "bytes under way are counted");
    }
}

/// The messages of entries that are under way: the last index and the bytes of each.
#[derive(Debug, Default)]
pub(crate) struct Window {
    sent: VecDeque<(Index, usize)>,
    bytes: usize,
}

impl Window {
    fn push(&mut self, last: Index, bytes: usize) {
        self.sent.push_back((last, bytes));
        self.bytes += bytes;
    }

    /// What was sent up to `matched` has arrived.
    fn release(&mut self, matched: Index) {
        while let Some((last, bytes)) = self.sent.front().copied() {
            if last > matched {
                break;
            }
            self.sent.pop_front();
            self.bytes -= bytes;
        }
    }

    fn clear(&mut self) {
        self.sent.clear();
        self.bytes = 0;
    }

    /// Gives back memory that nothing is in.
    pub(crate) fn shrink(&mut self) {
        self.sent.shrink_to_fit();
    }
}
