//! Flushes of which not everything landed (scenarios 38, 39 and 45): sector by sector.

use drystone_btree::{Damage, Error};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::forge::{Forge, put_u32, record_seq, seal_record};
use crate::support::{PAGE, RECORD, SLOT, assert_corrupt, disk, hurt, load, open, options, path};
use crate::tear::{Fate, SECTOR, Tear, change};

const FATES: [Fate; 3] = [Fate::Old, Fate::Zeros, Fate::Garbage];

fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// A flush of one commit, one of several, one of scattered pages, one of long values, one whose
/// record is full.
fn tears() -> Vec<Tear> {
    vec![
        Tear::of(|db| change(db, 0, 1, 50)),
        Tear::of(|db| (0..4).for_each(|i| change(db, 100 * i, 3, 60 + i as u8))),
        Tear::of(|db| (0..30).for_each(|i| change(db, 30 * i, 1, 90 + i as u8))),
        Tear::of(|db| {
            let mut w = db.write().unwrap();
            let tree = w.tree("t").unwrap();
            w.put(tree, b"long", &[8; 20_000]).unwrap();
            w.drop_tree(tree).unwrap();
            let tree = w.create_tree("other").unwrap();
            w.put(tree, b"longer", &[9; 30_000]).unwrap();
            drop(w.commit().unwrap());
        }),
        Tear::wide(),
    ]
}

// Scenario 38: of the record's sectors, in both of its copies, any selection landed. The database
// is at the new state if a copy is whole, and else at the one before.
#[test]
fn any_selection_of_a_records_sectors_leads_to_one_state_or_the_other() {
    let mut rng = rng(38);
    let mut sectors_most = 0;
    for (number, tear) in tears().iter().enumerate() {
        let (_, record) = tear.parts();
        let is_copy = |sector: usize| sector * SECTOR % SLOT < 2 * RECORD;
        let copies: Vec<usize> = record.iter().copied().filter(|s| is_copy(*s)).collect();
        sectors_most = sectors_most.max(copies.len());
        assert!((2..=6).contains(&copies.len()), "{copies:?}");
        for mask in 0..1_u32 << copies.len() {
            for fate in FATES {
                let landed = |sector: usize| {
                    let at = copies.iter().position(|copy| *copy == sector);
                    at.is_none_or(|at| mask >> at & 1 == 1)
                };
                let choose = |sector| if landed(sector) { Fate::New } else { fate };
                let bytes = without_marks(&tear.land(&mut rng, choose));
                let slot = copies[0] * SECTOR / SLOT * SLOT;
                let is_whole = |copy: usize| {
                    let copy = slot + copy * RECORD;
                    record_seq(&bytes[copy..]) == record_seq(&tear.after[copy..])
                };
                let expected = is_whole(0) || is_whole(1);
                let what = format!("tear {number}, mask {mask:b}, {fate:?}");
                let (is_new, _) = tear.judge(&bytes, &what);
                assert_eq!(is_new, expected, "{what}");
            }
        }
    }
    assert_eq!(sectors_most, 6, "some record fills its sectors");
}

// Scenarios 39 and 38: any selection of a flush's pages landed, some of which take the place of
// older ones. A record that landed without its pages counts as torn, whichever is missing.
#[test]
fn any_selection_of_a_flushs_pages_leads_to_the_state_before() {
    let mut rng = rng(39);
    let (mut reused, mut most) = (0, 0);
    for (number, tear) in tears().iter().enumerate() {
        let (sectors, _) = tear.parts();
        let mut pages: Vec<usize> = sectors.iter().map(|s| s * SECTOR / PAGE as usize).collect();
        pages.dedup();
        most = most.max(pages.len());
        let old = |page: &&usize| {
            tear.before
                .get(*page * 4096..(*page + 1) * 4096)
                .is_some_and(|p| p.iter().any(|b| *b != 0))
        };
        reused += pages.iter().filter(old).count();
        let all = (1_u64 << pages.len().min(63)) - 1;
        let exhaustive = pages.len() <= 7;
        let masks = if exhaustive { all } else { 250 };
        for mask in 0..masks {
            let mask = if exhaustive { mask } else { rng.random_range(0..all) };
            let fate = FATES[rng.random_range(0..3)];
            let choose = |sector: usize| {
                let page = pages.iter().position(|page| *page == sector * SECTOR / 4096);
                let landed = page.is_none_or(|page| mask >> page.min(63) & 1 == 1);
                if landed { Fate::New } else { fate }
            };
            let bytes = tear.land(&mut rng, choose);
            let what = format!("tear {number}, mask {mask:b}, {fate:?}");
            let expected = without_marks(&bytes) == without_marks(&tear.after);
            assert_eq!(tear.judge(&without_marks(&bytes), &what).0, expected, "{what}");
        }
    }
    assert!(reused > 5 && most > 10, "{reused} pages reused, {most} in a flush");
}

/// The marks say that the flush was durable; at the time of the power cut they did not.
fn without_marks(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for slot in 0..2 {
        bytes[slot * SLOT + 2 * RECORD..][..SECTOR].fill(0);
    }
    bytes
}

// Scenarios 38 and 39: every sector for itself, each with a fate of its own.
#[test]
fn every_sector_of_a_flush_may_have_its_own_fate() {
    let mut rng = rng(3839);
    for (number, tear) in tears().iter().enumerate() {
        for round in 0..120 {
            let odds = [0.02, 0.2, 0.5, 0.9][round % 4];
            let fates: Vec<Fate> =
                (0..tear.after.len() / SECTOR)
                    .map(|_| {
                        if rng.random_bool(odds) {
                            FATES[rng.random_range(0..3)]
                        } else {
                            Fate::New
                        }
                    })
                    .collect();
            let bytes = without_marks(&tear.land(&mut rng, |sector| fates[sector]));
            tear.judge(&bytes, &format!("tear {number}, round {round}"));
        }
    }
}

// Scenario 45 with 38 and 39: a torn flush is found, and while the database goes on from there the
// power fails again, at every call.
#[test]
fn the_power_may_fail_again_after_a_torn_flush() {
    let mut rng = rng(45);
    for (number, tear) in tears().iter().enumerate() {
        for round in 0..6 {
            let odds = [0.0, 0.1, 0.5][round % 3];
            let fates: Vec<Fate> =
                (0..tear.after.len() / SECTOR)
                    .map(|_| {
                        if rng.random_bool(odds) {
                            FATES[rng.random_range(0..3)]
                        } else {
                            Fate::New
                        }
                    })
                    .collect();
            let bytes = without_marks(&tear.land(&mut rng, |sector| fates[sector]));
            tear.judge_twice(&bytes, round as u64, &format!("tear {number}, round {round}"));
        }
    }
}

// Scenario 38: both records bad is corruption, with both reasons, whatever is wrong with each.
#[test]
fn two_bad_records_are_corruption_with_both_reasons() {
    let disk = disk();
    let db = open(&disk);
    change(&db, 0, 100, 1);
    db.persist().unwrap();
    change(&db, 0, 10, 2);
    db.close().unwrap();
    let bytes = load(&disk, &path());
    let written = Forge::open(bytes.clone());
    let page = written.nodes[0].id as usize * 4096;
    type Hurt = fn(&mut [u8]);
    let ways: [(&str, Hurt); 3] = [
        ("no record", |record| record.fill(0)),
        ("checksum of the record does not match", |record| record[40] ^= 1),
        ("record makes no sense", |record| {
            put_u32(record, 72, 1);
            seal_record(record);
        }),
    ];
    for (first, hurt_first) in ways {
        for (second, hurt_second) in ways {
            let copy = hurt(&disk, |bytes| {
                for (slot, way) in [(0, hurt_first), (1, hurt_second)] {
                    for copy in 0..2 {
                        way(&mut bytes[slot * SLOT + copy * RECORD..][..RECORD]);
                    }
                }
            });
            let error = assert_corrupt(&copy, options());
            let text = error.to_string();
            let expected = format!("slot 0: {first}; slot 1: {second}");
            assert!(text.contains(&expected), "{text}");
            assert!(matches!(error, Error::Corrupt { what: Damage::Slots(..), .. }));
        }
    }
    // The newest is torn, for a page of it is not there; the other one is damaged.
    let copy = hurt(&disk, |bytes| {
        *bytes = without_marks(bytes);
        bytes[(1 - written.slot) * SLOT..][..2 * RECORD].fill(0);
        bytes[page..page + 4096].fill(0);
    });
    let error = assert_corrupt(&copy, options()).to_string();
    assert!(error.contains("pages written with the record are not there"), "{error}");
}

// A file cut to any length from nothing to all of it is refused once it was closed, unless what is
// cut is nobody's.
#[test]
fn a_file_cut_anywhere_is_noticed_after_a_clean_close() {
    let disk = disk();
    let db = open(&disk);
    change(&db, 0, 100, 1);
    db.persist().unwrap();
    change(&db, 0, 10, 2);
    db.close().unwrap();
    let bytes = load(&disk, &path());
    let forge = Forge::open(bytes.clone());
    let end = forge.pages().last().unwrap() + 1;
    for len in (0..bytes.len()).step_by(511) {
        let copy = hurt(&disk, |bytes| bytes.truncate(len));
        match crate::support::try_open(&copy, options()) {
            Ok(db) => {
                assert!(len >= end as usize * 4096, "{len} bytes are not enough");
                assert_eq!(crate::support::records(&db).len(), 100);
            }
            Err(error) => {
                assert!(matches!(error, Error::Corrupt { .. }), "{len}: {error}");
                assert!(load(&copy, &path()).len() == len);
            }
        }
    }
}
