//! The same commands make the same store: same answers, same history, same bytes in the engine,
//! however the commands were cut into groups, whenever garbage was swept, whether the store was
//! closed in between, and by way of bytes or not. Replication rests on it.

use std::path::Path;
use std::sync::Arc;

use drystone_kv::command::{Command, RangeRequest};
use drystone_kv::engine::{Engine, Space};
use drystone_kv::key_range::KeyRange;
use drystone_kv::limits::Limits;
use drystone_kv::mem::Mem;
use drystone_kv::{Outcome, Store};
use drystone_vfs::{MemVfs, Vfs};
use rand::RngExt as _;

use crate::common::{Bench, dump, each_seed, is_slow};
use crate::requests::Requests;
use drystone_kv_model::Model;

const COMMANDS: usize = 300;

/// Commands that meet each other, and what becomes of each.
struct Script {
    commands: Vec<Command>,
    outcomes: Vec<Outcome>,
    end: Model,
}

impl Script {
    fn new(seed: u64) -> Script {
        let mut requests = Requests::new(seed);
        let mut end = Model::new();
        let (mut commands, mut outcomes) = (Vec::new(), Vec::new());
        while commands.len() < COMMANDS {
            let command = requests.command(&end);
            if Limits::default().check(&command).is_ok() {
                outcomes.push(end.apply(&command));
                commands.push(command);
            }
        }
        Script { commands, outcomes, end }
    }

    /// A store that has applied everything, one command at a time, and swept once at the end.
    fn reference(&self) -> Bench {
        let bench = Bench::new();
        for (command, expected) in self.commands.iter().zip(&self.outcomes) {
            assert_eq!(bench.apply(command), *expected, "{command:?}");
        }
        bench
    }
}

/// Asserts that two stores are one, down to the bytes, after sweeping both.
fn assert_same<E: Engine>(a: &Bench, b: &Bench<E>, end: &Model) {
    for bench_hash in [a.store.hash(None), b.store.hash(None)] {
        let hash = bench_hash.expect("the newest revision is readable");
        assert_eq!((hash.hash_revision, hash.compacted), (end.revision, end.compacted));
    }
    for at in end.compacted.unwrap_or(0)..=end.revision {
        let hashes = [a.store.hash(Some(at)), b.store.hash(Some(at))];
        let [a_hash, b_hash] = hashes.map(|hash| hash.expect("the revision is readable"));
        assert_eq!(a_hash, b_hash, "at {at}");
    }
    let statuses = [a.store.status(), b.store.status()].map(|mut status| {
        // How far a sweep has come and what that leaves behind is each store's own business.
        status.swept = None;
        status.engine = Default::default();
        status
    });
    assert_eq!(statuses[0], statuses[1]);
    a.sweep();
    b.sweep();
    assert_eq!(a.store.status().swept, end.compacted, "a sweep comes to its end");
    assert_eq!(dump(&*a.store.engine()), dump(&*b.store.engine()), "engines, byte for byte");
    assert_eq!(*a.store.cluster(), end.cluster);
    assert_eq!(b.store.cluster(), a.store.cluster());
    for id in end.leases.keys() {
        assert_eq!(a.store.lease(*id), b.store.lease(*id));
    }
    let all = |revision| RangeRequest { revision, ..RangeRequest::new(KeyRange::all()) };
    for at in end.compacted.unwrap_or(0)..=end.revision {
        assert_eq!(a.range(&all(Some(at))), b.range(&all(Some(at))), "at {at}");
    }
}

// One member applies a command alone, another in a group with its neighbours: a command must find
// what the commands before it in the group have written, which is nowhere but in the batch.
#[test]
fn groups_of_commands_answer_as_single_ones_do() {
    each_seed("groups_of_commands_answer_as_single_ones_do", 25, 500, |seed| {
        let script = Script::new(seed);
        let mut requests = Requests::new(!seed);
        let grouped = Bench::new();
        let mut done = 0;
        while done < COMMANDS {
            let group = requests.random.random_range(1..60).min(COMMANDS - done);
            let outcomes = grouped.apply_all(&script.commands[done..done + group]);
            assert_eq!(outcomes, script.outcomes[done..done + group], "after {done} commands");
            done += group;
        }
        assert_same(&script.reference(), &grouped, &script.end);
    });
}

// Replay reads commands from a journal: what it reads must be what was applied before the crash.
#[test]
fn commands_that_went_through_bytes_do_the_same() {
    each_seed("commands_that_went_through_bytes_do_the_same", 25, 500, |seed| {
        let script = Script::new(seed);
        let decoded = Bench::new();
        for (command, expected) in script.commands.iter().zip(&script.outcomes) {
            let mut bytes = Vec::new();
            command.encode(&mut bytes);
            let read = Command::decode(bytes.into()).expect("what was encoded decodes");
            assert_eq!(read, *command);
            assert_eq!(decoded.apply(&read), *expected, "{command:?}");
        }
        assert_same(&script.reference(), &decoded, &script.end);
    });
}

// Sweeping is each store's own affair: at any moment, in any steps, it shows in no answer and no
// hash, and in the end it leaves the same records behind.
#[test]
fn swept_and_unswept_stores_are_the_same_store() {
    each_seed("swept_and_unswept_stores_are_the_same_store", 25, 500, |seed| {
        let script = Script::new(seed);
        let mut requests = Requests::new(!seed);
        let [eager, lazy] = [Bench::new(), Bench::new()];
        for (command, expected) in script.commands.iter().zip(&script.outcomes) {
            assert_eq!(eager.apply(command), *expected, "{command:?}");
            assert_eq!(lazy.apply(command), *expected, "{command:?}");
            eager.sweep();
            if requests.percent(10) {
                lazy.store.sweep_step().expect("memory does not fail");
            }
            let hashes = [&eager, &lazy].map(|bench| bench.store.hash(None).expect("readable"));
            assert_eq!(hashes[0], hashes[1], "after {command:?}");
        }
        assert_same(&eager, &lazy, &script.end);
        assert_same(&script.reference(), &eager, &script.end);
    });
}

// A restart rebuilds everything from the engine: index, generations, leases' keys, the clock. It
// comes at any time, before, in the midst of and after a sweep, and may not show in anything.
#[test]
fn a_store_opened_again_goes_on_as_if_it_had_not_been_closed() {
    let dir = Path::new("data");
    each_seed("a_store_opened_again_goes_on", 25, 500, |seed| {
        let script = Script::new(seed);
        let mut requests = Requests::new(!seed);
        let vfs: Arc<dyn Vfs> = Arc::new(MemVfs::new());
        let open = || Bench::over(Mem::open(vfs.clone(), dir).expect("a sound folder opens"));
        let mut bench = open();
        for (command, expected) in script.commands.iter().zip(&script.outcomes) {
            assert_eq!(bench.apply(command), *expected, "{command:?}");
            if requests.percent(20) {
                bench.store.sweep_step().expect("memory does not fail");
            }
            if requests.percent(10) {
                let (before, hash) = (bench.store.status(), bench.store.hash(None));
                let cluster = bench.store.cluster();
                let applied = bench.store.persist().expect("memory does not fail");
                assert_eq!(applied, before.applied);
                drop(bench);
                bench = open();
                let mut after = bench.store.status();
                // A memory engine that has just been loaded has no slack.
                after.engine.bytes = before.engine.bytes;
                assert_eq!(after, before);
                assert_eq!(bench.store.hash(None).ok(), hash.ok());
                assert_eq!(bench.store.cluster(), cluster);
            }
        }
        assert_same(&script.reference(), &bench, &script.end);
    });
}

// The sweep of a large store takes many steps, and its position is a key: writes that come between
// two steps, on either side of it, and a restart in the middle, change nothing in the end.
#[test]
fn a_sweep_of_many_steps_meets_writes_and_restarts() {
    let vfs: Arc<dyn Vfs> = Arc::new(MemVfs::new());
    let open = || Bench::over(Mem::open(vfs.clone(), Path::new("data")).expect("sound"));
    let keys = if is_slow() { 20_000 } else { 3_000 };
    let put = |n: u32, value: &str| {
        let key = format!("key/{n:06}").into();
        let value = Some(value.to_owned().into());
        let lease = Some(drystone_kv::types::LeaseId::NONE);
        Command::Put(drystone_kv::command::Put { key, value, lease, prev_kv: false })
    };
    let compact = |revision| Command::Compact(drystone_kv::command::Compact { revision });
    let plain = Bench::new();
    let swept = open();
    let both = |commands: &[Command], swept: &Bench| {
        assert_eq!(plain.apply_all(commands), swept.apply_all(commands));
    };
    for round in 0..3 {
        let commands: Vec<_> = (0..keys).map(|n| put(n, &format!("{round}"))).collect();
        both(&commands, &swept);
    }
    both(&[compact(u64::from(keys) * 2)], &swept);
    for n in 0..8 {
        let before = swept.store.status().engine.records[Space::Record.index()];
        swept.store.sweep_step().expect("memory does not fail");
        let after = swept.store.status().engine.records[Space::Record.index()];
        assert!(after < before, "a step takes something away");
        assert!(before - after <= 3 * 256, "a step is small");
        both(&[put(n * keys / 8, "between"), put(keys + n, "new")], &swept);
    }
    swept.store.persist().expect("memory does not fail");
    drop(swept);
    let swept = open();
    both(&[put(1, "after"), compact(u64::from(keys) * 3)], &swept);
    let all = RangeRequest::new(KeyRange::all());
    assert_eq!(plain.range(&all), swept.range(&all));
    let hashes = [&plain, &swept].map(|bench| bench.store.hash(None).expect("readable"));
    assert_eq!(hashes[0], hashes[1]);
    plain.sweep();
    swept.sweep();
    assert_eq!(dump(&*plain.store.engine()), dump(&*swept.store.engine()));
}

// Two folders opened from one are one store twice: opening must write nothing of its own.
#[test]
fn opening_an_engine_changes_nothing_in_it() {
    let script = Script::new(5);
    let bench = script.reference();
    let before = dump(&*bench.store.engine());
    let copy = Mem::volatile();
    let mut batch = drystone_kv::engine::Batch::new();
    for (space, key, value) in &before {
        batch.put(*space, key, value.clone());
    }
    copy.write(batch).expect("memory does not fail");
    let opened = Store::open(copy).expect("a copy opens");
    assert_eq!(dump(&*opened.engine()), before);
    assert_eq!(opened.status().revision, bench.store.revision());
}
