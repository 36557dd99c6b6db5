//! Tables that rot: every byte of every file, seen by reads, by walks, and by compactions.

use std::path::PathBuf;

use drystone_lsm::{Db, Error, Range};
use drystone_vfs::{Fault, Harm, Op, SimVfs};

use crate::hurt::{
    Records, SPACES, Specimen, Verdict, hurt, key, load, noise, open, read_each, settle, tables,
};
use crate::support::{keyspace, options, try_open};

/// Some of the places, all of them if `SLOW=1`.
fn step(usual: usize) -> usize {
    if std::env::var_os("SLOW").is_some() { 1 } else { usual }
}

// Scenario 31: a bit flips, and a store that checksums only its data blocks says "absent" by a
// rotten filter or finds nothing by rotten fences. Every byte of every table: a key has its value or
// is an error, keys behind other blocks are fine, and nothing goes unnoticed.
#[test]
fn a_rotten_byte_in_a_table_is_an_error_and_never_an_absent_key() {
    let specimen = Specimen::of_tables();
    let (mut refused, mut partly) = (0, 0);
    for path in tables(&specimen.disk) {
        for at in 0..load(&specimen.disk, &path).len() {
            let disk = specimen.hurt(&path, |bytes| bytes[at] ^= 1 << (at % 8));
            let what = format!("{} byte {at}", path.display());
            let verdict = specimen.judge(&disk, &what);
            assert!(verdict.is_noticed(), "{what}: {verdict:?}");
            match verdict {
                Verdict::Refused(Error::Corrupt { file, .. }) => {
                    assert_eq!(file, path, "{what}: the wrong file is blamed");
                    refused += 1;
                }
                Verdict::Refused(error) => {
                    assert!(matches!(error, Error::Unsupported { .. }), "{what}: {error}");
                }
                Verdict::Opened { errors, .. } => {
                    let all = specimen.expected.iter().map(Records::len).sum::<usize>();
                    assert!(errors < all, "{what}: one block costs all keys");
                    partly += usize::from(errors > 0);
                }
            }
        }
    }
    assert!(refused > 100 && partly > 100, "{refused} refused, {partly} opened with errors");
}

// Scenario 31: a table cut short or swept with zeros, in any place.
#[test]
fn a_table_that_is_cut_or_zeroed_is_noticed() {
    let specimen = Specimen::of_tables();
    for path in tables(&specimen.disk) {
        let len = load(&specimen.disk, &path).len();
        for at in (0..len).step_by(step(37)) {
            let cut = specimen.hurt(&path, |bytes| bytes.truncate(at));
            let what = format!("{} cut at {at}", path.display());
            assert!(specimen.judge(&cut, &what).is_noticed(), "{what}");
            let zeroed = specimen.hurt(&path, |bytes| {
                let end = (at + 512).min(len);
                bytes[at..end].fill(0);
            });
            let what = format!("{} zeroed at {at}", path.display());
            assert!(specimen.judge(&zeroed, &what).is_noticed(), "{what}");
        }
        let longer = specimen.hurt(&path, |bytes| bytes.extend_from_slice(&[0; 100]));
        assert!(specimen.judge(&longer, "longer").is_noticed());
        let gone = specimen.disk.crash_copy(0);
        crate::hurt::remove(&gone, &path);
        let error = specimen.judge(&gone, "removed").refusal();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

/// Level 0 is due: five tables over the same keys, on top of a settled one.
fn due() -> (SimVfs, Records) {
    let disk = SimVfs::new(1);
    let db = open(&disk);
    let left = keyspace(&db, "left");
    let mut expected = Records::new();
    for round in 0..6 {
        for n in 0..40 {
            let value = noise(n + 100 * round, 90);
            drop(db.put(&left, &key(n), &value).unwrap());
            expected.insert(key(n), value);
        }
        if round == 0 { settle(&db) } else { db.flush().unwrap() }
    }
    db.close().unwrap();
    (disk, expected)
}

/// The database serves: what can be read is right, writes are taken and flushed.
fn assert_serves(db: &Db, expected: &Records, what: &str) {
    let left = keyspace(db, "left");
    read_each(db, &left, expected, what);
    for n in 50..58 {
        drop(db.put(&left, &key(n), b"written since").unwrap());
    }
    db.flush().unwrap();
    for n in 50..58 {
        assert!(db.get(&left, &key(n)).unwrap().is_some_and(|value| *value == *b"written since"));
    }
}

// Scenario 31: a compaction that took a rotten block for the end of its input would drop all that
// comes behind it, for good. It stops, and keeps its inputs; and the store goes on serving, without
// trying for ever.
#[test]
fn a_compaction_over_a_rotten_block_stops_and_keeps_its_inputs() {
    let (disk, expected) = due();
    let mut stopped = 0;
    for path in tables(&disk) {
        for at in (0..load(&disk, &path).len()).step_by(step(97)) {
            let disk = hurt(&disk, &path, |bytes| bytes[at] ^= 0x40);
            let what = format!("{} byte {at}", path.display());
            let Ok(db) = try_open(&disk, options()) else { continue };
            let mut failures = 0;
            for _ in 0..40 {
                let before: Vec<_> =
                    tables(&disk).into_iter().map(|path| (load(&disk, &path), path)).collect();
                match db.compact_once() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(Error::Corrupt { file, .. }) => {
                        assert_eq!(file, path, "{what}");
                        assert!(db.background_error().is_some(), "{what}: nobody is told");
                        failures += 1;
                        for (bytes, input) in &before {
                            assert!(load(&disk, input) == *bytes, "{what}: an input is gone");
                        }
                    }
                    Err(error) => panic!("{what}: {error}"),
                }
            }
            assert!(!db.compact_once().unwrap(), "{what}: compactions do not come to an end");
            assert!(failures <= 2, "{what}: the same table is tried again and again");
            stopped += failures;
            assert_serves(&db, &expected, &what);
            drop(db);
            let left_over = tables(&disk);
            assert!(left_over.contains(&path), "{what}: the damaged table is gone");
        }
    }
    assert!(stopped > 10, "{stopped} compactions met a rotten block");
}

// Scenario 31: a sector that cannot be read is not the end of a table either, and one bad table must
// not keep all others from being compacted.
#[test]
fn a_compaction_over_an_unreadable_sector_stops_and_others_go_on() {
    let (disk, expected) = due();
    // Of a small one, the first sector is also the last, and it does not open.
    let large = |path: &PathBuf| load(&disk, path).len() > 1500;
    for path in tables(&disk).into_iter().filter(large).take(3) {
        let disk = disk.crash_copy(0);
        disk.break_sector(&path, 0).unwrap();
        let db = open(&disk);
        let right = keyspace(&db, "right");
        let mut failures = 0;
        for round in 0..8 {
            for n in 0..40 {
                drop(db.put(&right, &key(n), &noise(n + 40 * round, 90)).unwrap());
            }
            db.flush().unwrap();
            for _ in 0..6 {
                failures += u32::from(db.compact_once().is_err());
            }
        }
        assert!(failures > 0, "{}: no compaction met the sector", path.display());
        let stats = db.stats();
        let right = stats.keyspaces.iter().find(|space| space.name == "right").unwrap();
        assert!(right.sublevels.len() < 5, "the other keyspace waits: {right:?}");
        assert!(failures < 10, "{failures} compactions failed: it is tried again and again");
        assert_serves(&db, &expected, "unreadable");
    }
}

// Scenario 32: a caller that retries `next` after an error must not be led past what could not be
// read; not even if the disk has recovered meanwhile.
#[test]
fn an_iterator_says_the_same_error_for_ever() {
    let specimen = Specimen::of_tables();
    let mut seen = 0;
    for (skip, back) in (0..8).flat_map(|skip| [(skip, false), (skip, true)]) {
        let disk = specimen.disk.crash_copy(0);
        let db = open(&disk);
        let left = keyspace(&db, SPACES[0]);
        disk.fail(Fault::new(Op::Read, Harm::Error).after(skip));
        let mut range = db.snapshot().range(&left, key(0)..key(60));
        let step = |range: &mut Range, back| if back { range.next_back() } else { range.next() };
        let failed = std::iter::from_fn(|| step(&mut range, back)).find_map(Result::err);
        disk.heal();
        let Some(error) = failed else { continue };
        seen += 1;
        for turn in 0..6 {
            let again = step(&mut range, turn % 3 == 0).expect("an error is not the end");
            assert_eq!(again.expect_err("it goes on").to_string(), error.to_string());
        }
    }
    assert!(seen >= 4, "{seen} errors were seen");
}

// Scenario 32: a cursor, too, and whatever it is asked: it has lost its place.
#[test]
fn a_cursor_says_the_same_error_for_ever() {
    let specimen = Specimen::of_tables();
    let mut seen = 0;
    for skip in 0..8 {
        let disk = specimen.disk.crash_copy(0);
        let db = open(&disk);
        let left = keyspace(&db, SPACES[0]);
        disk.fail(Fault::new(Op::Read, Harm::Error).after(skip));
        let mut cursor = db.snapshot().cursor(&left);
        let mut failed = cursor.first().err();
        for _ in 0..60 {
            failed = failed.or_else(|| cursor.next().err());
        }
        disk.heal();
        let Some(error) = failed else { continue };
        seen += 1;
        for outcome in [cursor.next(), cursor.prev(), cursor.seek(&key(3)), cursor.last()] {
            let again = outcome.expect_err("a failed cursor goes on");
            assert_eq!(again.to_string(), error.to_string());
        }
        assert_eq!(cursor.record(), None, "a failed cursor stands on something");
    }
    assert!(seen >= 2, "{seen} errors were seen");
}
