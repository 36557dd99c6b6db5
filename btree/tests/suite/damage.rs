//! Bytes that rot (scenarios 26 and 43): each answer is right or an error.

use std::io::IoSlice;
use std::sync::Arc;

use drystone_btree::{Db, Error, Options};
use drystone_vfs::{OpenMode, SimVfs, Vfs as _};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::forge::{Forge, Kind, u64_at};
use crate::support::{PAGE, SLOT, disk, hurt, key, load, open, options, path, store, try_open};
use crate::witness::{Found, Witness, is_damage};

/// A database of a few pages with everything in it: two trees, branches, a long value, free pages.
/// Closed or killed after its last commit, which has changed only a part of them.
fn patient(closed: bool) -> (SimVfs, Witness) {
    let disk = disk();
    let db = open(&disk);
    let mut witness = Witness::default();
    witness.note(&db);
    for round in 0..4_u64 {
        let mut w = db.write().unwrap();
        let a = w.create_tree("a").unwrap();
        let b = w.create_tree("b").unwrap();
        for i in (0..40).filter(|_| round == 0) {
            w.put(a, &key(i), &[i as u8; 150]).unwrap();
        }
        if round == 1 {
            w.put(b, b"long", &[round as u8; 5000]).unwrap();
            w.delete_range(a, key(20)..key(24)).unwrap();
        }
        w.put(b, &key(round), b"short").unwrap();
        w.commit().unwrap().wait().unwrap();
        witness.note(&db);
    }
    let copy = if closed {
        db.close().unwrap();
        disk
    } else {
        disk.kill_copy()
    };
    (copy, witness)
}

/// The bytes of the database of a patient, with as much behind them as one may look at.
fn whole_pages(disk: &SimVfs) -> Vec<u8> {
    let bytes = load(disk, &path());
    let forge = Forge::open(bytes.clone());
    let end = u64::from(forge.pages().last().unwrap() + 3) * PAGE;
    bytes[..bytes.len().min(end as usize)].to_vec()
}

/// Opens a file with other bytes, and asks everything.
fn ask(disk: &SimVfs, bytes: &[u8], witness: &Witness, what: &str) -> Option<Found> {
    store(disk, &path(), bytes);
    match try_open(disk, options()) {
        Ok(db) => Some(witness.examine(&db, what)),
        Err(error @ (Error::Corrupt { .. } | Error::Unsupported { .. })) => {
            assert!(load(disk, &path()) == bytes, "{what}: refused with {error}, and changed");
            None
        }
        Err(error) => panic!("{what}: {error}"),
    }
}

// Scenario 43: one bit of any byte of the file. Closed in peace, the database is what it was or
// says that it is not, and never an older one; killed, it may be the one before the last commit.
#[test]
fn any_byte_may_rot() {
    for closed in [true, false] {
        let (disk, witness) = patient(closed);
        let bytes = whole_pages(&disk);
        let file = disk.open(&path(), OpenMode::Write).unwrap();
        let put = |at: usize, byte: u8| file.write_at(&[IoSlice::new(&[byte])], at as u64).unwrap();
        let (mut same, mut older, mut refused, mut noticed) = (0, 0, 0, 0);
        for (at, byte) in bytes.iter().enumerate() {
            put(at, byte ^ 1 << (at % 8));
            let what = format!("closed: {closed}, byte {at}");
            match try_open(&disk, options().memory_bytes(1 << 20)) {
                Ok(db) => match witness.examine(&db, &what) {
                    Found { txn: 4, refused: 0, .. } => same += 1,
                    Found { txn: 4, .. } => noticed += 1,
                    Found { txn: 3, refused: 0, .. } if !closed => older += 1,
                    found => panic!("{what}: {found:?}"),
                },
                Err(Error::Corrupt { .. }) => refused += 1,
                Err(error) => panic!("{what}: {error}"),
            }
            put(at, *byte);
        }
        println!(
            "closed {closed}: {same} same, {older} older, {refused} refused, {noticed} noticed"
        );
        assert!(same > 1000 && noticed > 1000, "{same} {noticed}");
        assert!(if closed { refused > 1000 } else { older > 1000 }, "{refused} {older}");
    }
}

/// What can become of a page on a disk.
fn rot(bytes: &mut [u8], page: usize, how: usize, rng: &mut ChaCha8Rng) {
    let (size, count) = (PAGE as usize, bytes.len() / PAGE as usize);
    let start = page * size;
    match how {
        0 => bytes[start..start + size].fill(0),
        1 => bytes[start..start + size].fill(0xff),
        2 => rng.fill(&mut bytes[start..start + size]),
        // Half of it was written.
        3 => bytes[start + size / 2..start + size].fill(0),
        4 => {
            let sector = start + 512 * rng.random_range(0..8);
            bytes[sector..sector + 512].fill(0);
        }
        // Another one in its place: a misdirected read or write.
        5 => {
            let other = rng.random_range(0..count);
            bytes.copy_within(other * size..(other + 1) * size, start);
        }
        // It and another have changed places.
        6 => {
            let other = rng.random_range(0..count);
            for i in 0..size {
                bytes.swap(start + i, other * size + i);
            }
        }
        _ => {
            for _ in 0..rng.random_range(2..20) {
                bytes[start + rng.random_range(0..size)] ^= 1 << rng.random_range(0..8);
            }
        }
    }
}

// Scenario 43: any page zeroed, torn, swapped, overwritten by another or by noise, in a database
// that was closed: nothing is invented, nothing is forgotten.
#[test]
fn any_page_may_rot_in_any_way() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let (disk, witness) = patient(true);
    let bytes = whole_pages(&disk);
    let needed = Forge::open(bytes.clone()).pages();
    for page in 0..bytes.len() / PAGE as usize {
        for how in 0..8 {
            for _ in 0..3 {
                let mut hurt = bytes.clone();
                rot(&mut hurt, page, how, &mut rng);
                let what = format!("page {page}, how {how}");
                let found = ask(&disk, &hurt, &witness, &what);
                let changed = hurt[page * 4096..][..4096] != bytes[page * 4096..][..4096];
                if let Some(found) = found {
                    assert_eq!(found.txn, 4, "{what}: fell back");
                    let noticed = found.refused > 0 || !changed;
                    let is_long = Forge::open(bytes.clone())
                        .of_kind(|kind| matches!(kind, Kind::Run(_)))
                        .iter()
                        .any(|run| run.id <= page as u32 && page as u32 <= run.id + 1);
                    // What fills the last page of a long value is nobody's.
                    assert!(noticed || is_long || !needed.contains(&(page as u32)), "{what}");
                }
            }
        }
    }
}

// Scenario 43: beyond the mirror pages live in a cache, and are verified on that way too.
#[test]
fn a_page_beyond_the_mirror_may_rot() {
    let disk = disk();
    let small = || options().memory_bytes(1 << 20);
    let db = try_open(&disk, small()).unwrap();
    let tree = db.tree("t").unwrap();
    let mut w = db.write().unwrap();
    for i in 0..2000 {
        w.put(tree, &key(i), &[i as u8; 600]).unwrap();
    }
    w.put(tree, b"long", &vec![9; 50_000]).unwrap();
    w.commit().unwrap().wait().unwrap();
    let mut witness = Witness::default();
    witness.note(&db);
    db.close().unwrap();
    let bytes = load(&disk, &path());
    let forge = Forge::open(bytes.clone());
    // Without the names nothing opens.
    let beyond = forge.nodes.iter().filter(|node| node.id >= 192 && node.kind != Kind::Catalog);
    let beyond: Vec<_> = beyond.step_by(13).copied().collect();
    assert!(beyond.len() >= 10, "{}", beyond.len());
    for node in beyond {
        let copy = hurt(&disk, |bytes| bytes[node.id as usize * 4096 + 1500] ^= 4);
        let db = try_open(&copy, small()).unwrap();
        let found = witness.examine(&db, &format!("{node:?}"));
        assert!(found.refused > 0, "{node:?}: {found:?}");
    }
}

// Scenario 26: a page that is sound in itself, in the place of another: of this database, from
// another one made in the same way, or an older content of the same place.
#[test]
fn a_sound_page_in_the_wrong_place_is_corruption() {
    let (disk, witness) = patient(true);
    let bytes = whole_pages(&disk);
    let nodes = Forge::open(bytes.clone()).nodes;
    let tree_pages: Vec<_> =
        nodes.iter().filter(|node| !matches!(node.kind, Kind::Run(_))).collect();
    for here in &tree_pages {
        for there in &tree_pages {
            if here.id == there.id {
                continue;
            }
            let mut hurt = bytes.clone();
            let (from, to) = (there.id as usize * 4096, here.id as usize * 4096);
            hurt.copy_within(from..from + 4096, to);
            // The header's own number put right does not help.
            for forged in [false, true] {
                if forged {
                    hurt[to + 12..to + 16].copy_from_slice(&here.id.to_le_bytes());
                }
                let found = ask(&disk, &hurt, &witness, &format!("{there:?} in {here:?}"));
                assert!(found.is_none_or(|found| found.refused > 0 && found.txn == 4));
            }
        }
    }
}

// Scenario 26: every page of an older state of the same file, in its old place: a write that the
// disk has lost.
#[test]
fn a_lost_write_of_a_page_is_corruption() {
    let disk = disk();
    let db = open(&disk);
    let tree = db.tree("t").unwrap();
    let mut witness = Witness::default();
    let mut images = Vec::new();
    for round in 0..6_u8 {
        let mut w = db.write().unwrap();
        for i in 0..60 {
            w.put(tree, &key(i), &[round; 150]).unwrap();
        }
        w.commit().unwrap().wait().unwrap();
        witness.note(&db);
        images.push(load(&disk, &path()));
    }
    db.close().unwrap();
    let last = load(&disk, &path());
    let needed = Forge::open(last.clone()).pages();
    let mut cases = 0;
    for old in &images {
        for page in &needed {
            let (from, to) = (*page as usize * 4096, (*page as usize + 1) * 4096);
            let Some(stale) = old.get(from..to).filter(|stale| **stale != last[from..to]) else {
                continue;
            };
            let mut hurt = last.clone();
            hurt[from..to].copy_from_slice(stale);
            let found = ask(&disk, &hurt, &witness, &format!("page {page}"));
            assert!(found.is_none_or(|found| found.refused > 0 && found.txn == 7));
            cases += 1;
        }
    }
    assert!(cases > 10, "{cases} pages had another content once");
}

// Scenario 26: a database of the same size under the name of another. Nothing in it is wrong; who
// knows which transaction must be there is told, and nobody gets a mixture.
#[test]
fn pages_of_another_database_are_never_mixed_in() {
    let make = |id: u64, fill: u8| {
        let disk = disk();
        let db = try_open(&disk, options().db_id(id)).unwrap();
        let tree = db.tree("t").unwrap();
        for i in 0..5 {
            let mut w = db.write().unwrap();
            for n in 0..50 {
                w.put(tree, &key(n), &[fill + i; 100]).unwrap();
            }
            w.commit().unwrap().wait().unwrap();
        }
        let mut witness = Witness::default();
        witness.note(&db);
        db.close().unwrap();
        (disk, witness)
    };
    let ((disk, witness), (other, _)) = (make(1, 0), make(2, 100));
    let (ours, theirs) = (load(&disk, &path()), load(&other, &path()));
    assert_eq!(ours.len(), theirs.len());
    assert_ne!(u64_at(&ours, 24), u64_at(&theirs, 24));
    for page in 0..ours.len() / 4096 {
        let mut hurt = ours.clone();
        hurt[page * 4096..][..4096].copy_from_slice(&theirs[page * 4096..][..4096]);
        let found = ask(&disk, &hurt, &witness, &format!("page {page} of the other"));
        let needed = Forge::open(ours.clone()).pages().contains(&(page as u32));
        assert!(found.is_none_or(|found| !needed || found.refused > 0), "page {page}");
    }
}

// A sector that cannot be read is an error of the disk, and not damage: its bytes may come back.
#[test]
fn an_unreadable_sector_is_an_error_and_changes_nothing() {
    let (disk, witness) = patient(true);
    let bytes = whole_pages(&disk);
    for sector in (0..bytes.len()).step_by(512) {
        let copy = disk.kill_copy();
        copy.break_sector(&path(), sector as u64).unwrap();
        let before = copy.counts();
        match try_open(&copy, options()) {
            Ok(db) => {
                let found = witness.examine(&db, &format!("sector at {sector}"));
                assert_eq!(found.txn, 4, "sector at {sector}");
            }
            Err(error) => assert!(matches!(error, Error::Io { .. }), "{sector}: {error}"),
        }
        assert_eq!(copy.counts().changes(), before.changes(), "sector at {sector}");
    }
}

// A page that failed once is asked for again when the disk is better: no error is remembered by
// anyone but the iterator that met it.
#[test]
fn a_page_that_comes_back_is_read() {
    let (disk, witness) = patient(true);
    let bytes = load(&disk, &path());
    let leaf = Forge::open(bytes.clone()).of_kind(|kind| kind == Kind::Leaf)[0];
    let db = try_open(&disk, options()).unwrap();
    let file = disk.open(&path(), OpenMode::Write).unwrap();
    let at = u64::from(leaf.id) * PAGE + 2000;
    let sound = bytes[at as usize];
    file.write_at(&[IoSlice::new(&[sound ^ 1])], at).unwrap();
    assert!(witness.examine(&db, "rotten").refused > 0);
    file.write_at(&[IoSlice::new(&[sound])], at).unwrap();
    assert_eq!(witness.examine(&db, "back").refused, 0);
}

// A damaged tree can be read beside the damage, and written: what fails, fails as a whole.
#[test]
fn writing_into_a_damaged_tree_fails_or_works_and_loses_nothing_else() {
    let (disk, witness) = patient(true);
    let bytes = whole_pages(&disk);
    for node in Forge::open(bytes.clone()).nodes {
        let copy = hurt(&disk, |bytes| bytes[node.id as usize * 4096 + 1000] ^= 1);
        let Ok(db) = Db::open(Arc::new(copy), &path(), Options::default()) else {
            continue;
        };
        let before = witness.examine(&db, "before");
        for i in 0..30 {
            let mut w = db.write().unwrap();
            for name in ["a", "b"] {
                let tree = w.tree(name).unwrap();
                for outcome in [
                    w.put(tree, &key(i), b"new").map(drop),
                    w.delete(tree, &key(i + 1)).map(drop),
                    w.delete_range(tree, key(i)..key(i + 9)).map(drop),
                ] {
                    assert!(outcome.is_ok_or_damage());
                }
            }
            drop(w);
        }
        assert_eq!(witness.examine(&db, "dropped"), before);
    }
}

/// For errors that are as they should be.
trait Outcome {
    fn is_ok_or_damage(&self) -> bool;
}

impl<T> Outcome for Result<T, Error> {
    fn is_ok_or_damage(&self) -> bool {
        self.as_ref().err().is_none_or(is_damage)
    }
}

// The mark of a clean close is in both slots: a slot lost as a whole does not lead back silently.
#[test]
fn a_lost_slot_never_leads_back_after_a_clean_close() {
    let (disk, _) = patient(true);
    let newest = Forge::open(load(&disk, &path())).slot;
    for slot in 0..2 {
        let copy = hurt(&disk, |bytes| bytes[slot * SLOT..][..SLOT].fill(0));
        match try_open(&copy, options()) {
            Ok(db) => assert!(slot != newest && db.read().txn().0 == 4),
            Err(error) => {
                assert!(slot == newest, "{error}");
                assert!(matches!(error, Error::Corrupt { .. }), "{error}");
            }
        }
    }
}
