//! A disk that says "synced" and has not (scenario 47), and recovery that is cut short (45).

use drystone_lsm::{Error, Result};
use drystone_vfs::{Fault, Harm, Op, SimVfs};

use crate::hurt::{End, Records, SPACES, Specimen, assert_holds, contents, key, noise, open};
use crate::support::{keyspace, options, try_open};

/// Writes, flushes and compacts, remembering every version of every key.
fn life(disk: &SimVfs) -> Result<Vec<Records>> {
    let db = try_open(disk, options())?;
    let left = db.keyspace("left", crate::support::keyspace_options())?;
    let (mut state, mut states) = (Records::new(), vec![Records::new()]);
    for n in 0..120_u64 {
        let value = noise(n, 120);
        db.put(&left, &key(n % 17), &value)?.wait()?;
        state.insert(key(n % 17), value);
        states.push(state.clone());
        if n % 30 == 29 {
            db.flush()?;
        }
        if n % 50 == 49 {
            db.compact_once()?;
        }
    }
    Ok(states)
}

// Scenario 47: from some call on, every sync is a lie, and then the power fails. Nobody can save what
// was written since. But what opens is a state that there was, or it is refused: never a wrong record,
// and never a mixture.
#[test]
fn a_lying_disk_costs_records_and_invents_none() {
    let (mut opened, mut refused, mut short) = (0, 0, 0);
    for seed in 0..12 {
        for after in [0, 3, 10, 40, 90] {
            for op in [Op::Sync, Op::SyncDir] {
                let disk = SimVfs::new(seed);
                disk.fail(Fault::new(op, Harm::Lies).after(after).forever());
                let states = life(&disk).unwrap();
                let what = format!("seed {seed}, {op:?} lies after {after}");
                let after = disk.crash();
                match try_open(&after, options()) {
                    Ok(db) => match found(&db) {
                        Ok(found) => {
                            let at = states.iter().rposition(|state| *state == found);
                            let at = at.unwrap_or_else(|| panic!("{what}: no state there was"));
                            opened += 1;
                            short += u32::from(at + 1 < states.len());
                        }
                        Err(error) => {
                            assert!(matches!(error, Error::Corrupt { .. }), "{what}: {error}");
                            refused += 1;
                        }
                    },
                    Err(Error::Corrupt { .. }) => refused += 1,
                    Err(error) => panic!("{what}: {error}"),
                }
            }
        }
    }
    assert!(opened > 5 && refused > 5, "{opened} opened, {short} of them short, {refused} refused");
}

/// Everything there is, or the first error.
fn found(db: &drystone_lsm::Db) -> Result<Records> {
    db.verify()?;
    if db.keyspaces().is_empty() {
        return Ok(Records::new());
    }
    let left = keyspace(db, "left");
    db.iter(&left).map(|record| record.map(|(k, v)| (k.to_vec(), v.to_vec()))).collect()
}

// Scenario 47: the journal's syncs were lies, the manifest's were not: it knows how far the journal
// was durable, and a journal that ends before that is refused.
#[test]
fn a_journal_that_ends_before_what_the_manifest_knows_is_refused() {
    let disk = SimVfs::new(1);
    let db = open(&disk);
    let left = keyspace(&db, "left");
    drop(db.put(&left, &key(1), b"one").unwrap());
    db.persist().unwrap();
    // The last of this is what the disk forgets.
    let forgotten = disk.crash_copy(0);
    for n in 2..12 {
        db.put(&left, &key(n), b"more").unwrap().wait().unwrap();
    }
    // Whatever is committed to the manifest carries along what the journal has said.
    drop(keyspace(&db, "right"));
    drop(db);
    let disk = disk.crash();
    for path in crate::hurt::journal_files(&disk) {
        crate::hurt::store(&disk, &path, &crate::hurt::load(&forgotten, &path));
    }
    let error = try_open(&disk, options()).expect_err("ten records are missing");
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

// Scenario 45: the power fails again, at every step of an opening that has much to do: a torn journal,
// a torn manifest, orphans; then flush and compaction. And again in the opening after that.
#[test]
fn a_second_power_cut_in_recovery_changes_no_outcome() {
    let specimen = Specimen::new(End::Killed);
    // The first power cut: in the middle of a flush and a compaction.
    let work = |disk: &SimVfs| {
        let Ok(db) = try_open(disk, options()) else { return };
        drop(db.flush());
        drop(db.compact(std::time::Duration::MAX));
    };
    let calls = {
        let whole = specimen.disk.crash_copy(0);
        work(&whole);
        whole.counts().changes()
    };
    let mut cuts = 0;
    for first in 0..=calls {
        let disk = specimen.disk.crash_copy(0);
        disk.power_cut_after(first);
        work(&disk);
        for seed in 0..2 {
            let left_over = if seed == 0 { disk.kill_copy() } else { disk.crash_copy(seed) };
            for second in 0..6 {
                let again = if seed == 0 { left_over.kill_copy() } else { left_over.crash_copy(0) };
                again.power_cut_after(second);
                work(&again);
                let third = again.crash_copy(second);
                third.power_cut_after(second + 2);
                drop(try_open(&third, options()));
                let what = format!("cut at {first}, then at {second}");
                assert_holds(&third.crash_copy(1), &specimen.expected, &what);
                cuts += 1;
            }
        }
    }
    assert!(cuts > 100, "{cuts}");
}

// Scenario 45: recovery is repeatable. Opened and closed again and again, killed or not, it is the
// same; and an opening that does no work writes nothing but the lock.
#[test]
fn opening_again_and_again_changes_nothing() {
    for end in [End::Killed, End::Closed] {
        let specimen = Specimen::new(end);
        let mut disk = specimen.disk.crash_copy(0);
        for round in 0..8 {
            let db = open(&disk);
            for (name, expected) in SPACES.iter().zip(&specimen.expected) {
                assert!(contents(&db, name) == *expected, "{end:?}, opening {round}");
            }
            if round % 2 == 0 {
                db.close().unwrap();
                disk = disk.crash();
            } else {
                disk = disk.kill_copy();
            }
        }
        // Once it was closed cleanly and has nothing to repair.
        open(&disk).close().unwrap();
        let before = disk.files();
        let db = open(&disk);
        assert_eq!(contents(&db, "left"), specimen.expected[0]);
        drop(db);
        assert!(disk.files() == before, "{end:?}: looking has written");
    }
}
