//! Freed pages, used again (scenario 40), and a file that changes its length (scenario 41).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use drystone_btree::{Commit, Db, Options, ReadTxn, TxnId};
use drystone_vfs::{Call, OpenMode, SimVfs, Tap, TapVfs, Vfs};
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::forge::Forge;
use crate::oracle::{State, whole};
use crate::support::{PAGE, disk, key, load, open, options, path, try_open};
use crate::tear::Tear;
use crate::witness::Witness;

/// Looks at every write, and lets none through that touches a page which somebody needs.
struct Guard {
    disk: SimVfs,
    /// Pages by who needs them.
    needed: Mutex<BTreeMap<String, BTreeSet<u32>>>,
    writes: Mutex<u64>,
}

impl Tap for Guard {
    fn pass(&self, call: Call<'_>, go: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        if let Call::Write { offset, bytes, .. } = call
            && offset >= 2 * PAGE
        {
            let pages = (offset / PAGE) as u32..(offset + bytes as u64).div_ceil(PAGE) as u32;
            *self.writes.lock() += 1;
            for (who, needed) in &*self.needed.lock() {
                let hit = needed.range(pages.clone()).next();
                assert_eq!(hit, None, "pages {pages:?} are written, and {who} needs one of them");
            }
        }
        if let Call::SetLen { len, .. } = call {
            for (who, needed) in &*self.needed.lock() {
                let last = needed.last().map_or(0, |page| u64::from(*page) + 1);
                assert!(last * PAGE <= len, "{who} needs more than {len} bytes");
            }
        }
        go()?;
        if let Call::SyncData { .. } = call {
            self.note();
        }
        Ok(())
    }
}

impl Guard {
    /// What the newest record leads to is durable now, and stays until something newer is.
    fn note(&self) {
        if self.disk.open(&path(), OpenMode::Read).is_err() {
            // It is being made, under another name.
            return;
        }
        let pages = Forge::open(load(&self.disk, &path())).pages();
        self.needed.lock().insert("the durable state".into(), pages);
    }
}

/// A database under guard, and what its owner does with it.
struct Life {
    rng: ChaCha8Rng,
    guard: Arc<Guard>,
    db: Db,
    readers: BTreeMap<String, (ReadTxn, State)>,
    pending: Vec<Commit>,
    serial: u64,
}

impl Life {
    fn new(seed: u64) -> Life {
        let disk = SimVfs::new(seed);
        let guard =
            Guard { disk: disk.clone(), needed: Mutex::default(), writes: Mutex::default() };
        let guard = Arc::new(guard);
        let tapped: Arc<dyn Vfs> =
            Arc::new(TapVfs::sharing(Arc::new(disk.clone()), Arc::clone(&guard) as Arc<dyn Tap>));
        let db = Db::open(tapped, &path(), options()).unwrap();
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let (readers, pending) = (BTreeMap::new(), Vec::new());
        Life { rng, guard, db, readers, pending, serial: 0 }
    }

    /// Everything is durable now.
    fn settle(&mut self) {
        self.pending.drain(..).for_each(|commit| commit.wait().map(drop).unwrap());
        self.db.persist().unwrap();
        self.guard.note();
    }

    /// Begins to read what is durable: the guard knows its pages.
    fn read(&mut self) {
        self.settle();
        self.serial += 1;
        let who = format!("reader {}", self.serial);
        let mut needed = self.guard.needed.lock();
        let pages = needed["the durable state"].clone();
        needed.insert(who.clone(), pages);
        self.readers.insert(who, (self.db.read(), whole(&self.db)));
    }

    fn stop_reading(&mut self) {
        let at = self.rng.random_range(0..self.readers.len().max(1));
        let Some(who) = self.readers.keys().nth(at).cloned() else { return };
        let (r, state) = self.readers.remove(&who).unwrap();
        let mut found = State::new();
        for (tree, name) in r.trees() {
            let records = r.iter(tree).map(|item| item.unwrap());
            let records = records.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
            found.insert(name.to_owned(), records);
        }
        assert!(found == state, "{who} reads something else than at first");
        drop(r);
        self.guard.needed.lock().remove(&who);
    }

    fn write(&mut self) {
        let mut w = self.db.write().unwrap();
        for _ in 0..self.rng.random_range(1..12) {
            let name = ["a", "b"][self.rng.random_range(0..2)];
            let tree = w.create_tree(name).unwrap();
            let at = key(self.rng.random_range(0..400));
            match self.rng.random_range(0..10) {
                0..6 => {
                    let len = [10, 200, 900, 9000][self.rng.random_range(0..4)];
                    w.put(tree, &at, &vec![self.serial as u8; len]).map(drop).unwrap();
                }
                6..9 => w.delete(tree, &at).map(drop).unwrap(),
                _ => {
                    let end = key(self.rng.random_range(0..400));
                    w.delete_range(tree, at..end).map(drop).unwrap();
                }
            }
        }
        self.serial += 1;
        self.pending.push(w.commit().unwrap());
    }

    fn step(&mut self) {
        match self.rng.random_range(0..10) {
            0..6 => self.write(),
            6 => self.settle(),
            7 => self.read(),
            8 => self.stop_reading(),
            _ => self.db.compact(std::time::Duration::ZERO).map(drop).unwrap(),
        }
    }
}

// Scenario 40: whatever is committed, compacted and given up meanwhile, no write touches a page of
// the durable state or of one that is being read. Which pages those are is found by somebody else.
#[test]
fn no_page_that_is_needed_is_written_over() {
    let rounds = if std::env::var_os("SLOW").is_some() { 60 } else { 6 };
    for seed in 0..rounds {
        println!("replay: seed {seed}");
        let mut life = Life::new(seed);
        (0..120).for_each(|_| life.step());
        while !life.readers.is_empty() {
            life.stop_reading();
        }
        life.settle();
        let (pages, writes) = (life.db.stats().pages, *life.guard.writes.lock());
        assert!(writes > 60, "{writes} writes");
        life.db.verify().unwrap();
        assert!(pages < 2500, "pages are used again: {pages}");
    }
}

// Scenario 40: the power fails at every call of a workload that uses pages again, while an old
// reader holds on to the state they belong to. It reads on; what the crash leaves is a state that
// was committed, and at least the one that was durable.
#[test]
fn a_crash_amid_reused_pages_harms_neither_readers_nor_the_durable_state() {
    let run = |disk: &SimVfs, witness: &mut Witness| -> (Option<ReadTxn>, TxnId) {
        let mut durable = TxnId(0);
        let mut reader = None;
        let mut go = || -> drystone_btree::Result<()> {
            let db = try_open(disk, options())?;
            for i in 0..8_u64 {
                let mut w = db.write()?;
                let tree = w.create_tree("t")?;
                for n in 0..40 {
                    w.put(tree, &key(n), &[(i + n) as u8; 500])?;
                }
                w.put(tree, b"long", &vec![i as u8; 7000])?;
                let commit = w.commit()?;
                witness.note(&db);
                durable = commit.wait()?;
                if i == 3 {
                    reader = Some(db.read());
                }
            }
            Ok(())
        };
        drop(go());
        (reader, durable)
    };
    let calls = {
        let disk = disk();
        run(&disk, &mut Witness::default());
        disk.counts().changes()
    };
    let mut held = 0;
    for cut in 0..=calls {
        let disk = SimVfs::new(cut);
        disk.power_cut_after(cut);
        let mut witness = Witness::default();
        let (reader, durable) = run(&disk, &mut witness);
        if let Some(r) = reader {
            held += 1;
            let tree = r.tree("t").unwrap();
            for item in r.iter(tree) {
                let (name, value) = item.unwrap();
                assert!(value.iter().all(|byte| *byte == value[0]));
                let n: u64 = if *name == *b"long" { 0 } else { name[4..].iter().fold(0, digits) };
                assert_eq!(u64::from(value[0]), 3 + n, "the reader's state changed");
            }
        }
        for seed in 0..3 {
            let after = disk.crash_copy(seed);
            let db = open(&after);
            if db.read().txn() == TxnId(0) {
                assert_eq!(durable, TxnId(0));
                continue;
            }
            let found = witness.examine(&db, &format!("cut {cut}, seed {seed}"));
            assert!(found.refused == 0 && found.txn >= durable.0);
        }
    }
    assert!(held > 5, "{held} cuts with a reader");
}

fn digits(sum: u64, digit: &u8) -> u64 {
    sum * 10 + u64::from(digit - b'0')
}

// Scenario 41: a flush that made the file longer, of which the record landed and the length did
// not, or only a part of it.
#[test]
fn a_file_that_did_not_grow_is_at_the_state_before() {
    let tear = Tear::of(|db| {
        let mut w = db.write().unwrap();
        let tree = w.tree("t").unwrap();
        for i in 0..9 {
            w.put(tree, &key(5000 + i), &vec![i as u8; 40_000]).unwrap();
        }
        drop(w.commit().unwrap());
    });
    assert!(tear.before.len() < tear.after.len(), "the file grows");
    let mut whole = tear.after.clone();
    for slot in 0..2 {
        whole[slot * 4096 + 3072..slot * 4096 + 3584].fill(0);
    }
    let end = (Forge::open(whole.clone()).pages().last().unwrap() + 1) as usize * 4096;
    for len in (tear.before.len()..whole.len()).step_by(2048).chain([end - 1, end]) {
        let (is_new, _) = tear.judge(&whole[..len], &format!("{len} bytes"));
        assert_eq!(is_new, len >= end, "{len} of {end} bytes");
        // Longer than it has to be, whatever is behind it.
        let mut longer = whole[..len].to_vec();
        longer.extend([0xee; 9000]);
        longer.truncate(whole.len());
        tear.judge(&longer, &format!("{len} bytes and garbage"));
    }
}

/// Fills a database, empties most of it, and gives the space back step by step.
fn grow_and_shrink(disk: &SimVfs, witness: &mut Witness) -> drystone_btree::Result<()> {
    let db = try_open(disk, options())?;
    for (fill, step) in [(1, 1), (2, 3)] {
        let mut w = db.write()?;
        let tree = w.create_tree("t")?;
        for n in (0..120).step_by(step) {
            w.put(tree, &key(n), &[fill; 1000])?;
        }
        let commit = w.commit()?;
        witness.note(&db);
        commit.wait()?;
    }
    let mut w = db.write()?;
    let tree = w.create_tree("t")?;
    w.delete_range(tree, key(5)..key(110))?;
    let commit = w.commit()?;
    witness.note(&db);
    commit.wait()?;
    loop {
        let progress = db.compact(std::time::Duration::ZERO)?;
        witness.note(&db);
        if progress == drystone_btree::Progress::Done {
            return db.close();
        }
    }
}

// Scenario 41: the power fails at every call of a file that grows, is compacted and cut.
#[test]
fn a_crash_while_the_file_grows_or_shrinks_leaves_every_page_where_the_root_says() {
    let measure = disk();
    grow_and_shrink(&measure, &mut Witness::default()).unwrap();
    let (calls, bytes) = (measure.counts().changes(), load(&measure, &path()).len());
    assert!(bytes < 40 * 4096, "it has shrunk to {bytes} bytes");
    for cut in 0..=calls {
        let disk = SimVfs::new(cut);
        disk.power_cut_after(cut);
        let mut witness = Witness::default();
        drop(grow_and_shrink(&disk, &mut witness));
        for (i, after) in
            [disk.kill_copy(), disk.crash_copy(1), disk.crash_copy(2), disk.crash_copy(3)]
                .into_iter()
                .enumerate()
        {
            let what = format!("cut {cut} of {calls}, {i}");
            let db = match try_open(&after, options()) {
                Ok(db) => db,
                Err(error) => panic!("{what}: {error}"),
            };
            // Compaction may have committed what the witness had no time to see.
            if db.read().tree("t").is_some() {
                same_records(&witness, &db, &what);
            }
            db.verify().unwrap();
        }
    }
}

/// What is in the database is what was in it after one of the transactions.
#[track_caller]
fn same_records(witness: &Witness, db: &Db, what: &str) {
    let found = whole(db);
    let known = (0..=db.read().txn().0).filter_map(|txn| witness.at(txn)).any(|s| *s == found);
    assert!(known, "{what}: a state that never was");
}

// A small budget of memory, a large one, and one page size or another: the same pages are reused.
#[test]
fn pages_are_reused_with_any_options() {
    for page_bytes in [4096, 8192, 16384] {
        let disk = disk();
        let options = Options::default().page_bytes(page_bytes).memory_bytes(1 << 20);
        let db = try_open(&disk, options).unwrap();
        for round in 0..60_u8 {
            let mut w = db.write().unwrap();
            let tree = w.create_tree("t").unwrap();
            for n in 0..200 {
                w.put(tree, &key(n), &[round; 300]).unwrap();
            }
            w.commit().unwrap().wait().unwrap();
        }
        let used = db.sizes();
        assert!(used.file_bytes < 12 * used.used_bytes, "{used:?}");
        db.verify().unwrap();
    }
}
