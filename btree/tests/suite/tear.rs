//! A flush that the power cut short, in every way: its sectors one by one, as one likes.
//!
//! ```text
//!   before   ░░░░░░░░░░░░░░░░       what was durable
//!   after    ░░██░░█░░░░████░       what the flush would have left
//!   torn     ░░█▒░░█░░░░▒█▒░░       of each changed sector: new, old, zeros, garbage
//! ```

use std::path::Path;

use drystone_btree::Db;
use drystone_vfs::{SimVfs, Vfs as _};
use rand::{Rng, RngExt};

use crate::support::{disk, key, load, options, path, store, try_open};
use crate::witness::{Found, Witness};

pub(crate) const SECTOR: usize = 512;

/// What becomes of a sector that was being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    New,
    Old,
    Zeros,
    Garbage,
}

/// One flush: the file before it and after it.
pub(crate) struct Tear {
    pub(crate) before: Vec<u8>,
    pub(crate) after: Vec<u8>,
    /// The sectors it changed.
    pub(crate) sectors: Vec<usize>,
    pub(crate) witness: Witness,
    /// The transaction before it, and its last.
    pub(crate) txns: (u64, u64),
}

/// Changes a database.
pub(crate) fn change(db: &Db, from: u64, count: u64, fill: u8) {
    let mut w = db.write().unwrap();
    let tree = w.create_tree("t").unwrap();
    for i in from..from + count {
        w.put(tree, &key(i), &[fill; 120]).unwrap();
    }
    drop(w.commit().unwrap());
}

/// A database with free pages all over it, all of it durable.
pub(crate) fn scattered(disk: &SimVfs, witness: &mut Witness) -> Db {
    let db = try_open(disk, options()).unwrap();
    witness.note(&db);
    change(&db, 0, 900, 1);
    for i in (0..30).step_by(2) {
        let mut w = db.write().unwrap();
        let tree = w.tree("t").unwrap();
        w.put(tree, &key(30 * i), &[i as u8; 80]).unwrap();
        w.put(tree, &key(2000 + i), &vec![i as u8; 4500]).unwrap();
        w.delete(tree, &key(2000 + i - 6 * u64::from(i > 5))).unwrap();
        w.commit().unwrap().wait().unwrap();
    }
    db.persist().unwrap();
    witness.note(&db);
    db
}

/// Sets every `step`th of a thousand large records.
fn comb(db: &Db, step: usize, fill: u8) {
    let mut w = db.write().unwrap();
    let tree = w.create_tree("t").unwrap();
    for i in (0..1000).step_by(step) {
        w.put(tree, &key(i), &[fill; 900]).unwrap();
    }
    drop(w.commit().unwrap());
}

/// A database whose free pages lie so far apart that the record is full of them.
fn combed(disk: &SimVfs, witness: &mut Witness) -> Db {
    let db = try_open(disk, options()).unwrap();
    comb(&db, 1, 1);
    db.persist().unwrap();
    comb(&db, 9, 2);
    db.persist().unwrap();
    witness.note(&db);
    db
}

impl Tear {
    /// The flush of what `commits` does to a scattered database.
    pub(crate) fn of(commits: impl FnOnce(&Db)) -> Tear {
        Tear::over(scattered, commits)
    }

    /// A flush whose record fills all of its sectors.
    pub(crate) fn wide() -> Tear {
        Tear::over(combed, |db| comb(db, 17, 3))
    }

    fn over(base: fn(&SimVfs, &mut Witness) -> Db, commits: impl FnOnce(&Db)) -> Tear {
        let disk = disk();
        let mut witness = Witness::default();
        let db = base(&disk, &mut witness);
        let (before, first) = (load(&disk, &path()), db.read().txn().0);
        commits(&db);
        let flushes = db.stats().flushes;
        db.persist().unwrap();
        assert_eq!(db.stats().flushes, flushes + 1, "all of it goes in one flush");
        let last = witness.note(&db);
        let after = load(&disk, &path());
        let sectors = (0..after.len() / SECTOR).filter(|sector| {
            let range = sector * SECTOR..(sector + 1) * SECTOR;
            before.get(range.clone()) != Some(&after[range])
        });
        let sectors = sectors.collect();
        Tear { before, after, sectors, witness, txns: (first, last) }
    }

    /// The sectors of pages, and those of the record.
    pub(crate) fn parts(&self) -> (Vec<usize>, Vec<usize>) {
        self.sectors.iter().partition(|sector| **sector >= 2 * 4096 / SECTOR)
    }

    /// The file if each changed sector has the fate that `choose` gives it; as long as afterwards.
    pub(crate) fn land(&self, rng: &mut impl Rng, choose: impl Fn(usize) -> Fate) -> Vec<u8> {
        let mut bytes = self.after.clone();
        for sector in &self.sectors {
            let range = sector * SECTOR..(sector + 1) * SECTOR;
            let new = &mut bytes[range.clone()];
            match choose(*sector) {
                Fate::New => {}
                Fate::Zeros => new.fill(0),
                Fate::Garbage => rng.fill(new),
                Fate::Old => match self.before.get(range) {
                    Some(old) => new.copy_from_slice(old),
                    None => new.fill(0),
                },
            }
        }
        bytes
    }

    /// A disk with a torn file on it.
    fn disk(&self, bytes: &[u8]) -> SimVfs {
        let disk = disk();
        disk.create_dir_all(Path::new("dir")).unwrap();
        store(&disk, &path(), bytes);
        assert!(bytes.len() <= self.after.len());
        disk
    }

    /// Opens a torn file. It is at the state before or after the flush, whole. Returns whether it
    /// is after it, and the disk.
    #[track_caller]
    pub(crate) fn judge(&self, bytes: &[u8], what: &str) -> (bool, SimVfs) {
        let disk = self.disk(bytes);
        let db = match try_open(&disk, options()) {
            Ok(db) => db,
            Err(error) => panic!("{what}: {error}"),
        };
        let Found { txn, refused, .. } = self.witness.examine(&db, what);
        assert_eq!(refused, 0, "{what}: the state after {txn} is not whole");
        assert!(txn == self.txns.0 || txn == self.txns.1, "{what}: {txn}");
        (txn == self.txns.1, disk)
    }

    /// Opens a torn file, goes on, and has the power cut at every step of that. What was found is
    /// found again, or what was written on top of it. Only for small numbers of files.
    #[track_caller]
    pub(crate) fn judge_twice(&self, bytes: &[u8], seed: u64, what: &str) {
        for cut in 0.. {
            let copy = self.disk(bytes);
            copy.power_cut_after(cut);
            let mut witness = self.witness.clone();
            let db = try_open(&copy, options()).ok();
            let done = db.as_ref().and_then(|db| write_on(db, &mut witness));
            for crash in 0..3 {
                let after = copy.crash_copy(seed + crash);
                let again = try_open(&after, options()).unwrap();
                let what = format!("{what}, cut after {cut}, crash {crash}");
                let found = witness.examine(&again, &what);
                assert_eq!(found.refused, 0, "{what}");
                assert!(done.is_none_or(|txn| found.txn == txn), "{what}: acknowledged");
            }
            if done.is_some() {
                assert!(cut >= 2, "there was something to cut");
                return;
            }
        }
    }
}

/// One more transaction; its number if it was acknowledged.
fn write_on(db: &Db, witness: &mut Witness) -> Option<u64> {
    let mut w = db.write().ok()?;
    let tree = w.create_tree("t").unwrap();
    w.put(tree, b"on", &[7; 3000]).unwrap();
    w.delete_range(tree, key(100)..key(200)).unwrap();
    let commit = w.commit().ok()?;
    witness.note(db);
    commit.wait().ok().map(|txn| txn.0)
}
