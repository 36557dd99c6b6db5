//! What a write pays for watches.
//!
//! Expected from the sizes: an idle hub costs a lock and two stores, some 20 ns. With watchers of
//! other keys, one hash of the key and a search of a tree of height 10 with a key comparison each,
//! some 200 ns. Each watcher that matches adds a lock, a count of a shared change and a push, some
//! 50 ns.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;

use super::oracle::*;
use crate::key_range::KeyRange;
use crate::record::Record;
use crate::types::{KeyValue, Revision};
use crate::watch::*;

const PUTS: u64 = 20_000;

fn changes(count: u64, first: u64) -> Vec<Change> {
    (first..first + count)
        .map(|main| {
            let kv = KeyValue {
                key: Bytes::from(format!("/registry/pods/default/pod-{:05}", main % 1000)),
                value: Bytes::from_static(&[0; 100]),
                create_revision: 2,
                mod_revision: main,
                version: 1,
                ..KeyValue::default()
            };
            Change { revision: Revision::new(main, 0), record: Record::Put(kv) }
        })
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the real clock")]
fn time(work: impl FnOnce()) -> Duration {
    let start = std::time::Instant::now();
    work();
    start.elapsed()
}

/// Nanoseconds a notice of one put, the best of several rounds; consumers read between rounds.
fn measure(world: &World, streams: &mut [WatchStream], puts: u64) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..9 {
        let batch = changes(puts, world.hub.notified() + 1);
        let elapsed = time(|| {
            for change in &batch {
                world.hub.notify(black_box(std::slice::from_ref(change)));
            }
        });
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let nanos = elapsed.as_nanos() as f64 / puts as f64;
        best = best.min(nanos);
        for stream in streams.iter_mut() {
            assert_eq!(stream.control().backlog().lagging, 0, "all of it was pushed");
            drain(stream);
        }
    }
    best
}

fn roomy() -> StreamOptions {
    StreamOptions {
        outbox_messages_max: usize::MAX,
        outbox_bytes_max: usize::MAX,
        controls_max: usize::MAX,
        ..StreamOptions::default()
    }
}

// Ten thousand idle watchers must not be felt by a write. The figures go to the log; what is
// asserted is coarse enough for a busy machine.
#[test]
fn idle_watchers_do_not_slow_a_write() {
    let world = World::new();
    let none = measure(&world, &mut [], PUTS);

    let mut streams = [world.stream_with(roomy())];
    for number in 0..10_000 {
        let single = KeyRange::single(format!("/registry/leases/lease-{number:05}"));
        streams[0].control().create(WatchRequest::new(single)).unwrap();
    }
    let singles = measure(&world, &mut streams, PUTS);
    for number in 0..1000 {
        let range = KeyRange::prefix(format!("/registry/pods/ns-{number:04}/"));
        streams[0].control().create(WatchRequest::new(range)).unwrap();
    }
    let idle = measure(&world, &mut streams, PUTS);

    let matching = |watchers: usize, per_stream: usize| {
        let world = World::new();
        let mut streams = Vec::new();
        for _ in 0..watchers.div_ceil(per_stream) {
            let stream = world.stream_with(roomy());
            for _ in 0..per_stream {
                stream.control().create(prefix("/registry/pods/")).unwrap();
            }
            streams.push(stream);
        }
        measure(&world, &mut streams, 500)
    };
    let (hundred, spread) = (matching(100, 100), matching(100, 1));

    println!("ns a put: {none:.0} with no watcher");
    println!("ns a put: {singles:.0} with 10000 idle watchers of keys");
    println!("ns a put: {idle:.0} with 1000 idle watchers of ranges as well");
    println!("ns a put: {hundred:.0} with 100 matching watchers on one stream");
    println!("ns a put: {spread:.0} with 100 matching watchers on a stream each");
    assert!(idle < none + 5_000.0, "searching, not walking: {idle} ns against {none} ns");
}
