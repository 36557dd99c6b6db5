//! Parts against the whole.

use std::path::Path;

use drystone_vfs::{MemVfs, SimClock, Vfs};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::batch::Batch;
use crate::config::{CompactionFilter, KeyspaceOptions, Options};
use crate::cursor::Cursor;
use crate::db::Db;
use crate::keyspace::Keyspace;
use crate::range_del::RangeDelete;
use crate::run::Run;
use crate::table::Fill;
use crate::testing::Row;

/// A database with several levels of history, and what a compaction of all of it is given.
struct Lab {
    disk: Arc<MemVfs>,
    db: Db,
    keyspace: Keyspace,
    snapshots: Vec<SeqNo>,
}

fn key(n: u32) -> Vec<u8> {
    format!("key{n:03}").into_bytes()
}

fn lab(rng: &mut ChaCha8Rng, options: KeyspaceOptions) -> Lab {
    let disk = Arc::new(MemVfs::new());
    let small = Options::default().memory_bytes(64 << 10).threads(0).journal(false);
    let db = Db::open(disk.clone(), Arc::new(SimClock::new()), Path::new("db"), small).unwrap();
    let keyspace = db.keyspace("kv", options).unwrap();
    let mut snapshots = Vec::new();
    for _ in 0..4 {
        for _ in 0..80 {
            let mut batch = Batch::new();
            let at = rng.random_range(0..200);
            match rng.random_range(0..8) {
                0 => batch.delete(&keyspace, &key(at)),
                1 => batch.delete_range(&keyspace, &key(at), &key(at + rng.random_range(1..60))),
                _ => {
                    let value: Vec<u8> = (0..100).map(|_| rng.random()).collect();
                    batch.put(&keyspace, &key(at), &value);
                }
            }
            drop(db.write(batch).unwrap());
        }
        if rng.random_bool(0.5) {
            snapshots.push(db.snapshot().seq());
        }
        db.flush().unwrap();
    }
    Lab { disk, db, keyspace, snapshots }
}

fn rows_of(file: &TableFile) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut cursor = file.table.cursor(Fill::Private);
    cursor.first().unwrap();
    while let Some(entry) = cursor.entry() {
        rows.push((entry.key.to_vec(), entry.seq, entry.kind, entry.value.to_vec()));
        cursor.next().unwrap();
    }
    rows
}

impl Lab {
    fn inputs(&self) -> Vec<Arc<TableFile>> {
        let state = self.db.core().state();
        let tree = state.version.tree(self.keyspace.shared.id).unwrap();
        tree.tables().map(|(_, table)| Arc::clone(table)).collect()
    }

    fn split(&self, cuts: Vec<Vec<u8>>, bottom: bool) -> Arc<Split> {
        let core = self.db.core();
        let plan = core.plan(Arc::clone(&self.keyspace.shared), core.sizes.table_bytes);
        Arc::new(Split::at(cuts, self.inputs(), self.snapshots.clone(), bottom, plan))
    }

    /// All that the tables say, once they are seen not to overlap.
    fn contents(&self, written: &Written) -> (Vec<Row>, Vec<RangeDelete>) {
        let core = self.db.core();
        let (mut rows, mut ranges, mut files) = (Vec::new(), Vec::new(), Vec::new());
        for (meta, path) in written {
            let file = core.open_table(meta, path).unwrap();
            rows.extend(rows_of(&file));
            ranges.extend(file.table.range_dels().iter());
            files.push(file);
        }
        Run::new(files).unwrap();
        // Pieces that touch are joined.
        (rows, Fragments::build(ranges).iter().collect())
    }

    fn files(&self) -> usize {
        self.disk.list(Path::new("db")).unwrap().len()
    }
}

// Wherever it is cut, a compaction must come to what it comes to in one piece: an entry lost or
// kept at a border, or a range delete that ends there, would change what is deleted.
#[test]
fn parts_say_what_the_whole_says() {
    for seed in crate::testing::seeds("split", 60) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let lab = lab(&mut rng, KeyspaceOptions::default());
        for bottom in [false, true] {
            let whole = lab.split(Vec::new(), bottom).finish(lab.db.core()).unwrap();
            let mut cuts: Vec<Vec<u8>> =
                (0..rng.random_range(1..6)).map(|_| key(rng.random_range(0..200))).collect();
            if rng.random_bool(0.3) {
                cuts.push([&key(7)[..], b"between"].concat());
            }
            cuts.sort();
            cuts.dedup();
            let parts = lab.split(cuts, bottom).finish(lab.db.core()).unwrap();
            assert!(lab.contents(&parts) == lab.contents(&whole), "bottom: {bottom}");
        }
    }
}

// What is cut by size alone must be cut into parts of about one size, or one of them is the whole.
#[test]
fn cuts_lie_apart() {
    for seed in crate::testing::seeds("split", 20) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let lab = lab(&mut rng, KeyspaceOptions::default());
        // Tables of several blocks: one of a single block has one sample, its first key.
        for _ in 0..3 {
            let mut batch = Batch::new();
            for n in 0..1000 {
                let value: [u8; 100] = rng.random();
                if value[0] < 50 {
                    batch.put(&lab.keyspace, &key(n), &value);
                }
            }
            drop(lab.db.write(batch).unwrap());
            lab.db.flush().unwrap();
        }
        let inputs = lab.inputs();
        let cuts = cuts(&inputs, 1 << 10);
        assert!(!cuts.is_empty() && cuts.len() < PARTS_MAX as usize, "{} cuts", cuts.len());
        assert!(cuts.windows(2).all(|pair| pair[0] < pair[1]), "ascending");
        let mut shares = vec![0; cuts.len() + 1];
        for row in inputs.iter().flat_map(|table| rows_of(table)) {
            shares[cuts.partition_point(|cut| *cut <= row.0)] += 1;
        }
        let total: usize = shares.iter().sum();
        assert!(shares.iter().all(|share| *share < total * 3 / 4), "{shares:?}");
    }
}

/// Panics at one key.
struct Trap(Vec<u8>);

impl CompactionFilter for Trap {
    fn keep(&self, key: &[u8], _: &[u8]) -> bool {
        assert!(key != self.0, "the trap");
        true
    }
}

// What the user gave us may panic in a thread that only helps. The compaction fails, nothing is
// begun after that, and no table of it is left.
#[test]
fn a_helper_that_panics_fails_the_compaction() {
    let options = KeyspaceOptions::default().filter(Arc::new(Trap(key(150))));
    let lab = lab(&mut ChaCha8Rng::seed_from_u64(1), options);
    let core = lab.db.core();
    drop(lab.db.put(&lab.keyspace, &key(150), b"here").unwrap());
    lab.db.flush().unwrap();
    let before = lab.files();
    let split = lab.split(vec![key(50), key(100), key(180)], true);
    let began: Vec<bool> = (0..4).map(|_| split.help(core, &|| ())).collect();
    assert_eq!(began, [true, true, true, false]);
    assert!(lab.files() > before, "the parts before have written");
    let error = split.finish(core).unwrap_err();
    assert!(matches!(error, Error::Panicked { .. }), "{error}");
    assert_eq!(lab.files(), before, "what they have written is gone");
}
