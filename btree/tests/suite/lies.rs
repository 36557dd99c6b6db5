//! Disks that lie (scenario 47): a sync says yes and saves nothing. No database survives that; the
//! loss must show as soon as anyone knows better, and nothing false may be returned.

use drystone_btree::{Damage, Error, TxnId};
use drystone_vfs::{Fault, Harm, Op, SimVfs};

use crate::support::{key, open, options, try_open};
use crate::witness::Witness;

const COUNT: u64 = 24;

/// A database of `COUNT` transactions whose syncs lied from number `honest + 1` on, after a power
/// cut.
fn lied(seed: u64, honest: u64, dirs: bool) -> (SimVfs, Witness) {
    let disk = SimVfs::new(seed);
    let db = open(&disk);
    let mut witness = Witness::default();
    witness.note(&db);
    for i in 1..=COUNT {
        if i == honest + 1 {
            disk.fail(Fault::new(Op::Sync, Harm::Lies).forever());
            if dirs {
                disk.fail(Fault::new(Op::SyncDir, Harm::Lies).forever());
            }
        }
        let mut w = db.write().unwrap();
        let tree = w.create_tree("t").unwrap();
        w.put(tree, &key(i % 9), &vec![i as u8; 100 * i as usize]).unwrap();
        w.commit().unwrap().wait().unwrap();
        witness.note(&db);
    }
    (disk.crash(), witness)
}

// Scenario 47: told how far it was durable, opening finds all of it or refuses and says what is
// missing. Told nothing, it finds a state that was, or reports damage; never a mixture.
#[test]
fn a_lying_disk_is_detected_by_whoever_knows_the_last_transaction() {
    let (mut detected, mut complete, mut older) = (0, 0, 0);
    for seed in 0..120 {
        let honest = seed % COUNT;
        let (disk, witness) = lied(seed, honest, seed % 2 == 0);
        let what = format!("seed {seed}");
        match try_open(&disk.kill_copy(), options().min_txn(TxnId(COUNT))) {
            Ok(db) => {
                assert_eq!(db.read().txn().0, COUNT);
                let found = witness.examine(&db, &what);
                if found.refused == 0 { complete += 1 } else { detected += 1 }
            }
            Err(Error::Corrupt { what, .. }) => {
                if let Damage::EndsEarly { found, expected } = what {
                    assert!(found < expected && expected == TxnId(COUNT));
                }
                detected += 1;
            }
            Err(error) => panic!("{what}: {error}"),
        }
        match try_open(&disk, options()) {
            // Nothing that is read is wrong. Pages that a lie has lost are errors.
            Ok(db) => older += u32::from(witness.examine(&db, &what).txn < COUNT),
            Err(Error::Corrupt { .. }) => {}
            Err(error) => panic!("{what}: {error}"),
        }
    }
    println!("{detected} detected, {complete} complete, {older} older and unnoticed");
    assert!(detected > 60 && older > 0);
}

// Scenario 47: an old copy of the file in place of the present one is a true state, and too old.
#[test]
fn an_old_copy_is_refused_by_whoever_knows_better() {
    let disk = crate::support::disk();
    let db = open(&disk);
    let mut copies = Vec::new();
    for i in 1..=6 {
        crate::support::put(&db, &key(i), b"value");
        copies.push((db.read().txn(), disk.kill_copy()));
    }
    let last = db.read().txn();
    for (txn, copy) in copies {
        for known in [txn.0, txn.0 + 1, last.0] {
            let before = copy.files();
            let outcome = try_open(&copy, options().min_txn(TxnId(known)));
            if known <= txn.0 {
                drop(outcome.unwrap());
                continue;
            }
            let Err(Error::Corrupt { what: Damage::EndsEarly { found, expected }, .. }) = outcome
            else {
                panic!("{txn} passes for {known}");
            };
            assert_eq!((found, expected.0), (txn, known));
            assert!(copy.files() == before);
        }
    }
}

// Scenario 47: the file is gone. Whoever knows that there was one is told, and no empty one is put
// in its place.
#[test]
fn a_lost_file_is_not_replaced_by_an_empty_one() {
    let disk = crate::support::disk();
    let outcome = try_open(&disk, options().min_txn(TxnId(7)));
    let Err(Error::Corrupt { what: Damage::EndsEarly { found, expected }, .. }) = outcome else {
        panic!("an empty database passes for one of 7 transactions");
    };
    assert_eq!((found, expected), (TxnId(0), TxnId(7)));
    assert!(disk.files().is_empty());
}
