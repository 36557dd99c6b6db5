//! One writer, many consumers, all at once, each on its own thread.
//!
//! Revision `r` puts key `k(r % KEYS)` and nothing else, so every consumer can compute what each of
//! its watchers has to see next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::oracle::*;
use crate::key_range::KeyRange;
use crate::watch::*;

const KEYS: u64 = 16;
const CONSUMERS: u64 = 6;

fn name(number: u64) -> Bytes {
    Bytes::from(format!("k{:02}", number % KEYS))
}

/// Which revisions a watcher sees: those of one key, or all.
#[derive(Clone, Copy)]
struct Sees {
    key: Option<u64>,
    next: u64,
    created: bool,
}

impl Sees {
    /// The first revision from `from` on that it sees.
    fn from(self, from: u64) -> u64 {
        match self.key {
            None => from,
            Some(key) => from + (key + KEYS - from % KEYS) % KEYS,
        }
    }
}

// Locks and atomics: only real threads show that the seams between push and pull hold.
#[test]
fn threads_lose_and_repeat_nothing() {
    let revisions = if std::env::var_os("SLOW").is_some() { 1_000_000 } else { 20_000 };
    let world = Arc::new(World::new());
    let done = Arc::new(AtomicBool::new(false));
    let consumers: Vec<_> = (0..CONSUMERS)
        .map(|seed| {
            let (world, done) = (Arc::clone(&world), Arc::clone(&done));
            thread::spawn(move || consume(&world, seed, revisions, &done))
        })
        .collect();
    let mut batch = Vec::new();
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for revision in 2..=revisions {
        let idle = world.hub.is_idle();
        batch.extend(world.oracle.publish([(name(revision), Some(Bytes::new()))]));
        if rng.random_bool(0.3) || revision == revisions {
            if idle || rng.random_bool(0.01) {
                world.hub.pass(revision);
            } else {
                world.hub.notify(&batch);
            }
            batch.clear();
        }
    }
    done.store(true, Ordering::Release);
    let events: u64 = consumers.into_iter().map(|consumer| consumer.join().unwrap()).sum();
    world.hub.check();
    assert!(world.hub.is_idle());
    assert!(events > revisions, "they have seen a good part of it: {events}");
}

/// Creates watchers while it reads, until they have seen the last revision; returns how many
/// events it saw.
fn consume(world: &World, seed: u64, last: u64, done: &AtomicBool) -> u64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let options = StreamOptions {
        outbox_messages_max: rng.random_range(1..50),
        scan_revisions_max: rng.random_range(1..200),
        message_revisions_max: rng.random_range(1..50),
        ..StreamOptions::default()
    };
    let mut stream = world.stream_with(options);
    let control = stream.control().clone();
    let mut watchers: Vec<Sees> = Vec::new();
    let mut events_seen = 0;
    let create = |watchers: &mut Vec<Sees>, rng: &mut ChaCha8Rng| {
        let key = rng.random_bool(0.5).then(|| rng.random_range(0..KEYS));
        let range = match key {
            Some(key) => KeyRange::single(name(key)),
            None => KeyRange::prefix("k"),
        };
        let newest = world.oracle.newest();
        let back = newest.saturating_sub(rng.random_range(0..300));
        let start = rng.random_bool(0.7).then_some((back + rng.random_range(0..30)).max(2));
        let id = WatchId(i64::try_from(watchers.len()).unwrap());
        control.create(WatchRequest { start, id: Some(id), ..WatchRequest::new(range) }).unwrap();
        watchers.push(Sees { key, next: start.unwrap_or(0), created: false });
    };
    create(&mut watchers, &mut rng);
    loop {
        let finished = done.load(Ordering::Acquire)
            && watchers.iter().all(|sees| sees.created && sees.from(sees.next) > last);
        if finished {
            return events_seen;
        }
        if rng.random_bool(0.01) && watchers.len() < 20 && !done.load(Ordering::Acquire) {
            create(&mut watchers, &mut rng);
        }
        if rng.random_bool(0.02) {
            control.request_progress();
        }
        // The writer may have passed the last revision between the look and this call; then the
        // watchers have seen it, or a message that shows it is on its way.
        let message = if watchers.iter().all(|sees| sees.created && sees.from(sees.next) > last) {
            thread::yield_now();
            continue;
        } else {
            stream.next_blocking().unwrap().unwrap()
        };
        match message {
            WatchMessage::Created { id, revision } => {
                let sees = &mut watchers[usize::try_from(id.0).unwrap()];
                sees.created = true;
                if sees.next == 0 {
                    sees.next = revision + 1;
                }
            }
            WatchMessage::Events { id, events, .. } => {
                let sees = &mut watchers[usize::try_from(id.0).unwrap()];
                assert!(sees.created);
                for event in events {
                    let revision = event.kv.mod_revision;
                    assert_eq!(revision, sees.from(sees.next), "watcher {id:?} of seed {seed}");
                    sees.next = revision + 1;
                    events_seen += 1;
                }
            }
            WatchMessage::Progress { revision, .. } => {
                for sees in watchers.iter().filter(|sees| sees.created) {
                    assert!(sees.from(sees.next) > revision, "progress is true");
                }
            }
            WatchMessage::Canceled { .. } => panic!("nobody cancels"),
        }
    }
}
