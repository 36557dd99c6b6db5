//! Parts of the history as numbers: equal for members that agree, whatever else they have done, and
//! different for those that do not.

use bytes::Bytes;
use drystone_kv::engine::{Batch, Engine, Space};
use drystone_kv::mem::Mem;
use drystone_kv::{Command, Part, PartEnd, PartHash, PartReply, Revision};

use crate::common::{Bench, compact, delete, each_seed, grant, put, put_on, revoke};
use crate::requests::Requests;

/// A store with some history; the newest revision is 9.
fn commands() -> Vec<Command> {
    vec![
        put("a", "1"),
        put("b", "1"),
        grant(7),
        put_on("c", "1", 7),
        put("a", "2"),
        delete("b", ""),
        put("b", "2"),
        revoke(7),
        put("a", "3"),
    ]
}

fn history() -> Bench {
    let bench = Bench::new();
    commands().iter().for_each(|command| drop(bench.ok(command)));
    bench
}

fn reply<E: Engine>(bench: &Bench<E>, first: u64, end: PartEnd) -> PartReply {
    let compacted = bench.store.status().compacted;
    bench.store.hash_part(Part { first, end, compacted }).expect("a sound engine reads")
}

/// All parts of so many bytes, from the beginning to the end.
fn walk<E: Engine>(bench: &Bench<E>, bytes: u64) -> Vec<PartHash> {
    let (mut parts, mut first) = (Vec::new(), 0);
    loop {
        let PartReply::Hash(part) = reply(bench, first, PartEnd::Bytes(bytes)) else {
            panic!("nobody else is there to change anything")
        };
        parts.push(part);
        first = part.last + 1;
        if part.is_end {
            return parts;
        }
    }
}

/// One cuts, the other is asked for what was cut.
fn same(leads: &Bench, follows: &Bench) {
    let mut first = 0;
    for part in walk(leads, 300) {
        let PartReply::Hash(found) = reply(follows, first, PartEnd::At(part.last)) else {
            panic!("it has all of it")
        };
        assert_eq!((found.hash, found.records), (part.hash, part.records), "{first} {part:?}");
        first = part.last + 1;
    }
}

// Whoever leads the comparison cuts, and the others are asked for what it has cut.
#[test]
fn parts_cover_all_and_are_the_same_when_asked_for_by_their_ends() {
    let (one, other) = (history(), history());
    same(&one, &other);
    for bytes in [1, 20, 1 << 20] {
        let parts = walk(&one, bytes);
        assert_eq!(parts.iter().map(|part| part.records).sum::<u64>(), 8, "in parts of {bytes}");
        assert_eq!(parts.last().map(|part| part.last), Some(9));
    }
    assert_eq!(walk(&one, 1).len(), 8, "a part is never less than a revision");
}

// A member lags, and another was compacted just now: neither is wrong.
#[test]
fn who_lags_or_is_compacted_elsewhere_says_so() {
    let bench = history();
    let part = Part { first: 0, end: PartEnd::At(10), compacted: None };
    assert_eq!(bench.store.hash_part(part).unwrap(), PartReply::Behind);
    bench.ok(&compact(5));
    assert_eq!(bench.store.hash_part(part).unwrap(), PartReply::Compacted(Some(5)));
}

// A sweep is each member's own affair, and comes when it comes. So is the division into groups.
#[test]
fn sweeps_make_no_difference() {
    each_seed("sweeps_make_no_difference", 20, 400, |seed| {
        let mut requests = Requests::new(seed);
        let (swept, never) = (Bench::new(), Bench::new());
        let mut oracle = drystone_kv_model::Model::new();
        for _ in 0..200 {
            let command = requests.command(&oracle);
            // What it says does not matter here.
            drop(oracle.apply(&command));
            assert_eq!(swept.apply(&command), never.apply(&command));
            assert!(swept.store.sweep_step().is_ok());
        }
        if !swept.store.is_corrupt() {
            swept.sweep();
            same(&swept, &never);
            same(&never, &swept);
        }
        assert_eq!(swept.store.trail(0, 99), never.store.trail(0, 99));
    });
}

// The whole point. One byte of one record, behind the store's back: its part differs, and no other.
#[test]
fn one_byte_of_one_record_is_found() {
    let sound = history();
    let engine = Mem::volatile();
    let hurt = Bench::over(engine);
    commands().iter().for_each(|command| drop(hurt.ok(command)));
    let key = Revision::new(5, 0).to_bytes();
    let engine = hurt.store.engine();
    let mut record = engine.get(Space::Record, &key).unwrap().expect("it is there").to_vec();
    *record.last_mut().unwrap() ^= 1;
    let mut batch = Batch::new();
    batch.put(Space::Record, &key, Bytes::from(record));
    engine.write(batch).unwrap();
    let differ: Vec<u64> = (walk(&sound, 1).iter().zip(walk(&hurt, 1)))
        .filter(|(one, other)| one.hash != other.hash)
        .map(|(one, _)| one.last)
        .collect();
    assert_eq!(differ, [5]);
}

// What a command did is summed up as it was done: two stores of one history have one trail, and one
// that did a command otherwise has another from there.
#[test]
fn a_command_done_otherwise_shows_in_the_trail() {
    let run = |odd: Option<u64>| {
        let bench = Bench::new();
        for index in 1..=800 {
            let value = if odd == Some(index) { "other" } else { "value" };
            bench.ok(&put("k", value));
        }
        bench.store.trail(0, 99)
    };
    let (one, same, other) = (run(None), run(None), run(Some(300)));
    assert_eq!(one.iter().map(|block| block.block).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(one, same);
    assert_ne!(one[0], other[0]);
    assert_eq!(one[1], other[1]);
}
