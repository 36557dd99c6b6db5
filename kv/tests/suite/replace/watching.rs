//! Watchers of a store whose content is replaced: each sees exactly what happened, in order, once;
//! or is told that some of it is compacted away.

use std::collections::BTreeMap;
use std::sync::Arc;

use drystone_kv::engines::AnyEngine;
use drystone_kv::limits::Limits;
use drystone_kv::types::KeyValue;
use drystone_kv::watch::{
    CancelReason, Event, EventKind, StreamOptions, WatchId, WatchMessage, WatchRequest, WatchStream,
};
use drystone_kv::{Command, EngineKind, KeyRange, Store};
use rand::RngExt as _;

use super::copy_of;
use crate::checkpoint::Home;
use crate::common::{Bench, compact, delete, each_seed, put, range};
use crate::requests::Requests;
use crate::running::watching::{events, said, stream_options};
use drystone_kv_model::{Fact, Model, is_inside};

/// A watcher, and where it is.
struct Watching {
    range: KeyRange,
    /// The main revision from which on it has to see everything.
    next: u64,
}

/// A group of two: a leader, and a follower that falls behind now and then.
struct World {
    requests: Requests,
    leader: Bench,
    oracle: Model,
    /// All commands of the group.
    log: Vec<Command>,
    follower: Arc<Store<AnyEngine>>,
    stream: WatchStream,
    watching: BTreeMap<WatchId, Watching>,
    /// What was said so far: events, and ends by compaction.
    events: u64,
    canceled: u64,
    replaced: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut requests = Requests::new(seed);
        let engine = Home::new(EngineKind::ALL[(seed % 3) as usize]).open();
        let follower = Arc::new(Store::open(engine).expect("fresh"));
        let stream = follower.watch(stream_options(&mut requests));
        World {
            requests,
            leader: Bench::new(),
            oracle: Model::new(),
            log: Vec::new(),
            follower,
            stream,
            watching: BTreeMap::new(),
            events: 0,
            canceled: 0,
            replaced: 0,
        }
    }

    fn lead(&mut self) {
        let command = self.requests.command(&self.oracle);
        if Limits::default().check(&command).is_ok() {
            assert_eq!(self.leader.apply(&command), self.oracle.apply(&command), "{command:?}");
            self.log.push(command);
        }
        if self.requests.percent(30) {
            self.leader.store.sweep_step().expect("memory does not fail");
        }
    }

    /// The follower applies some of what it lacks.
    fn follow(&mut self) {
        let applied = self.follower.status().applied;
        let lacking = &self.log[applied as usize..];
        let count = self.requests.random.random_range(0..=lacking.len());
        self.follower.apply((applied + 1..).zip(&lacking[..count])).expect("in order");
        if self.requests.percent(30) {
            self.follower.sweep_step().expect("in order");
        }
    }

    fn replace(&mut self) {
        let kind = EngineKind::ALL[self.requests.random.random_range(0..3)];
        let engine = copy_of(kind, &self.leader.store);
        self.follower.replace(engine).expect("the leader is never behind");
        self.replaced += 1;
    }

    fn create(&mut self) {
        let status = self.follower.status();
        let start = match self.requests.random.random_range(0..4) {
            0 => None,
            1 => Some(status.revision + self.requests.random.random_range(0..30)),
            _ => Some(self.requests.random.random_range(0..=status.revision)),
        };
        let request = WatchRequest {
            start,
            fragment: self.requests.percent(30),
            ..WatchRequest::new(self.requests.range())
        };
        let range = request.range.clone();
        let Ok(id) = self.stream.control().create(request) else { return };
        let next = start.unwrap_or(status.revision + 1);
        self.watching.insert(id, Watching { range, next });
    }

    /// Reads all that the stream says: the history, nothing left out, nothing twice.
    fn read(&mut self) {
        let mut told: BTreeMap<WatchId, Vec<Event>> = BTreeMap::new();
        let newest = self.follower.revision();
        for message in said(&mut self.stream) {
            match message {
                WatchMessage::Created { .. } => {}
                WatchMessage::Events { id, events, .. } => {
                    self.events += events.len() as u64;
                    told.entry(id).or_default().extend(events);
                }
                WatchMessage::Canceled { id, reason, .. } => {
                    let events = told.remove(&id).unwrap_or_default();
                    let lost = self.watching.remove(&id).expect("it stood");
                    let expected = expect(&self.oracle, &lost, newest);
                    assert!(expected.starts_with(&events), "{id:?}\n{events:?}\n{expected:?}");
                    let CancelReason::Compacted { compacted } = reason else {
                        panic!("nobody asked for the end of {id:?}")
                    };
                    assert!(Some(compacted) <= self.oracle.compacted);
                    assert!(lost.next < compacted, "{id:?} could have been served");
                    self.canceled += 1;
                }
                WatchMessage::Progress { revision, .. } => panic!("progress {revision} unasked"),
            }
        }
        for (id, watching) in &mut self.watching {
            let events = told.remove(id).unwrap_or_default();
            assert_eq!(events, expect(&self.oracle, watching, newest), "{id:?}");
            watching.next = watching.next.max(newest + 1);
        }
        assert!(told.is_empty(), "events of nobody: {told:?}");
    }
}

/// What a watcher has to be told of the history up to main revision `newest`.
fn expect(oracle: &Model, watching: &Watching, newest: u64) -> Vec<Event> {
    let seen = watching.next..=newest;
    events_of(
        oracle
            .history
            .iter()
            .filter(|fact| seen.contains(&fact.main) && is_inside(&fact.key, &watching.range)),
    )
}

/// Facts as a watcher hears of them.
pub(super) fn events_of<'f>(facts: impl Iterator<Item = &'f Fact>) -> Vec<Event> {
    let event = |fact: &Fact| match &fact.after {
        Some(kv) => Event { kind: EventKind::Put, kv: kv.clone(), prev: None },
        None => {
            let (key, mod_revision) = (fact.key.clone(), fact.main);
            let kv = KeyValue { key, mod_revision, ..KeyValue::default() };
            Event { kind: EventKind::Delete, kv, prev: None }
        }
    };
    facts.map(event).collect()
}

// A follower falls behind, is brought up, falls behind again; clients watch it all the while, with
// outboxes that are full and cursors that are anywhere. What a watcher was not told one by one it
// reads from the history that came with the state, or is told that it is gone.
#[test]
fn watchers_see_the_history_across_replacements() {
    each_seed("watchers_see_the_history_across_replacements", 20, 600, |seed| {
        let mut world = World::new(seed);
        for _ in 0..400 {
            match world.requests.random.random_range(0..100) {
                0..60 => world.lead(),
                60..75 => world.follow(),
                75..80 => world.replace(),
                80..90 => world.create(),
                _ => world.read(),
            }
        }
        world.replace();
        world.read();
        let hashes = [world.follower.hash(None), world.leader.store.hash(None)];
        let [follower, leader] = hashes.map(|hash| hash.expect("readable"));
        assert_eq!(follower, leader);
        let World { events, canceled, replaced, .. } = &world;
        println!("{events} events, {canceled} canceled, {replaced} states");
        world.follower.end_watches();
    });
}

/// A follower at revision 3 and a leader at 7, which is compacted as asked; a watcher from now on,
/// one from 6 on and one from 9 on.
fn behind(compacted: u64) -> (Arc<Store<AnyEngine>>, Bench, WatchStream, [WatchId; 3]) {
    let leader = Bench::new();
    leader.ok(&put("k", "2"));
    leader.ok(&put("k", "3"));
    let follower = Store::open(copy_of(EngineKind::Lsm, &leader.store)).expect("a state");
    let follower = Arc::new(follower);
    let stream = follower.watch(StreamOptions::default());
    let watch = |start| {
        let request = WatchRequest { start, ..WatchRequest::new(range("k", "")) };
        stream.control().create(request).expect("a watcher")
    };
    let ids = [watch(None), watch(Some(6)), watch(Some(9))];
    for command in [put("k", "4"), delete("k", ""), put("k", "6"), put("k", "7")] {
        leader.ok(&command);
    }
    leader.ok(&compact(compacted));
    leader.sweep();
    (follower, leader, stream, ids)
}

/// What one watcher is told.
fn told(messages: &[WatchMessage], watcher: WatchId) -> Vec<String> {
    let of_it = |message: &&WatchMessage| match message {
        WatchMessage::Events { id, .. } => *id == watcher,
        _ => false,
    };
    events(&messages.iter().filter(of_it).cloned().collect::<Vec<_>>())
}

fn canceled(messages: &[WatchMessage]) -> Vec<(WatchId, CancelReason)> {
    let of = |message: &WatchMessage| match message {
        WatchMessage::Canceled { id, reason, .. } => Some((*id, *reason)),
        _ => None,
    };
    messages.iter().filter_map(of).collect()
}

// The three watchers of the picture: what is there is told, what is not yet is waited for.
#[test]
fn a_synced_watcher_reads_on_and_one_of_the_future_waits() {
    for compacted in [2, 3, 4] {
        let (follower, leader, mut stream, [now, near, far]) = behind(compacted);
        said(&mut stream);
        follower.replace(copy_of(EngineKind::Btree, &leader.store)).expect("further on");
        let messages = said(&mut stream);
        assert_eq!(told(&messages, now), ["+k=4@4", "-k@5", "+k=6@6", "+k=7@7"]);
        assert_eq!(told(&messages, near), ["+k=6@6", "+k=7@7"]);
        assert_eq!((told(&messages, far).len(), canceled(&messages).len()), (0, 0));
        let next = follower.status().applied + 1;
        follower.apply([(next, &put("k", "8")), (next + 1, &put("k", "9"))]).expect("in order");
        let messages = said(&mut stream);
        assert_eq!(told(&messages, now), ["+k=8@8", "+k=9@9"]);
        assert_eq!(told(&messages, near), ["+k=8@8", "+k=9@9"]);
        assert_eq!(told(&messages, far), ["+k=9@9"]);
    }
}

// What a watcher has not seen and nobody can tell it any more ends it, and it alone. The delete of
// the compacted revision itself is still told.
#[test]
fn a_watcher_that_has_missed_what_is_gone_is_told_so() {
    for compacted in [5, 6, 7] {
        let (follower, leader, mut stream, [now, near, far]) = behind(compacted);
        said(&mut stream);
        let request = WatchRequest { start: Some(5), ..WatchRequest::new(range("k", "")) };
        let fifth = stream.control().create(request).expect("a watcher");
        follower.replace(copy_of(EngineKind::Memory, &leader.store)).expect("further on");
        let messages = said(&mut stream);
        let reason = CancelReason::Compacted { compacted };
        let mut lost = vec![(now, reason)];
        lost.extend((compacted > 5).then_some((fifth, reason)));
        lost.extend((compacted > 6).then_some((near, reason)));
        let mut found = canceled(&messages);
        found.sort_by_key(|(id, _)| *id);
        lost.sort_by_key(|(id, _)| *id);
        assert_eq!(found, lost);
        assert_eq!(told(&messages, now), [""; 0]);
        let all = ["-k@5", "+k=6@6", "+k=7@7"];
        assert_eq!(told(&messages, fifth), if compacted == 5 { &all[..] } else { &[] });
        assert_eq!(told(&messages, near), if compacted <= 6 { &all[1..] } else { &[] });
        assert_eq!(told(&messages, far), [""; 0]);
    }
}
