//! Random watchers over a store that does random things: each sees exactly what the model's history
//! holds for it.

use std::cell::Cell;
use std::collections::BTreeMap;

use drystone_kv::types::KeyValue;
use drystone_kv::watch::{
    CancelReason, CreateError, Event, EventKind, StreamOptions, WatchId, WatchMessage,
    WatchRequest, WatchStream,
};
use drystone_kv::{EngineKind, Kv, Options};
use rand::RngExt as _;

use super::said;
use crate::common::each_seed;
use crate::requests::Requests;
use crate::running::{Machine, apply, on_every_engine, options};
use drystone_kv_model::{Fact, Model, is_inside};

on_every_engine! {
    watchers_of_a_store_see_what_its_model_remembers
}

/// A watcher, and how far it must have come.
struct Watching {
    request: WatchRequest,
    /// The next main revision that it has to see.
    next: u64,
}

struct World {
    requests: Requests,
    machine: Machine,
    kv: Kv,
    oracle: Model,
    stream: WatchStream,
    watching: BTreeMap<WatchId, Watching>,
    events: u64,
}

/// Small enough that messages, slices and the outbox all overflow now and then.
pub(crate) fn stream_options(requests: &mut Requests) -> StreamOptions {
    let default = StreamOptions::default();
    if requests.percent(50) {
        return default;
    }
    StreamOptions {
        outbox_messages_max: requests.random.random_range(1..8),
        outbox_bytes_max: requests.random.random_range(1..2000),
        message_revisions_max: requests.random.random_range(1..8),
        message_bytes_max: requests.random.random_range(1..2000),
        fragment_bytes_max: requests.random.random_range(1..600),
        scan_revisions_max: requests.random.random_range(1..20),
        scan_bytes_max: requests.random.random_range(1..2000),
        ..default
    }
}

impl World {
    fn new(kind: EngineKind, seed: u64) -> World {
        let mut requests = Requests::new(seed);
        let machine = Machine::of(kind, seed);
        let kv = machine.try_open(Options { quota_bytes: None, ..options() }).expect("fresh");
        let stream = kv.watch(stream_options(&mut requests));
        let (oracle, watching) = (Model::new(), BTreeMap::new());
        World { requests, machine, kv, oracle, stream, watching, events: 0 }
    }

    fn command(&mut self) {
        let command = self.requests.command(&self.oracle);
        if options().limits.check(&command).is_ok() {
            assert_eq!(apply(&self.kv, command.clone()), self.oracle.apply(&command));
        }
        if self.requests.percent(30) {
            self.kv.sweep_step().expect("memory does not fail");
        }
    }

    fn create(&mut self) {
        let requests = &mut self.requests;
        let request = WatchRequest {
            range: requests.range(),
            start: match requests.random.random_range(0..4) {
                0 => None,
                1 => Some(self.oracle.revision + requests.random.random_range(0..4)),
                _ => Some(requests.random.random_range(0..=self.oracle.revision)),
            },
            id: requests.percent(20).then(|| WatchId(requests.random.random_range(-3..6))),
            prev_kv: requests.percent(50),
            progress: requests.percent(20),
            skip_puts: requests.percent(10),
            skip_deletes: requests.percent(10),
            fragment: requests.percent(30),
        };
        let compacted = self.oracle.compacted.unwrap_or(0);
        if self.watching.values().any(|watching| watching.next < compacted) {
            // It may have ended, and its name be free; its end has to be read before it is given
            // again.
            self.read();
        }
        match self.stream.control().create(request.clone()) {
            Ok(id) => {
                let next = request.start.unwrap_or(self.oracle.revision + 1);
                let before = self.watching.insert(id, Watching { request, next });
                assert!(before.is_none(), "a name is given once");
            }
            Err(CreateError::EmptyRange) => {
                let end = request.range.end.expect("without an end there is room");
                assert!(end <= request.range.start);
            }
            Err(CreateError::DuplicateId) => {
                assert!(self.watching.contains_key(&request.id.expect("it was named")));
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// Reads all that the stream says, and compares it with the history.
    fn read(&mut self) {
        let mut told: BTreeMap<WatchId, Vec<Event>> = BTreeMap::new();
        for message in said(&mut self.stream) {
            match message {
                WatchMessage::Created { id, .. } => {
                    told.insert(id, Vec::new());
                }
                WatchMessage::Events { id, revision, events, .. } => {
                    assert!(revision <= self.oracle.revision);
                    assert!(events.iter().all(|event| event.kv.mod_revision <= revision));
                    self.events += events.len() as u64;
                    told.entry(id).or_default().extend(events);
                }
                WatchMessage::Canceled { id, reason, .. } => {
                    let events = told.remove(&id).unwrap_or_default();
                    let lost = self.watching.remove(&id).expect("it stood");
                    let expected = expect(&self.oracle, &lost);
                    assert!(expected.starts_with(&events), "{id:?}\n{events:?}\n{expected:?}");
                    let CancelReason::Compacted { compacted } = reason else {
                        panic!("nobody asked for the end of {id:?}")
                    };
                    assert!(Some(compacted) <= self.oracle.compacted);
                    assert!(lost.next < compacted, "it could have been served");
                }
                WatchMessage::Progress { revision, .. } => panic!("progress {revision} unasked"),
            }
        }
        for (id, watching) in &mut self.watching {
            let events = told.remove(id).unwrap_or_default();
            assert_eq!(events, expect(&self.oracle, watching), "{id:?} {:?}", watching.request);
            watching.next = watching.next.max(self.oracle.revision + 1);
        }
        assert!(told.is_empty(), "events of nobody: {told:?}");
    }

    /// Closes the store and opens it again, with a new stream and no watchers.
    fn restart(&mut self) {
        if self.requests.percent(50) {
            self.kv.persist().expect("the disk is in order");
        }
        self.kv.shutdown();
        self.kv = {
            // Two stores may not use the folder at once.
            let closed = std::mem::replace(&mut self.kv, Machine::new(0).open());
            drop(closed);
            self.stream = self.kv.watch(StreamOptions::default());
            self.machine.open()
        };
        self.stream = self.kv.watch(stream_options(&mut self.requests));
        self.watching.clear();
    }
}

/// What a watcher has to be told.
fn expect(oracle: &Model, watching: &Watching) -> Vec<Event> {
    let request = &watching.request;
    let concerned = oracle.history.iter().filter(|fact| {
        let skipped = if fact.after.is_some() { request.skip_puts } else { request.skip_deletes };
        fact.main >= watching.next && is_inside(&fact.key, &request.range) && !skipped
    });
    let event = |fact: &Fact| {
        let before = fact.main - 1;
        let readable = oracle.compacted.is_none_or(|compacted| compacted <= before);
        let created = fact.after.as_ref().is_some_and(|kv| kv.create_revision == fact.main);
        let prev = (request.prev_kv && readable && !created)
            .then(|| oracle.world(before).get(&fact.key).cloned())
            .flatten();
        match &fact.after {
            Some(kv) => Event { kind: EventKind::Put, kv: kv.clone(), prev },
            None => {
                let (key, mod_revision) = (fact.key.clone(), fact.main);
                let kv = KeyValue { key, mod_revision, ..KeyValue::default() };
                Event { kind: EventKind::Delete, kv, prev }
            }
        }
    };
    concerned.map(event).collect()
}

// Everything a watch promises, over a store that compacts, sweeps and restarts: no event is lost,
// none comes twice, none comes that should not.
fn watchers_of_a_store_see_what_its_model_remembers(kind: EngineKind) {
    let events = Cell::new(0);
    each_seed("watchers_of_a_store_see_what_its_model_remembers", 12, 1000, |seed| {
        let mut world = World::new(kind, seed);
        for _ in 0..200 {
            for _ in 0..world.requests.random.random_range(1..4) {
                world.command();
            }
            if world.requests.percent(30) && world.watching.len() < 20 {
                world.create();
            }
            if world.requests.percent(60) {
                world.read();
            }
            if world.requests.percent(2) {
                world.restart();
            }
        }
        world.read();
        events.set(events.get() + world.events);
    });
    assert!(events.get() > 50, "the watchers had something to see: {}", events.get());
}
