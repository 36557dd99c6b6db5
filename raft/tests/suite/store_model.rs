//! The store against a plain one, through any writing and reopening.

use std::sync::Arc;

use drystone_raft::store::{GroupId, Options, Store};
use drystone_raft::{Configuration, Entry, Index, Payload, Term, Write, WriteId};
use drystone_vfs::{MemVfs, Vfs};

use crate::store_support::{DIR, Hand, load_all, open, options, restore};

/// Whatever a core may want written is what is read back, at once and after reopening.
#[test]
fn store_is_what_a_plain_one_is() {
    for seed in 0..20 {
        println!("seed {seed}: the test `store_is_what_a_plain_one_is` begins with it");
        let disk: Arc<dyn Vfs> = Arc::new(MemVfs::new());
        let mut hand = Hand::new(seed);
        let mut store = open(Arc::clone(&disk)).unwrap();
        hand.create(&store, 4).unwrap();
        for round in 0..150 {
            hand.write(&store, 4).unwrap();
            if round % 30 == 29 {
                store.close().unwrap();
                drop(store);
                store = open(Arc::clone(&disk)).unwrap();
                assert!(store.damage().is_none());
            }
            if round % 10 == 9 {
                for (group, model) in &hand.models {
                    model.check(&store, *group);
                }
            }
        }
    }
}

/// A group that has nothing to say must not keep the log of all others from being shortened.
#[test]
fn one_idle_group_does_not_hold_the_log() {
    let disk: Arc<dyn Vfs> = Arc::new(MemVfs::new());
    let small = || Options { log_bytes: 64 << 10, ..options() };
    let path = std::path::Path::new(DIR);
    let store = Store::open(Arc::clone(&disk), path, small()).unwrap();
    let mut hand = Hand::new(3);
    hand.create(&store, 3).unwrap();
    for _ in 0..8 {
        hand.write(&store, 3).unwrap();
    }
    for _ in 0..3000 {
        // Group 1 alone is busy from here on.
        hand.write(&store, 1).unwrap();
        let model = &hand.models[&GroupId(1)];
        if model.entries.len() > 20 {
            let mut batch = store.batch();
            let through = Index(model.last().index.0 - 5);
            batch.compact(GroupId(1), through).unwrap();
            batch.commit().unwrap().unwrap().wait().unwrap();
            let model = hand.models.get_mut(&GroupId(1)).unwrap();
            model.compact(through);
            assert!(store.clean().unwrap().is_empty(), "nobody is too large to be moved");
        }
    }
    assert!(store.bytes() < 256 << 10, "{} bytes", store.bytes());
    for (group, model) in &hand.models {
        model.check(&store, *group);
    }
    store.close().unwrap();
    drop(store);
    let store = Store::open(disk, path, small()).unwrap();
    for (group, model) in &hand.models {
        model.check(&store, *group);
    }
}

/// Scenario 39: the survivor of a lost quorum begins a new generation, and keeps what it has.
#[test]
fn forced_recovery_is_durable() {
    let disk: Arc<dyn Vfs> = Arc::new(MemVfs::new());
    let store = open(Arc::clone(&disk)).unwrap();
    let mut hand = Hand::new(5);
    hand.create(&store, 1).unwrap();
    for _ in 0..20 {
        hand.write(&store, 1).unwrap();
    }
    let (group, before) = (GroupId(1), hand.models[&GroupId(1)].clone());
    store.force(group, &[1]).unwrap();
    store.close().unwrap();
    drop(store);
    let store = open(disk).unwrap();
    let raft = restore(store.boot(group).unwrap());
    assert_eq!(raft.hard().generation, 1);
    assert_eq!(*raft.members(), Configuration::voters([1]));
    assert_eq!(raft.last().index, before.last().index.next());
    let kept = load_all(&store, group, before.base.index, before.last().index);
    assert_eq!(kept, before.entries);
}

/// An entry that is on its way to the disk is not a damaged one.
#[test]
fn a_load_waits_for_what_is_being_written() {
    let store = open(Arc::new(MemVfs::new())).unwrap();
    let group = GroupId(1);
    store.create(group, Configuration::voters([1])).unwrap();
    let entry = Entry { term: Term(1), index: Index(1), payload: Payload::Data("x".into()) };
    let (id, mended, append) = (WriteId(1), Vec::new(), Index(1)..Index(2));
    let write = Write { id, hard: None, snapshot: None, mended, append };
    let mut batch = store.batch();
    batch.put(group, &write, [&entry]).unwrap();
    let under_way = batch.commit().unwrap().unwrap();
    let loaded = store.load(group, Index(0), Index(1), 100).unwrap();
    assert_eq!(loaded, Some(vec![entry]));
    let nothing = store.load(group, Index(1), Index(1), 100).unwrap();
    assert_eq!(nothing, Some(Vec::new()), "who asks for nothing is not told of damage");
    under_way.wait().unwrap();
}

/// Each life is told from the ones before, whatever the clock says.
#[test]
fn lives_grow() {
    let disk: Arc<dyn Vfs> = Arc::new(MemVfs::new());
    let mut last = 0;
    for _ in 0..5 {
        let store = open(Arc::clone(&disk)).unwrap();
        assert!(store.life() > last);
        last = store.life();
    }
}
