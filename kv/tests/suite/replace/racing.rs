//! Readers and watchers on threads of their own, while a store is written to, swept, compacted, and
//! given another state now and then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use drystone_kv::checkpoint::load;
use drystone_kv::engines::AnyEngine;
use drystone_kv::limits::Limits;
use drystone_kv::types::KeyValue;
use drystone_kv::watch::{CancelReason, Event, WatchId, WatchMessage, WatchRequest};
use drystone_kv::{Command, EngineKind, KeyRange, Refusal, Store};
use rand::RngExt as _;

use super::watching::events_of;
use crate::checkpoint::{Home, stream_of};
use crate::common::{Bench, each_seed, read_at, refusal};
use crate::requests::Requests;
use crate::running::watching::{said, stream_options};
use drystone_kv_model::{Model, is_inside};

const COMMANDS: usize = 600;

/// All that happens, known beforehand.
struct Script {
    log: Vec<Command>,
    oracle: Model,
    /// What is alive at each revision.
    worlds: Vec<Vec<KeyValue>>,
    /// States of the leader, by how many commands are in them.
    states: BTreeMap<u64, Vec<u8>>,
}

impl Script {
    fn new(seed: u64) -> Script {
        let mut requests = Requests::new(seed);
        let mut oracle = Model::new();
        let leader = Bench::new();
        let (mut log, mut states) = (Vec::new(), BTreeMap::new());
        while log.len() < COMMANDS {
            let command = requests.command(&oracle);
            // An alarm would keep everyone from reading.
            let fits = Limits::default().check(&command).is_ok();
            if fits && !matches!(command, Command::Alarm(_)) {
                assert_eq!(leader.apply(&command), oracle.apply(&command), "{command:?}");
                log.push(command);
            }
            if requests.percent(5) {
                states.insert(log.len() as u64, stream_of(&leader.store));
            }
            if requests.percent(10) {
                leader.sweep();
            }
        }
        let worlds = (0..=oracle.revision).map(|at| oracle.world(at).values().cloned().collect());
        Script { worlds: worlds.collect(), log, oracle, states }
    }

    /// Moves a store from its beginning to the end, by commands and by states.
    fn play(&self, store: &Store<AnyEngine>, requests: &mut Requests) {
        loop {
            let applied = store.status().applied;
            let lacking = &self.log[applied as usize..];
            if lacking.is_empty() {
                return;
            }
            let ahead = self.states.range(applied..).nth(requests.random.random_range(0..3));
            if let Some((_, state)) = ahead.filter(|_| requests.percent(25)) {
                let kind = EngineKind::ALL[requests.random.random_range(0..3)];
                let engine = Home::new(kind).open();
                load(&engine, &mut &state[..]).expect("the stream is whole");
                store.replace(engine).expect("it is not behind");
            } else {
                let count = requests.random.random_range(1..12).min(lacking.len());
                store.apply((applied + 1..).zip(&lacking[..count])).expect("in order");
            }
            if requests.percent(50) {
                store.sweep_step().expect("in order");
            }
        }
    }

    /// Reads at any revision until all is over: what was there then, or that it is gone.
    fn read(&self, store: &Store<AnyEngine>, over: &AtomicBool, requests: &mut Requests) -> u64 {
        let mut answered = 0;
        while !over.load(Ordering::Acquire) {
            let newest = store.revision();
            let lowest = store.status().compacted.unwrap_or(0);
            let at = requests.random.random_range(lowest..=newest.max(lowest));
            match refusal(store.range(&read_at("\0", "\0", at))) {
                Ok(reply) => {
                    assert!(reply.kvs == self.worlds[at as usize], "at {at}");
                    answered += 1;
                }
                Err(Refusal::Compacted { compacted }) => assert!(at < compacted),
                Err(other) => panic!("at {at} of {newest}: {other}"),
            }
            match refusal(store.hash(Some(at))) {
                Ok(hash) => assert_eq!(hash.hash_revision, at),
                Err(Refusal::Compacted { compacted }) => assert!(at < compacted),
                Err(other) => panic!("at {at} of {newest}: {other}"),
            }
            assert!(store.revision() >= newest, "time does not run backwards");
        }
        answered
    }

    /// Watches until all is over, and checks what was told.
    fn watch(&self, store: &Arc<Store<AnyEngine>>, over: &AtomicBool, requests: &mut Requests) {
        let mut stream = store.watch(stream_options(requests));
        let mut watchers: BTreeMap<WatchId, (KeyRange, u64)> = BTreeMap::new();
        let mut told: BTreeMap<WatchId, Vec<Event>> = BTreeMap::new();
        let mut gone: BTreeMap<WatchId, u64> = BTreeMap::new();
        loop {
            let finished = over.load(Ordering::Acquire);
            if watchers.len() < 20 && !finished {
                let range = requests.range();
                let start = requests.random.random_range(0..=self.oracle.revision + 1);
                let request =
                    WatchRequest { start: Some(start), ..WatchRequest::new(range.clone()) };
                if let Ok(id) = stream.control().create(request) {
                    watchers.insert(id, (range, start));
                }
            }
            for message in said(&mut stream) {
                match message {
                    WatchMessage::Events { id, events, .. } => {
                        assert!(!gone.contains_key(&id), "its end was the end");
                        told.entry(id).or_default().extend(events);
                    }
                    WatchMessage::Canceled { id, reason, .. } => {
                        let CancelReason::Compacted { compacted } = reason else {
                            panic!("{reason:?}")
                        };
                        gone.insert(id, compacted);
                    }
                    _ => {}
                }
            }
            let backlog = stream.control().backlog();
            if finished && backlog.messages == 0 && backlog.lagging == 0 {
                break;
            }
            thread::yield_now();
        }
        for (id, (range, start)) in watchers {
            let concerned = self.oracle.history.iter();
            let concerned =
                concerned.filter(|fact| fact.main >= start && is_inside(&fact.key, &range));
            let (events, expected) = (told.remove(&id).unwrap_or_default(), events_of(concerned));
            match gone.get(&id) {
                None => assert_eq!(events, expected, "from {start}"),
                Some(&compacted) => {
                    assert!(expected.starts_with(&events), "from {start}");
                    assert!(start < compacted);
                    let last = events.last().map_or(0, |event| event.kv.mod_revision);
                    assert!(last < compacted, "it was served beyond that");
                }
            }
        }
    }
}

// Everything at once. The order of the threads is the machine's, so a failure may not come again;
// what each of them sees is checked against what is known to have happened.
#[test]
fn readers_and_watchers_see_one_history_while_states_come_and_go() {
    each_seed("readers_and_watchers_see_one_history", 6, 200, |seed| {
        let script = Script::new(seed);
        let engine = Home::new(EngineKind::ALL[(seed % 3) as usize]).open();
        let store = Arc::new(Store::open(engine).expect("fresh"));
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let (script, store, over) = (&script, &store, &over);
            let requests = |of: u64| Requests::new(seed * 10 + of);
            let watchers: Vec<_> = (1..3)
                .map(|of| scope.spawn(move || script.watch(store, over, &mut requests(of))))
                .collect();
            let readers: Vec<_> = (3..5)
                .map(|of| scope.spawn(move || script.read(store, over, &mut requests(of))))
                .collect();
            let mover = scope.spawn(move || {
                let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    script.play(store, &mut requests(0));
                }));
                over.store(true, Ordering::Release);
                played.expect("the store moves on");
            });
            mover.join().expect("the store moves on");
            let answered: u64 =
                readers.into_iter().map(|reader| reader.join().expect("all is right")).sum();
            println!("{answered} reads answered");
            watchers.into_iter().for_each(|watcher| watcher.join().expect("all is right"));
        });
        assert_eq!(store.revision(), script.oracle.revision);
        store.end_watches();
    });
}
