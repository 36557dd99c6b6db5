//! One writer, many consumers, all at once, each on its own thread.
//!
//! Revision `r` puts key `k(r % KEYS)` and nothing else, so every consumer can compute what each of
//! its watchers has to see next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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

struct Shared {
    world: World,
    /// The last revision that will be written; 0 while that is open. Known before the last [`KEYS`]
    /// revisions are written, so every watcher has something to hear after it is known.
    last: AtomicU64,
    /// How many consumers have seen an event.
    started: AtomicU64,
    events: AtomicU64,
}

// Locks and atomics: only real threads show that the seams between push and pull hold.
#[test]
fn threads_lose_and_repeat_nothing() {
    let events_min = if std::env::var_os("SLOW").is_some() { 20_000_000 } else { 100_000 };
    let shared = Arc::new(Shared {
        world: World::new(),
        last: AtomicU64::new(0),
        started: AtomicU64::new(0),
        events: AtomicU64::new(0),
    });
    let consumers: Vec<_> = (0..CONSUMERS)
        .map(|seed| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || Consumer::new(&shared, seed).run())
        })
        .collect();
    write(&shared, events_min);
    for consumer in consumers {
        consumer.join().unwrap();
    }
    shared.world.hub.check();
    assert!(shared.world.hub.is_idle());
}

/// Writes until the consumers have seen enough, told in batches.
fn write(shared: &Shared, events_min: u64) {
    let Shared { world, last, started, events } = shared;
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut batch = Vec::new();
    let mut idle = world.hub.is_idle();
    for revision in 2.. {
        batch.extend(world.oracle.publish([(name(revision), Some(Bytes::new()))]));
        let is_last = revision == last.load(Ordering::Relaxed);
        if is_last || rng.random_bool(0.3) {
            if idle || rng.random_bool(0.01) {
                world.hub.pass(revision);
            } else {
                world.hub.notify(&batch);
            }
            batch.clear();
            idle = world.hub.is_idle();
            thread::yield_now();
        }
        if is_last {
            return;
        }
        let enough = started.load(Ordering::Acquire) == CONSUMERS
            && events.load(Ordering::Relaxed) >= events_min;
        if enough && last.load(Ordering::Relaxed) == 0 {
            last.store(revision + KEYS, Ordering::Release);
        }
    }
}

/// One stream, and what each of its watchers has to see: one key, or all.
struct Consumer<'a> {
    shared: &'a Shared,
    seed: u64,
    rng: ChaCha8Rng,
    stream: WatchStream,
    watchers: Vec<Sees>,
}

struct Sees {
    key: Option<u64>,
    /// The first revision that may come; 0 until `Created` has told it.
    next: u64,
    created: bool,
}

impl Sees {
    /// The revision that must come next.
    fn expected(&self) -> u64 {
        match self.key {
            None => self.next,
            Some(key) => self.next + (key + KEYS - self.next % KEYS) % KEYS,
        }
    }
}

impl Consumer<'_> {
    fn new(shared: &Shared, seed: u64) -> Consumer<'_> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let options = StreamOptions {
            outbox_messages_max: rng.random_range(1..50),
            scan_revisions_max: rng.random_range(1..200),
            message_revisions_max: rng.random_range(1..50),
            ..StreamOptions::default()
        };
        let stream = shared.world.stream_with(options);
        Consumer { shared, seed, rng, stream, watchers: Vec::new() }
    }

    fn run(mut self) {
        self.create();
        let mut events = 0;
        loop {
            let last = self.shared.last.load(Ordering::Acquire);
            let has_all = |sees: &Sees| sees.created && sees.expected() > last;
            if last != 0 && self.watchers.iter().all(has_all) {
                return;
            }
            if last == 0 && self.watchers.len() < 20 && self.rng.random_bool(0.002) {
                self.create();
            }
            if self.rng.random_bool(0.02) {
                self.stream.control().request_progress();
            }
            let message = self.stream.next_blocking().unwrap().unwrap();
            let seen = self.hear(&message);
            if events == 0 && seen > 0 {
                self.shared.started.fetch_add(1, Ordering::Release);
            }
            events += seen;
            self.shared.events.fetch_add(seen, Ordering::Relaxed);
        }
    }

    fn create(&mut self) {
        let rng = &mut self.rng;
        let key = rng.random_bool(0.5).then(|| rng.random_range(0..KEYS));
        let range = match key {
            Some(key) => KeyRange::single(name(key)),
            None => KeyRange::prefix("k"),
        };
        // Somewhere in the past, or a little in the future.
        let newest = self.shared.world.oracle.newest();
        let back = newest.saturating_sub(rng.random_range(0..300));
        let start = rng.random_bool(0.7).then_some((back + rng.random_range(0..10)).max(2));
        let id = Some(WatchId(i64::try_from(self.watchers.len()).unwrap()));
        let request = WatchRequest { start, id, ..WatchRequest::new(range) };
        self.stream.control().create(request).unwrap();
        self.watchers.push(Sees { key, next: start.unwrap_or(0), created: false });
    }

    /// Checks a message; returns how many events it held.
    fn hear(&mut self, message: &WatchMessage) -> u64 {
        let seed = self.seed;
        match message {
            WatchMessage::Created { id, revision } => {
                let sees = &mut self.watchers[usize::try_from(id.0).unwrap()];
                sees.created = true;
                if sees.next == 0 {
                    sees.next = revision + 1;
                }
                0
            }
            WatchMessage::Events { id, events, .. } => {
                let sees = &mut self.watchers[usize::try_from(id.0).unwrap()];
                assert!(sees.created, "created comes first");
                for event in events {
                    let revision = event.kv.mod_revision;
                    assert_eq!(revision, sees.expected(), "watcher {id:?} of consumer {seed}");
                    sees.next = revision + 1;
                }
                events.len() as u64
            }
            WatchMessage::Progress { revision, .. } => {
                for sees in self.watchers.iter().filter(|sees| sees.created) {
                    assert!(sees.expected() > *revision, "progress is true");
                }
                0
            }
            WatchMessage::Canceled { .. } => panic!("nobody cancels"),
        }
    }
}
