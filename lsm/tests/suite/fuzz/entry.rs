//! What must hold whatever lies in a database's folder.
//!
//! * An answer: right, or an error. No panic, no walk or compaction without end.
//! * Memory is bounded, whatever lengths are claimed.
//! * What it has written itself can be read by the next opener, or is refused.

use std::sync::Arc;
use std::time::Duration;

use drystone_lsm::{Db, KeyspaceOptions, Result};
use drystone_vfs::{SimClock, SimVfs};

use crate::hurt::key;
use crate::support::{dir, keyspace_options, options, try_open};

/// The most memory that any of this may take at once. The disk in memory, with all its logs, is a
/// part of it.
const MEMORY_BYTES_MAX: u64 = 24 << 20;

/// Of a keyspace whose records expire.
pub(crate) const TTL: Duration = Duration::from_secs(3600);

/// No forgery here has as many records as this.
const STEPS_MAX: usize = 200_000;

/// Does with the database all that one can; errors are answers.
fn use_it(db: &Db, writes: bool) -> Result<()> {
    let snapshot = db.snapshot();
    for name in db.keyspaces() {
        let mortal = |_| db.keyspace(&name, KeyspaceOptions::default().ttl(TTL));
        let Ok(space) = db.keyspace(&name, keyspace_options()).or_else(mortal) else { continue };
        for n in 0..60 {
            drop(db.get(&space, &key(n)));
        }
        let steps = snapshot.iter(&space).take_while(Result::is_ok).take(STEPS_MAX).count();
        assert!(steps < STEPS_MAX, "a walk without end");
        let back = snapshot.iter(&space).rev().take_while(Result::is_ok).take(STEPS_MAX).count();
        assert!(back < STEPS_MAX, "a walk back without end");
        let mut cursor = snapshot.cursor(&space);
        for n in [5, 40, 17, 59, 0] {
            drop((cursor.seek(&key(n)), cursor.next(), cursor.prev(), cursor.seek_before(&key(n))));
            drop((cursor.prev(), cursor.last(), cursor.prev(), cursor.first()));
        }
        if writes {
            drop(db.put(&space, &key(3), b"written over it")?);
        }
    }
    drop(db.verify());
    drop(db.stats());
    if writes {
        db.flush()?;
        for _ in 0..20 {
            if !db.compact_once()? {
                break;
            }
        }
        db.compact(Duration::MAX)?;
        make_more(db)?;
    }
    Ok(())
}

/// All that takes new numbers: keyspaces, writes, tables, and another database.
fn make_more(db: &Db) -> Result<()> {
    for name in ["fresh", "fresher"] {
        let space = db.keyspace(name, keyspace_options())?;
        db.ingest(&space, [(key(1), b"taken in")])?;
        drop(db.put(&space, &key(2), b"written")?);
        db.clear(&space)?;
        db.drop_keyspace(&space)?;
    }
    db.checkpoint(&dir().join("copy"))
}

/// Opens the disk for reading and for writing, and uses it, within bounds. Whether it opened.
pub(crate) fn survives(disk: &SimVfs, what: &str) -> bool {
    let mut opened = false;
    let info = allocation_counter::measure(|| {
        let clock = Arc::new(SimClock::new());
        let view = Db::open_read_only(Arc::new(disk.clone()), clock, &dir(), options());
        if let Ok(view) = view {
            drop(use_it(&view, false));
        }
        if let Ok(db) = try_open(disk, options()) {
            opened = true;
            drop(use_it(&db, true));
        }
        // What it has written can be read, or is refused.
        if let Ok(db) = try_open(&disk.kill_copy(), options()) {
            drop(use_it(&db, false));
        }
    });
    assert!(info.bytes_max < MEMORY_BYTES_MAX, "{what}: {} bytes at once", info.bytes_max);
    opened
}
