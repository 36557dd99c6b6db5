//! Slow consumers, and what they cost: memory, wakes, work a poll.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use super::oracle::*;
use crate::watch::*;

// One client that stops reading must not take the store's memory, and loses nothing when it
// reads on.
#[test]
fn never_reading_consumer_holds_bounded_memory_over_a_million_changes() {
    const CHANGES: u64 = 1_000_000;
    let options = StreamOptions {
        outbox_messages_max: 100,
        outbox_bytes_max: 10_000,
        ..StreamOptions::default()
    };
    let world = World::new();
    let mut stream = world.stream_with(options);
    let control = stream.control().clone();
    control.create(prefix("k")).unwrap();
    control.create(key("k7")).unwrap();
    for number in 0..CHANGES {
        world.write([put(format!("k{}", number % 10), "0123456789")]);
        if number % 1000 == 0 {
            let backlog = control.backlog();
            assert!(backlog.messages <= 100 && backlog.bytes <= 10_000, "{backlog:?}");
            control.request_progress();
            control.tick_progress();
        }
    }
    assert_eq!(control.backlog().lagging, 2);
    let (mut all, mut sevens) = (1, 1);
    while let Some(message) = next(&mut stream) {
        let WatchMessage::Events { id, events, .. } = message else { continue };
        for event in events {
            let last = if id == WatchId(0) { &mut all } else { &mut sevens };
            assert!(event.kv.mod_revision > *last, "in order, none twice");
            assert!(id != WatchId(0) || event.kv.mod_revision == *last + 1, "none lost");
            assert!(id != WatchId(1) || event.kv.key == "k7");
            *last = event.kv.mod_revision;
        }
    }
    assert_eq!((all, sevens), (CHANGES + 1, CHANGES - 1));
    assert_eq!(control.backlog(), Backlog { watchers: 2, ..Backlog::default() });
}

// A client that asks and never reads the answers must not fill the memory with answers.
#[test]
fn unread_answers_stop_further_creations() {
    let world = World::new();
    let options = StreamOptions { controls_max: 3, watchers_max: 4, ..StreamOptions::default() };
    let mut stream = world.stream_with(options);
    let control = stream.control().clone();
    for _ in 0..3 {
        control.create(key("a")).unwrap();
    }
    assert_eq!(control.create(key("a")), Err(CreateError::Backlog));
    assert!(control.cancel(WatchId(0)));
    assert_eq!(control.create(key("a")), Err(CreateError::Backlog));
    drain(&mut stream);
    control.create(key("a")).unwrap();
    control.create(key("a")).unwrap();
    assert_eq!(control.create(key("a")), Err(CreateError::TooManyWatchers));
}

// A single revision larger than the whole outbox still has to pass, alone.
#[test]
fn revision_beyond_the_outbox_limit_passes_alone() {
    let world = World::new();
    let options = StreamOptions { outbox_bytes_max: 100, ..StreamOptions::default() };
    let mut stream = world.stream_with(options);
    let control = stream.control().clone();
    control.create(key("a")).unwrap();
    control.create(prefix("a")).unwrap();
    drain(&mut stream);
    world.write([put("a", "x".repeat(1000))]);
    assert_eq!(control.backlog().messages, 1, "one message is over the limit, a second is not");
    assert_eq!(control.backlog().lagging, 1);
    assert_eq!(drain(&mut stream).len(), 2);
}

// A lost wake is a client that waits for ever.
#[test]
fn waiting_consumer_is_woken_by_every_kind_of_news() {
    let world = World::new();
    let mut stream = world.stream();
    let control = stream.control().clone();
    let (bell, waker) = Bell::new();
    // Until there is neither a message nor work left.
    let mut wait = || loop {
        bell.rang();
        let pending = stream.poll_next(&mut Context::from_waker(&waker)).is_pending();
        if pending && !bell.rang() {
            break;
        }
    };
    let rang = |what: &str| assert!(bell.rang(), "{what}");
    wait();
    control.create(prefix("")).unwrap();
    rang("created");
    wait();
    world.write([put("a", "1")]);
    rang("events");
    wait();
    control.request_progress();
    rang("progress");
    wait();
    control.create(WatchRequest { progress: true, ..key("b") }).unwrap();
    wait();
    control.tick_progress();
    rang("tick");
    wait();
    world.oracle.publish([put("a", "2")]);
    world.hub.pass(3);
    rang("history to read");
    wait();
    control.cancel(WatchId(0));
    rang("canceled");
    wait();
    world.write([put("a", "3")]);
    assert!(!bell.rang(), "nobody watches that");
    world.hub.end();
    rang("end");
}

// An executor may poll at once from within the wake; under a lock that would be a deadlock.
#[test]
fn wakers_are_called_with_no_lock_held() {
    struct Nosy(WatchControl, AtomicUsize);
    impl Wake for Nosy {
        fn wake(self: Arc<Nosy>) {
            self.1.fetch_add(1, Ordering::Relaxed);
            let id = self.0.create(key("n")).unwrap_or(WatchId(0));
            self.0.request_progress();
            self.0.cancel(id);
        }
    }
    let world = World::new();
    let mut stream = world.stream();
    let control = stream.control().clone();
    let nosy = Arc::new(Nosy(control.clone(), AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&nosy));
    let mut wait = || while stream.poll_next(&mut Context::from_waker(&waker)).is_ready() {};
    wait();
    control.create(key("a")).unwrap();
    wait();
    world.write([put("a", "1")]);
    wait();
    world.oracle.publish([put("a", "1")]);
    world.hub.pass(3);
    wait();
    control.request_progress();
    wait();
    control.tick_progress();
    control.cancel(WatchId(0));
    wait();
    world.hub.end();
    assert!(nosy.1.load(Ordering::Relaxed) >= 5);
}

// One poll must not read a long history at one go: it shares its thread with other clients.
#[test]
fn poll_does_bounded_work_and_asks_for_more() {
    let world = World::new();
    world.write_many("a", 1000);
    let options = StreamOptions { scan_revisions_max: 10, ..StreamOptions::default() };
    let mut stream = world.stream_with(options);
    stream.control().create(WatchRequest { start: Some(2), ..prefix("b") }).unwrap();
    assert!(matches!(next(&mut stream), Some(WatchMessage::Created { .. })));
    let (bell, waker) = Bell::new();
    let mut polls = 0;
    while stream.poll_next(&mut Context::from_waker(&waker)).is_pending() && bell.rang() {
        polls += 1;
        assert!(world.oracle.scanned.load(Ordering::Relaxed) <= polls * 40);
    }
    assert!((25..=100).contains(&polls), "{polls} polls for a hundred slices");
    assert_eq!(stream.control().backlog().lagging, 0);
}
