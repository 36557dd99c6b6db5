//! What has happened lately: a ring of events, told from how the copy of the store changes.
//!
//! # Problem
//! People ask what happened to a job: when it was placed, what its tries came to, why it moved. The
//! store holds what *is*. To store what happened besides would double the writes for something that
//! is read once in a thousand times.
//!
//! # Idea
//! Each server sees every change anyway. So it says of each what it means, in a word and a
//! sentence, and remembers the last [`EVENTS_MAX`]. What was before its start it tells from what is
//! left of it in the store: when objects were made, how tasks ended.
//!
//! ```text
//!   change ─► before: what the copy says ─► apply ─► after: what it says now ─► events
//!                                                                                 │
//!   ring   ┌──────┬──────┬──────┬───┬──────┐ ◄────────────────────────────────────┘
//!          │ n-k  │ …    │      │   │ n    │ ─► whoever asks, or follows
//!          └──────┴──────┴──────┴───┴──────┘
//! ```
//!
//! # Omissions
//! Events of different servers are the same but not in the same ring: one that has just started
//! knows less. Changes of one batch that touch one key twice are seen as two only if the store told
//! both. Nothing here survives the server.

mod meaning;
mod past;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use mason_core::keys::Key;
use mason_core::mirror::Mirror;
use mason_core::types::{JobKey, NodeId, Revision, RunId, UnixMs};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::api::wire::Event;
pub(super) use meaning::Before;
pub(crate) use meaning::{ending, phase_word, reason};

/// So many events are remembered.
pub const EVENTS_MAX: usize = 16_384;
/// So many of them are told from what is left of the time before.
const PAST_MAX: usize = 4_096;
/// So many objects' last changes are remembered; of the others it is taken that they change.
const TOUCHED_MAX: usize = 100_000;

/// What has happened lately.
#[derive(Debug)]
pub struct Chronicle {
    pages: Mutex<Pages>,
    told: watch::Sender<u64>,
}

/// * The event at place `n` of the ring is the `first + n`-th of all.
/// * Each object of the copy that changed after `floor` is in `touched`, with its last change.
#[derive(Debug, Default)]
struct Pages {
    first: u64,
    ring: VecDeque<Arc<Event>>,
    touched: HashMap<JobKey, Revision>,
    floor: Revision,
}

impl Default for Chronicle {
    fn default() -> Chronicle {
        Chronicle { pages: Mutex::default(), told: watch::Sender::new(0) }
    }
}

impl Chronicle {
    /// Events from the `from`-th on that fit, `max` at most, and from which to go on.
    pub fn since(
        &self,
        from: u64,
        max: usize,
        fits: impl Fn(&Event) -> bool,
    ) -> (Vec<Arc<Event>>, u64) {
        let pages = self.pages.lock();
        let skip = usize::try_from(from.saturating_sub(pages.first)).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        let mut next = pages.first.max(from);
        for event in pages.ring.iter().skip(skip) {
            if found.len() == max {
                break;
            }
            next += 1;
            if fits(event) {
                found.push(event.clone());
            }
        }
        (found, next)
    }

    /// The number of the oldest that is remembered.
    pub fn first(&self) -> u64 {
        self.pages.lock().first
    }

    /// Changes when there are more: how many there ever were.
    pub fn told(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }

    /// When something about an object last changed, as far as anybody remembers: never too early.
    pub fn touched(&self, job: &JobKey) -> Revision {
        let pages = self.pages.lock();
        pages.touched.get(job).copied().unwrap_or(pages.floor)
    }

    /// The copy begins anew.
    pub(super) fn reset(&self, mirror: &Mirror, now: UnixMs) {
        let mut pages = self.pages.lock();
        pages.touched.clear();
        pages.floor = mirror.revision();
        let events = if pages.ring.is_empty() && pages.first == 0 {
            past::events(mirror, PAST_MAX)
        } else {
            let message = "this server's copy of the store began anew: what happened just before \
                           is not known";
            vec![happened(mirror.revision(), now, "gap", message)]
        };
        let count = pages.push(events);
        drop(pages);
        self.told.send_replace(count);
    }

    /// A key has changed, of which the copy said that before.
    pub(super) fn note(&self, mirror: &Mirror, key: &Key, before: Before, at: Revision) {
        let mut pages = self.pages.lock();
        for job in meaning::touches(mirror, key, &before) {
            pages.touch(job, at);
        }
        pages.push(meaning::events(mirror, key, before, at));
    }

    /// All changes up to a revision are noted: whoever follows is told.
    pub(super) fn tell(&self, mirror: &Mirror) {
        let mut pages = self.pages.lock();
        if pages.touched.len() > TOUCHED_MAX {
            pages.touched.retain(|job, _| mirror.job(job).is_some());
        }
        if pages.touched.len() > TOUCHED_MAX {
            pages.touched.clear();
            pages.floor = mirror.revision();
        }
        let count = pages.count();
        drop(pages);
        self.told.send_if_modified(|told| std::mem::replace(told, count) != count);
    }
}

impl Pages {
    fn count(&self) -> u64 {
        self.first + self.ring.len() as u64
    }

    fn push(&mut self, events: Vec<Event>) -> u64 {
        for event in events {
            if self.ring.len() == EVENTS_MAX {
                self.ring.pop_front();
                self.first += 1;
            }
            self.ring.push_back(Arc::new(event));
        }
        self.count()
    }

    fn touch(&mut self, job: JobKey, at: Revision) {
        self.touched.insert(job, at);
    }
}

/// Something that happened to nobody in particular.
fn happened(revision: Revision, at: UnixMs, what: &str, message: impl Into<String>) -> Event {
    Event {
        revision,
        at,
        job: None,
        index: None,
        run: None,
        node: None,
        what: what.to_owned(),
        message: message.into(),
    }
}

/// The same, to a run.
fn to_run(event: Event, (job, index): (&JobKey, u32), run: &RunId, node: &NodeId) -> Event {
    Event {
        job: Some(job.clone()),
        index: Some(index),
        run: Some(run.clone()),
        node: Some(node.clone()),
        ..event
    }
}

/// The same, to an object.
fn to_job(event: Event, job: &JobKey) -> Event {
    Event { job: Some(job.clone()), ..event }
}

/// The same, to a node.
fn to_node(event: Event, node: &NodeId) -> Event {
    Event { node: Some(node.clone()), ..event }
}
