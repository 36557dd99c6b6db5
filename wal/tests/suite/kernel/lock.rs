//! Letting go of a log while the program starts other programs.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use drystone_vfs::OsVfs;
use drystone_wal::{Options, Wal};

const PROCESSES: usize = 200;

// Between its making and its first instruction, a new process has copies of all our files, and a
// lock lives as long as any copy: just closing the file lets go of it a moment too late.
#[test]
fn a_log_let_go_is_free_at_once_whatever_programs_are_being_started() {
    let temp = tempfile::tempdir().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..PROCESSES {
                assert!(Command::new("true").status().unwrap().success());
            }
            done.store(true, Ordering::Release);
        });
        let mut openings = 0;
        while !done.load(Ordering::Acquire) {
            let options = Options::default().segment_bytes(16 << 10);
            let (wal, _) = Wal::open(Arc::new(OsVfs::new()), temp.path(), options).unwrap();
            drop(wal);
            openings += 1;
        }
        assert!(openings > 10, "{openings} openings");
    });
}
