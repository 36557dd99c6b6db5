//! A disk that refuses one call, at every place in turn: memory stays as it was, and when the disk
//! works again so does the database.

use drystone_lsm::Db;
use drystone_vfs::{Fault, Harm, Op, SimVfs};

use crate::support::{keyspace, options, try_open};

/// Two rounds of writes, with a flush and a compaction after each.
fn round(db: &Db, number: u8) -> Result<(), drystone_lsm::Error> {
    let keyspace = keyspace(db, "kv");
    for i in 0..40_u8 {
        drop(db.put(&keyspace, &[i], &[number; 300])?);
    }
    db.flush()?;
    db.compact(std::time::Duration::MAX).map(drop)
}

// Without a journal no write depends on the disk, and `persist` may be called again after a
// failure: it must trust no byte of the failed attempt.
#[test]
fn a_call_that_fails_anywhere_harms_nothing_without_a_journal() {
    let ops = [Op::Create, Op::Write, Op::Sync, Op::SetLen, Op::SyncDir, Op::Remove];
    let mut struck = 0;
    for op in ops {
        for harm in [Harm::Error, Harm::NoSpace, Harm::Torn, Harm::Drops, Harm::Forgets] {
            for after in 0..12 {
                let what = format!("{op:?} {harm:?} after {after}");
                let disk = SimVfs::new(after);
                let db = try_open(&disk, options().journal(false)).unwrap();
                round(&db, 1).unwrap();
                disk.fail(Fault::new(op, harm).after(after));
                let failed = round(&db, 2).is_err();
                struck += u32::from(failed);
                let keyspace = keyspace(&db, "kv");
                let read = |db: &Db| -> Vec<u8> {
                    db.iter(&keyspace).map(|record| record.unwrap().1[0]).collect()
                };
                assert_eq!(read(&db), [2; 40], "{what}: memory is as it was");
                disk.heal();
                db.persist().unwrap_or_else(|error| panic!("{what}: {error}"));
                round(&db, 3).unwrap_or_else(|error| panic!("{what}: {error}"));
                let after = try_open(&disk.crash_copy(1), options().journal(false))
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
                let found = crate::support::keyspace(&after, "kv");
                let values: Vec<u8> = after.iter(&found).map(|r| r.unwrap().1[0]).collect();
                assert_eq!(values, [3; 40], "{what}: durable");
                after.verify().unwrap();
            }
        }
    }
    assert!(struck > 100, "{struck} calls failed");
}
