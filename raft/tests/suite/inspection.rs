//! A look into a store that is open, or damaged: what it shows is what was written, and nobody
//! notices it.

use std::path::Path;
use std::sync::Arc;

use drystone_raft::store::{GroupId, Inspection, Store};
use drystone_raft::{Entry, Index};
use drystone_vfs::{SimVfs, Vfs};

use crate::store_support::{DIR, Hand, closed_store, disk_with, open};

const GROUPS: u64 = 4;

fn look(vfs: &Arc<dyn Vfs>) -> Inspection {
    Store::inspect(vfs, Path::new(DIR), None).unwrap().expect("there is a store")
}

fn entries(inspection: &Inspection, group: GroupId) -> Vec<Entry> {
    let group = inspection.group(group).unwrap();
    group.entries(Index(0), Index(u64::MAX)).map(|entry| entry.unwrap()).collect()
}

/// Compares what a look shows with what was written.
#[track_caller]
fn check(inspection: &Inspection, hand: &Hand, seed: u64) {
    assert!(inspection.holes().is_empty() && inspection.nonsense().is_empty(), "seed {seed}");
    assert_eq!(inspection.ends_early(), None, "seed {seed}");
    assert!(inspection.groups().iter().eq(hand.models.keys()), "seed {seed}");
    for (name, model) in &hand.models {
        let group = inspection.group(*name).unwrap();
        assert_eq!(entries(inspection, *name), model.entries, "seed {seed}, group {name}");
        assert_eq!(group.last(), model.last(), "seed {seed}, group {name}");
        assert_eq!(group.base().map(|base| base.last), Some(model.base), "seed {seed}");
        assert_eq!(group.missing(), [], "seed {seed}, group {name}");
        assert_eq!(group.count(), model.entries.len() as u64, "seed {seed}, group {name}");
        let (_, members) = group.members().unwrap();
        assert_eq!(members, model.members_at(model.last().index), "seed {seed}, group {name}");
        assert_eq!(group.hard().vote, model.hard.vote, "seed {seed}, group {name}");
    }
}

/// A look while the store is open, locked, and half way through whatever it does.
#[test]
fn a_look_beside_an_open_store_shows_what_was_written() {
    for seed in 0..20 {
        println!("seed {seed}: cargo test -p drystone-raft --test suite inspection");
        let disk = SimVfs::new(seed);
        let vfs: Arc<dyn Vfs> = Arc::new(disk.clone());
        assert!(Store::inspect(&vfs, Path::new(DIR), None).unwrap().is_none(), "there is none yet");
        let store = open(Arc::clone(&vfs)).unwrap();
        let mut hand = Hand::new(seed);
        hand.create(&store, GROUPS).unwrap();
        for _ in 0..20 {
            for _ in 0..5 {
                hand.write(&store, GROUPS).unwrap();
            }
            let before = disk.files();
            check(&look(&vfs), &hand, seed);
            assert!(before == disk.files(), "a look changes nothing");
        }
        store.close().unwrap();
        check(&look(&vfs), &hand, seed);
    }
}

/// A range gives what is in it, wherever it begins.
#[test]
fn a_part_of_a_log_is_shown_as_the_whole_has_it() {
    let (files, hand) = closed_store(3, GROUPS, 200);
    let inspection = look(&disk_with(&files));
    for (name, model) in &hand.models {
        let group = inspection.group(*name).unwrap();
        for (from, through) in [(0, 5), (7, 7), (10, 1000), (9, 3)] {
            let shown: Vec<Entry> =
                group.entries(Index(from), Index(through)).map(|entry| entry.unwrap()).collect();
            let inside = |entry: &&Entry| (from..=through).contains(&entry.index.0);
            let wanted: Vec<Entry> = model.entries.iter().filter(inside).cloned().collect();
            assert_eq!(shown, wanted, "group {name}, {from} to {through}");
        }
    }
}

/// A flipped bit costs what it is in: nothing is shown that was never written, and what is not
/// shown is said to be missing.
#[test]
fn a_look_at_a_damaged_log_shows_the_rest_and_says_what_is_gone() {
    let (files, hand) = closed_store(5, GROUPS, 60);
    let (mut damaged, mut shown_less) = (0, 0);
    for (which, (path, bytes)) in files.iter().enumerate() {
        if path.extension().is_none_or(|ending| ending != "wal") {
            continue;
        }
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |end| end + 1);
        for at in (4096..end).step_by(61) {
            let place = format!("{} byte {at}", path.display());
            let mut files = files.clone();
            files[which].1[at] ^= 1 << (at % 8);
            let inspection = look(&disk_with(&files));
            let hole = inspection.holes().iter().find(|hole| hole.file == *path);
            damaged += usize::from(hole.is_some_and(|hole| {
                (hole.offset..hole.offset + hole.bytes.max(1)).contains(&(at as u64))
            }));
            for (name, model) in &hand.models {
                let Some(group) = inspection.group(*name) else { continue };
                let missing = group.missing();
                let is_missing = |index: Index| {
                    missing.iter().any(|(first, last)| (*first..=*last).contains(&index))
                };
                let shown = entries(&inspection, *name);
                for entry in &shown {
                    assert!(hand.written[name].contains(entry), "{place}: {name} {entry:?}");
                    assert!(!is_missing(entry.index), "{place}: {name} {entry:?}");
                }
                shown_less += usize::from(shown.len() < model.entries.len());
            }
        }
    }
    assert!(damaged > 20 && shown_less > 10, "{damaged} holes, {shown_less} logs with less");
}

/// What is noted as committed is there for those who look, and not taken back.
#[test]
fn the_commit_is_shown_as_it_was_noted_with_the_last_write() {
    let disk = SimVfs::new(1);
    let vfs: Arc<dyn Vfs> = Arc::new(disk);
    let store = open(Arc::clone(&vfs)).unwrap();
    let mut hand = Hand::new(1);
    hand.create(&store, 1).unwrap();
    let group = GroupId(1);
    let mut model = hand.models[&group].clone();
    let committed = |vfs: &Arc<dyn Vfs>| look(vfs).group(group).unwrap().committed(1);
    let note = |through: u64| store.batch().note_commit(group, Index(through));
    model.extend(&store, group, 5);
    assert_eq!(committed(&vfs), Index(0));
    note(3);
    assert_eq!(committed(&vfs), Index(0), "it is written with the next write");
    model.extend(&store, group, 1);
    assert_eq!(committed(&vfs), Index(3));
    note(2);
    model.extend(&store, group, 1);
    assert_eq!(committed(&vfs), Index(3), "what is committed stays so");
    note(7);
    store.close().unwrap();
    assert_eq!(committed(&vfs), Index(7), "a store that is closed says what it knows");
    drop(store);
    let store = open(Arc::clone(&vfs)).unwrap();
    model.extend(&store, group, 1);
    assert_eq!(committed(&vfs), Index(7));
    model.check(&store, group);
}
