//! Claims about one thread, without crashes: what is written is read.

use bytes::Bytes;
use drystone_vfs::SimVfs;

use super::model::Model;
use super::{Open, assert_equal, open_sound, put, scan};
use crate::engine::{Batch, Direction, Engine, Space};

/// A key has the value of its last put, and none after a delete.
///
/// # Panics
///
/// If the claim does not hold.
pub fn the_last_put_wins<E: Engine>(open: &Open<E>) {
    let engine = open_sound(open, &SimVfs::new(0));
    let get = |key: &[u8]| engine.get(Space::Lease, key).expect("readable");
    assert_eq!(get(b"k"), None, "a fresh engine is empty");
    for value in [&b"one"[..], b"two", b"", b"three"] {
        engine.write(put(Space::Lease, b"k", value)).expect("writable");
        assert_eq!(get(b"k").as_deref(), Some(value));
    }
    assert_eq!(get(b""), None);
    assert_eq!(get(b"k\0"), None);
    let mut batch = Batch::new();
    batch.delete(Space::Lease, b"k");
    batch.delete(Space::Lease, b"never there");
    engine.write(batch).expect("deleting what is not there is no error");
    assert_eq!(get(b"k"), None);
    engine.write(put(Space::Lease, b"k", b"again")).expect("writable");
    assert_eq!(get(b"k").as_deref(), Some(&b"again"[..]), "a deleted key may come back");
}

/// A key in one space is not there in another.
///
/// # Panics
///
/// If the claim does not hold.
pub fn spaces_do_not_mix<E: Engine>(open: &Open<E>) {
    let engine = open_sound(open, &SimVfs::new(0));
    let mut model = Model::default();
    for space in Space::ALL {
        assert_equal(&engine, &model);
        let batch = put(space, b"same key", &[space as u8]);
        model.apply(&batch);
        engine.write(batch).expect("writable");
    }
    assert_equal(&engine, &model);
    let mut batch = Batch::new();
    batch.delete(Space::Record, b"same key");
    model.apply(&batch);
    engine.write(batch).expect("writable");
    assert_equal(&engine, &model);
}

/// Of several changes to one key in a batch the last one counts; an empty batch changes nothing.
///
/// # Panics
///
/// If the claim does not hold.
pub fn a_batch_applies_in_order<E: Engine>(open: &Open<E>) {
    let engine = open_sound(open, &SimVfs::new(0));
    let mut model = Model::default();
    let mut batch = Batch::new();
    batch.put(Space::Meta, b"a", Bytes::from_static(b"1"));
    batch.delete(Space::Meta, b"a");
    batch.delete(Space::Meta, b"b");
    batch.put(Space::Meta, b"b", Bytes::from_static(b"2"));
    batch.put(Space::Meta, b"c", Bytes::from_static(b"3"));
    batch.put(Space::Meta, b"c", Bytes::from_static(b"4"));
    model.apply(&batch);
    engine.write(batch).expect("writable");
    assert_equal(&engine, &model);
    assert_eq!(model.space(Space::Meta).len(), 2);
    engine.write(Batch::new()).expect("an empty batch is a batch");
    assert_equal(&engine, &model);
}

/// A scan gives the records from its start on and before its end, and no other, up or down,
/// wherever the bounds fall.
///
/// # Panics
///
/// If the claim does not hold.
pub fn every_bound_is_exact_in_both_directions<E: Engine>(open: &Open<E>) {
    let disk = SimVfs::new(0);
    let engine = open_sound(open, &disk);
    // Enough records for some pages or leaves; the odd numbers between them stay free.
    let key = |n: usize| n.to_be_bytes()[6..].to_vec();
    for n in (2..600).step_by(2) {
        engine.write(put(Space::Record, &key(n), &key(n))).expect("writable");
    }
    check_bounds(&engine, &key);
    // And the same when read back from disk.
    engine.persist().expect("the disk is in order");
    drop(engine);
    check_bounds(&open_sound(open, &disk), &key);
}

fn check_bounds<E: Engine>(engine: &E, key: &dyn Fn(usize) -> Vec<u8>) {
    let snapshot = engine.snapshot();
    let check = |start: &[u8], end: Option<&[u8]>| {
        let keys = (2..600).step_by(2).map(key);
        let inside = |key: &Vec<u8>| start <= &key[..] && end.is_none_or(|end| &key[..] < end);
        let mut expected: Vec<Vec<u8>> = keys.filter(inside).collect();
        for direction in [Direction::Forward, Direction::Backward] {
            let found = scan(&snapshot, Space::Record, start, end, direction);
            assert!(found.iter().all(|(key, value)| key == value));
            assert!(found.iter().map(|(key, _)| key).eq(&expected), "{start:?}..{end:?}");
            expected.reverse();
        }
    };
    check(b"", None);
    check(b"", Some(b""));
    for lo in (0..604).step_by(7) {
        check(&key(lo), None);
        check(b"", Some(&key(lo)));
        for hi in (0..604).step_by(11).chain([lo, lo + 1, lo + 2]) {
            check(&key(lo), Some(&key(hi)));
            // A bound may be longer than every key, or shorter.
            check(&[&key(lo)[..], b"\0"].concat(), Some(&[&key(hi)[..], b"\0"].concat()));
            check(&key(lo)[..1], Some(&key(hi)));
        }
    }
}

/// Keys and values from empty to large keep every byte, in memory and on disk.
///
/// # Panics
///
/// If the claim does not hold.
pub fn keys_and_values_of_any_length_read_back<E: Engine>(open: &Open<E>) {
    let disk = SimVfs::new(0);
    let engine = open_sound(open, &disk);
    let mut model = Model::default();
    for len in (0..30).chain([255, 256, 1000]) {
        for value_bytes in [0, 1, 100, 5000] {
            let value: Vec<u8> = (0..value_bytes).map(|at| (at * 7 + len) as u8).collect();
            let key = vec![0xff; len];
            let batch = put(Space::ALL[value_bytes % Space::COUNT], &key, &value);
            model.apply(&batch);
            engine.write(batch).expect("writable");
        }
    }
    let batch = put(Space::Record, b"large", &vec![7; 2_000_000]);
    model.apply(&batch);
    engine.write(batch).expect("writable");
    assert_equal(&engine, &model);
    engine.persist().expect("the disk is in order");
    drop(engine);
    assert_equal(&open_sound(open, &disk), &model);
}

/// `bytes_in_use` follows what is put and deleted, and never exceeds `bytes`.
///
/// # Panics
///
/// If the claim does not hold.
pub fn statistics_follow_the_records<E: Engine>(open: &Open<E>) {
    let engine = open_sound(open, &SimVfs::new(0));
    let stats = || {
        let stats = engine.stats();
        assert!(stats.bytes_in_use <= stats.bytes, "{stats:?}");
        stats
    };
    let empty = stats();
    for n in 0..2000_u32 {
        engine.write(put(Space::Record, &n.to_be_bytes(), &[1; 100])).expect("writable");
    }
    let full = stats();
    assert_eq!(full.records[Space::Record.index()], 2000);
    assert!(full.bytes_in_use >= empty.bytes_in_use + 2000 * 100, "{full:?}");
    for n in 0..2000_u32 {
        engine.write(put(Space::Record, &n.to_be_bytes(), &[1; 50])).expect("writable");
    }
    assert_eq!(stats().records[Space::Record.index()], 2000, "an overwrite adds no record");
    for n in 0..2000_u32 {
        let mut batch = Batch::new();
        batch.delete(Space::Record, &n.to_be_bytes());
        engine.write(batch).expect("writable");
    }
    let done = stats();
    assert_eq!(done.records, [0; Space::COUNT]);
    assert!(done.bytes_in_use < full.bytes_in_use / 10, "{done:?} after {full:?}");
}
