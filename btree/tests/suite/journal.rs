//! The log beside the file: what it keeps, what its loss looks like, and how it comes and goes.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_btree::{Damage, Db, Error, Options, Sync, Writer};
use drystone_vfs::{Fault, Harm, Op, OpenMode, SimVfs, Vfs};

use crate::support::{assert_corrupt, disk, fill, key, load, options, put, records, try_open};

fn journaled() -> Options {
    options().sync(Sync::Journal)
}

fn dir() -> PathBuf {
    PathBuf::from("dir/db.journal")
}

fn journal_files(disk: &SimVfs) -> Vec<PathBuf> {
    let names = disk.list(&dir()).unwrap_or_default();
    names.into_iter().map(|name| dir().join(name)).collect()
}

/// Puts a file of one disk in its place on another.
fn carry(from: &SimVfs, to: &SimVfs, path: &Path) {
    let bytes = load(from, path);
    to.create_dir_all(path.parent().unwrap()).unwrap();
    let file = to.open(path, OpenMode::Create).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    file.write_at(&[IoSlice::new(&bytes)], 0).unwrap();
    file.sync_data().unwrap();
    to.sync_dir(path.parent().unwrap()).unwrap();
}

#[track_caller]
fn assert_damage(disk: &SimVfs, expected: Damage) {
    match assert_corrupt(disk, journaled()) {
        Error::Corrupt { what, .. } => assert_eq!(what, expected),
        error => panic!("{error}"),
    }
}

// What the log is for: commits are durable, and no page was written for them.
#[test]
fn a_commit_is_durable_by_its_record_alone() {
    let disk = disk();
    let db = try_open(&disk, journaled()).unwrap();
    let flushes = db.stats().flushes;
    fill(&db, 500);
    assert_eq!(db.stats().flushes, flushes, "no page was flushed");
    assert_eq!(db.durable(), db.read().txn());
    assert_eq!(db.read_durable().txn(), db.read().txn());
    let expected = records(&db);
    for seed in 0..20 {
        let again = try_open(&disk.crash_copy(seed), journaled()).unwrap();
        assert!(records(&again) == expected);
        again.verify().unwrap();
    }
}

// A user copies the file of a database that was closed, and has all of it.
#[test]
fn after_a_clean_close_the_file_is_all_there_is() {
    let disk = disk();
    let db = try_open(&disk, journaled()).unwrap();
    fill(&db, 500);
    let expected = records(&db);
    db.close().unwrap();
    assert!(journal_files(&disk).is_empty());
    for sync in [Sync::EveryCommit, Sync::OnRequest, Sync::Journal] {
        let db = try_open(&disk.kill_copy(), options().sync(sync)).unwrap();
        assert!(records(&db) == expected, "{sync:?}");
    }
}

// Options change between two openings, and a crash does not ask which were in force.
#[test]
fn whoever_opens_next_finds_what_the_journal_had() {
    for first in [Sync::Journal, Sync::EveryCommit] {
        for second in [Sync::EveryCommit, Sync::OnRequest, Sync::Journal] {
            let disk = disk();
            let db = try_open(&disk, options().sync(first)).unwrap();
            fill(&db, 200);
            let disk = disk.crash_copy(1);
            let db = try_open(&disk, options().sync(second)).unwrap();
            assert_eq!(records(&db).len(), 200, "{first:?}, {second:?}");
            assert_eq!(journal_files(&disk).is_empty(), second != Sync::Journal);
            put(&db, b"one more", b"value");
            let disk = disk.crash_copy(2);
            let db = try_open(&disk, journaled()).unwrap();
            assert_eq!(records(&db).len(), 201, "{first:?}, {second:?}");
        }
    }
}

// The file names a log: without it, promised records are gone, and nobody may go on as if not.
#[test]
fn a_journal_that_is_lost_or_cut_is_noticed() {
    let disk = disk();
    let db = try_open(&disk, journaled()).unwrap();
    fill(&db, 200);
    drop(db.clone());
    let lost = disk.kill_copy();
    for file in journal_files(&lost) {
        lost.remove(&file).unwrap();
    }
    assert_damage(&lost, Damage::JournalMissing);

    // Pages were flushed up to here: a log that ends before is older than the file.
    let old = disk.kill_copy();
    fill(&db, 400);
    db.compact(std::time::Duration::from_secs(1)).unwrap();
    let cut = disk.kill_copy();
    for file in journal_files(&cut) {
        cut.remove(&file).unwrap();
    }
    for file in journal_files(&old) {
        carry(&old, &cut, &file);
    }
    let error = try_open(&cut, journaled()).unwrap_err();
    assert!(matches!(error, Error::Journal { .. }), "{error}");
}

// A restore that puts files of two databases, or of two times, side by side must not mix them.
#[test]
fn the_journal_of_another_time_or_database_is_refused() {
    let (mine, other) = (disk(), disk());
    let db = try_open(&mine, journaled()).unwrap();
    fill(&db, 100);
    let stranger = try_open(&other, journaled().db_id(7)).unwrap();
    fill(&stranger, 300);
    let mixed = mine.kill_copy();
    for file in journal_files(&mixed) {
        mixed.remove(&file).unwrap();
    }
    for file in journal_files(&other) {
        carry(&other, &mixed, &file);
    }
    assert_damage(&mixed, Damage::JournalOfAnother);

    db.close().unwrap();
    let old = mine.kill_copy();
    let db = try_open(&mine, journaled()).unwrap();
    put(&db, b"new", b"value");
    for file in journal_files(&mine) {
        carry(&mine, &old, &file);
    }
    assert_damage(&old, Damage::JournalAhead);
}

// What is too large for the log is flushed before anyone builds on it.
#[test]
fn a_large_transaction_is_durable_when_it_is_committed() {
    let disk = disk();
    // All of it has room in memory: nothing but its size has it flushed.
    let db = try_open(&disk, journaled().memory_bytes(64 << 20)).unwrap();
    put(&db, b"before", b"value");
    let tree = db.tree("t").unwrap();
    let mut w = db.write().unwrap();
    for i in 0..90 {
        w.put(tree, &key(i), &vec![i as u8; 100_000]).unwrap();
    }
    drop(w.commit().unwrap());
    put(&db, b"after", b"value");
    let again = try_open(&disk.crash_copy(5), journaled()).unwrap();
    assert!(records(&again) == records(&db));
    assert_eq!(records(&again).len(), 92);
}

// A reader of a medium that cannot be written replays for itself.
#[test]
fn a_reader_replays_and_writes_nothing() {
    let disk = disk();
    let db = try_open(&disk, journaled()).unwrap();
    fill(&db, 300);
    let expected = records(&db);
    let medium = disk.kill_copy();
    let before = medium.files();
    let open = || Db::open_read_only(Arc::new(medium.clone()), Path::new("dir/db"), journaled());
    let (a, b) = (open().unwrap(), open().unwrap());
    assert!(records(&a) == expected);
    assert!(records(&b) == expected);
    assert_eq!(a.durable(), a.read().txn());
    assert_eq!(a.read_durable().txn(), a.read().txn());
    a.verify().unwrap();
    drop((a, b));
    // Locks are files, and empty.
    let with_bytes = |files: Vec<(PathBuf, Vec<u8>)>| -> Vec<(PathBuf, Vec<u8>)> {
        files.into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect()
    };
    assert!(with_bytes(medium.files()) == with_bytes(before));
}

// Whoever only looks opens with whatever options come to mind, and closes.
#[test]
fn a_reader_that_closes_writes_nothing_whatever_its_options() {
    let disk = disk();
    let db = try_open(&disk, journaled()).unwrap();
    fill(&db, 300);
    let medium = disk.kill_copy();
    for sync in [Sync::EveryCommit, Sync::OnRequest, Sync::Journal] {
        let options = options().sync(sync);
        let path = Path::new("dir/db");
        let reader = Db::open_read_only(Arc::new(medium.clone()), path, options).unwrap();
        assert!(records(&reader) == records(&db));
        let before = medium.counts().changes();
        reader.close().unwrap();
        assert_eq!(medium.counts().changes(), before, "{sync:?}");
    }
}

// What the log had may come to nothing; it was acknowledged all the same, and its number is not to
// be given to another transaction.
#[test]
fn a_replay_that_comes_to_nothing_is_a_state_of_its_own() {
    let disk = disk();
    let db = try_open(&disk, journaled()).unwrap();
    let tree = db.tree("t").unwrap();
    db.close().unwrap();
    let db = try_open(&disk, journaled()).unwrap();
    put(&db, b"key", b"value");
    let mut w = db.write().unwrap();
    w.delete(tree, b"key").unwrap();
    let told = w.commit().unwrap().wait().unwrap();
    let again = disk.crash_copy(1);
    let db = try_open(&again, journaled().min_txn(told)).unwrap();
    assert_eq!(db.read().txn(), told);
    put(&db, b"other", b"value");
    let db = try_open(&again.crash_copy(2), journaled()).unwrap();
    assert_eq!(records(&db).len(), 1);
}

// Scenario 44, for the log: commits that were under way when it failed fail, readers are back at
// the last durable state, and a new opening finds that state or one of the later ones.
#[test]
fn a_log_that_cannot_be_written_takes_back_what_it_did_not_keep() {
    for (op, harm) in [(Op::Sync, Harm::Error), (Op::Write, Harm::Error), (Op::Write, Harm::Torn)] {
        let disk = disk();
        let db = try_open(&disk, journaled()).unwrap();
        let tree = fill(&db, 300);
        let durable = db.durable();
        disk.fail(Fault::new(op, harm));
        let commits: Vec<_> = (0..5_u8)
            .map(|i| {
                let mut w = db.write().unwrap();
                w.put(tree, &key(u64::from(i)), &vec![i; 3000]).unwrap();
                w.commit().unwrap()
            })
            .collect();
        let seen = db.read();
        assert!(seen.txn() > durable);
        for commit in &commits {
            commit.wait().unwrap_err();
        }
        assert_eq!(db.read().txn(), durable, "{op:?} {harm:?}: readers go back");
        assert_eq!(seen.get(tree, &key(4)).unwrap().unwrap().len(), 3000, "it has what it had");
        disk.heal();
        db.write().map(drop).unwrap_err();
        db.persist().unwrap_err();
        let again = try_open(&disk.crash_copy(1), journaled()).unwrap();
        assert!(again.read().txn() >= durable);
        assert_eq!(records(&again).len(), 300);
    }
}

// A flush that fails costs nothing while the log has everything: it is tried again.
#[test]
fn a_failed_flush_loses_nothing() {
    let disk = disk();
    let db = try_open(&disk, journaled().unflushed_bytes(20_000)).unwrap();
    fill(&db, 300);
    disk.set_capacity_bytes(Some(disk.files().iter().map(|(_, b)| b.len() as u64).sum()));
    let tree = db.tree("t").unwrap();
    let put = |i| {
        let mut w = db.write()?;
        w.put(tree, &key(i), &[9; 3000])?;
        w.commit()?.wait()
    };
    let mut last = Ok(db.durable());
    for i in 0..200 {
        last = put(i);
        if last.is_err() {
            break;
        }
    }
    disk.set_capacity_bytes(None);
    // Either there was room in the log for all of it, or the log was full, too.
    let durable = db.durable();
    assert!(last.is_err() || last.unwrap() == durable);
    let again = try_open(&disk.crash_copy(3), journaled()).unwrap();
    assert!(again.read().txn() >= durable);
    again.verify().unwrap();
}

// A log that only grows would fill the disk, and make the next opening take for ever.
#[test]
fn the_journal_is_cut_as_pages_are_flushed() {
    for writer in [Writer::Caller, Writer::Thread] {
        let disk = disk();
        let options = journaled().writer(writer).unflushed_bytes(256 << 10);
        let db = try_open(&disk, options).unwrap();
        let tree = db.tree("t").unwrap();
        let mut most = 0;
        for i in 0..4000_u64 {
            let mut w = db.write().unwrap();
            w.put(tree, &key(i % 50), &[i as u8; 1000]).unwrap();
            let commit = w.commit().unwrap();
            if i % 50 == 0 {
                commit.wait().unwrap();
                let files = disk.files();
                let log = files.iter().filter(|(path, _)| path.starts_with(dir()));
                most = most.max(log.map(|(_, bytes)| bytes.len()).sum());
            }
        }
        assert!(most < 2 << 20, "{writer:?}: 4 MB were logged, the log took {most} bytes");
        assert!(db.stats().flushes > 4, "{writer:?}");
    }
}

// What was rolled back is not done by a replay.
#[test]
fn a_replay_does_what_the_transaction_came_to() {
    let disk = disk();
    let db = try_open(&disk, journaled()).unwrap();
    let mut w = db.write().unwrap();
    let (a, b) = (w.create_tree("a").unwrap(), w.create_tree("b").unwrap());
    w.put(a, b"1", b"kept").unwrap();
    let point = w.savepoint();
    w.put(a, b"2", b"undone").unwrap();
    w.drop_tree(b).unwrap();
    let inner = w.savepoint();
    w.put(a, b"3", b"undone as well").unwrap();
    w.rollback_to(inner).unwrap();
    w.rollback_to(point).unwrap();
    w.put(b, b"4", b"kept").unwrap();
    let released = w.savepoint();
    w.put(b, b"5", b"kept").unwrap();
    w.release(released).unwrap();
    w.delete_range::<&[u8]>(b, ..=&b"4"[..]).unwrap();
    let c = w.create_tree("c").unwrap();
    w.put(c, b"6", b"kept").unwrap();
    w.drop_tree(a).unwrap();
    w.commit().unwrap().wait().unwrap();
    let again = try_open(&disk.crash_copy(1), journaled()).unwrap();
    let r = again.read();
    let names: Vec<_> = r.trees().map(|(_, name)| name.to_owned()).collect();
    assert_eq!(names, ["b", "c"]);
    let all: Vec<_> = r.iter(b).map(|item| item.unwrap().0.to_vec()).collect();
    assert_eq!(all, [b"5".to_vec()]);
    assert_eq!(&*r.get(c, b"6").unwrap().unwrap(), b"kept");
}

// Any bit of the log that rots is noticed, or is part of what nobody was promised.
#[test]
fn any_byte_of_the_journal_may_rot() {
    let disk = disk();
    let db = try_open(&disk, journaled()).unwrap();
    fill(&db, 100);
    let expected = records(&db);
    let sizes: Vec<_> =
        journal_files(&disk).into_iter().map(|path| (load(&disk, &path).len(), path)).collect();
    for (len, path) in sizes.iter().filter(|(len, _)| *len > 0) {
        for at in (0..*len).step_by(509) {
            let hurt = disk.kill_copy();
            let mut bytes = load(&hurt, path);
            bytes[at] ^= 0x10;
            let file = hurt.open(path, OpenMode::Write).unwrap();
            file.write_at(&[IoSlice::new(&bytes)], 0).unwrap();
            match try_open(&hurt, journaled()) {
                Ok(db) => {
                    let found = records(&db);
                    let is_prefix = found.iter().all(|(k, v)| expected.get(k) == Some(v));
                    assert!(is_prefix, "{}: byte {at}", path.display());
                    // The last group may be torn for all that anyone can tell.
                    assert!(found.len() >= 50, "{}: byte {at}", path.display());
                }
                Err(Error::Journal { .. } | Error::Corrupt { .. } | Error::Unsupported { .. }) => {}
                Err(error) => panic!("{}: byte {at}: {error}", path.display()),
            }
        }
    }
}
