//! Lagging watchers: what they are told, in whose turn, and what that costs.

use std::sync::atomic::Ordering;

use super::oracle::*;
use crate::key_range::KeyRange;
use crate::watch::*;

// Catching up revision by revision would cost a message each; clients rely on batches being fast.
#[test]
fn catch_up_message_holds_many_revisions_and_the_newest_header() {
    let world = World::new();
    world.write_many("a", 2500);
    for request in [key("a"), prefix("a")] {
        let mut stream = world.stream();
        stream.control().create(WatchRequest { start: Some(2), ..request }).unwrap();
        let messages = drain(&mut stream);
        let counts: Vec<usize> = messages
            .iter()
            .filter_map(|message| match message {
                WatchMessage::Events { revision, events, .. } => {
                    assert_eq!(*revision, 2501);
                    Some(events.len())
                }
                _ => None,
            })
            .collect();
        assert_eq!(counts, [1000, 1000, 500]);
    }
}

// A full outbox turns push into pull and back; neither seam may lose or repeat a revision.
#[test]
fn watcher_falls_behind_and_catches_up_without_a_seam() {
    let world = World::new();
    let options = StreamOptions { outbox_messages_max: 2, ..StreamOptions::default() };
    let mut stream = world.stream_with(options);
    stream.control().create(key("a")).unwrap();
    drain(&mut stream);
    world.write_many("a", 4);
    expect(&mut stream, &["0 [2] a@2=0", "0 [3] a@3=1", "0 [5] a@4=2, a@5=3"]);
    world.write_many("a", 1);
    expect(&mut stream, &["0 [6] a@6=0"]);
    world.hub.check();
}

// A notice holds the hub's lock from the first watcher it tells to the last; one that catches up
// meanwhile must not be counted among those who have been told.
#[test]
fn watcher_is_not_synced_into_a_revision_that_is_being_told() {
    let world = World::new();
    world.write([put("a", "1")]);
    let mut stream = world.stream();
    let control = stream.control().clone();
    control.create(WatchRequest { start: Some(2), ..key("a") }).unwrap();
    assert!(matches!(next(&mut stream), Some(WatchMessage::Created { .. })));
    world.oracle.publish([put("a", "2")]);
    control.hub.lock().notified = 3;
    assert_eq!(lines(&[next(&mut stream).unwrap()]), ["0 [3] a@2=1"]);
    assert_eq!(control.backlog().lagging, 1, "it has yet to read revision 3");
}

// etcd reads the history once for all; a stream of a busy proxy has thousands of watchers.
#[test]
fn lagging_range_watchers_share_their_reads() {
    const WATCHERS: u64 = 10_000;
    let world = World::new();
    for number in 0..10_000 {
        world.write([put(format!("k{number:05}"), "v")]);
    }
    let options = StreamOptions { controls_max: usize::MAX, ..StreamOptions::default() };
    let mut stream = world.stream_with(options);
    for number in 0..WATCHERS {
        let start = format!("k{number:05}");
        let range = KeyRange { start: start.clone().into(), end: Some(format!("{start}~").into()) };
        let from = 2 + (number * 7919) % 5000;
        stream
            .control()
            .create(WatchRequest { start: Some(from), ..WatchRequest::new(range) })
            .unwrap();
    }
    let events = drain(&mut stream).into_iter().map(|message| match message {
        WatchMessage::Events { events, .. } => events.len() as u64,
        _ => 0,
    });
    let expected = (0..WATCHERS).filter(|number| number + 2 >= 2 + (number * 7919) % 5000).count();
    assert_eq!(events.sum::<u64>(), expected as u64);
    assert_eq!(stream.control().backlog().lagging, 0);
    let scanned = world.oracle.scanned.load(Ordering::Relaxed);
    assert!(scanned <= 40 * 10_000, "{scanned} changes looked at, for a history of 10000");
}

// The history of one key is short however long the store's is.
#[test]
fn single_key_watchers_read_only_their_key() {
    let world = World::new();
    for number in 0..2000 {
        world.write([put(format!("k{}", number % 200), "v")]);
    }
    let mut stream = world.stream();
    for name in ["k1", "k2", "none"] {
        stream.control().create(WatchRequest { start: Some(2), ..key(name) }).unwrap();
    }
    let messages = drain(&mut stream);
    assert_eq!(messages.len(), 5, "three created, two with events");
    assert_eq!(world.oracle.scans.load(Ordering::Relaxed), 0);
    assert_eq!(world.oracle.scanned.load(Ordering::Relaxed), 20);
}

// A watcher one revision behind must not wait until one that is far behind has read everything.
#[test]
fn nearly_synced_watcher_does_not_wait_for_the_slowest() {
    for near in [key("b"), prefix("b")] {
        let world = World::new();
        world.write_many("a", 1000);
        let last = world.write([put("b", "1")]);
        let options = StreamOptions { scan_revisions_max: 10, ..StreamOptions::default() };
        let mut stream = world.stream_with(options);
        stream.control().create(WatchRequest { start: Some(2), ..prefix("a") }).unwrap();
        stream.control().create(WatchRequest { start: Some(last), ..near }).unwrap();
        let messages = lines(&drain(&mut stream));
        let event = messages.iter().position(|line| line.starts_with("1 [")).unwrap();
        assert!(event < 8, "message {event} of {}", messages.len());
        let done: usize = messages.iter().map(|line| line.matches("a@").count()).sum();
        assert_eq!(done, 1000);
    }
}

// A busy watcher keeps the outbox full; that must not keep the others of its stream in the past.
#[test]
fn busy_watcher_does_not_starve_a_lagging_one() {
    let world = World::new();
    world.write_many("a", 100);
    let options = StreamOptions { scan_revisions_max: 20, ..StreamOptions::default() };
    let mut stream = world.stream_with(options);
    let control = stream.control().clone();
    control.create(key("busy")).unwrap();
    control.create(WatchRequest { start: Some(2), ..prefix("a") }).unwrap();
    world.write_many("busy", 20);
    let mut reads = 0;
    while control.backlog().lagging > 0 {
        world.write([put("busy", "x")]);
        next(&mut stream).unwrap();
        reads += 1;
        assert!(reads < 500, "the outbox never empties, and still the lagging one moves on");
    }
    assert!(control.backlog().messages > 0);
}

// A stream that spares the machine may keep back what is old, but nothing that is new.
#[test]
fn a_stream_at_rest_tells_what_is_new_and_reads_nothing_old() {
    let world = World::new();
    world.write_many("a", 30);
    let options = StreamOptions { scan_revisions_max: 10, ..StreamOptions::default() };
    let mut stream = world.stream_with(options);
    stream.control().create(WatchRequest { start: Some(2), ..prefix("a") }).unwrap();
    stream.control().create(key("b")).unwrap();
    stream.rest(true);
    world.write([put("b", "1")]);
    expect(&mut stream, &["0 created 31", "1 created 31", "1 [32] b@32=1"]);
    assert!(stream.is_behind());
    assert_eq!(stream.revisions_read(), 0);
    stream.rest(false);
    let messages = lines(&drain(&mut stream));
    assert_eq!(messages.iter().map(|line| line.matches("a@").count()).sum::<usize>(), 30);
    assert!(!stream.is_behind());
    assert_eq!(stream.revisions_read(), 31, "{messages:?}");
}

// What is gone cannot be delivered; the client has to know, and to list anew.
#[test]
fn lagging_watcher_overtaken_by_compaction_is_canceled() {
    for request in [key("a"), prefix("a")] {
        let world = World::new();
        let options = StreamOptions { outbox_messages_max: 1, ..StreamOptions::default() };
        let mut stream = world.stream_with(options);
        stream.control().create(request).unwrap();
        drain(&mut stream);
        world.write_many("a", 5);
        world.oracle.compact(4);
        expect(&mut stream, &["0 [2] a@2=0", "0 compacted 4"]);
        assert_eq!(stream.control().backlog().watchers, 0);
        world.hub.check();
    }
}

// A store may drop records while they are being read; what was read then has holes.
#[test]
fn compaction_in_the_middle_of_a_read_leaves_no_hole() {
    for request in [key("a"), prefix("a")] {
        let world = World::new();
        world.write_many("a", 5);
        let mut stream = world.stream();
        stream.control().create(WatchRequest { start: Some(2), ..request.clone() }).unwrap();
        stream.control().create(WatchRequest { start: Some(4), ..request }).unwrap();
        world.oracle.compact_during_read(4);
        let messages = lines(&drain(&mut stream));
        assert_eq!(messages[..2], ["0 created 6", "1 created 6"]);
        assert!(messages.contains(&"0 compacted 4".to_string()), "{messages:?}");
        assert!(messages.contains(&"1 [6] a@4=2, a@5=3, a@6=4".to_string()), "{messages:?}");
        assert_eq!(messages.len(), 4);
    }
}

// The bytes of a message are bounded, but a revision is not cut for it.
#[test]
fn catch_up_messages_are_bounded_in_bytes_at_revisions() {
    let world = World::new();
    for _ in 0..20 {
        world.write([put("a", "x".repeat(100)), put("b", "x".repeat(100))]);
    }
    let options = StreamOptions { message_bytes_max: 500, ..StreamOptions::default() };
    let mut stream = world.stream_with(options);
    stream.control().create(WatchRequest { start: Some(2), prev_kv: true, ..prefix("") }).unwrap();
    let mut seen = 0;
    for message in drain(&mut stream) {
        let WatchMessage::Events { events, .. } = message else { continue };
        let bytes: usize = events.iter().map(Event::wire_bytes).sum();
        let last_bytes: usize = events[events.len() - 2..].iter().map(Event::wire_bytes).sum();
        assert!(bytes - last_bytes < 500, "the last revision alone passed the limit");
        assert_eq!(events.len() % 2, 0, "revisions are whole");
        seen += events.len();
    }
    assert_eq!(seen, 40);
}
