//! How fast are durable commits, against the disk's own pace?
//!
//! Rounds of each take turns, so that a busy neighbour disturbs all of them alike:
//! a loop of one 180-byte write and one sync into a zeroed file; one thread that commits one small
//! record and waits; sixteen that do. A sketch says: a commit of one thread writes some four pages
//! and a record where the loop writes one page, so 0.6 to 0.9 of its pace; sixteen threads share
//! syncs, about ten to one.
//!
//! `cargo run --release -p drystone-btree --example pace [directory [records before]]`

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use drystone_btree::{Db, Options, TreeId};
use drystone_vfs::{Clock, File, OpenMode, OsClock, OsVfs, Vfs};

const ROUND: Duration = Duration::from_millis(400);
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().unwrap_or_else(|| "pace-data".to_owned()));
    let before: u64 = args.next().map_or(Ok(100_000), |n| n.parse())?;
    let vfs = Arc::new(OsVfs::new());
    vfs.create_dir_all(&dir)?;
    for name in ["db", "db.new", "raw"] {
        drop(vfs.remove(&dir.join(name)));
    }
    let clock = Arc::new(OsClock::new());
    let raw = zeroed(&*vfs, &dir.join("raw"))?;
    let db = Db::open(vfs.clone(), &dir.join("db"), Options::default())?;
    let tree = db.tree("t")?;
    let start = clock.monotonic();
    let mut i = 0;
    while i < before {
        let mut w = db.write()?;
        for _ in 0..10_000.min(before - i) {
            w.put(tree, &key(i), &[7; 150])?;
            i += 1;
        }
        drop(w.commit()?);
    }
    db.persist()?;
    println!("loaded {before} records in {:?}", clock.monotonic() - start);
    let next = AtomicU64::new(before);
    let mut paces = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        paces[0].push(loop_raw(&*raw, &*clock)?);
        paces[1].push(commits(&db, tree, &next, before, 1, &clock));
        let flushes = db.stats().flushes;
        paces[2].push(commits(&db, tree, &next, before, 16, &clock));
        let flushes = db.stats().flushes - flushes;
        let last = paces[2].last().copied().unwrap_or_default();
        println!(
            "  16 threads: {:.1} commits to a flush",
            last * ROUND.as_secs_f64() / flushes as f64
        );
    }
    let [raw, one, sixteen] = paces.map(median);
    println!("raw loop     {raw:8.0} a second");
    println!("1 thread     {one:8.0} a second, {:.2} of the loop", one / raw);
    println!("16 threads   {sixteen:8.0} a second, {:.2} of the loop", sixteen / raw);
    let stats = db.stats();
    println!("{:.1} pages to a flush", stats.pages_written as f64 / stats.flushes as f64);
    println!("{:?}", stats.sizes);
    db.close()?;
    Ok(())
}

fn zeroed(vfs: &dyn Vfs, path: &Path) -> std::io::Result<Arc<dyn File>> {
    let file = vfs.open(path, OpenMode::Create)?;
    for mib in 0..16 {
        file.write_at(&[IoSlice::new(&vec![0; 1 << 20])], mib << 20)?;
    }
    file.sync_data()?;
    Ok(file)
}

fn loop_raw(file: &dyn File, clock: &dyn Clock) -> std::io::Result<f64> {
    let (start, mut count) = (clock.monotonic(), 0_u64);
    while clock.monotonic() - start < ROUND {
        file.write_at(&[IoSlice::new(&[count as u8; 180])], count * 180 % (16 << 20))?;
        file.sync_data()?;
        count += 1;
    }
    Ok(count as f64 / (clock.monotonic() - start).as_secs_f64())
}

fn commits(
    db: &Db,
    tree: TreeId,
    next: &AtomicU64,
    range: u64,
    threads: usize,
    clock: &Arc<OsClock>,
) -> f64 {
    let start = clock.monotonic();
    let count = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while clock.monotonic() - start < ROUND {
                    let i = next.fetch_add(1, Ordering::Relaxed) % range.max(1);
                    let mut w = db.write().expect("the disk is sound");
                    w.put(tree, &key(i), &[8; 150]).expect("the disk is sound");
                    let commit = w.commit().expect("the disk is sound");
                    commit.wait().expect("the disk is sound");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    count.into_inner() as f64 / (clock.monotonic() - start).as_secs_f64()
}

/// Scattered over the key space.
fn key(i: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes());
    key[8..].copy_from_slice(&i.to_be_bytes());
    key
}

fn median(mut paces: Vec<f64>) -> f64 {
    paces.sort_by(f64::total_cmp);
    paces[paces.len() / 2]
}
