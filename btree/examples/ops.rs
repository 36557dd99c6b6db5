//! What does each operation cost the processor?
//!
//! **Method.** Records with keys of 16 to 24 bytes and values of 150 bytes, loaded in transactions
//! of 10 000 that nobody asks to be durable, in random order and sorted; then gets of keys that are
//! there and that are not, scans of 100 records from a random key, and one scan of all. Then every
//! tenth record is changed in a transaction of its own, nine of ten times among a thousandth of
//! them, with a get before it, and all are removed. Everything stays in memory but for what the
//! flushes write. The process's time (user and system, all
//! threads) is what counts: on a machine with neighbours the clock on the wall tells about them.
//!
//! **Expectation**, by counting cache misses at 90 ns and pages at 10 GB/s: get 0.8 µs; scan of 100
//! records, five leaves, 6 µs; a random put copies, checksums, publishes and writes one page, 3 µs;
//! sorted, 24 records a page, 0.3 µs.
//!
//! `cargo run --release -p drystone-btree --example ops [directory [records [loads]]]`, with the
//! last word for the loads alone

use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_btree::{Db, Options, Sync, TreeId};
use drystone_vfs::{OpenMode, OsVfs, Vfs};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const BATCH: usize = 10_000;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().unwrap_or_else(|| "ops-data".to_owned()));
    let count: u64 = args.next().map_or(Ok(2_000_000), |n| n.parse())?;
    let loads_alone = args.next().is_some();
    let vfs = Arc::new(OsVfs::new());
    vfs.create_dir_all(&dir)?;
    let mut keys: Vec<Vec<u8>> = (0..count).map(key).collect();
    for order in ["random", "sorted"] {
        let path = dir.join(order);
        drop(vfs.remove(&path));
        let options = Options::default().sync(Sync::OnRequest);
        let db = Db::open(vfs.clone(), &path, options)?;
        let tree = db.tree("t")?;
        timed(&format!("load, {order}"), keys.len(), || load(&db, tree, &keys))?;
        timed("persist", keys.len(), || Ok(db.persist().map(drop)?))?;
        println!("{:?}", db.sizes());
        if !loads_alone {
            reads(&db, tree, &keys)?;
            timed("change one", keys.len() / 10, || change(&db, tree, &keys))?;
            timed("persist", keys.len(), || Ok(db.persist().map(drop)?))?;
            timed(&format!("remove, {order}"), keys.len(), || remove(&db, tree, &keys))?;
            timed("persist", keys.len(), || Ok(db.persist().map(drop)?))?;
        }
        keys.sort_unstable();
    }
    Ok(())
}

fn load(db: &Db, tree: TreeId, keys: &[Vec<u8>]) -> Result<()> {
    for keys in keys.chunks(BATCH) {
        let mut w = db.write()?;
        for key in keys {
            w.put(tree, key, &[7; 150])?;
        }
        drop(w.commit()?);
    }
    Ok(())
}

fn change(db: &Db, tree: TreeId, keys: &[Vec<u8>]) -> Result<()> {
    for i in 0..keys.len() / 10 {
        let n = mix(i as u64) as usize;
        let range = if n.is_multiple_of(10) { keys.len() } else { keys.len().div_ceil(1000) };
        let key = &keys[n / 10 % range];
        assert!(db.read().get(tree, key)?.is_some());
        let mut w = db.write()?;
        w.put(tree, key, &[8; 150])?;
        drop(w.commit()?);
    }
    Ok(())
}

fn remove(db: &Db, tree: TreeId, keys: &[Vec<u8>]) -> Result<()> {
    for keys in keys.chunks(BATCH) {
        let mut w = db.write()?;
        for key in keys {
            w.delete(tree, key)?;
        }
        drop(w.commit()?);
    }
    Ok(())
}

fn reads(db: &Db, tree: TreeId, keys: &[Vec<u8>]) -> Result<()> {
    let r = db.read();
    let pick = |i: usize| &keys[mix(i as u64) as usize % keys.len()];
    timed("get, hit", keys.len(), || {
        for i in 0..keys.len() {
            let value = r.get(tree, pick(i))?.ok_or("a record is missing")?;
            assert_eq!(value[149], 7);
        }
        Ok(())
    })?;
    timed("get, miss", keys.len(), || {
        for i in 0..keys.len() {
            assert!(r.get(tree, &pick(i)[..15])?.is_none());
        }
        Ok(())
    })?;
    let scans = keys.len() / 10;
    timed("scan of 100", scans, || {
        for i in 0..scans {
            let mut sum = 0;
            for record in r.range(tree, pick(i).as_slice()..).take(100) {
                let (key, value) = record?;
                sum += usize::from(key[0]) + usize::from(value[149]);
            }
            assert!(sum > 0);
        }
        Ok(())
    })?;
    timed("scan of all, a record", keys.len(), || {
        let mut sum = 0;
        for record in r.range::<&[u8]>(tree, ..) {
            sum += record?.1.len();
        }
        assert_eq!(sum, keys.len() * 150);
        Ok(())
    })
}

fn key(n: u64) -> Vec<u8> {
    let mut key = mix(n).to_be_bytes().to_vec();
    key.extend(n.to_be_bytes());
    key.resize(16 + (n % 9) as usize, b'x');
    key
}

/// Scatters numbers.
fn mix(n: u64) -> u64 {
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) ^ n >> 31
}

fn timed(what: &str, ops: usize, run: impl FnOnce() -> Result<()>) -> Result<()> {
    let before = cpu_ticks()?;
    run()?;
    let micros = (cpu_ticks()? - before) as f64 * 10_000.0;
    println!("{what:24} {:8.3} us of CPU each", micros / ops as f64);
    Ok(())
}

/// User and system time of the process in hundredths of a second, as Linux tells it.
fn cpu_ticks() -> Result<u64> {
    let file = OsVfs::new().open(Path::new("/proc/self/stat"), OpenMode::Read)?;
    let mut bytes = [0; 1024];
    let len = file.read_at(&mut bytes, 0)?;
    let text = std::str::from_utf8(&bytes[..len])?;
    // The name, in parentheses, may hold spaces.
    let fields = text.rsplit(')').next().ok_or("no fields")?;
    let field = |i| fields.split_whitespace().nth(i).ok_or("too few fields");
    Ok(field(11)?.parse::<u64>()? + field(12)?.parse::<u64>()?)
}
