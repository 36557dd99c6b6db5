//! What must hold whatever a file says.
//!
//! * An answer: right, or an error. No panic, no reading without end.
//! * What is verified can be read, forwards and backwards, as many records as there are said to be.
//! * A copy is made of sound files only.
//! * No call reads much at once, and memory is bounded by the file and not by what it claims.
//! * It can be written to, compacted and closed, or says why not.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use allocation_counter::measure;
use drystone_btree::{Db, Error, Progress, TreeId};
use drystone_vfs::{Call, SimVfs, TapVfs, Vfs};

use crate::support::{key, options, path, store};

/// No call reads more at once: what a flush wrote is looked at in pieces, values are as long as the
/// file at most.
const READ_BYTES_MAX: usize = 1 << 20;
/// Memory that is taken for a file of a few hundred kilobytes, whatever it says.
const MEMORY_BYTES_MAX: u64 = 12 << 20;
const ITEMS_MAX: usize = 50_000;
const DISK_BYTES: u64 = 32 << 20;

/// What is asked of a file that may say anything.
fn ask(disk: &SimVfs, vfs: Arc<dyn Vfs>, what: &str) -> Result<(), Error> {
    let db = Db::open(vfs, &path(), options().memory_bytes(1 << 20))?;
    let verified = db.verify();
    let r = db.read();
    let trees: Vec<_> = r.trees().map(|(tree, _)| tree).collect();
    let mut read = Ok(());
    for tree in &trees {
        let len = r.len(*tree)?;
        let forward = r.iter(*tree).take(ITEMS_MAX);
        let ok = forward.map_while(Result::ok).count();
        read =
            read.and(r.iter(*tree).rev().take(ITEMS_MAX).find_map(Result::err).map_or(Ok(()), Err));
        assert!(verified.is_err() || ok as u64 == len, "{what}: verified, and {ok} of {len} read");
        for i in 0..30 {
            read = read.and(r.get(*tree, &key(i * 71)).map(drop));
        }
        let mut cursor = r.cursor(*tree)?;
        read = read.and(cursor.seek(&key(500)).map(drop)).and(cursor.prev().map(drop));
        read = read.and(cursor.seek_before(b"").map(drop)).and(cursor.last().map(drop));
    }
    if verified.is_ok() {
        assert!(read.is_ok(), "{what}: verified, and cannot be read: {read:?}");
    }
    let target = Path::new("dir/copy");
    let copied = db.checkpoint(target).map(drop);
    assert!(copied.is_err() || verified.is_ok() || read.is_ok(), "{what}: damage was copied");
    if copied.is_ok() {
        disk.remove(target).unwrap();
    }
    drop(r);
    write(&db, &trees)?;
    for _ in 0..4 {
        if db.compact(Duration::ZERO)? == Progress::Done {
            break;
        }
    }
    db.close()?;
    verified.map(drop)
}

/// Changes something everywhere.
fn write(db: &Db, trees: &[TreeId]) -> Result<(), Error> {
    for (i, tree) in trees.iter().enumerate() {
        let mut w = db.write()?;
        w.put(*tree, &key(7), &[1; 300])?;
        w.put(*tree, &key(8), &[2; 9000])?;
        w.delete(*tree, &key(9))?;
        w.delete_range(*tree, key(100)..key(160))?;
        w.commit()?.wait()?;
        if i == 1 {
            let mut w = db.write()?;
            w.drop_tree(*tree)?;
            w.commit()?.wait()?;
        }
    }
    Ok(())
}

/// Asks everything; the answer does not matter, that there is one does.
pub(crate) fn survive(bytes: &[u8], what: &str) -> Result<(), Error> {
    let disk = SimVfs::new(1);
    disk.create_dir_all(Path::new("dir")).unwrap();
    store(&disk, &path(), bytes);
    disk.set_capacity_bytes(Some(DISK_BYTES));
    let largest = Arc::new(AtomicUsize::new(0));
    let meter = Arc::clone(&largest);
    let tap = move |call: Call<'_>, go: &mut dyn FnMut() -> io::Result<()>| {
        if let Call::Read { bytes, .. } = call {
            meter.fetch_max(bytes, Ordering::Relaxed);
        }
        go()
    };
    let vfs = Arc::new(TapVfs::over(disk.clone(), tap));
    let mut outcome = Ok(());
    let used = measure(|| outcome = ask(&disk, vfs, what));
    match &outcome {
        Ok(()) | Err(Error::Corrupt { .. } | Error::Unsupported { .. } | Error::NoSpace { .. }) => {
        }
        Err(error) => panic!("{what}: {error}"),
    }
    let largest = largest.load(Ordering::Relaxed);
    assert!(largest <= READ_BYTES_MAX, "{what}: read {largest} bytes at once");
    // The disk is in memory too: what was written there is not the database's.
    let on_disk: u64 = disk.files().iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let bound = MEMORY_BYTES_MAX + 8 * on_disk;
    assert!(used.bytes_max <= bound, "{what}: {} bytes of memory", used.bytes_max);
    outcome
}
