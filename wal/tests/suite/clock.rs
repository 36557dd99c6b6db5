//! Clocks that stand still or leap (scenario 20): the log reads none, so none can mislead it.
//!
//! Groups form because a write takes time, not because a timer runs; segments change because they
//! are full, not because they are old. One wait has a limit, that of the scribe for a record whose
//! commit nobody looks at; the system measures it, by the clock that cannot be set, and nothing but
//! the moment of that write depends on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_wal::{Lsn, Wal, Writer};

use crate::support::{dir, disk, open, options, put};

/// Every source file below `folder`, and where it is.
#[expect(clippy::disallowed_methods, reason = "the test reads its own sources")]
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

// Scenario 20: what reads no clock is disturbed by none, in any direction.
#[test]
fn the_log_reads_no_clock() {
    let words = ["Instant", "SystemTime", "Clock", "elapsed", "monotonic()", "wall()"];
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(sources.len() > 20, "the sources are found");
    for (path, text) in sources {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            let found = words.iter().find(|word| line.contains(*word));
            assert!(found.is_none(), "{} asks for the time: {line}", path.display());
        }
    }
}

// Scenario 20, the one wait with a limit: a record that nobody waits for is written, at once or
// after a rest of any length.
#[test]
fn a_record_that_nobody_waits_for_is_written() {
    let disk = disk();
    let threaded = options().writer(Writer::Thread);
    let (wal, _) = Wal::open(Arc::new(disk.clone()), &dir(), threaded).unwrap();
    for lsn in 1..=5 {
        let held = wal.append(&[b"held"]).unwrap();
        // Seen from outside alone: nothing here asks for it.
        while wal.durable() < Lsn(lsn) {
            std::thread::yield_now();
        }
        assert_eq!(held.lsn(), Lsn(lsn));
    }
    put(&wal, b"waited for");
    drop(wal);
    assert_eq!(open(&disk.crash()).1.len(), 6);
}
