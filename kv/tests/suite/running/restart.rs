//! Restarts: what was answered is there again, from the journal, the engine, or both.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use drystone_kv::command::Put;
use drystone_kv::{Command, EngineKind, Options};

use crate::common::{each_seed, grant, put, put_on};
use crate::requests::Requests;
use crate::running::gated::gated;
use crate::running::{Machine, apply, assert_stands, ok, on_every_engine, open, options, sweep};
use drystone_kv_model::Model;

on_every_engine! {
    a_restart_replays_the_journal
    persisting_cuts_the_journal_and_a_restart_needs_no_more
    what_comes_while_the_engine_persists_stays_in_the_journal
    the_background_persists_when_enough_was_journaled
    many_restarts_lose_nothing_and_invent_nothing
}

fn journal_bytes(machine: &Machine) -> u64 {
    let journal = Path::new(super::DIR).join("journal");
    let files: Vec<(PathBuf, Vec<u8>)> = machine.disk.files();
    files
        .iter()
        .filter(|(path, _)| path.starts_with(&journal))
        .map(|file| file.1.len() as u64)
        .sum()
}

// All of the store is in its journal until it is persisted.
fn a_restart_replays_the_journal(kind: EngineKind) {
    let machine = Machine::of(kind, 1);
    let kv = machine.open();
    let mut oracle = Model::new();
    for command in [grant(7), put("a", "1"), put_on("b", "2", 7), put("a", "3")] {
        assert_eq!(apply(&kv, command.clone()), oracle.apply(&command));
    }
    let hash = kv.hash(None).expect("the disk is in order");
    drop(kv);
    let kv = machine.open();
    assert_stands(&kv, &oracle);
    assert_eq!(kv.hash(None).expect("the disk is in order"), hash);
    assert_eq!(kv.status().applied, 4);
}

// The journal would grow for ever; after the engine is durable, what it covers goes.
fn persisting_cuts_the_journal_and_a_restart_needs_no_more(kind: EngineKind) {
    let machine = Machine::of(kind, 2);
    let kv = machine.open();
    let mut oracle = Model::new();
    for n in 0..200 {
        let command = Command::Put(Put::new(format!("k{}", n % 10), vec![n; 500]));
        assert_eq!(apply(&kv, command.clone()), oracle.apply(&command));
    }
    let before = journal_bytes(&machine);
    kv.persist().expect("the disk is in order");
    assert!(journal_bytes(&machine) < before / 2, "{before} bytes before");
    let last = put("k0", "after");
    assert_eq!(apply(&kv, last.clone()), oracle.apply(&last));
    drop(kv);
    let kv = machine.open();
    assert_stands(&kv, &oracle);
    kv.persist().expect("the disk is in order");
    drop(kv);
    let kv = machine.open();
    assert_stands(&kv, &oracle);
    assert_eq!(kv.status().applied, 201);
    ok(&kv, put("k", "and on it goes"));
    assert_eq!(kv.status().applied, 202);
}

// The engine takes its time to become durable, and clients do not wait: what they write meanwhile
// is in the journal alone, and a cut that went too far would lose it.
fn what_comes_while_the_engine_persists_stays_in_the_journal(kind: EngineKind) {
    let machine = Machine::of(kind, 4);
    let options = Options { engine: Some(kind), ..options() };
    let (disk, gate) = gated(Arc::new(machine.disk.clone()), "engine");
    let kv = open(Arc::new(disk), machine.clock.clone(), options).expect("the disk is in order");
    // Each larger than a segment, so that each has one to itself.
    let large = |n: u8| Command::Put(Put::new(format!("k{n}"), vec![n; 20_000]));
    let mut oracle = Model::new();
    let put = |n, oracle: &mut Model| assert_eq!(apply(&kv, large(n)), oracle.apply(&large(n)));
    put(1, &mut oracle);
    gate.set(true);
    thread::scope(|scope| {
        let persisted = scope.spawn(|| kv.persist());
        gate.wait_for_one();
        (2..6).for_each(|n| put(n, &mut oracle));
        gate.set(false);
        persisted.join().expect("no panic").expect("the disk is in order");
    });
    let copy = machine.with(machine.disk.crash_copy(5)).open();
    assert_stands(&copy, &oracle);
    put(6, &mut oracle);
    kv.persist().expect("the disk is in order");
    let copy = machine.with(machine.disk.crash_copy(6)).open();
    assert_stands(&copy, &oracle);
}

// The owner of the threads decides when; left alone, the store persists when enough was journaled.
fn the_background_persists_when_enough_was_journaled(kind: EngineKind) {
    let machine = Machine::of(kind, 3);
    let lively = Options { background: true, persist_bytes_min: 50_000, ..options() };
    let kv = machine.try_open(lively).expect("the disk is in order");
    let journal = Path::new(super::DIR).join("journal");
    // The first segment holds the first command: it goes when the engine has that one for good.
    let first = machine.disk.files().into_iter().map(|(path, _)| path);
    let first = first.filter(|path| path.starts_with(&journal)).min().expect("a segment");
    let is_cut = || machine.disk.files().iter().all(|(path, _)| *path != first);
    assert!(!is_cut());
    for n in 0..200 {
        ok(&kv, Command::Put(Put::new(format!("k{}", n % 10), vec![n; 500])));
    }
    while !is_cut() {
        thread::yield_now();
    }
    drop(kv);
    assert_eq!(machine.open().revision(), 201);
}

// Everything at once, in one long life of many restarts: commands, sweeps, persists, closings.
fn many_restarts_lose_nothing_and_invent_nothing(kind: EngineKind) {
    each_seed("many_restarts_lose_nothing_and_invent_nothing", 6, 300, |seed| {
        let machine = Machine::of(kind, seed);
        let mut requests = Requests::new(seed);
        let mut oracle = Model::new();
        let mut kv = machine.open();
        for _ in 0..300 {
            let command = requests.command(&oracle);
            if kv_allows(&command) {
                assert_eq!(apply(&kv, command.clone()), oracle.apply(&command), "{command:?}");
            }
            if requests.percent(10) {
                kv.sweep_step().expect("the disk is in order");
            }
            if requests.percent(4) {
                kv.persist().expect("the disk is in order");
            }
            if requests.percent(4) {
                let before = kv.status();
                drop(kv);
                kv = machine.open();
                let mut after = kv.status();
                // How far a sweep had come is not journaled, nor is slack kept.
                (after.swept, after.engine) = (before.swept, before.engine);
                assert_eq!(after, before);
            }
        }
        assert_stands(&kv, &oracle);
        sweep(&kv);
        assert_stands(&kv, &oracle);
    });
}

fn kv_allows(command: &Command) -> bool {
    options().limits.check(command).is_ok()
}
