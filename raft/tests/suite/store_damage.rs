//! A flipped bit anywhere: nothing wrong is read, and nothing is missing without a word of it.

use std::io::{IoSlice, Read, Write};
use std::path::Path;
use std::sync::Arc;

use drystone_raft::store::{GroupId, SnapshotReader, Store};
use drystone_raft::{Configuration, Entry, Index, Position, SnapshotMeta};
use drystone_vfs::{OpenMode, SimVfs, Vfs};

use crate::store_support::{Hand, closed_store, disk_with, load_all, open, restore};

/// Compares a store that was damaged with what was in it. Returns how many groups miss something.
fn judge(store: &Store, hand: &Hand, place: &str) -> usize {
    let mut harmed = 0;
    for (group, model) in &hand.models {
        let Ok(boot) = store.boot(*group) else {
            assert!(store.damage().is_some_and(|damage| damage.doubtful), "{place}: {group} gone");
            harmed += 1;
            continue;
        };
        let raft = restore(boot);
        raft.check();
        let loaded = load_all(store, *group, raft.base().index, raft.last().index);
        for entry in &loaded {
            let known = model.entry(entry.index);
            // A log whose end is lost may be an older one: what a leader had replaced.
            let old = entry.index <= model.base.index || !raft.is_sound();
            let old = old && hand.written[group].contains(entry);
            assert!(known == Some(entry) || old, "{place}: {group} reads {entry:?}, not {known:?}");
        }
        if raft.is_sound() {
            assert_eq!(raft.last(), model.last(), "{place}: {group} ends early, and says nothing");
            // Entries that are newer than the term show that a vote in their term may be spent.
            let spent = model.last().term > model.hard.term;
            let vote = if spent { Some(raft.id()) } else { model.hard.vote };
            assert_eq!(raft.hard().vote, vote, "{place}: {group} forgot its vote");
            assert!(raft.hard().term >= model.hard.term, "{place}: {group} forgot its term");
            let after = model.base.index.max(raft.base().index);
            let loaded = load_all(store, *group, after, model.last().index);
            let wanted = model.entries.iter().filter(|entry| entry.index > after);
            assert!(loaded.iter().eq(wanted), "{place}: {group} is not whole");
        } else {
            harmed += 1;
            let lost = raft.hard().lost_end.unwrap_or(raft.last()).index;
            assert!(lost >= model.last().index, "{place}: {group} may have lost more than {lost}");
        }
    }
    harmed
}

/// Scenarios 48, 49, 52. Every place of the files, a bit at a time: what is lost is said, and said
/// again at the next start; and harm to one group's record is not harm to all.
#[test]
fn flipped_bit_is_noticed_and_contained() {
    let step = if std::env::var_os("SLOW").is_some() { 1 } else { 37 };
    let (files, hand) = closed_store(11, 5, 60);
    let (mut flips, mut harmed, mut refused) = (0, 0, 0);
    for (which, (path, bytes)) in files.iter().enumerate() {
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |end| end + 1);
        for at in (0..end).step_by(step) {
            let place = format!("{} byte {at}", path.display());
            let mut files = files.clone();
            files[which].1[at] ^= 1 << (at % 8);
            let disk = disk_with(&files);
            flips += 1;
            let store = match open(Arc::clone(&disk)) {
                Ok(store) => store,
                Err(error) => {
                    // A version from the future is not taken for damage.
                    println!("{place}: {error:?}");
                    refused += 1;
                    continue;
                }
            };
            let first = judge(&store, &hand, &place);
            harmed += first;
            store.close().unwrap();
            drop(store);
            let store = open(disk).unwrap();
            assert!(store.damage().is_none(), "{place}: it was carried over");
            assert_eq!(count_harmed(&store, &hand), first, "{place}: it is not forgotten");
        }
    }
    println!("{flips} flips, {harmed} groups harmed, {refused} refused");
    assert!(flips > 100);
    assert!(refused * 100 < flips, "damage is not refused: {refused} of {flips}");
    assert!(2 * harmed < flips, "a flip harms one group or none: {harmed} harmed by {flips}");
}

fn count_harmed(store: &Store, hand: &Hand) -> usize {
    let harmed = |group: &&GroupId| match store.boot(**group) {
        Ok(boot) => !restore(boot).is_sound(),
        Err(_) => true,
    };
    hand.models.keys().filter(harmed).count()
}

/// A file that is gone, the damaged log kept, and a store that goes on.
#[test]
fn lost_segment_leaves_a_store_that_works() {
    let (files, hand) = closed_store(12, 3, 400);
    let logs: Vec<usize> = (0..files.len())
        .filter(|at| files[*at].0.extension().is_some_and(|ending| ending == "wal"))
        .collect();
    assert!(logs.len() >= 3, "{} segments", logs.len());
    let mut harms = 0;
    for lost in &logs {
        let mut files = files.clone();
        let path = files.remove(*lost).0;
        let disk = disk_with(&files);
        let place = format!("without {}", path.display());
        let store = open(Arc::clone(&disk)).unwrap();
        let harmed = judge(&store, &hand, &place);
        let damage = store.damage().expect("a segment that is needed is missed");
        harms += harmed;
        assert!(disk.list(&damage.log).unwrap().len() > 1, "{place}: the old log is kept");
        let group = GroupId(9);
        store.create(group, Configuration::voters([1])).unwrap();
        assert_eq!(restore(store.boot(group).unwrap()).last().index, Index(0));
    }
    assert!(harms > 0, "what was in the later segments was not compacted away");
}

/// Scenario 52. A record may hold many entries: where some are lost and only their number is known,
/// the log may have gone as far as full ones would reach, and counts as a copy no sooner.
#[test]
fn a_lost_end_is_taken_to_be_as_long_as_it_may_have_been() {
    let disk = SimVfs::new(1);
    let store = open(Arc::new(disk.clone())).unwrap();
    let mut hand = Hand::new(1);
    hand.create(&store, 1).unwrap();
    hand.write(&store, 1).unwrap();
    let mut files = disk.files();
    let model = hand.models.get_mut(&GroupId(1)).unwrap();
    hand.written.get_mut(&GroupId(1)).unwrap().extend(model.extend(&store, GroupId(1), 100));
    store.close().unwrap();
    drop(store);
    // The log is as it was before; that it went on is noted.
    let noted = disk.files().into_iter().find(|(path, _)| path.ends_with("LAST")).unwrap();
    files.retain(|(path, _)| *path != noted.0);
    files.push(noted);
    let store = open(disk_with(&files)).unwrap();
    assert_eq!(judge(&store, &hand, "without the last write"), 1);
}

/// Harm of every kind that chance can think of, to stores of every kind, closed or cut off.
#[test]
fn harm_by_chance_is_noticed_and_contained() {
    let seeds = if std::env::var_os("SLOW").is_some() { 20_000 } else { 300 };
    let first = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    for seed in first..first + seeds {
        // The first that fails is the last that is printed.
        println!("SEED={seed} cargo test -p drystone-raft --test suite harm_by_chance");
        let mut chance = Hand::new(seed ^ 0x5eed);
        let batches = 1 + chance.below(120);
        let groups = 1 + chance.below(6);
        let (mut files, hand) = closed_store(seed, groups, batches);
        for _ in 0..=chance.below(3) {
            harm(&mut files, &mut chance);
        }
        let disk = disk_with(&files);
        let Ok(store) = open(Arc::clone(&disk)) else { continue };
        let first = judge(&store, &hand, &format!("seed {seed}"));
        store.check();
        store.close().unwrap();
        drop(store);
        let store = open(disk).unwrap();
        assert!(store.damage().is_none(), "seed {seed}: it was carried over");
        assert!(count_harmed(&store, &hand) >= first, "seed {seed}: it is not forgotten");
    }
}

fn harm(files: &mut Vec<(std::path::PathBuf, Vec<u8>)>, chance: &mut Hand) {
    let logs: Vec<usize> = (0..files.len())
        .filter(|at| files[*at].0.extension().is_some_and(|ending| ending == "wal"))
        .collect();
    if logs.is_empty() {
        return;
    }
    let which = logs[chance.below(logs.len() as u64) as usize];
    let bytes = &mut files[which].1;
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |end| end + 1);
    let at = chance.below(used as u64) as usize;
    match chance.below(10) {
        0 => drop(files.remove(which)),
        1 => bytes.truncate(at),
        2..5 => {
            let start = at / 512 * 512;
            let end = (start + 512).min(bytes.len());
            bytes[start..end].fill(0);
        }
        _ => bytes[at] ^= 1 << chance.below(8),
    }
}

fn write_over(disk: &SimVfs, path: &Path, at: usize, bytes: &[u8]) {
    let file = disk.open(path, OpenMode::Write).unwrap();
    file.write_at(&[IoSlice::new(bytes)], at as u64).unwrap();
}

/// A state machine that does not care what is in a snapshot, as long as it is sound.
fn exhaust(reader: &mut SnapshotReader) -> std::io::Result<()> {
    reader.read_to_end(&mut Vec::new()).map(drop)
}

/// Scenario 48. Damage that appears while the store is open costs the record that it hit: those
/// behind it in the same file are read, one by one and in a row.
#[test]
fn what_lies_behind_a_record_that_went_bad_is_read() {
    let disk = SimVfs::new(1);
    let store = open(Arc::new(disk.clone())).unwrap();
    let mut hand = Hand::new(1);
    hand.create(&store, 1).unwrap();
    let (group, model) = (GroupId(1), hand.models.get_mut(&GroupId(1)).unwrap());
    let rows: Vec<_> = (0..40).map(|_| model.extend(&store, group, 30)).collect();
    let (path, bytes) = disk.files().into_iter().find(|(path, _)| path.ends_with(FIRST)).unwrap();
    let at = bytes.len() / 2;
    write_over(&disk, &path, at, &[!bytes[at]]);

    let is_bad = |row: &&Vec<Entry>| {
        let (after, last) = (row[0].index.prev(), row[29].index);
        let loaded = store.load(group, after, last, usize::MAX).unwrap();
        assert!(loaded.as_ref().is_none_or(|loaded| loaded == *row), "{loaded:?}");
        loaded.is_none()
    };
    let bad: Vec<_> = rows.iter().filter(is_bad).collect();
    assert!(bad.len() <= 1, "one record went bad, and {} are lost", bad.len());
    let (first, last) = (rows[0][0].index.prev(), rows[39][29].index);
    let missing = bad.first().map_or(0, |row| row.len());
    assert_eq!(load_all(&store, group, first, last).len(), 40 * 30 - missing);
}

/// Scenario 45. A snapshot that was taken before anything was applied, and that is damaged, is
/// passed over like any other: there is none before it to look at.
#[test]
fn a_damaged_snapshot_of_nothing_is_passed_over() {
    let disk = SimVfs::new(1);
    let store = open(Arc::new(disk.clone())).unwrap();
    let group = GroupId(1);
    store.create(group, Configuration::voters([1])).unwrap();
    let meta = store.meta_at(group, Index(0)).unwrap();
    let mut writer = store.snapshots().write(group, &meta).unwrap();
    writer.write_all(b"nothing").unwrap();
    writer.finish().unwrap();
    let is_snapshot = |path: &Path| path.extension().is_some_and(|ending| ending == "snap");
    let (path, bytes) = disk.files().into_iter().find(|(path, _)| is_snapshot(path)).unwrap();
    let at = bytes.windows(7).position(|bytes| bytes == b"nothing").unwrap();
    write_over(&disk, &path, at, b"N");

    let (boot, applied) = store.restore(1, group, Index(0), exhaust).unwrap();
    assert_eq!(applied, Index(0));
    assert!(restore(boot).is_sound(), "nothing is missing");
}

/// Scenario 48. Entries that went bad and that a sound snapshot covers are not missed: nobody needs
/// to be asked for them, not even in a group of one.
#[test]
fn what_a_snapshot_has_is_not_missing() {
    let disk = SimVfs::new(1);
    let store = open(Arc::new(disk.clone())).unwrap();
    let mut hand = Hand::new(1);
    hand.create(&store, 1).unwrap();
    let (group, model) = (GroupId(1), hand.models.get_mut(&GroupId(1)).unwrap());
    (0..12).for_each(|_| drop(model.extend(&store, group, 100)));
    let meta = store.meta_at(group, Index(900)).unwrap();
    store.snapshots().write(group, &meta).unwrap().finish().unwrap();
    store.close().unwrap();
    drop(store);
    let (path, bytes) = disk.files().into_iter().find(|(path, _)| path.ends_with(FIRST)).unwrap();
    // Entries with nothing in them are zeros; so is much of the first block.
    let behind = 5000;
    let at = behind + bytes[behind..].windows(100).position(|row| row == [0; 100]).unwrap();
    write_over(&disk, &path, at, &[!bytes[at]]);

    let store = open(Arc::new(disk)).unwrap();
    assert!(!restore(store.boot(group).unwrap()).is_sound(), "the log itself has a hole");
    let (boot, applied) = store.restore(1, group, Index(0), exhaust).unwrap();
    let raft = restore(boot);
    assert_eq!((applied, raft.base(), raft.last()), (Index(900), meta.last, model.last()));
    assert!(raft.is_sound(), "what is missing is in the snapshot");
    assert_eq!(load_all(&store, group, applied, Index(1200)).len(), 300);
}

/// The bytes of a snapshot's file, as another node would send them.
fn snapshot_of_another(group: GroupId, meta: &SnapshotMeta) -> Vec<u8> {
    let other = open(Arc::new(SimVfs::new(2))).unwrap();
    other.snapshots().write(group, meta).unwrap().finish().unwrap();
    other.snapshots().part(group, meta.last, 0).unwrap()
}

/// Scenario 44. A snapshot came, and the node died before the write that puts it in the log's
/// place: if the log has something else where it ends, it is none of this log.
#[test]
fn a_fetched_snapshot_that_contradicts_the_log_is_passed_over() {
    let disk = SimVfs::new(1);
    let store = open(Arc::new(disk.clone())).unwrap();
    let mut hand = Hand::new(1);
    hand.create(&store, 1).unwrap();
    let (group, model) = (GroupId(1), hand.models.get_mut(&GroupId(1)).unwrap());
    model.extend(&store, group, 100);
    let taken = store.meta_at(group, Index(50)).unwrap();
    store.snapshots().write(group, &taken).unwrap().finish().unwrap();
    let newer = Position::new(model.last().term.next(), Index(70));
    for last in [newer, model.entry(Index(60)).unwrap().position()] {
        let file = snapshot_of_another(group, &SnapshotMeta { last, ..taken.clone() });
        let mut writer = store.snapshots().receive(group, last).unwrap();
        writer.write_all(&file).unwrap();
        writer.finish().unwrap();
    }
    drop(store);

    let store = open(Arc::new(disk)).unwrap();
    let (boot, applied) = store.restore(1, group, Index(0), exhaust).unwrap();
    assert_eq!(applied, Index(60), "the newest that the log agrees with");
    assert!(restore(boot).is_sound());
}

const FIRST: &str = "log-1/0000000000000001.wal";
