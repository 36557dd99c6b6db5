//! Entries that expire, under clocks that leap, stand still, and go back (scenario 20).

use std::sync::Arc;
use std::time::Duration;

use drystone_lsm::{Batch, Db, Keyspace, KeyspaceOptions, Options, Progress};
use drystone_vfs::{SimClock, SimVfs};

use crate::hurt::{key, noise};
use crate::support::{dir, options};

const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

fn open_at(disk: &SimVfs, clock: &Arc<SimClock>, options: Options) -> Db {
    Db::open(Arc::new(disk.clone()), Arc::clone(clock) as _, &dir(), options).unwrap()
}

fn mortal(db: &Db, ttl: Duration) -> Keyspace {
    db.keyspace("mortal", KeyspaceOptions::default().ttl(ttl)).unwrap()
}

fn has(db: &Db, space: &Keyspace, n: u64) -> bool {
    let found = db.get(space, &key(n)).unwrap().is_some();
    let walked = db.iter(space).any(|record| *record.unwrap().0 == key(n)[..]);
    assert_eq!(found, walked, "get and a walk do not agree on key {n}");
    found
}

// Scenario 20: somebody corrects the date, forwards by ten years or back by an hour, or the clock
// stands. What has expired stays expired, before and after a reopening; what has not is there.
#[test]
fn what_has_expired_never_returns_however_the_clock_leaps() {
    for flush in [false, true] {
        let (disk, clock) = (SimVfs::new(1), Arc::new(SimClock::new()));
        clock.set_wall(40 * YEAR);
        let db = open_at(&disk, &clock, options());
        let space = mortal(&db, HOUR);
        drop(db.put(&space, &key(1), b"an hour").unwrap());
        if flush {
            db.flush().unwrap();
        }
        for _ in 0..10 {
            assert!(has(&db, &space, 1), "no time has passed");
        }
        clock.set_wall(40 * YEAR - 30 * YEAR);
        assert!(has(&db, &space, 1), "the date was set back");
        clock.set_wall(50 * YEAR);
        assert!(!has(&db, &space, 1), "ten years have passed");
        clock.set_wall(40 * YEAR);
        assert!(!has(&db, &space, 1), "back by ten years: it was seen to be gone");
        drop(db.put(&space, &key(2), b"an hour from the latest time seen").unwrap());
        db.flush().unwrap();
        db.close().unwrap();
        let db = open_at(&disk.crash(), &clock, options());
        let space = mortal(&db, HOUR);
        assert!(!has(&db, &space, 1), "reopened with the date set back");
        assert!(has(&db, &space, 2));
        clock.set_wall(50 * YEAR + HOUR);
        assert!(!has(&db, &space, 2));
    }
}

// Scenario 20: an entry was seen to be gone; then nothing but a clean close and a date set back.
#[test]
fn what_was_seen_to_be_gone_is_gone_after_a_close() {
    let (disk, clock) = (SimVfs::new(1), Arc::new(SimClock::new()));
    clock.set_wall(40 * YEAR);
    let db = open_at(&disk, &clock, options());
    let space = mortal(&db, HOUR);
    db.put(&space, &key(1), b"an hour").unwrap().wait().unwrap();
    db.flush().unwrap();
    clock.set_wall(41 * YEAR);
    assert!(!has(&db, &space, 1));
    db.compact(Duration::MAX).unwrap();
    db.close().unwrap();
    clock.set_wall(40 * YEAR);
    let db = open_at(&disk, &clock, options());
    assert!(!has(&db, &mortal(&db, HOUR), 1));
}

// Scenario 20: a reader saw that an entry has expired, and then something was made durable, maybe
// on the word of it. No crash and no date brings the entry back.
#[test]
fn what_was_seen_to_be_gone_is_gone_after_a_crash_once_anything_is_durable() {
    type Save = fn(&Db);
    let other = |db: &Db| db.keyspace("other", KeyspaceOptions::default()).unwrap();
    let saves: [(&str, bool, Save); 8] = [
        ("a write", true, |db| {
            let other = db.keyspace("other", KeyspaceOptions::default()).unwrap();
            db.put(&other, b"k", b"v").unwrap().wait().unwrap();
        }),
        ("an empty write", true, |db| db.write(Batch::new()).unwrap().wait().unwrap()),
        ("persist", true, |db| db.persist().unwrap()),
        ("persist without a journal", false, |db| db.persist().unwrap()),
        ("a flush", true, |db| {
            let other = db.keyspace("other", KeyspaceOptions::default()).unwrap();
            drop(db.put(&other, b"k", b"v").unwrap());
            db.flush().unwrap();
        }),
        ("a write without a journal", false, |db| {
            let other = db.keyspace("other", KeyspaceOptions::default()).unwrap();
            db.put(&other, b"k", b"v").unwrap().wait().unwrap();
        }),
        ("a compaction", false, |db| {
            assert!(matches!(db.compact(Duration::MAX), Ok(Progress::Done)));
        }),
        ("another keyspace", false, |db| {
            drop(db.keyspace("third", KeyspaceOptions::default()).unwrap());
        }),
    ];
    for (what, journal, save) in saves {
        for walks in [false, true] {
            let (disk, clock) = (SimVfs::new(1), Arc::new(SimClock::new()));
            clock.set_wall(40 * YEAR);
            let db = open_at(&disk, &clock, options().journal(journal));
            let space = mortal(&db, HOUR);
            drop(other(&db));
            db.put(&space, &key(1), b"an hour").unwrap().wait().unwrap();
            clock.set_wall(41 * YEAR);
            let seen = if walks {
                db.iter(&space).next().is_some()
            } else {
                db.get(&space, &key(1)).unwrap().is_some()
            };
            assert!(!seen, "{what}: a year has passed");
            save(&db);
            let left = [disk.kill_copy(), disk.crash_copy(1), disk.crash_copy(2)];
            drop((space, db));
            clock.set_wall(40 * YEAR);
            for disk in left {
                let db = open_at(&disk, &clock, options().journal(journal));
                assert!(!has(&db, &mortal(&db, HOUR), 1), "{what}, walks: {walks}: it is back");
            }
        }
    }
}

// Scenario 20: the same, cut off at every step of the write; and time alone writes nothing.
#[test]
fn a_crash_in_the_write_after_an_expiry_leaves_it_gone_or_the_write_undone() {
    for cut in 0..12 {
        let (disk, clock) = (SimVfs::new(1), Arc::new(SimClock::new()));
        clock.set_wall(40 * YEAR);
        let db = open_at(&disk, &clock, options());
        let space = mortal(&db, HOUR);
        for n in 1..3 {
            db.put(&space, &key(n), b"an hour").unwrap().wait().unwrap();
        }
        clock.set_wall(41 * YEAR);
        assert!(!has(&db, &space, 1));
        assert!(!has(&db, &space, 2));
        disk.power_cut_after(cut);
        for n in 3..6 {
            drop(db.put(&space, &key(n), b"afterwards").and_then(|commit| commit.wait()));
        }
        for seed in 0..4 {
            let (disk, clock) = (disk.crash_copy(seed), Arc::new(SimClock::new()));
            clock.set_wall(40 * YEAR);
            let db = open_at(&disk, &clock, options());
            let space = mortal(&db, HOUR);
            let written = (3..6).any(|n| has(&db, &space, n));
            let back = (1..3).filter(|n| has(&db, &space, *n)).count();
            assert!(!written || back == 0, "cut at {cut}, crash {seed}: {back} are back");
        }
    }
}

// Scenario 20: the newest version of a key expires first. It must hide the older one for ever: at
// every step of its way down, and when a compaction has dropped it.
#[test]
fn an_expired_version_never_uncovers_an_older_one() {
    for leap_first in [false, true] {
        let (disk, clock) = (SimVfs::new(1), Arc::new(SimClock::new()));
        let db = open_at(&disk, &clock, options());
        let space = mortal(&db, YEAR);
        for n in 0..20 {
            drop(db.put(&space, &key(n), &noise(n, 100)).unwrap());
        }
        db.flush().unwrap();
        db.compact(Duration::MAX).unwrap();
        let space = mortal(&db, HOUR);
        drop(db.put(&space, &key(5), b"short-lived").unwrap());
        drop(db.put(&space, &key(6), b"deleted soon").unwrap());
        if leap_first {
            clock.advance(2 * HOUR);
            assert!(!has(&db, &space, 5));
        }
        drop(db.delete(&space, &key(6)).unwrap());
        db.flush().unwrap();
        clock.advance(2 * HOUR);
        for _ in 0..20 {
            assert!(!has(&db, &space, 5) && !has(&db, &space, 6), "an older version is back");
            assert!(has(&db, &space, 4));
            // Others push it down.
            for n in 7..20 {
                drop(db.put(&space, &key(n), &noise(n, 100)).unwrap());
            }
            db.flush().unwrap();
            db.compact_once().unwrap();
        }
        db.compact(Duration::MAX).unwrap();
        assert!(!has(&db, &space, 5) && !has(&db, &space, 6));
    }
}

// Scenario 20: a budget of time is measured with a clock; on one that stands, work still ends, with
// and without threads of its own.
#[test]
fn nothing_waits_for_a_clock_that_stands() {
    for threads in [0, 2] {
        let (disk, clock) = (SimVfs::new(1), Arc::new(SimClock::new()));
        let db = open_at(&disk, &clock, options().threads(threads));
        let space = mortal(&db, HOUR);
        for n in 0..2000 {
            drop(db.put(&space, &key(n % 300), &noise(n, 60)).unwrap());
        }
        db.flush().unwrap();
        db.compact(Duration::from_secs(1)).unwrap();
        assert!((0..300).all(|n| db.get(&space, &key(n)).unwrap().is_some()));
        clock.advance(2 * HOUR);
        db.compact(Duration::from_secs(1)).unwrap();
        assert_eq!(db.iter(&space).count(), 0);
        db.close().unwrap();
    }
}
