//! Disks that lie (scenario 47): a sync says yes and saves nothing. No log survives that; the loss
//! must show as soon as anyone knows better, and nothing false may be returned.

use drystone_vfs::{Fault, Harm, Op, SimVfs};
use drystone_wal::{Damage, Error, Lsn};

use crate::support::{drain, open, options, put, try_open};

fn text(lsn: u64) -> Vec<u8> {
    vec![lsn as u8; 700]
}

/// A log of `count` records whose syncs lied from record `honest + 1` on, after a power cut.
fn lied(seed: u64, honest: u64, count: u64, dirs: bool) -> SimVfs {
    let disk = SimVfs::new(seed);
    let (wal, _) = open(&disk);
    for lsn in 1..=count {
        if lsn == honest + 1 {
            disk.fail(Fault::new(Op::Sync, Harm::Lies).forever());
            if dirs {
                disk.fail(Fault::new(Op::SyncDir, Harm::Lies).forever());
            }
        }
        put(&wal, &text(lsn));
    }
    disk.crash()
}

// Scenario 47: told how far the log was durable, opening either finds all of it or refuses and says
// what is missing. Told nothing, it finds a true prefix or reports damage.
#[test]
fn a_lying_disk_is_detected_by_whoever_knows_the_last_lsn() {
    let (mut detected, mut complete, mut unnoticed) = (0, 0, 0);
    for seed in 0..150 {
        let (honest, count) = (seed % 30, 30);
        for dirs in [false, true] {
            let disk = lied(seed, honest, count, dirs);
            match try_open(&disk.kill_copy(), options().min_lsn(Lsn(count))) {
                Ok((_wal, recovered)) => {
                    assert!(drain(recovered).iter().map(|(lsn, _)| *lsn).eq(1..=count));
                    complete += 1;
                }
                Err(Error::Corrupt { reason, .. }) => {
                    if let Damage::EndsEarly { found, expected } = reason {
                        assert!(found < expected && expected == Lsn(count));
                    }
                    detected += 1;
                }
                Err(error) => panic!("seed {seed}: {error}"),
            }
            let before = disk.files();
            match try_open(&disk, options()) {
                Ok((_wal, recovered)) => {
                    let found = drain(recovered);
                    for ((lsn, bytes), expected) in found.iter().zip(1..) {
                        assert_eq!((*lsn, bytes), (expected, &text(expected)), "seed {seed}");
                    }
                    assert!(found.len() as u64 >= honest, "seed {seed}: before the lies");
                    unnoticed += u32::from((found.len() as u64) < count);
                }
                Err(Error::Corrupt { .. }) => assert!(disk.files() == before, "seed {seed}"),
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
    }
    println!("{detected} refused, {complete} lost nothing; {unnoticed} not noticed unless told");
    assert!(detected > 100 && complete > 0 && unnoticed > 0);
}
