//! Compactions, interrupted anywhere (scenario 30).

use std::time::Duration;

use drystone_lsm::{Batch, Db, Policy, Progress};
use drystone_vfs::{Fault, Harm, Op, SimVfs};

use crate::hurt::{Records, SPACES, assert_holds, at_every_call, contents, key, noise, open};
use crate::support::{keyspace, keyspace_options, options, try_open};

/// Many sub-levels over several tables, with range deletes that span their borders.
fn layered(policy: Policy) -> (SimVfs, [Records; 2]) {
    let disk = SimVfs::new(5);
    let db = open(&disk);
    let spaces = SPACES.map(|name| db.keyspace(name, keyspace_options().policy(policy)).unwrap());
    let mut expected = [Records::new(), Records::new()];
    for round in 0..7_u64 {
        for n in (0..60).filter(|n| (n + round) % 3 > 0 || round == 0) {
            for (side, len) in [(0, 300), (1, 40)] {
                let value = noise(n + 100 * round + 1000 * side as u64, len);
                drop(db.put(&spaces[side], &key(n), &value).unwrap());
                expected[side].insert(key(n), value);
            }
        }
        let mut batch = Batch::new();
        let (start, end) = (key(5 * round), key(5 * round + 12));
        batch.delete_range(&spaces[0], &start, &end);
        batch.delete(&spaces[1], &key(round));
        db.write(batch).unwrap().wait().unwrap();
        expected[0].retain(|key, _| !(start <= *key && *key < end));
        expected[1].remove(&key(round));
        db.flush().unwrap();
    }
    drop(db);
    (disk.crash(), expected)
}

fn compact_a_lot(disk: &SimVfs) {
    let Ok(db) = try_open(disk, options()) else { return };
    while db.compact_once().is_ok_and(|more| more) {}
}

// Scenario 30: inputs or outputs, never both, never neither; with range deletes that span several
// tables, and under both policies.
#[test]
fn a_crash_at_any_step_of_a_compaction_leaves_inputs_or_outputs() {
    for policy in [Policy::Leveled, Policy::Tiered] {
        let (disk, expected) = layered(policy);
        let calls = at_every_call(&disk, compact_a_lot, |disk, what| {
            assert_holds(disk, &expected, &format!("{policy:?}: {what}"));
        });
        assert!(calls > 15, "{policy:?}: {calls} calls");
    }
}

// Scenario 30, with snapshots open: each sees what it saw, at every step, whatever fails; and what
// the failed compaction left does not show after a crash.
#[test]
fn snapshots_see_what_they_saw_through_failing_compactions() {
    let (base, last) = layered(Policy::Leveled);
    for op in [Op::Write, Op::Sync, Op::Create, Op::SyncDir, Op::Remove, Op::Read] {
        for after in [0, 1, 2, 3, 5, 8] {
            for harm in [Harm::Error, Harm::NoSpace, Harm::Drops] {
                let what = format!("{op:?} {harm:?} after {after}");
                let disk = base.crash_copy(0);
                let db = open(&disk);
                let mut seen = vec![(db.snapshot(), last.clone())];
                let mut now = last.clone();
                let spaces = SPACES.map(|name| keyspace(&db, name));
                for round in 0..3_u64 {
                    let mut batch = Batch::new();
                    batch.delete_range(&spaces[0], &key(20 * round), &key(20 * round + 15));
                    batch.put(&spaces[1], &key(round), b"newer");
                    db.write(batch).unwrap().wait().unwrap();
                    let gone = key(20 * round)..key(20 * round + 15);
                    now[0].retain(|key, _| !gone.contains(key));
                    now[1].insert(key(round), b"newer".to_vec());
                    db.flush().unwrap();
                    seen.push((db.snapshot(), now.clone()));
                }
                disk.fail(Fault::new(op, harm).after(after));
                let outcome = db.compact(Duration::MAX);
                for (snapshot, state) in &seen {
                    for (space, expected) in spaces.iter().zip(state) {
                        let found = snapshot.iter(space).map(|record| record.unwrap());
                        let found: Records = found.map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
                        assert!(found == *expected, "{what}: {outcome:?}: a snapshot has changed");
                    }
                }
                disk.heal();
                seen.truncate(1);
                let healed = db.compact(Duration::MAX);
                assert!(healed.is_ok(), "{what}, healed: {healed:?}");
                assert_now(&db, &now, &what);
                drop(seen);
                assert_holds(&disk.crash_copy(6), &now, &what);
            }
        }
    }
}

#[track_caller]
fn assert_now(db: &Db, expected: &[Records; 2], what: &str) {
    for (name, expected) in SPACES.iter().zip(expected) {
        assert!(contents(db, name) == *expected, "{what}: {name}");
    }
    db.verify().unwrap();
}

// Scenario 30: the manifest cannot be written, so the inputs stay, also when the database is then
// dropped, which removes the files of tables that are needed no more.
#[test]
fn inputs_stay_when_the_manifest_does_not_know_the_outputs() {
    for after in 0..2 {
        let disk = SimVfs::new(1);
        let db = try_open(&disk, options().journal(false)).unwrap();
        let left = keyspace(&db, "left");
        for round in 0..4 {
            for n in 0..30 {
                drop(db.put(&left, &key(n), &noise(n + round, 100)).unwrap());
            }
            db.flush().unwrap();
        }
        let expected = contents(&db, "left");
        let log = crate::hurt::manifest_files(&disk).pop().unwrap();
        let name = log.file_name().unwrap();
        disk.fail(Fault::new(Op::Sync, Harm::Error).named(name).after(after).forever());
        let refused = (0..3).filter(|_| db.compact(Duration::MAX).is_err()).count();
        assert!(refused > 0, "the manifest takes no edit");
        drop((left, db));
        disk.heal();
        for disk in [disk.kill_copy(), disk.crash_copy(after)] {
            let db = open(&disk);
            assert!(contents(&db, "left") == expected, "failed after {after}");
            db.verify().unwrap();
        }
    }
}

// Who asks for space gets it, whatever was compacted just before: deletes that have come to a level
// above what they delete are merged with it.
#[test]
fn compact_gives_back_what_an_earlier_compaction_has_left() {
    for snapshots in [false, true] {
        let disk = SimVfs::new(1);
        let db = open(&disk);
        let left = keyspace(&db, "left");
        for round in 0..20 {
            for n in 0..40 {
                drop(db.put(&left, &key(40 * round + n), &noise(n + round, 300)).unwrap());
            }
            db.flush().unwrap();
            while db.compact_once().unwrap() {}
        }
        let full = db.stats().table_bytes;
        let held = snapshots.then(|| db.snapshot());
        for n in 0..800 {
            drop(db.delete(&left, &key(n)).unwrap());
            if n % 100 == 99 {
                db.flush().unwrap();
                while db.compact_once().unwrap() {}
            }
        }
        assert_eq!(db.compact(Duration::MAX).unwrap(), Progress::Done);
        if let Some(held) = held {
            assert_eq!(held.iter(&left).count(), 800);
            assert!(db.stats().table_bytes > full / 2, "a snapshot sees all of it");
            drop(held);
            assert_eq!(db.compact(Duration::MAX).unwrap(), Progress::Done);
        }
        assert_eq!(db.stats().table_bytes, 0, "of {full}, with a snapshot: {snapshots}");
    }
}

// Each table is an open file, and a process may have some hundreds. A load in the order of the keys
// is the worst: its tables overlap nothing, and would stay as small as they were flushed.
#[test]
fn tables_do_not_become_too_many() {
    for sorted in [true, false] {
        let db = open(&SimVfs::new(1));
        let space = keyspace(&db, SPACES[0]);
        for round in 0..16_u64 {
            let mut batch = Batch::new();
            for n in 0..600 {
                let n = if sorted { 600 * round + n } else { 16 * n + round };
                batch.put(&space, &n.to_be_bytes(), &noise(n, 1500));
            }
            drop(db.write(batch).unwrap());
            db.flush().unwrap();
            while db.compact_once().unwrap() {}
        }
        let stats = db.stats();
        // As flushed they would be more than three thousand. What was written when there was little
        // stays as it was, if nothing comes between.
        let most = if sorted { 1600 } else { 900 };
        assert!(stats.tables < most, "sorted {sorted}: {} tables", stats.tables);
        assert!(stats.tables > 200, "sorted {sorted}: {} tables are not small", stats.tables);
        assert_eq!(db.iter(&space).count(), 9600);
        db.verify().unwrap();
    }
}
