//! Progress: what it promises, and when it is silent. A client resumes from the revision told, so
//! an untrue one loses events for good.

use std::sync::Arc;

use super::oracle::*;
use crate::watch::*;

// Progress is the client's proof that it has seen everything up to a revision.
#[test]
fn progress_of_a_stream_comes_after_all_events_before_it() {
    let world = World::new();
    let mut stream = world.stream();
    stream.control().create(key("a")).unwrap();
    stream.control().create(prefix("b")).unwrap();
    world.write([put("a", "1"), put("b", "1")]);
    world.write([put("c", "1")]);
    assert!(stream.control().request_progress());
    expect(
        &mut stream,
        &["0 created 1", "1 created 1", "0 [2] a@2=1", "1 [2] b@2=1", "progress 3"],
    );
}

// Between publishing and telling, the newest revision is not yet on its way to the watchers.
#[test]
fn progress_does_not_run_ahead_of_the_hub() {
    let world = World::new();
    let mut stream = world.stream();
    stream.control().create(key("a")).unwrap();
    expect(&mut stream, &["0 created 1"]);
    let published = world.oracle.publish([put("a", "1")]);
    assert!(stream.control().request_progress());
    world.hub.notify(&published);
    assert!(stream.control().request_progress());
    expect(&mut stream, &["progress 1", "0 [2] a@2=1", "progress 2"]);
}

// Told less than `Created` said, a client would think that time runs backwards.
#[test]
fn progress_waits_until_the_hub_has_reached_what_created_said() {
    let world = World::new();
    let published = world.oracle.publish([put("a", "1")]);
    let mut stream = world.stream();
    stream.control().create(key("a")).unwrap();
    assert!(!stream.control().request_progress());
    world.hub.notify(&published);
    assert!(stream.control().request_progress());
    expect(&mut stream, &["0 created 2", "progress 2"]);
}

// The same of events that were there before, and of the next ones.
#[test]
fn events_do_not_go_behind_what_created_said() {
    let world = World::new();
    world.write([put("a", "1")]);
    let published = world.oracle.publish([put("a", "2"), put("b", "1")]);
    let later = world.oracle.publish([put("b", "2")]);
    let mut stream = world.stream();
    stream.control().create(WatchRequest { start: Some(2), ..key("a") }).unwrap();
    stream.control().create(WatchRequest { start: Some(3), ..key("b") }).unwrap();
    expect(&mut stream, &["0 created 4", "1 created 4", "0 [4] a@2=1"]);
    world.hub.notify(&published);
    expect(&mut stream, &["0 [4] a@3=2", "1 [4] b@3=1"]);
    assert!(!stream.control().request_progress());
    assert!(stream.control().cancel(WatchId(0)));
    expect(&mut stream, &["0 canceled"]);
    world.hub.notify(&later);
    assert!(stream.control().request_progress());
    expect(&mut stream, &["1 [4] b@4=2", "progress 4"]);
}

// While a revision is being told, some watchers have heard of it and others have not.
#[test]
fn progress_is_silent_while_a_revision_is_being_told() {
    let world = World::new();
    let stream = world.stream();
    let control = stream.control().clone();
    control.create(key("a")).unwrap();
    let changes = world.oracle.publish([put("a", "1")]);
    let mut state = control.stream.lock();
    let watcher = Arc::clone(state.member_of(WatchId(0)).unwrap());
    let changes = changes.into_iter().map(Arc::new).collect();
    assert!(state.deliver(&watcher, 2, changes, &control.stream.options));
    drop(state);
    assert!(!control.request_progress());
}

// etcd answers nothing here, and clients are built to ask again.
#[test]
fn progress_is_silent_unless_every_watcher_is_up_to_date() {
    let world = World::new();
    let mut stream = world.stream();
    let control = stream.control().clone();
    assert!(!control.request_progress(), "a stream without watchers");
    control.create(WatchRequest { start: Some(3), ..key("f") }).unwrap();
    control.create(key("a")).unwrap();
    expect(&mut stream, &["0 created 1", "1 created 1"]);
    assert!(!control.request_progress(), "one waits for the future");
    world.write([put("x", "1")]);
    assert!(!control.request_progress(), "it still does");
    world.write([put("x", "2")]);
    assert!(control.request_progress(), "the future has come");
    control.create(WatchRequest { start: Some(2), ..prefix("x") }).unwrap();
    assert!(!control.request_progress(), "one lags");
    expect(&mut stream, &["progress 3", "2 created 3", "2 [3] x@2=1, x@3=2"]);
    assert!(control.request_progress(), "it has caught up");
    expect(&mut stream, &["progress 3"]);
    control.cancel(WatchId(0));
    control.create(WatchRequest { start: Some(9), ..key("f") }).unwrap();
    control.cancel(WatchId(3));
    assert!(control.request_progress(), "the one of the future has gone");
}

// The watcher is synced again as soon as its last slice is read, but not all of it is said yet.
#[test]
fn progress_comes_after_the_rest_of_a_catch_up() {
    let world = World::new();
    world.write_many("a", 5);
    let options = StreamOptions { message_revisions_max: 2, ..StreamOptions::default() };
    let mut stream = world.stream_with(options);
    stream.control().create(WatchRequest { start: Some(2), ..key("a") }).unwrap();
    let first = [next(&mut stream).unwrap(), next(&mut stream).unwrap()];
    assert_eq!(lines(&first), ["0 created 6", "0 [6] a@2=0, a@3=1"]);
    assert!(stream.control().request_progress());
    world.write([put("a", "5")]);
    expect(&mut stream, &["0 [6] a@4=2, a@5=3", "0 [6] a@6=4", "progress 6", "0 [7] a@7=5"]);
}

// A watcher whose outbox is full has missed nothing, but has not seen everything either.
#[test]
fn progress_is_silent_while_the_outbox_is_full() {
    let world = World::new();
    let options = StreamOptions { outbox_messages_max: 2, ..StreamOptions::default() };
    let mut stream = world.stream_with(options);
    stream.control().create(key("a")).unwrap();
    stream.control().create(key("b")).unwrap();
    assert!(!stream.control().request_progress(), "nobody lags, but there is no room");
    world.write([put("a", "1")]);
    assert!(!stream.control().request_progress());
    expect(&mut stream, &["0 created 1", "1 created 1", "0 [2] a@2=1"]);
    assert!(stream.control().request_progress());
    expect(&mut stream, &["progress 2"]);
}

// The tick is for idle watchers; a busy one hears from the store anyway.
#[test]
fn tick_tells_quiet_watchers_that_asked() {
    let world = World::new();
    let mut stream = world.stream();
    let control = stream.control().clone();
    let ask = |request| WatchRequest { progress: true, ..request };
    control.create(ask(key("a"))).unwrap();
    control.create(ask(prefix("b"))).unwrap();
    control.create(key("c")).unwrap();
    control.create(ask(WatchRequest { start: Some(9), ..key("f") })).unwrap();
    expect(&mut stream, &["0 created 1", "1 created 1", "2 created 1", "3 created 1"]);
    control.tick_progress();
    expect(&mut stream, &["0 progress 1", "1 progress 1"]);
    world.write([put("a", "1")]);
    expect(&mut stream, &["0 [2] a@2=1"]);
    control.tick_progress();
    expect(&mut stream, &["1 progress 2"]);
    control.tick_progress();
    expect(&mut stream, &["0 progress 2", "1 progress 2"]);
    control.create(ask(WatchRequest { start: Some(2), ..key("a") })).unwrap();
    control.tick_progress();
    expect(&mut stream, &["4 created 2", "0 progress 2", "1 progress 2", "4 [2] a@2=1"]);
}

// The tick looks at the watchers in batches; each has to have its turn.
#[test]
fn tick_reaches_every_watcher_of_a_large_stream() {
    let world = World::new();
    let mut stream = world.stream();
    for _ in 0..1000 {
        stream.control().create(WatchRequest { progress: true, ..key("a") }).unwrap();
    }
    drain(&mut stream);
    stream.control().tick_progress();
    assert_eq!(drain(&mut stream).len(), 1000);
}
