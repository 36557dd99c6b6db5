//! Which keys this proxy answers for, and what they hold.
//!
//! ```text
//!              ┌────────── refused, or spoiled ───────────┐
//!              │                                          ▼
//!   nothing ── claim ──► Claimed ── granted ──► Held ── given up ──► Resting ──► nothing
//!                                                │ ▲                  the lease key is gone,
//!                                    locked by a write               and a while has passed
//! ```
//!
//! A key is answered for while it is held, no write to it is under way here, and the session is
//! good at that instant: that is the whole of [`Book::look`]. Everything else makes sure that what
//! is held is what the members have:
//!
//! * **Before a lease key is deleted**, its key is not held any more.
//! * **A write locks** its keys before it is sent ([`Book::lock`]): they are neither held in sight
//!   nor claimed while it is under way, and claims that are under way are spoiled, since the answer
//!   to them may be of before. Afterwards a key is held again if the write's own answer shows how
//!   it stands; where that is unknown it is given up.
//! * **Claims and locks know their session** by its number. What comes back after the end of that
//!   changes nothing.
//! * **A key rests** from when it was given up until its lease key is surely gone, so that no
//!   deletion that is still on its way can meet the next lease key; and for [`REST`] beyond that,
//!   so that whoever wants to write does not have to ask for it again and again.
//!
//! **Bounds.** [`KEYS_MAX`] keys, counted with those that rest, and [`BYTES_MAX`] bytes; when there
//! is no room, nothing is claimed until [`Book::sweep`] has given up what was not read for longest.

mod claim;
mod lock;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use drystone_etcd_api::mvccpb::KeyValue;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::proxy::cache::Span;

pub(super) use claim::Claim;
pub(super) use lock::{Lock, Standing};

/// Keys that there may be.
const KEYS_MAX: usize = 8192;
/// Bytes of keys and values that are held.
const BYTES_MAX: usize = 64 << 20;
/// A larger value is not held.
const VALUE_BYTES_MAX: usize = 1 << 20;
/// How long a key rests, as in etcd's client.
const REST: Duration = Duration::from_secs(2);

/// A session: the lease that all lease keys of this proxy hang on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) number: u64,
    pub(super) lease: i64,
}

/// The book. Cheap to clone.
#[derive(Clone)]
pub(super) struct Book(Arc<Inner>);

struct Inner {
    pages: Mutex<Pages>,
    /// Keys whose lease keys are to be deleted.
    given_up: mpsc::UnboundedSender<Bytes>,
}

/// The invariants:
///
/// * `bytes` is the sum of what is held;
/// * nothing is held or claimed without a session.
#[derive(Debug, Default)]
struct Pages {
    session: Option<Session>,
    /// Sessions that have been.
    sessions: u64,
    /// The lease lives until then at least.
    alive_until: Option<Instant>,
    /// Whoever shows no token may read everything, until then at least.
    open_until: Option<Instant>,
    /// What was asked before is no answer any more.
    closed_at: Option<Instant>,
    slots: BTreeMap<Bytes, Slot>,
    bytes: usize,
    /// Writes that are under way.
    writes: HashMap<u64, Vec<Span>>,
    writes_begun: u64,
    /// Answers that were given from here.
    reads: u64,
}

#[derive(Debug)]
enum Slot {
    Claimed {
        is_spoiled: bool,
    },
    Held(Held),
    /// Until when; `None` while its lease key may be there.
    Resting(Option<Instant>),
}

#[derive(Debug)]
struct Held {
    kv: KeyValue,
    /// The revision at which it stood so.
    at: i64,
    /// The revision that created its lease key.
    created: i64,
    /// How many reads there had been when it was read last.
    used: u64,
}

/// What the book says to a read.
pub(super) enum Look {
    /// So it stands.
    Held(KeyValue),
    /// It may be claimed.
    Claim(Claim),
    /// Nothing: a member is to say.
    Nothing,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) held: usize,
    pub(crate) reads: u64,
}

impl Book {
    /// An empty book, and the keys that will be given up.
    pub(super) fn new() -> (Book, mpsc::UnboundedReceiver<Bytes>) {
        let (given_up, receiver) = mpsc::unbounded_channel();
        (Book(Arc::new(Inner { pages: Mutex::default(), given_up })), receiver)
    }

    /// A session begins.
    pub(super) fn begin(&self, lease: i64, alive_until: Instant) -> Session {
        let mut pages = self.0.pages.lock();
        pages.sessions += 1;
        let session = Session { number: pages.sessions, lease };
        assert!(pages.session.is_none() && pages.slots.is_empty(), "one session at a time");
        (pages.session, pages.alive_until) = (Some(session), Some(alive_until));
        session
    }

    /// It lives longer.
    pub(super) fn extend(&self, alive_until: Instant) {
        let mut pages = self.0.pages.lock();
        pages.alive_until = pages.alive_until.max(Some(alive_until));
    }

    /// It has ended, and with it everything.
    pub(super) fn end(&self) {
        let mut pages = self.0.pages.lock();
        (pages.session, pages.alive_until) = (None, None);
        pages.slots.clear();
        pages.bytes = 0;
    }

    /// The session, if there is one.
    pub(super) fn session(&self) -> Option<Session> {
        self.0.pages.lock().session
    }

    /// Whoever shows no token was let read at `asked`, and is to be until `until`.
    pub(super) fn open(&self, asked: Instant, until: Instant) {
        let mut pages = self.0.pages.lock();
        if pages.closed_at.is_none_or(|closed| closed < asked) {
            pages.open_until = Some(until);
        }
    }

    /// Who may read what may have changed.
    pub(super) fn close(&self, now: Instant) {
        let mut pages = self.0.pages.lock();
        (pages.open_until, pages.closed_at) = (None, Some(now));
    }

    /// Looks for a key, for somebody who shows no token.
    pub(super) fn look(&self, key: &Bytes, may_claim: bool, now: Instant) -> Look {
        let mut pages = self.0.pages.lock();
        let is_good = pages.alive_until.is_some_and(|until| now < until)
            && pages.open_until.is_some_and(|until| now < until);
        let Some(session) = pages.session.filter(|_| is_good) else { return Look::Nothing };
        if pages.is_locked(key) {
            return Look::Nothing;
        }
        let (count, bytes, reads) = (pages.slots.len(), pages.bytes, pages.reads + 1);
        match pages.slots.get_mut(key) {
            Some(Slot::Held(held)) => {
                held.used = reads;
                let kv = held.kv.clone();
                pages.reads = reads;
                return Look::Held(kv);
            }
            Some(Slot::Resting(Some(until))) if may_claim && *until <= now => {}
            Some(_) => return Look::Nothing,
            None if !may_claim => return Look::Nothing,
            None if count >= KEYS_MAX || bytes >= BYTES_MAX => return Look::Nothing,
            None => {}
        }
        pages.slots.insert(key.clone(), Slot::Claimed { is_spoiled: false });
        Look::Claim(Claim { book: self.clone(), key: Some(key.clone()), session })
    }

    /// Locks the keys of a write.
    pub(super) fn lock(&self, spans: Vec<Span>) -> Lock {
        let mut pages = self.0.pages.lock();
        pages.writes_begun += 1;
        let (number, session) = (pages.writes_begun, pages.session);
        for span in &spans {
            for (_, slot) in pages.slots.range_mut(bounds(span)) {
                if let Slot::Claimed { is_spoiled } = slot {
                    *is_spoiled = true;
                }
            }
        }
        pages.writes.insert(number, spans.clone());
        Lock { book: self.clone(), number, spans, session }
    }

    /// Somebody wants to write to a key, or its lease key is gone; as of the revision `at`, and the
    /// lease key was created at `created`, if that is known.
    pub(super) fn give_up(&self, key: &Bytes, created: Option<i64>, at: i64) {
        let mut pages = self.0.pages.lock();
        if pages.session.is_none() {
            return;
        }
        match pages.slots.get_mut(key) {
            Some(Slot::Claimed { is_spoiled }) => *is_spoiled = true,
            Some(Slot::Held(held)) => {
                if created.map_or(held.created < at, |created| held.created == created) {
                    self.rest(&mut pages, key);
                }
            }
            // A claim of which nobody has heard how it ended.
            Some(Slot::Resting(_)) | None if created.is_some() => self.rest(&mut pages, key),
            Some(Slot::Resting(_)) | None => {}
        }
    }

    /// Whether a key rests, and its lease key may be there.
    pub(super) fn is_leaving(&self, key: &Bytes) -> bool {
        matches!(self.0.pages.lock().slots.get(key), Some(Slot::Resting(None)))
    }

    /// The lease key of one that rests is gone.
    pub(super) fn is_free(&self, key: &Bytes, now: Instant) {
        if let Some(Slot::Resting(until)) = self.0.pages.lock().slots.get_mut(key) {
            *until = Some(now + REST);
        }
    }

    /// Forgets those that have rested, and gives up some if there is no room.
    pub(super) fn sweep(&self, now: Instant) {
        let mut pages = self.0.pages.lock();
        pages.slots.retain(|_, slot| !matches!(slot, Slot::Resting(Some(until)) if *until <= now));
        if pages.slots.len() < KEYS_MAX && pages.bytes < BYTES_MAX {
            return;
        }
        let held = pages.slots.iter().filter_map(|(key, slot)| match slot {
            Slot::Held(held) => Some((held.used, key.clone())),
            _ => None,
        });
        let mut held: Vec<(u64, Bytes)> = held.collect();
        held.sort_unstable();
        held.truncate((held.len() / 8).max(1));
        held.iter().for_each(|(_, key)| self.rest(&mut pages, key));
    }

    pub(super) fn counts(&self) -> Counts {
        let pages = self.0.pages.lock();
        let held = pages.slots.values().filter(|slot| matches!(slot, Slot::Held(_))).count();
        Counts { held, reads: pages.reads }
    }

    /// A key is held no more, and its lease key is to be deleted.
    fn rest(&self, pages: &mut Pages, key: &Bytes) {
        if let Some(Slot::Held(held)) = pages.slots.insert(key.clone(), Slot::Resting(None)) {
            pages.bytes -= weight(&held.kv);
        }
        // Without a session there is nothing to be deleted, and nobody listens.
        let _ = self.0.given_up.send(key.clone());
    }
}

impl Pages {
    fn is_locked(&self, key: &Bytes) -> bool {
        let point = Span { key: key.clone(), end: Bytes::new() };
        self.writes.values().flatten().any(|span| span.meets(&point))
    }
}

fn weight(kv: &KeyValue) -> usize {
    kv.key.len() + kv.value.len()
}

/// A range as maps take it.
fn bounds(span: &Span) -> (Bound<Bytes>, Bound<Bytes>) {
    let from = Bound::Included(span.key.clone());
    match &span.end[..] {
        b"" => (from, Bound::Included(span.key.clone())),
        b"\0" => (from, Bound::Unbounded),
        // An empty range: maps want their bounds in order.
        end if end <= &span.key[..] => (from, Bound::Excluded(span.key.clone())),
        _ => (from, Bound::Excluded(span.end.clone())),
    }
}

#[cfg(test)]
mod tests;
