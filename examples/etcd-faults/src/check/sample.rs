//! Small histories, made by hand, for the tests of the checkers.
//!
//! A sample runs a model of the store, so that what it writes down is right until a test breaks it.

use std::ops::Range as Times;

use crate::history::{
    Audit, History, Life, MemberInfo, Message, Moment, Operation, Outcome, Said, Stream,
};
use crate::request::{Body, Event, Kv, Op, Range, Reply, Request, Revision, Span};

use super::store::Store;

/// A put of a key.
pub(super) fn put(key: &str, value: &str) -> Request {
    put_on(key, value, 0)
}

/// A put of a key on a lease.
pub(super) fn put_on(key: &str, value: &str, lease: i64) -> Request {
    let (key, value) = (key.to_owned(), value.to_owned());
    Request::One(Op::Put { key, value, lease, prev_kv: true })
}

/// A deletion of a key.
pub(super) fn delete(key: &str) -> Request {
    Request::One(Op::Delete { span: Span::one(key), prev_kv: true })
}

/// A linearizable read of a key.
pub(super) fn get(key: &str) -> Request {
    read(key, false, 0)
}

/// A serializable read of a key.
pub(super) fn stale_get(key: &str) -> Request {
    read(key, true, 0)
}

/// A read of a key as of a revision.
pub(super) fn past_get(key: &str, revision: Revision) -> Request {
    read_at(key, revision, false)
}

/// A read of a key as of a revision, from whatever a member has if it is serializable.
pub(super) fn read_at(key: &str, revision: Revision, serializable: bool) -> Request {
    read(key, serializable, revision)
}

/// A compaction.
pub(super) fn compaction(revision: Revision) -> Request {
    Request::Compact { revision, physical: false }
}

fn read(key: &str, serializable: bool, revision: Revision) -> Request {
    let span = Span::one(key);
    Request::One(Op::Range(Range { span, revision, limit: 0, count_only: false, serializable }))
}

/// The event of a put.
pub(super) fn put_event(
    key: &str,
    value: &str,
    created: Revision,
    modified: Revision,
    version: i64,
) -> Event {
    let (key, value) = (key.to_owned(), value.to_owned());
    let kv = Kv { key, value, created, modified, version, lease: 0 };
    Event { kv, deleted: false, prev: None }
}

/// The event of a deletion.
pub(super) fn deletion(key: &str, modified: Revision) -> Event {
    let kv = Kv { key: key.to_owned(), modified, ..Kv::default() };
    Event { kv, deleted: true, prev: None }
}

/// A history that grows.
pub(super) struct Sample {
    history: History,
    /// The state at each revision, from 1 on.
    states: Vec<Store>,
    events: Vec<Event>,
}

impl Sample {
    pub(super) fn new() -> Sample {
        Sample { history: History::default(), states: vec![Store::new()], events: Vec::new() }
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    pub(super) fn history_mut(&mut self) -> &mut History {
        &mut self.history
    }

    /// What happened so far.
    pub(super) fn events(&self) -> &[Event] {
        &self.events
    }

    fn now(&mut self) -> &mut Store {
        self.states.last_mut().expect("there is a first state")
    }

    /// Does it now, and answers as it should be.
    pub(super) fn done(&mut self, times: Times<u64>, request: Request) {
        let (events, body) = self.now().run(&request);
        self.happens(&events);
        let revision = self.now().revision();
        let reply = Reply { revision, body: body.expect("a request about keys") };
        self.outcome(times, request, Outcome::Done(reply));
    }

    /// Answers as if this revision were the newest, and does nothing.
    pub(super) fn at_revision(&mut self, times: Times<u64>, request: Request, revision: Revision) {
        let place = usize::try_from(revision - 1).expect("a revision that was");
        let (_, body) = self.states[place].run(&request);
        let reply = Reply { revision, body: body.expect("a request about keys") };
        self.outcome(times, request, Outcome::Done(reply));
    }

    /// Answers a read of the past when this revision is the newest.
    pub(super) fn answered(&mut self, times: Times<u64>, request: Request, revision: Revision) {
        let past = request.read_at().expect("a read of the past");
        let place = usize::try_from(past - 1).expect("a revision that was");
        let state = self.states.get(place).cloned();
        let (_, body) = state.unwrap_or_else(Store::new).run(&request);
        let reply = Reply { revision, body: body.expect("a request about keys") };
        self.outcome(times, request, Outcome::Done(reply));
    }

    /// Does it now, and the answer is lost.
    pub(super) fn lost(&mut self, times: Times<u64>, request: Request) {
        let (events, _) = self.now().run(&request);
        self.happens(&events);
        self.outcome(times, request, Outcome::Unknown("lost".to_owned()));
    }

    /// An answer about a lease.
    pub(super) fn about_lease(
        &mut self,
        times: Times<u64>,
        request: Request,
        granted: i64,
        left: i64,
    ) {
        let (revision, body) = (self.now().revision(), Body::Lease { granted, left });
        self.outcome(times, request, Outcome::Done(Reply { revision, body }));
    }

    /// A compaction that is done, and moves nothing.
    pub(super) fn compact(&mut self, times: Times<u64>, revision: Revision) {
        let request = compaction(revision);
        let reply = Reply { revision: self.now().revision(), body: Body::Compacted };
        self.outcome(times, request, Outcome::Done(reply));
    }

    /// Writes an outcome down.
    pub(super) fn outcome(&mut self, times: Times<u64>, request: Request, outcome: Outcome) {
        let (called, returned) = (Moment(times.start), Moment(times.end));
        let (client, life) = (1, None);
        let operation = Operation { client, life, called, returned, request, outcome };
        self.history.operations.push(operation);
    }

    /// The next revision does this.
    pub(super) fn happens(&mut self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        self.events.extend(events.iter().map(Event::bare));
        let mut next = self.now().clone();
        next.apply(events);
        self.states.push(next);
    }

    /// A watch of everything from the first revision on, which gets all events at this moment, each
    /// revision in a message of its own.
    pub(super) fn watch_all(&mut self, at: u64) -> &mut Stream {
        let at = Moment(at);
        let mut messages = vec![Message { at, revision: 1, said: Said::Created }];
        for part in self.events.chunk_by(|a, b| a.revision() == b.revision()) {
            let revision = part[0].revision();
            messages.push(Message { at, revision, said: Said::Events(part.to_vec()) });
        }
        self.history.streams.push(Stream {
            client: 9,
            life: None::<Life>,
            opened: at,
            span: Span::all(),
            start: 1,
            prev_kv: false,
            chronicle: false,
            messages,
            overdue: None,
        });
        self.history.streams.last_mut().expect("it was pushed")
    }

    /// Two members tell all that happened.
    pub(super) fn end(&mut self) {
        let (revision, keys) = (self.now().revision(), self.now().keys().cloned().collect());
        let (name, peer_urls) = ("m".to_owned(), vec!["u".to_owned()]);
        let members = vec![MemberInfo { id: 1, name, peer_urls, learner: false }];
        let (hashes, events, leases) = (vec![(revision, 7)], self.events.clone(), Vec::new());
        let (slot, compacted, first) = (0, 0, 1);
        let one = Audit { slot, revision, members, compacted, hashes, keys, first, events, leases };
        self.history.audits = vec![one.clone(), Audit { slot: 1, ..one }];
    }
}
