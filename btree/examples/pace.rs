//! How fast are durable commits, against the disk's own pace?
//!
//! Rounds of each take turns, so that a busy neighbour disturbs all of them alike: a loop of one
//! 180-byte write and one sync into a zeroed file; one thread that commits one small record and
//! waits; sixteen that do; to a database that flushes pages, and to one with a journal. A sketch
//! says: a commit of one thread writes some four pages and a record where the loop writes one page,
//! so 0.6 to 0.9 of its pace; with a journal it writes what the loop writes, and copies pages in
//! memory for 10 µs, so 0.8 to 0.9; sixteen threads share syncs, about ten to one.
//!
//! `cargo run --release -p drystone-btree --example pace [directory [records before]]`

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use drystone_btree::{Db, Options, Sync, TreeId};
use drystone_vfs::{Clock, File, OpenMode, OsClock, OsVfs, Vfs};

const ROUND: Duration = Duration::from_millis(400);
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().unwrap_or_else(|| "pace-data".to_owned()));
    let before: u64 = args.next().map_or(Ok(100_000), |n| n.parse())?;
    let vfs = Arc::new(OsVfs::new());
    vfs.create_dir_all(&dir)?;
    for name in ["pages", "journal", "raw"] {
        drop(vfs.remove(&dir.join(name)));
    }
    let clock = Arc::new(OsClock::new());
    let raw = zeroed(&*vfs, &dir.join("raw"))?;
    let kinds = [("pages", Sync::EveryCommit), ("journal", Sync::Journal)];
    let dbs = kinds.map(|(name, sync)| loaded(&vfs, &dir.join(name), sync, before));
    let dbs = dbs.into_iter().collect::<Result<Vec<_>, _>>()?;
    let next = AtomicU64::new(before);
    let mut paces = [const { Vec::new() }; 5];
    for _ in 0..ROUNDS {
        paces[0].push(loop_raw(&*raw, &*clock)?);
        for (i, (db, tree)) in dbs.iter().enumerate() {
            paces[1 + 2 * i].push(commits(db, *tree, &next, before, 1, &clock));
            paces[2 + 2 * i].push(commits(db, *tree, &next, before, 16, &clock));
        }
    }
    let [raw, paces @ ..] = paces.map(median);
    println!("raw loop             {raw:8.0} a second");
    for (i, pace) in paces.into_iter().enumerate() {
        let what = format!("{}, {}", kinds[i / 2].0, ["1 thread", "16 threads"][i % 2]);
        println!("{what:20} {pace:8.0} a second, {:.2} of the loop", pace / raw);
    }
    for (db, _) in dbs {
        let stats = db.stats();
        println!("{:?}, {} flushes, {} pages", stats.sizes, stats.flushes, stats.pages_written);
        db.close()?;
    }
    Ok(())
}

/// A database with so many records, all of them on disk.
fn loaded(
    vfs: &Arc<OsVfs>,
    path: &Path,
    sync: Sync,
    before: u64,
) -> drystone_btree::Result<(Db, TreeId)> {
    let db = Db::open(Arc::clone(vfs) as _, path, Options::default().sync(sync))?;
    let tree = db.tree("t")?;
    for from in (0..before).step_by(10_000) {
        let mut w = db.write()?;
        for i in from..(from + 10_000).min(before) {
            w.put(tree, &key(i), &[7; 150])?;
        }
        drop(w.commit()?);
    }
    db.persist()?;
    Ok((db, tree))
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
