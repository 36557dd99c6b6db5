//! Space that is given back without reading: keyspaces that were cleared, tables that have expired.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use drystone_lsm::{Db, KeyspaceOptions};
use drystone_vfs::{SimClock, SimVfs};

use crate::support::{dir, keyspace, options, try_open};

fn number(n: u32) -> Vec<u8> {
    format!("{n:06}").into_bytes()
}

// A cleared keyspace is empty at every crash from then on, in the tables and in the journal, and
// before that it was whole.
#[test]
fn a_cleared_keyspace_never_comes_back() {
    for journal in [true, false] {
        let options = options().journal(journal);
        let mut cut = 0;
        loop {
            let disk = SimVfs::new(cut);
            let db = try_open(&disk, options.clone()).unwrap();
            let (ks, other) = (keyspace(&db, "left"), keyspace(&db, "right"));
            for n in 0..100 {
                drop(db.put(&ks, &number(n), &[1; 100]).unwrap());
                drop(db.put(&other, &number(n), b"stays").unwrap());
            }
            db.flush().unwrap();
            let last = db.put(&ks, &[0xff; 65535], b"the highest key there can be").unwrap();
            last.wait().unwrap();
            disk.power_cut_after(cut);
            let outcome = db.clear(&ks);
            for seed in 0..3 {
                let again = try_open(&disk.crash_copy(seed), options.clone()).unwrap();
                let found = again.iter(&keyspace(&again, "left")).count();
                assert!(found == 0 || outcome.is_err() && found == 101, "cut {cut}: {found}");
                assert_eq!(again.iter(&keyspace(&again, "right")).count(), 100);
                again.compact(Duration::MAX).unwrap();
                assert_eq!(again.iter(&keyspace(&again, "left")).count(), found);
            }
            if outcome.is_ok() {
                break;
            }
            cut += 1;
        }
        assert!(cut > 5, "{cut} cuts");
    }
}

// The space comes back without a read of what it held, and not before the last snapshot that sees
// it is gone.
#[test]
fn cleared_tables_are_dropped_unread_once_no_snapshot_sees_them() {
    let disk = SimVfs::new(1);
    let db = try_open(&disk, options()).unwrap();
    let ks = keyspace(&db, "left");
    for n in 0..3000 {
        drop(db.put(&ks, &number(n), &[n as u8; 100]).unwrap());
    }
    db.flush().unwrap();
    while db.compact_once().unwrap() {}
    let before = db.snapshot();
    db.clear(&ks).unwrap();
    assert_eq!((db.iter(&ks).count(), before.iter(&ks).count()), (0, 3000));
    while db.compact_once().unwrap() {}
    assert_eq!(before.iter(&ks).count(), 3000, "a snapshot never changes");
    let bytes = db.stats().table_bytes;
    drop(before);
    drop(db.put(&ks, &number(7), b"after").unwrap());
    let compacted = db.stats().compacted_bytes;
    while db.compact_once().unwrap() {}
    let stats = db.stats();
    assert!(stats.dropped > 3 && stats.compacted_bytes == compacted, "{stats:?}");
    assert!(stats.table_bytes < bytes / 20, "{} of {bytes}", stats.table_bytes);
    assert_eq!(db.iter(&ks).count(), 1);
    db.compact(Duration::MAX).unwrap();
    assert_eq!(db.get(&ks, &number(7)).unwrap().unwrap(), b"after");
    db.verify().unwrap();
}

// A log of events that live for an hour costs the space of an hour, and not of a compaction for
// each: tables that are past are dropped. What they hid stays hidden.
#[test]
fn expired_tables_are_dropped_and_reveal_nothing() {
    let (disk, clock) = (SimVfs::new(1), Arc::new(SimClock::new()));
    clock.set_wall(Duration::from_secs(1000));
    let db = Db::open(Arc::new(disk), clock.clone(), Path::new(&dir()), options()).unwrap();
    let hour = KeyspaceOptions::default().ttl(Duration::from_secs(3600));
    let ks = db.keyspace("events", hour.clone()).unwrap();
    for n in 0..1000 {
        drop(db.put(&ks, &number(n), &[n as u8; 100]).unwrap());
    }
    db.flush().unwrap();
    db.compact(Duration::MAX).unwrap();
    assert!(db.stats().table_bytes > 20_000);
    // The same keys again, above, for a second.
    db.keyspace("events", hour.clone().ttl(Duration::from_secs(1))).unwrap();
    for n in 0..10 {
        drop(db.put(&ks, &number(n), b"short").unwrap());
    }
    db.flush().unwrap();
    clock.set_wall(Duration::from_secs(1002));
    while db.compact_once().unwrap() {}
    assert_eq!(db.iter(&ks).count(), 990, "an older value came to light");
    assert_eq!(db.stats().dropped, 0);
    clock.set_wall(Duration::from_secs(6000));
    while db.compact_once().unwrap() {}
    let stats = db.stats();
    assert!(stats.dropped > 0 && stats.table_bytes == 0, "{stats:?}");
    assert_eq!(db.iter(&ks).count(), 0);
}
