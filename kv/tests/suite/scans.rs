//! Ranges that are read in turns, while the store goes on.

use drystone_kv::Scan;
use drystone_kv::command::{Command, DeleteRange, Put, RangeRequest, Sort, SortBy, SortOrder};
use drystone_kv::key_range::KeyRange;
use drystone_kv::types::KeyValue;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::common::{Bench, compact, each_seed, refusal as refused};

/// More than one turn looks up.
const KEYS: u32 = 2_500;

fn key(number: u32) -> String {
    format!("k{number:05}")
}

/// One change, wherever it falls.
fn change(bench: &Bench, rng: &mut ChaCha8Rng) {
    let key = key(rng.random_range(0..KEYS + 100));
    let command = match rng.random_range(0..4) {
        0 => {
            let range = KeyRange::single(key);
            Command::DeleteRange(DeleteRange { range, prev_kv: false })
        }
        _ => Command::Put(Put::new(key, rng.next_u32().to_string())),
    };
    bench.ok(&command);
}

fn request(bench: &Bench, rng: &mut ChaCha8Rng) -> RangeRequest {
    let descend = Sort { by: SortBy::Key, order: SortOrder::Descend };
    let mut range = KeyRange::all();
    if rng.random() {
        let (one, other) = (rng.random_range(0..KEYS), rng.random_range(0..KEYS));
        range =
            KeyRange { start: key(one.min(other)).into(), end: Some(key(one.max(other)).into()) };
    }
    RangeRequest {
        limit: if rng.random() { 0 } else { rng.random_range(1..2 * KEYS as usize) },
        sort: rng.random::<bool>().then_some(descend),
        keys_only: rng.random_range(0..4) == 0,
        revision: rng.random::<bool>().then(|| bench.store.revision() - 50),
        ..RangeRequest::new(range)
    }
}

/// Reads on to the end, while the store changes, and what is read is compacted away.
fn read(
    bench: &Bench,
    scan: &mut Scan<drystone_kv::mem::Mem>,
    rng: &mut ChaCha8Rng,
) -> Vec<KeyValue> {
    let mut all = Vec::new();
    loop {
        let turn_max = rng.random_range(1..1_500);
        let turn = scan.turn(turn_max).expect("what is pinned stays");
        assert!(turn.len() <= turn_max);
        if turn.is_empty() {
            return all;
        }
        all.extend(turn);
        for _ in 0..rng.random_range(0..20) {
            change(bench, rng);
        }
        if rng.random_range(0..4) == 0 {
            let _ = bench.apply(&compact(bench.store.revision()));
            bench.sweep();
        }
    }
}

/// The turns together are the answer as it would have been given at once, the first time and every
/// other time.
#[test]
fn turns_are_the_answer_of_the_moment_when_the_scan_began() {
    each_seed("turns_are_the_answer_of_the_moment_when_the_scan_began", 20, 500, |seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let bench = Bench::new();
        for number in 0..KEYS {
            bench.ok(&Command::Put(Put::new(key(number), "first")));
        }
        for _ in 0..200 {
            change(&bench, &mut rng);
        }
        for _ in 0..4 {
            let request = request(&bench, &mut rng);
            let whole = match bench.range(&request) {
                Ok(whole) => whole,
                Err(refusal) => {
                    let scan = refused(bench.store.scan(&request));
                    assert_eq!(scan.expect_err("the same is refused"), refusal);
                    continue;
                }
            };
            let mut scan = bench.store.scan(&request).expect("it can be read at once");
            assert_eq!((scan.revision(), scan.count()), (whole.revision, whole.count));
            assert_eq!(scan.more(), whole.more);
            for time in 0..3 {
                assert_eq!(read(&bench, &mut scan, &mut rng), whole.kvs, "time {time}");
                scan.rewind();
            }
        }
    });
}

/// Garbage that a scan may still need goes once the scan is gone.
#[test]
fn scan_holds_back_the_sweep_until_it_is_dropped() {
    let bench = Bench::new();
    for number in 0..KEYS {
        bench.ok(&Command::Put(Put::new(key(number), "first")));
    }
    let scan = bench.store.scan(&RangeRequest::new(KeyRange::all())).expect("it is readable");
    for number in 0..KEYS {
        bench.ok(&Command::Put(Put::new(key(number), "second")));
    }
    bench.ok(&compact(bench.store.revision()));
    bench.sweep();
    let held = bench.store.status().engine.bytes_in_use;
    drop(scan);
    bench.sweep();
    let left = bench.store.status().engine.bytes_in_use;
    assert!(left < held, "{left} of {held} bytes are left");
}
