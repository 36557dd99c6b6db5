//! The list of files: damaged, torn, half replaced (scenarios 22 and 23).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_lsm::{Db, Error};
use drystone_vfs::{Fault, Harm, Op, SimClock, SimVfs};
use drystone_wal::{Options as WalOptions, Wal, Writer};

use crate::hurt::{
    End, Records, Specimen, assert_holds, contents, key, load, manifest_files, noise, open, remove,
    store, tables, used,
};
use crate::support::{dir, keyspace, options, try_open};

// Scenario 22: a bit of the list flips. Cutting off a last edit that was promised would open the
// state before it, whose tables may be gone, and remove those that it does not know.
#[test]
fn a_flipped_byte_of_the_manifest_is_refused_or_harmless() {
    for end in [End::Killed, End::Closed] {
        let specimen = Specimen::new(end);
        let (mut refused, mut harmless) = (0, 0);
        for path in manifest_files(&specimen.disk) {
            let bytes = load(&specimen.disk, &path);
            for at in 0..used(&bytes) + 40 {
                if (200..4096).contains(&at) && at % 101 > 0 {
                    // The rest of a segment's first block is zeros.
                    continue;
                }
                let disk = specimen.hurt(&path, |bytes| bytes[at] ^= 1 << (at % 8));
                match specimen.judge(&disk, &format!("{end:?}, {} byte {at}", path.display())) {
                    crate::hurt::Verdict::Refused(_) => refused += 1,
                    opened @ crate::hurt::Verdict::Opened { .. } => {
                        assert!(!opened.is_noticed(), "byte {at}: {opened:?}");
                        harmless += 1;
                    }
                }
            }
        }
        assert!(refused > 500, "{end:?}: {refused} refused, {harmless} harmless");
    }
}

// Scenario 22: the list is cut at any byte. No table is removed on the word of what is left.
#[test]
fn a_manifest_cut_at_any_byte_loses_nothing_silently() {
    let specimen = Specimen::new(End::Killed);
    for path in manifest_files(&specimen.disk) {
        let end = used(&load(&specimen.disk, &path));
        let len = load(&specimen.disk, &path).len();
        for at in (0..end).step_by(7).chain(end..end + 20).chain([len - 1]) {
            let disk = specimen.hurt(&path, |bytes| bytes.truncate(at));
            let verdict = specimen.judge(&disk, &format!("{} cut at {at}", path.display()));
            assert!(at >= end || verdict.is_noticed(), "cut at {at}: {verdict:?}");
        }
        let gone = specimen.disk.crash_copy(0);
        remove(&gone, &path);
        specimen.judge(&gone, "removed").refusal();
    }
}

/// A disk just before a flush, one just after, and what is in the database.
fn around_a_flush() -> (SimVfs, SimVfs, [Records; 2]) {
    let specimen = Specimen::new(End::Killed);
    let before = specimen.disk.crash_copy(0);
    let after = specimen.disk.crash_copy(0);
    let db = open(&after);
    db.flush().unwrap();
    drop(db);
    (before, after.kill_copy(), specimen.expected)
}

// Scenario 22: the power fails while the last edit is being written. It is cut, like any torn tail,
// up to the last byte; then it counts.
#[test]
fn a_torn_last_edit_is_cut() {
    let (before, after, expected) = around_a_flush();
    let path = manifest_files(&after).pop().unwrap();
    let (old, new) = (load(&before, &path), load(&after, &path));
    let start = old.iter().zip(&new).position(|(a, b)| a != b).unwrap();
    let end = used(&new);
    assert!(start < end, "the flush is in the manifest");
    for cut in (start..end).step_by(9).chain([end - 1, end]) {
        let disk = before.crash_copy(0);
        for table in tables(&after) {
            store(&disk, &table, &load(&after, &table));
        }
        let torn = [&new[..cut], &old[cut..]].concat();
        store(&disk, &path, &torn);
        assert_holds(&disk, &expected, &format!("torn at {cut}, edit from {start} to {end}"));
    }
}

/// A database whose manifest has moved to the other folder; the disk as it was before the move,
/// with the old list in it; and the contents.
fn moved() -> (SimVfs, SimVfs, [Records; 2]) {
    let specimen = Specimen::of_tables();
    let disk = specimen.disk.crash_copy(0);
    let mut expected = specimen.expected;
    // The journal's files have the same names: without it every failure is the manifest's.
    let db = try_open(&disk, options().journal(false)).unwrap();
    let left = keyspace(&db, "left");
    drop(db.put(&left, &key(2), b"before").unwrap());
    db.flush().unwrap();
    let old = disk.kill_copy();
    let log = manifest_files(&disk).pop().unwrap();
    drop(db.put(&left, &key(3), b"after").unwrap());
    disk.fail(Fault::new(Op::Sync, Harm::Error).named(log.file_name().unwrap()));
    let mut tries = 0;
    while db.flush().is_err() {
        tries += 1;
        assert!(tries < 10, "a flush does not get over a failed write");
    }
    db.close().unwrap();
    expected[0].insert(key(2), b"before".to_vec());
    expected[0].insert(key(3), b"after".to_vec());
    (old, disk.crash(), expected)
}

fn in_folder(disk: &SimVfs, folder: &str) -> Vec<PathBuf> {
    manifest_files(disk).into_iter().filter(|path| path.starts_with(dir().join(folder))).collect()
}

/// Writes `count` edits of some 300 bytes each, durably.
fn edits(db: &Db, from: u64, count: u64) {
    for n in from..from + count {
        drop(keyspace(db, &format!("{n:0200}")));
    }
}

/// A disk on which the list of files has just filled its first file, and how many edits that took.
fn full_file() -> (SimVfs, u64) {
    let disk = SimVfs::new(1);
    let db = try_open(&disk, options().journal(false)).unwrap();
    let (mut count, mut before) = (0, disk.kill_copy());
    while manifest_files(&disk).len() < 2 {
        before = disk.kill_copy();
        edits(&db, count, 1);
        count += 1;
        assert!(count < 1000, "the list stays in one file");
    }
    (before, count - 1)
}

/// Loses the newest file of the list, if there are two: an older state must not pass for the
/// newest.
#[track_caller]
fn lose_the_newest(disk: &SimVfs, what: &str) -> bool {
    let disk = disk.crash_copy(0);
    let files = manifest_files(&disk);
    if files.len() < 2 {
        return false;
    }
    remove(&disk, files.last().unwrap());
    let Err(error) = try_open(&disk, options().journal(false)) else {
        panic!("{what}: an older state opens");
    };
    assert!(matches!(error, Error::Corrupt { .. }), "{what}: {error}");
    true
}

// Scenario 22, and 11: the newest file of the list is lost, without a journal and before anything
// was removed on its word, so that nothing else tells. The one before it says that it follows; also
// if the process was killed just then, and another has gone on.
#[test]
fn the_newest_file_of_the_manifest_is_missed() {
    let (full, made) = full_file();
    let life = |disk: &SimVfs, from: u64| {
        let db = try_open(disk, options().journal(false)).unwrap();
        for n in 0..40 {
            edits(&db, from + n, 1);
            if n % 10 == 0 {
                lose_the_newest(disk, &format!("edit {n}"));
            }
        }
    };
    let whole = full.crash_copy(0);
    let calls = {
        let db = try_open(&whole, options().journal(false)).unwrap();
        edits(&db, made, 3);
        whole.counts().changes()
    };
    let mut lost = 0;
    for cut in 0..=calls {
        let disk = full.crash_copy(0);
        disk.power_cut_after(cut);
        if let Ok(db) = try_open(&disk, options().journal(false)) {
            for n in 0..3 {
                drop(
                    db.keyspace(&format!("{:0200}", made + n), crate::support::keyspace_options()),
                );
            }
        }
        for (how, disk) in [("killed", disk.kill_copy()), ("crashed", disk.crash_copy(cut))] {
            life(&disk, made + 3);
            lost += u32::from(lose_the_newest(&disk, &format!("{how} at call {cut}")));
        }
    }
    assert!(calls > 10 && lost > 10, "{calls} calls, {lost} lost");
}

// Scenario 23: the new list is there and the old one as well, whole or in part; the newest counts,
// and the old one's tables, which are gone, are not missed.
#[test]
fn the_newest_complete_list_of_files_counts() {
    let (old, disk, expected) = moved();
    assert!(in_folder(&disk, "manifest.a").is_empty(), "the list has moved");
    assert_eq!(in_folder(&disk, "manifest.b").len(), 1);
    assert_holds(&disk.crash_copy(1), &expected, "moved");
    let both = disk.crash_copy(0);
    for path in in_folder(&old, "manifest.a") {
        store(&both, &path, &load(&old, &path));
    }
    assert_holds(&both.crash_copy(1), &expected, "both are there");
    // The old one is on its way out: its files go one by one.
    for path in in_folder(&old, "manifest.a") {
        let partly = both.crash_copy(0);
        remove(&partly, &path);
        assert_holds(&partly, &expected, "the old one is partly removed");
    }
}

// Scenario 23: the new list is not complete: a file that has not got its name yet, a log without
// records. The old one counts as long as it is whole. A file that cannot be one of an unfinished
// list is damage, and may have been the newer list.
#[test]
fn a_list_of_files_that_was_not_finished_does_not_count() {
    let specimen = Specimen::new(End::Killed);
    let folder = dir().join("manifest.b");
    let name = manifest_files(&specimen.disk)[0].file_name().unwrap().to_owned();
    for bytes in [&b""[..], &[0; 64 << 10], &noise(1, 5000)] {
        let unnamed = specimen.disk.crash_copy(0);
        store(&unnamed, &folder.join("spare.tmp"), bytes);
        assert_holds(&unnamed, &specimen.expected, "a file without its name");
        let damaged = specimen.disk.crash_copy(0);
        store(&damaged, &folder.join(&name), bytes);
        let error = specimen.judge(&damaged, "a file that is no log").refusal();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    }
    let log = specimen.disk.crash_copy(0);
    let wal = WalOptions::default().segment_bytes(64 << 10).writer(Writer::Caller);
    drop(Wal::open(Arc::new(log.clone()), &folder, wal).unwrap());
    assert_holds(&log, &specimen.expected, "a log without records");
}

// Scenario 23: at every step of the move, whatever the file system makes of it, there is a list.
#[test]
fn a_crash_while_the_list_of_files_is_replaced_leaves_one() {
    let specimen = Specimen::of_tables();
    let log = manifest_files(&specimen.disk).pop().unwrap();
    let act = |disk: &SimVfs| {
        let Ok(db) = try_open(disk, options().journal(false)) else { return };
        let left = keyspace(&db, "left");
        drop(db.put(&left, &key(55), b"flushed"));
        disk.fail(Fault::new(Op::Sync, Harm::Drops).named(log.file_name().unwrap()));
        for _ in 0..3 {
            drop(db.flush());
        }
    };
    let mut both = 0;
    let calls = crate::hurt::at_every_call(&specimen.disk, act, |disk, what| {
        let dirs = ["manifest.a", "manifest.b"].map(|name| !in_folder(disk, name).is_empty());
        both += u32::from(dirs == [true, true]);
        let db = try_open(disk, options()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut found = [contents(&db, "left"), contents(&db, "right")];
        found[0].remove(&key(55));
        assert!(found == specimen.expected, "{what}");
        db.verify().unwrap();
    });
    assert!(calls > 20 && both > 3, "{calls} calls, {both} with both lists");
}

// Scenario 23: a list of another name, or none at all beside tables, journals or both, is never
// taken for a fresh database: making one would remove every table.
#[test]
fn a_database_without_its_list_of_files_says_so() {
    let specimen = Specimen::new(End::Closed);
    for (without_tables, without_journal) in [(false, false), (true, false), (false, true)] {
        let disk = specimen.disk.crash_copy(0);
        for path in manifest_files(&disk) {
            remove(&disk, &path);
        }
        if without_tables {
            tables(&disk).iter().for_each(|path| remove(&disk, path));
        }
        if without_journal {
            crate::hurt::journal_files(&disk).iter().for_each(|path| remove(&disk, path));
        }
        let error = specimen.judge(&disk, "no list").refusal();
        assert!(error.to_string().contains("no manifest"), "{error}");
        let view = Db::open_read_only(
            Arc::new(disk.clone()),
            Arc::new(SimClock::new()),
            Path::new("db"),
            options(),
        );
        assert!(matches!(view, Err(Error::Corrupt { .. })), "{view:?}");
    }
}

// Scenarios 22 and 23: a damaged new list beside an old whole one, which the crash left. The old
// one is sound, and does not know what has been acknowledged since.
#[test]
fn an_older_list_of_files_is_not_taken_for_a_damaged_newer_one() {
    let (old, disk, expected) = moved();
    let both = disk.crash_copy(0);
    for path in in_folder(&old, "manifest.a") {
        store(&both, &path, &load(&old, &path));
    }
    for table in tables(&old) {
        if !tables(&both).contains(&table) {
            store(&both, &table, &load(&old, &table));
        }
    }
    let path = in_folder(&disk, "manifest.b").pop().unwrap();
    for at in (4096..used(&load(&disk, &path))).step_by(5) {
        let hurt = crate::hurt::hurt(&both, &path, |bytes| bytes[at] ^= 1);
        match try_open(&hurt, options()) {
            Err(error) => assert!(matches!(error, Error::Corrupt { .. }), "{error}"),
            Ok(db) => {
                let found = [contents(&db, "left"), contents(&db, "right")];
                assert!(found == expected, "byte {at}: an older state");
            }
        }
    }
}
