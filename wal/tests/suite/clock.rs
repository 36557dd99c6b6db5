//! Clocks that stand still or leap (scenario 20): the log reads none, so none can mislead it.
//!
//! Groups form because a write takes time, not because a timer runs; segments change because they
//! are full, not because they are old. One wait has a limit, that of the scribe for a record whose
//! commit nobody looks at; the system measures it, by the clock that cannot be set, and nothing but
//! the moment of that write depends on it.

use std::sync::Arc;

use drystone_wal::{Lsn, Wal, Writer};

use crate::catalogue::sources_of;
use crate::support::{dir, disk, open, options, put};

// Scenario 20: what reads no clock is disturbed by none, in any direction.
#[test]
fn the_log_reads_no_clock() {
    let words = ["Instant", "SystemTime", "Clock", "elapsed", "monotonic()", "wall()"];
    let sources = sources_of("src");
    assert!(sources.len() > 20, "the sources are found");
    for (module, text) in sources {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            let found = words.iter().find(|word| line.contains(*word));
            assert!(found.is_none(), "{module} asks for the time: {line}");
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
