//! What a client may rely on, one test a claim. Catching up, progress and bounds have their own.

use super::oracle::*;
use crate::key_range::KeyRange;
use crate::watch::*;

/// A value that alone exceeds the fragments' limit below, by far.
const LARGE: &str = "a value that alone exceeds every limit there is, by far, \
                     and then some more of it to be sure of that";

// Clients drop events of an id that they do not know yet.
#[test]
fn created_comes_before_events_of_its_id() {
    let world = World::new();
    world.write([put("a", "1")]);
    let mut stream = world.stream();
    stream.control().create(WatchRequest { start: Some(2), ..key("a") }).unwrap();
    stream.control().create(key("a")).unwrap();
    world.write([put("a", "2")]);
    expect(&mut stream, &["0 created 2", "1 created 2", "1 [3] a@3=2", "0 [3] a@2=1, a@3=2"]);
}

// A put that was acknowledged before the watch began must not be seen by it, even if the hub has
// yet to be told of the put.
#[test]
fn from_now_on_begins_after_what_is_published() {
    let world = World::new();
    let published = world.oracle.publish([put("a", "1")]);
    let mut stream = world.stream();
    stream.control().create(key("a")).unwrap();
    world.hub.notify(&published);
    expect(&mut stream, &["0 created 2"]);
    world.write([put("a", "2")]);
    expect(&mut stream, &["0 [3] a@3=2"]);
}

// etcd once delivered older events to a future watch after a reconnect.
#[test]
fn future_start_waits_for_its_revision() {
    let world = World::new();
    let mut stream = world.stream();
    stream.control().create(WatchRequest { start: Some(4), ..prefix("") }).unwrap();
    stream.control().create(WatchRequest { start: Some(4), ..key("a") }).unwrap();
    for value in ["1", "2", "3"] {
        world.write([put("a", value)]);
    }
    expect(&mut stream, &["0 created 1", "1 created 1", "1 [4] a@4=3", "0 [4] a@4=3"]);
}

// A snapshot moves the store forward without telling every change; a watch of the past reads what
// it missed, and a watch of the future still must not fire early.
#[test]
fn future_start_waits_across_a_replaced_store() {
    let world = World::new();
    let mut stream = world.stream();
    stream.control().create(WatchRequest { start: Some(5), ..key("a") }).unwrap();
    stream.control().create(key("a")).unwrap();
    for value in ["1", "2"] {
        world.oracle.publish([put("a", value)]);
    }
    world.hub.pass(3);
    expect(&mut stream, &["0 created 1", "1 created 1", "1 [3] a@2=1, a@3=2"]);
    for value in ["3", "4"] {
        world.oracle.publish([put("a", value)]);
    }
    world.hub.pass(5);
    expect(&mut stream, &["0 [5] a@5=4", "1 [5] a@4=3, a@5=4"]);
    world.hub.check();
}

// The writer looks whether anyone watches, and only then collects events: a watcher that comes
// between the look and the notice must not fall into the gap.
#[test]
fn watcher_created_while_the_hub_seemed_idle_misses_nothing() {
    let world = World::new();
    let mut stream = world.stream();
    assert!(world.hub.is_idle());
    stream.control().create(key("a")).unwrap();
    world.oracle.publish([put("a", "1")]);
    world.hub.pass(2);
    assert!(world.hub.is_idle(), "a lagging watcher takes no live events");
    expect(&mut stream, &["0 created 1", "0 [2] a@2=1"]);
    assert!(!world.hub.is_idle());
}

// etcd lost the delete at the compacted revision twice.
#[test]
fn start_at_the_compacted_revision_sees_its_tombstone() {
    for request in [key("a"), prefix("a")] {
        let world = World::new();
        world.write([put("a", "1")]);
        world.write([delete("a")]);
        world.write([put("b", "1")]);
        world.oracle.compact(3);
        let mut stream = world.stream();
        stream.control().create(WatchRequest { start: Some(3), ..request }).unwrap();
        expect(&mut stream, &["0 created 4", "0 [4] a@3 gone"]);
    }
}

// Clients learn the compacted revision from the cancel, but only of an id they were told of.
#[test]
fn start_below_the_compacted_revision_is_created_then_canceled() {
    let world = World::new();
    world.write_many("a", 3);
    world.oracle.compact(3);
    let mut stream = world.stream();
    let request = WatchRequest { start: Some(2), ..key("a") };
    stream.control().create(request).unwrap();
    expect(&mut stream, &["0 created 4", "0 compacted 3"]);
    world.write([put("a", "x")]);
    expect(&mut stream, &[]);
    assert!(!stream.control().cancel(WatchId(0)), "it has ended");
    world.hub.check();
}

// Clients take the header of a live message for the revision of its events.
#[test]
fn live_message_carries_exactly_one_revision() {
    let world = World::new();
    let mut stream = world.stream();
    stream.control().create(prefix("")).unwrap();
    let mut batch = world.oracle.publish([put("a", "1"), put("b", "1")]);
    batch.extend(world.oracle.publish([put("c", "1")]));
    batch.extend(world.oracle.publish([delete("a"), put("d", "1")]));
    world.hub.notify(&batch);
    expect(
        &mut stream,
        &["0 created 1", "0 [2] a@2=1, b@2=1", "0 [3] c@3=1", "0 [4] a@4 gone, d@4=1"],
    );
}

// A client that sees half a transaction acts on a state that never was.
#[test]
fn one_revision_comes_in_one_message_whatever_the_limits() {
    let tiny = StreamOptions {
        outbox_bytes_max: 1,
        message_bytes_max: 1,
        message_revisions_max: 1,
        fragment_bytes_max: 1,
        scan_revisions_max: 1,
        scan_bytes_max: 1,
        ..StreamOptions::default()
    };
    let world = World::new();
    world.write([put("a", "1"), put("b", "1"), put("c", "1")]);
    let mut stream = world.stream_with(tiny);
    stream.control().create(WatchRequest { start: Some(2), ..prefix("") }).unwrap();
    expect(&mut stream, &["0 created 2", "0 [2] a@2=1, b@2=1, c@2=1"]);
    world.write([put("a", "2"), delete("b")]);
    expect(&mut stream, &["0 [3] a@3=2, b@3 gone"]);
}

// Without fragments a revision larger than the transport's limit could never be received.
#[test]
fn fragments_split_a_revision_between_events_only() {
    let options = StreamOptions { fragment_bytes_max: 2 * 66, ..StreamOptions::default() };
    let world = World::new();
    world.write([put("a", "1"), put("b", "1"), put("c", "1"), put("d", "1"), put("e", "1")]);
    let mut stream = world.stream_with(options);
    let request = WatchRequest { fragment: true, ..prefix("") };
    stream.control().create(WatchRequest { start: Some(2), ..request.clone() }).unwrap();
    let fragments = ["0 [2] a@2=1, b@2=1 ...", "0 [2] c@2=1, d@2=1 ...", "0 [2] e@2=1"];
    expect(&mut stream, &[&["0 created 2"], &fragments[..]].concat());
    world.write([put("a", "2"), put("b", LARGE), put("c", "2")]);
    let live = lines(&drain(&mut stream));
    assert_eq!(live.len(), 3, "an event is never split: {live:?}");
    assert_eq!(live.iter().filter(|line| line.ends_with("...")).count(), 2);
    assert!(!live[2].ends_with("..."));
    world.write([put("a", "3"), put("b", "3")]);
    expect(&mut stream, &["0 [4] a@4=3, b@4=3"]);
}

// Clients take `create_revision` 0 for "deleted".
#[test]
fn delete_carries_only_key_and_revision() {
    let world = World::new();
    world.write([put("a", "1")]);
    let mut stream = world.stream();
    stream.control().create(key("a")).unwrap();
    world.write([delete("a")]);
    let messages = drain(&mut stream);
    let [_, WatchMessage::Events { events, .. }] = &messages[..] else { panic!("{messages:?}") };
    let expected = crate::types::KeyValue {
        key: "a".into(),
        mod_revision: 3,
        ..crate::types::KeyValue::default()
    };
    assert_eq!(events[..], [Event { kind: EventKind::Delete, kv: expected, prev: None }]);
}

// Caches patch their state by the previous value.
#[test]
fn previous_values_come_when_asked_for_and_readable() {
    let world = World::new();
    let mut stream = world.stream();
    stream.control().create(WatchRequest { prev_kv: true, ..key("a") }).unwrap();
    stream.control().create(key("a")).unwrap();
    world.write([put("a", "1")]);
    world.write([put("a", "2")]);
    world.write([delete("a")]);
    world.write([put("a", "3")]);
    let messages = lines(&drain(&mut stream));
    let of = |id: &str| -> Vec<_> {
        messages.iter().filter(|line| line.starts_with(&format!("{id} ["))).cloned().collect()
    };
    assert_eq!(
        of("0"),
        ["0 [2] a@2=1", "0 [3] a@3=2 was 1", "0 [4] a@4 gone was 2", "0 [5] a@5=3"]
    );
    assert_eq!(of("1"), ["1 [2] a@2=1", "1 [3] a@3=2", "1 [4] a@4 gone", "1 [5] a@5=3"]);
    world.write([put("a", "4")]);
    world.oracle.compact(6);
    expect(&mut stream, &["0 [6] a@6=4", "1 [6] a@6=4"]);
}

// A filter is about what is shown, not about how far the watcher has come.
#[test]
fn filters_drop_events_but_not_positions() {
    let world = World::new();
    let options = StreamOptions { outbox_messages_max: 1, ..StreamOptions::default() };
    let mut stream = world.stream_with(options);
    let no_puts = WatchRequest { skip_puts: true, ..key("a") };
    let no_deletes = WatchRequest { skip_deletes: true, ..prefix("a") };
    stream.control().create(no_puts).unwrap();
    stream.control().create(no_deletes).unwrap();
    stream
        .control()
        .create(WatchRequest { skip_puts: true, skip_deletes: true, ..key("a") })
        .unwrap();
    for op in [put("a", "1"), delete("a"), put("a", "2"), delete("a")] {
        world.write([op]);
    }
    let messages = lines(&drain(&mut stream));
    let of = |id: &str| -> Vec<_> {
        messages.iter().filter(|line| line.starts_with(&format!("{id} ["))).cloned().collect()
    };
    assert_eq!(of("0"), ["0 [5] a@3 gone, a@5 gone"]);
    assert_eq!(of("1"), ["1 [5] a@2=1, a@4=2"]);
    assert_eq!(of("2"), [""; 0]);
    assert!(stream.control().request_progress());
    expect(&mut stream, &["progress 5"]);
}

// After `Canceled` the client forgets the id; an event behind it would go to its next bearer.
#[test]
fn canceled_is_the_last_word() {
    let world = World::new();
    let mut stream = world.stream();
    let control = stream.control().clone();
    control.create(key("a")).unwrap();
    control.create(prefix("a")).unwrap();
    world.write([put("a", "1")]);
    assert!(control.cancel(WatchId(0)));
    assert!(!control.cancel(WatchId(0)), "a second cancel finds nobody");
    assert!(!control.cancel(WatchId(7)), "an unknown id is not answered");
    world.write([put("a", "2")]);
    assert!(control.cancel(WatchId(1)));
    world.write([put("a", "3")]);
    expect(
        &mut stream,
        &[
            "0 created 1",
            "1 created 1",
            "0 [2] a@2=1",
            "1 [2] a@2=1",
            "0 canceled",
            "1 [3] a@3=2",
            "1 canceled",
        ],
    );
    assert!(world.hub.is_idle());
    world.hub.check();
}

// A watcher may be canceled, and its name given away, while the consumer reads history for it.
#[test]
fn cancel_while_catching_up_is_the_last_word() {
    let world = World::new();
    world.write_many("a", 10);
    let options = StreamOptions { message_revisions_max: 2, ..StreamOptions::default() };
    let mut stream = world.stream_with(options);
    let request = WatchRequest { start: Some(2), id: Some(WatchId(3)), ..prefix("") };
    let control = stream.control().clone();
    control.create(request.clone()).unwrap();
    assert_eq!(lines(&[next(&mut stream).unwrap()]), ["3 created 11"]);
    assert_eq!(lines(&[next(&mut stream).unwrap()]), ["3 [11] a@2=0, a@3=1"]);
    assert!(control.cancel(WatchId(3)));
    control.create(WatchRequest { start: Some(11), ..request }).unwrap();
    let rest = lines(&drain(&mut stream));
    let end = rest.iter().position(|line| line == "3 canceled").unwrap();
    assert!(rest[..end].iter().all(|line| line.contains("a@")), "{rest:?}");
    assert_eq!(rest[end + 1..], ["3 created 11", "3 [11] a@11=9"]);
}

// Clients pair requests and answers by these rules.
#[test]
fn ids_are_counted_from_zero_and_skip_those_in_use() {
    let world = World::new();
    let stream = world.stream();
    let control = stream.control();
    let create = |id: Option<i64>| control.create(WatchRequest { id: id.map(WatchId), ..key("a") });
    assert_eq!(create(Some(1)), Ok(WatchId(1)));
    assert_eq!(create(None), Ok(WatchId(0)));
    assert_eq!(create(None), Ok(WatchId(2)));
    assert_eq!(create(Some(2)), Err(CreateError::DuplicateId));
    assert_eq!(create(Some(-9)), Ok(WatchId(-9)));
    assert!(control.cancel(WatchId(1)));
    assert_eq!(create(Some(1)), Ok(WatchId(1)), "a name is free once its bearer has ended");
    assert_eq!(create(None), Ok(WatchId(3)));
}

// A reversed range is a client's mistake, to be told and not to be waited on for ever.
#[test]
fn empty_range_is_refused_without_a_message() {
    let world = World::new();
    let mut stream = world.stream();
    let range = KeyRange { start: "b".into(), end: Some("a".into()) };
    let refused = stream.control().create(WatchRequest::new(range));
    assert_eq!(refused, Err(CreateError::EmptyRange));
    expect(&mut stream, &[]);
}

// A closed connection must leave nothing behind that the writer would have to serve.
#[test]
fn dropped_stream_unregisters_its_watchers() {
    let world = World::new();
    let mut other = world.stream();
    other.control().create(key("a")).unwrap();
    let stream = world.stream();
    let control = stream.control().clone();
    for _ in 0..300 {
        control.create(key("a")).unwrap();
        control.create(prefix("a")).unwrap();
    }
    world.write([put("a", "1")]);
    drop(stream);
    world.hub.check();
    world.write([put("a", "2")]);
    expect(&mut other, &["0 created 1", "0 [2] a@2=1", "0 [3] a@3=2"]);
    assert_eq!(control.create(key("a")), Err(CreateError::Ended));
    assert!(!control.cancel(WatchId(0)) && !control.request_progress());
    control.tick_progress();
    let nothing = Backlog::default();
    assert_eq!(control.backlog(), nothing);
    drop(other);
    assert!(world.hub.is_idle());
}

// A server that stops must not leave clients waiting on a store that is no more.
#[test]
fn ended_hub_ends_its_streams_after_what_waits() {
    let world = World::new();
    let mut stream = world.stream();
    stream.control().create(key("a")).unwrap();
    world.write([put("a", "1")]);
    let World { hub, oracle } = world;
    drop(hub);
    assert_eq!(lines(&[stream.next_blocking().unwrap().unwrap()]), ["0 created 1"]);
    assert_eq!(lines(&[stream.next_blocking().unwrap().unwrap()]), ["0 [2] a@2=1"]);
    assert!(stream.next_blocking().is_none());
    drop(oracle);
}

// A disk that fails must not look like a store in which nothing happens.
#[test]
fn unreadable_history_ends_the_stream_with_an_error() {
    let world = World::new();
    world.write([put("a", "1")]);
    let mut stream = world.stream();
    stream.control().create(WatchRequest { start: Some(2), ..key("a") }).unwrap();
    world.oracle.broken.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(stream.next_blocking(), Some(Ok(WatchMessage::Created { .. }))));
    assert!(matches!(stream.next_blocking(), Some(Err(Unreadable { .. }))));
    assert!(stream.next_blocking().is_none());
}

// Whoever may no longer see some keys is told so, once, and sees no more of them; those whose keys
// are others go on. What was ready is still before it: the reader holds that back.
#[test]
fn watchers_of_keys_that_are_denied_end() {
    let world = World::new();
    let mut stream = world.stream();
    let control = stream.control().clone();
    control.create(key("a")).unwrap();
    control.create(key("b")).unwrap();
    control.create(WatchRequest { start: Some(1), ..prefix("") }).unwrap();
    world.write([put("a", "1")]);
    let may_watch = |range: &KeyRange| !range.contains(b"a");
    assert_eq!(control.retain(may_watch), [WatchId(0), WatchId(2)]);
    assert_eq!(control.retain(may_watch), []);
    world.write([put("a", "2")]);
    world.write([put("b", "3")]);
    let all = ["0 created 1", "1 created 1", "2 created 1", "0 [2] a@2=1", "0 denied", "2 denied"];
    expect(&mut stream, &[&all[..], &["1 [4] b@4=3"]].concat());
    assert!(control.create(key("a")).is_ok(), "that is for whoever asks to decide");
    world.hub.check();
}
