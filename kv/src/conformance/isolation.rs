//! Claims about several threads: what readers see while a writer writes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use drystone_vfs::SimVfs;

use super::model::Work;
use super::{APPLIED, Open, assert_snapshot, dyn_vfs, open_sound};
use crate::engine::{Batch, Direction, Engine, Snapshot, Space};

/// A snapshot shows the same records for as long as it lives, whatever is written.
///
/// # Panics
///
/// If the claim does not hold.
pub fn a_snapshot_never_changes<E: Engine>(open: &Open<E>) {
    let disk = SimVfs::new(0);
    let engine = open_sound(open, &disk);
    let mut work = Work::new(11);
    let mut held = vec![engine.snapshot()];
    for _ in 0..60 {
        engine.write(work.batch()).expect("writable");
        held.push(engine.snapshot());
        if work.len().is_multiple_of(20) {
            engine.persist().expect("the disk is in order");
        }
    }
    for (count, snapshot) in held.iter().enumerate() {
        assert_snapshot(snapshot, work.state(count));
    }
    // A scan that began before a write goes on as if there were none.
    let snapshot = engine.snapshot();
    let mut records = snapshot.range(Space::Record, b"", None, Direction::Forward);
    let first = records.next().expect("there are records").expect("readable").0;
    let mut clear = Batch::new();
    for key in work.last().space(Space::Record).keys() {
        clear.delete(Space::Record, key);
    }
    engine.write(clear).expect("writable");
    let rest = records.map(|record| record.expect("readable").0);
    let seen: Vec<_> = std::iter::once(first).chain(rest).collect();
    assert!(seen.iter().map(|key| &key[..]).eq(work.last().space(Space::Record).keys()));
    drop(engine);
    assert_snapshot(&snapshot, work.last());
}

/// How many records of each space the batches below set to one number.
const COPIES: u8 = 20;

/// Sets `COPIES` records of each space to `number`, and grows with it now and then.
fn uniform_batch(number: usize) -> Batch {
    let mut batch = Batch::new();
    let value = Bytes::copy_from_slice(&(number as u64).to_be_bytes());
    // Engines may treat large batches in a way of their own.
    let times = if number.is_multiple_of(16) { 20 } else { 1 };
    for _ in 0..times {
        for space in Space::ALL {
            (0..COPIES).for_each(|copy| batch.put(space, &[copy], value.clone()));
        }
    }
    batch.put(Space::Meta, APPLIED, value);
    batch
}

/// The one number that all records of `snapshot` have.
fn uniform_number(snapshot: &impl Snapshot) -> u64 {
    let number = snapshot.get(Space::Meta, APPLIED).expect("readable").expect("was written");
    for space in Space::ALL {
        let mut count = 0;
        for record in snapshot.range(space, b"", None, Direction::Forward) {
            let (key, value) = record.expect("readable");
            assert_eq!(value, number, "{key:?} in {space:?} is of another batch");
            count += 1;
        }
        assert_eq!(count, COPIES + u8::from(space == Space::Meta));
    }
    u64::from_be_bytes(number[..].try_into().expect("8 bytes"))
}

/// While a writer writes batches, every snapshot shows each batch in all spaces or in none, no
/// snapshot is older than one taken before it, and a finished write is in every later one.
///
/// # Panics
///
/// If the claim does not hold.
pub fn a_batch_is_seen_whole<E: Engine>(open: &Open<E>) {
    let engine = open_sound(open, &SimVfs::new(0));
    engine.write(uniform_batch(0)).expect("writable");
    let (written, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while !done.load(Ordering::Acquire) {
                    let at_least = written.load(Ordering::Acquire) as u64;
                    let number = uniform_number(&engine.snapshot());
                    assert!(number >= at_least.max(last), "{number} came after {at_least}, {last}");
                    last = number;
                }
            });
        }
        // Let go of the readers even if a write fails, so that the failure can be seen.
        let _stop = Stop(&done);
        for number in 1..1500 {
            engine.write(uniform_batch(number)).expect("writable");
            written.store(number, Ordering::Release);
        }
    });
}

/// Sets the flag when dropped, by a panic too.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Batches that threads write at the same time, small and large, all take effect.
///
/// # Panics
///
/// If the claim does not hold.
pub fn racing_writers_lose_nothing<E: Engine>(open: &Open<E>) {
    const WRITERS: u32 = 3;
    const BATCHES: u32 = 200;
    let engine = open_sound(open, &SimVfs::new(0));
    let records = |number: u32| if number.is_multiple_of(2) { 400_u32 } else { 2 };
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let engine = &engine;
            scope.spawn(move || {
                for number in 0..BATCHES {
                    let mut batch = Batch::new();
                    for record in 0..records(number) {
                        let key = [writer, number, record].map(u32::to_be_bytes).concat();
                        batch.put(Space::Record, &key, Bytes::new());
                    }
                    engine.write(batch).expect("writable");
                }
            });
        }
    });
    let expected = u64::from(WRITERS * (0..BATCHES).map(records).sum::<u32>());
    assert_eq!(engine.stats().records[Space::Record.index()], expected);
    let snapshot = engine.snapshot();
    let found = snapshot.range(Space::Record, b"", None, Direction::Forward).count();
    assert_eq!(found as u64, expected);
}

/// While one thread persists again and again and another writes, each persist covers all that was
/// written before it began, and what is on disk is whole batches.
///
/// # Panics
///
/// If the claim does not hold.
pub fn persist_runs_beside_writers<E: Engine>(open: &Open<E>) {
    let disk = SimVfs::new(0);
    let engine = open_sound(open, &disk);
    engine.write(uniform_batch(0)).expect("writable");
    let (written, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            for seed in 0.. {
                let last = done.load(Ordering::Acquire);
                let at_least = written.load(Ordering::Acquire) as u64;
                engine.persist().expect("the disk is in order");
                let found = open_sound(open, &disk.crash_copy(seed));
                let number = uniform_number(&found.snapshot());
                assert!(number >= at_least, "{number} is on disk, {at_least} was written");
                if last {
                    break;
                }
            }
        });
        let _stop = Stop(&done);
        for number in 1..3000 {
            engine.write(uniform_batch(number)).expect("writable");
            written.store(number, Ordering::Release);
        }
    });
    drop(engine);
    assert_eq!(uniform_number(&open_sound(open, &disk.crash()).snapshot()), 2999);
}

/// A copy made while a writer writes shows one instant, between the call and the return; the
/// engine goes on as if there were no copy.
///
/// # Panics
///
/// If the claim does not hold.
pub fn a_checkpoint_opens_at_one_point<E: Engine>(open: &Open<E>) {
    let disk = SimVfs::new(0);
    let engine = open_sound(open, &disk);
    engine.write(uniform_batch(0)).expect("writable");
    let (written, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let _stop = Stop(&done);
            for round in 0..30_u64 {
                let dir = PathBuf::from(format!("copies/{round}"));
                let at_least = written.load(Ordering::Acquire) as u64;
                engine.checkpoint(&dir).expect("the disk is in order");
                let at_most = written.load(Ordering::Acquire) as u64 + 1;
                // The copy is durable on return, and moving it to another machine is its purpose.
                let copy = open(dyn_vfs(&disk.crash_copy(round)), &dir).expect("the copy opens");
                let number = uniform_number(&copy.snapshot());
                assert!(at_least <= number && number <= at_most, "{at_least} {number} {at_most}");
            }
        });
        let mut number = 0;
        while !done.load(Ordering::Acquire) {
            number += 1;
            engine.write(uniform_batch(number)).expect("writable");
            written.store(number, Ordering::Release);
        }
    });
    let refused = engine.checkpoint(Path::new("copies/0"));
    assert!(refused.is_err(), "a folder with an engine in it is not overwritten");
}
