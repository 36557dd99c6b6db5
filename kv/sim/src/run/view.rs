//! One watch: what it wants, how far it has come, and whether what it is told is right.
//!
//! ```text
//!   wants ──► begun on a stream ──► created ──► events, progress ──► canceled
//!     ▲            id, start          │                                 │
//!     └────────────────── the stream ends, or the watch ────────────────┘
//! ```

use drystone_kv::watch::{CancelReason, Event, EventKind, WatchId, WatchMessage, WatchRequest};
use drystone_kv::{KeyRange, KeyValue};
use drystone_kv_model::{Fact, Model, is_inside};

use crate::requests::Requests;

/// A watch.
pub(super) struct View {
    request: WatchRequest,
    /// The first revision that it has not seen whole; `None` if it wants what comes from now on,
    /// and has not been told when that is.
    next: Option<u64>,
    /// The next of all changes that it has not seen, or passed by.
    cursor: usize,
    /// Up to where it was told progress last.
    pub(super) told: u64,
    /// What it is on the stream of its watcher.
    pub(super) here: Option<Here>,
    /// What is wanted in its place once it has ended.
    pub(super) then: Option<Box<View>>,
}

/// A watch that was begun on a stream.
pub(super) struct Here {
    pub(super) id: WatchId,
    /// From where it was asked to tell.
    start: Option<u64>,
    /// The newest revision of the member when it was begun.
    opened: u64,
    created: bool,
    /// The client has canceled it.
    pub(super) leaves: bool,
}

impl Default for View {
    /// One that wants to see everything.
    fn default() -> View {
        let request = WatchRequest::new(KeyRange::prefix("k"));
        View { request, next: Some(1), cursor: 0, told: 0, here: None, then: None }
    }
}

impl View {
    /// One that wants something, from somewhere.
    pub(super) fn draw(requests: &mut Requests<'_>) -> View {
        let request = requests.watch();
        let model = requests.model;
        let next = match requests.rng.below(8) {
            0 | 1 => None,
            2 => Some(model.compacted.unwrap_or(0)),
            3 => Some(model.revision + requests.rng.below(4)),
            _ => Some(requests.rng.below(model.revision + 1)),
        };
        let mut view = View { request, ..View::default() };
        view.go_to(next, model);
        view
    }

    /// What to ask for, to go on. The rest of a revision that was seen in part comes again.
    pub(super) fn ask(&mut self, model: &Model) -> WatchRequest {
        self.go_to(self.next, model);
        WatchRequest { start: self.next, ..self.request.clone() }
    }

    /// It was begun under a name, when the member had come to a revision.
    pub(super) fn begun(&mut self, id: WatchId, opened: u64) {
        let here = Here { id, start: self.next, opened, created: false, leaves: false };
        self.here = Some(here);
    }

    /// Whether it was begun beyond a revision: it waits, and no progress can be told.
    pub(super) fn waits_beyond(&self, revision: u64) -> bool {
        let start = self.here.as_ref().and_then(|here| here.start);
        start.is_some_and(|start| start > revision)
    }

    /// Whether it was told that it stands, and has not ended.
    pub(super) fn stands(&self) -> bool {
        self.here.as_ref().is_some_and(|here| here.created && !here.leaves)
    }

    /// It has ended where it was. It goes on elsewhere, if nothing else is wanted.
    pub(super) fn end(&mut self) {
        self.here = None;
        if let Some(then) = self.then.take() {
            *self = *then;
        }
    }

    /// Goes on at a revision.
    fn go_to(&mut self, next: Option<u64>, model: &Model) {
        self.next = next;
        self.cursor = next.map_or(0, |next| model.history.partition_point(|fact| fact.main < next));
    }

    fn wants(&self, fact: &Fact) -> bool {
        let skipped =
            if fact.after.is_some() { self.request.skip_puts } else { self.request.skip_deletes };
        !skipped && is_inside(&fact.key, &self.request.range)
    }

    /// The next change that it has to see.
    pub(super) fn expected<'m>(&mut self, model: &'m Model) -> Option<&'m Fact> {
        let next = self.next?;
        // What was in the future when it began may have come since.
        while let Some(fact) = model.history.get(self.cursor)
            && (fact.main < next || !self.wants(fact))
        {
            self.cursor += 1;
        }
        model.history.get(self.cursor)
    }

    /// Sees a change, on a member that has compacted up to `compacted`.
    fn see(&mut self, event: &Event, model: &Model, compacted: Option<u64>) {
        let expected = self.expected(model);
        let fact = expected.unwrap_or_else(|| panic!("a watch shows what never was: {event:?}"));
        let (kind, kv) = match &fact.after {
            Some(kv) => (EventKind::Put, kv.clone()),
            None => {
                let (key, mod_revision) = (fact.key.clone(), fact.main);
                (EventKind::Delete, KeyValue { key, mod_revision, ..KeyValue::default() })
            }
        };
        // Of a key that was not there, and where the revision before is gone, there is none.
        let before = fact.main - 1;
        let creates = kind == EventKind::Put && kv.create_revision == fact.main;
        let readable = compacted.is_none_or(|compacted| before >= compacted);
        let told = self.request.prev_kv && !creates && readable;
        let prev = model.world(before).get(&fact.key).filter(|_| told).cloned();
        let right = Event { kind, kv, prev };
        assert_eq!(*event, right, "a watch shows another event than the next");
        self.cursor += 1;
    }

    /// All up to a revision is said to have been told.
    pub(super) fn progress(&mut self, revision: u64, model: &Model) {
        let missed = self.expected(model).filter(|next| next.main <= revision);
        assert_eq!(missed, None, "a watch tells of progress to {revision}, and is behind");
        self.next = self.next.max(Some(revision + 1));
        self.told = revision;
    }

    /// Takes a message that is for it, from a member that has compacted up to `compacted`; how many
    /// events it has.
    pub(super) fn take(
        &mut self,
        message: WatchMessage,
        model: &Model,
        compacted: Option<u64>,
    ) -> u64 {
        let here = self.here.as_mut().expect("it has a name");
        let begins = matches!(message, WatchMessage::Created { .. });
        assert!(begins || here.created, "a watch shows something before it is there: {message:?}");
        match message {
            WatchMessage::Created { revision, .. } => {
                let right = here.opened;
                assert_eq!(revision, right, "a watch tells that it begins elsewhere than now");
                here.created = true;
                if self.next.is_none() {
                    self.go_to(Some(revision + 1), model);
                }
                0
            }
            WatchMessage::Events { events, revision, more_fragments, .. } => {
                events.iter().for_each(|event| self.see(event, model, compacted));
                let last = events.last().expect("a message has events").kv.mod_revision;
                assert!(last <= revision, "a watch shows events beyond revision {revision}");
                let rest = self.expected(model).is_some_and(|next| next.main == last);
                assert_eq!(rest, more_fragments, "a watch shows a part of revision {last}");
                assert!(!rest || self.request.fragment, "a watch shows a revision cut in two");
                self.next = Some(if rest { last } else { last + 1 });
                events.len() as u64
            }
            WatchMessage::Progress { revision, .. } => {
                assert!(self.request.progress, "a watch tells progress unasked");
                self.progress(revision, model);
                0
            }
            WatchMessage::Canceled { reason: CancelReason::Compacted { compacted }, .. } => {
                let behind = self.next.is_some_and(|next| next < compacted);
                assert!(behind, "a watch is canceled that can go on at {:?}", self.next);
                self.go_to(Some(compacted), model);
                self.end();
                0
            }
            WatchMessage::Canceled { reason: CancelReason::Requested, .. } => {
                assert!(here.leaves, "a watch is canceled that nobody has canceled");
                self.end();
                0
            }
            message => panic!("a watch says what nobody asked for: {message:?}"),
        }
    }
}
