//! Real file systems without a byte to spare.
//!
//! A database fills its volume to the end, from different amounts of free space, so that the last
//! byte goes to the journal, to a table, to the manifest. Then somebody takes what it gave back,
//! and it has to be read with nothing free.

use std::collections::BTreeMap;
use std::sync::Arc;

use drystone_lsm::{Db, Error, Options, Result};
use drystone_vfs::{OsClock, OsVfs};

use super::volume::{Volume, on_each};
use crate::hurt::noise;
use crate::support::keyspace;

const TMPFS_BYTES: u64 = 3 << 20;
const EXT4_BYTES: u64 = 16 << 20;

/// Amounts of space to begin with.
const SPARES: [u64; 6] = [150_000, 200_000, 262_144, 400_000, 700_000, 1_200_000];

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

fn options(threads: usize) -> Options {
    Options::default().memory_bytes(256 << 10).threads(threads)
}

fn open(volume: &Volume, threads: usize) -> Result<Db> {
    Db::open(
        Arc::new(OsVfs::new()),
        Arc::new(OsClock::new()),
        &volume.place("log"),
        options(threads),
    )
}

#[track_caller]
fn assert_holds(db: &Db, acknowledged: &Records, what: &str) {
    let space = keyspace(db, "filled");
    for (key, value) in acknowledged {
        let found = db.get(&space, key).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(found.is_some_and(|found| *found == value[..]), "{what}: {key:?} was acknowledged");
    }
    db.verify().unwrap();
}

/// Writes until there is no space; what was acknowledged is added to `acknowledged`.
fn write_until_full(db: &Db, round: u64, acknowledged: &mut Records) -> Error {
    let space = keyspace(db, "filled");
    for n in 0_u64.. {
        // Some keys again and again, so that compactions find work.
        let key = format!("{:05}", if n % 3 == 0 { n % 50 } else { n + 10_000 * round });
        let value = noise(n, 300 + (n % 700) as usize);
        let outcome = db.put(&space, key.as_bytes(), &value).and_then(|commit| commit.wait());
        match outcome {
            Ok(()) => drop(acknowledged.insert(key.into_bytes(), value)),
            Err(error) => {
                // Nobody knows whether this one survives.
                acknowledged.remove(key.as_bytes());
                return error;
            }
        }
    }
    unreachable!("a volume has an end")
}

// Scenario 18, one level up: the caller is told, nothing acknowledged is lost, all of
// it can be read without a byte free, and with space the database goes on.
#[test]
fn a_full_disk_is_reported_and_survived() {
    on_each(
        "kernel::full::a_full_disk_is_reported_and_survived",
        TMPFS_BYTES,
        EXT4_BYTES,
        |volume| {
            let mut acknowledged = Records::new();
            for (round, spare) in SPARES.into_iter().enumerate() {
                let what = format!("{}: {spare} bytes to begin with", volume.kind);
                println!("{what}");
                let db = open(volume, [2, 0, 1][round % 3]).unwrap();
                drop(keyspace(&db, "filled"));
                assert_holds(&db, &acknowledged, &what);
                volume.fill(spare);
                let error = write_until_full(&db, round as u64, &mut acknowledged);
                assert!(matches!(error, Error::NoSpace { .. }), "{what}: {error}");
                assert_holds(&db, &acknowledged, &format!("{what}, full"));
                drop(db.close());
                volume.fill(0);
                let view = Db::open_read_only(
                    Arc::new(OsVfs::new()),
                    Arc::new(OsClock::new()),
                    &volume.place("log"),
                    options(0),
                );
                assert_holds(&view.unwrap(), &acknowledged, &format!("{what}, nothing free"));
                // Opening for writing may find that it needs a byte; it must not harm one.
                match open(volume, 0) {
                    Ok(db) => assert_holds(&db, &acknowledged, &format!("{what}, opened full")),
                    Err(error) => {
                        assert!(matches!(error, Error::NoSpace { .. }), "{what}: {error}");
                    }
                }
                volume.drain();
                let db = open(volume, 0).unwrap();
                assert_holds(&db, &acknowledged, &format!("{what}, with space again"));
                let space = keyspace(&db, "filled");
                // Make room for the next round.
                let mut batch = drystone_lsm::Batch::new();
                batch.delete_range(&space, b"", b"zzzz");
                db.write(batch).unwrap().wait().unwrap();
                acknowledged.clear();
                db.put(&space, b"goes on", b"yes").unwrap().wait().unwrap();
                acknowledged.insert(b"goes on".to_vec(), b"yes".to_vec());
                db.flush().unwrap();
                db.compact(std::time::Duration::MAX).unwrap();
                db.close().unwrap();
            }
        },
    );
}
