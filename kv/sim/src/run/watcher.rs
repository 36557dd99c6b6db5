//! The watchers: each must see every change of its keys once, in order, wherever it looks.
//!
//! A watcher looks for a while at one member, then at another, or at the same after a crash, and
//! goes on behind the last revision that it has seen whole. Now and then it begins something else:
//! other keys, other filters, from an old revision, from a future one, or from now on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use drystone_kv::watch::{
    CancelReason, Event, EventKind, StreamOptions, WatchMessage, WatchRequest, WatchStream,
};
use drystone_kv::{KeyRange, KeyValue};
use drystone_kv_model::{Fact, Model, is_inside};
use drystone_sim::{NodeId, Rng};

use crate::flaw::Flaw;
use crate::member::Member;
use crate::requests::Requests;
use crate::run::Run;

/// A watcher.
pub(crate) struct Watcher {
    /// When it looks next.
    pub(crate) at: u64,
    request: WatchRequest,
    /// The first revision that it has not seen whole; `None` if it wants what comes from now on,
    /// and has not been told when that is.
    next: Option<u64>,
    /// The next of all changes that it has not seen, or passed by.
    cursor: usize,
    stream: Option<Stream>,
    /// Up to where it was told progress last.
    told: u64,
}

/// Where it looks.
struct Stream {
    node: NodeId,
    life: u64,
    messages: WatchStream,
    /// From where it was asked to tell.
    start: Option<u64>,
    /// The newest revision of the member when it began to look.
    opened: u64,
}

impl Default for Watcher {
    /// One that wants to see everything.
    fn default() -> Watcher {
        let request = WatchRequest::new(KeyRange::prefix("k"));
        Watcher { at: 0, request, next: Some(1), cursor: 0, stream: None, told: 0 }
    }
}

/// A waker that remembers: whoever polls sees that there is more.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Woken>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Watcher {
    /// Wants something else from here on.
    fn begin(&mut self, requests: &mut Requests<'_>) {
        self.request = requests.watch();
        let model = requests.model;
        let next = match requests.rng.below(8) {
            0 | 1 => None,
            2 => Some(model.compacted.unwrap_or(0)),
            3 => Some(model.revision + requests.rng.below(4)),
            _ => Some(requests.rng.below(model.revision + 1)),
        };
        self.stream = None;
        self.go_to(next, model);
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
    fn expected<'m>(&mut self, model: &'m Model) -> Option<&'m Fact> {
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

    /// Takes a message from a member that has compacted up to `compacted`; how many events it has.
    fn take(&mut self, message: WatchMessage, model: &Model, compacted: Option<u64>) -> u64 {
        match message {
            WatchMessage::Created { revision, .. } => {
                let opened = self.stream.as_ref().map(|stream| stream.opened);
                assert_eq!(Some(revision), opened, "a watch begins elsewhere than at the newest");
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
                assert!(!rest || self.request.fragment, "a watch cuts a revision in two");
                self.next = Some(if rest { last } else { last + 1 });
                events.len() as u64
            }
            WatchMessage::Progress { id, revision } => {
                assert!(id.is_none() || self.request.progress, "a watch tells progress unasked");
                let missed = self.expected(model).filter(|next| next.main <= revision);
                assert_eq!(missed, None, "a watch tells of progress to {revision}, and is behind");
                self.next = self.next.max(Some(revision + 1));
                self.told = revision;
                0
            }
            WatchMessage::Canceled { reason: CancelReason::Compacted { compacted }, .. } => {
                let behind = self.next.is_some_and(|next| next < compacted);
                assert!(behind, "a watch is canceled that can go on at {:?}", self.next);
                self.go_to(Some(compacted), model);
                self.stream = None;
                0
            }
            message => panic!("a watch says what nobody asked for: {message:?}"),
        }
    }
}

/// Limits so small that watchers lag, and messages are cut.
fn options(rng: &mut Rng) -> StreamOptions {
    StreamOptions {
        outbox_messages_max: 4,
        message_revisions_max: *rng.pick(&[2, 1000]),
        message_bytes_max: *rng.pick(&[300, 1 << 20]),
        fragment_bytes_max: *rng.pick(&[100, 1 << 20]),
        scan_revisions_max: *rng.pick(&[100, 4096]),
        scan_bytes_max: *rng.pick(&[2_000, 1 << 20]),
        ..StreamOptions::default()
    }
}

impl Run<'_> {
    /// The watcher whose turn it is looks.
    pub(super) fn poll(&mut self) {
        let now = self.world.now();
        let place = self.watchers.iter().position(|watcher| watcher.at <= now).expect("one is due");
        self.watchers[place].at = now + self.rng.range(1..60);
        if self.rng.below(30) == 0 {
            self.watchers[place].stream = None;
            if self.rng.below(4) == 0 {
                self.begin(place);
            }
        }
        self.poll_one(place);
        if let Some(stream) = &self.watchers[place].stream {
            let control = stream.messages.control();
            match self.rng.below(8) {
                0 | 1 => drop(control.request_progress()),
                2 => control.tick_progress(),
                _ => {}
            }
        }
    }

    fn begin(&mut self, place: usize) {
        let mut requests = Requests {
            rng: &mut self.rng,
            model: &self.oracle.model,
            leases: &self.leases,
            serial: self.call_next,
        };
        self.watchers[place].begin(&mut requests);
    }

    /// Looks at a member, at another one if that has crashed, until it has nothing to say.
    fn poll_one(&mut self, place: usize) {
        let life = |id| self.world.process(id).map(Member::life);
        let here = self.watchers[place].stream.as_ref();
        if here.is_none_or(|stream| life(stream.node) != Some(stream.life)) {
            self.open(place);
        }
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let watcher = &mut self.watchers[place];
        while let Some(stream) = &mut watcher.stream {
            let member = self.world.process(stream.node).expect("it is up");
            let message = match stream.messages.poll_next(&mut Context::from_waker(&waker)) {
                Poll::Ready(Some(Ok(message))) => message,
                Poll::Pending if woken.0.swap(false, Ordering::Relaxed) => continue,
                Poll::Pending => break,
                Poll::Ready(_) => {
                    watcher.stream = None;
                    break;
                }
            };
            let twice = self.plan.flaw == Some(Flaw::WatchTwice) && self.rng.below(20) == 0;
            if self.plan.flaw == Some(Flaw::WatchGap) && self.rng.below(20) == 0 {
                continue;
            }
            let compacted = self.oracle.moment(member.applied()).compacted;
            if twice {
                watcher.take(message.clone(), &self.oracle.model, compacted);
            }
            self.report.events += watcher.take(message, &self.oracle.model, compacted);
        }
    }

    /// Begins to look at any member that is up.
    fn open(&mut self, place: usize) {
        let watcher = &mut self.watchers[place];
        watcher.stream = None;
        let ids: Vec<NodeId> = self.world.ids().collect();
        let node = *self.rng.pick(&ids);
        let Some(member) = self.world.process(node) else { return };
        // The rest of a revision that was seen in part comes again.
        watcher.go_to(watcher.next, &self.oracle.model);
        let request = WatchRequest { start: watcher.next, ..watcher.request.clone() };
        let messages = member.store.watch(options(&mut self.rng));
        messages.control().create(request).expect("it is the only one, of a range with room");
        let (life, opened) = (member.life(), member.store.revision());
        watcher.stream = Some(Stream { node, life, messages, start: watcher.next, opened });
    }

    /// In the end every watcher sees all there is, and is told that it has.
    pub(super) fn catch_up(&mut self) {
        let newest = self.oracle.model.revision;
        for place in 0..self.watchers.len() {
            let table = self.oracle.model.cluster.clone();
            let whole = |node: NodeId| table.member(u64::from(node.0)).is_some();
            for _ in 0..200 {
                self.poll_one(place);
                let watcher = &mut self.watchers[place];
                watcher.stream.take_if(|stream| !whole(stream.node));
                if watcher.stream.is_some() && watcher.expected(&self.oracle.model).is_none() {
                    break;
                }
            }
            let watcher = &mut self.watchers[place];
            let left = watcher.expected(&self.oracle.model);
            assert_eq!(left, None, "a watch does not show all there is");
            let stream = watcher.stream.as_ref().expect("members of the table are up");
            // One that waits for the future makes no progress.
            if stream.start.is_none_or(|start| start <= newest) {
                assert!(stream.messages.control().request_progress(), "a watch lags for ever");
                self.poll_one(place);
                let told = self.watchers[place].told;
                assert_eq!(told, newest, "a watch that has seen all tells of no progress");
            }
        }
    }
}
