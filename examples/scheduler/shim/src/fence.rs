//! Until when strict work may run without a word of its agent: one file a node.
//!
//! The agent writes the deadline each time that the store has granted its lease; every keeper of
//! strict work reads it, and kills when it has passed. They share no more than that, so a keeper
//! fences its run however its agent ended: killed, stopped, or cut off.
//!
//! ```text
//!   | deadline u64 | its complement u64 |    little-endian; milliseconds of CLOCK_BOOTTIME
//! ```
//!
//! That clock goes on while the machine sleeps. A read that finds the two halves disagree has met
//! a write, and is repeated. A file that is missing or too short is a deadline that has passed: who
//! never had a lease must not run strict work.
//!
//! A deadline only ever moves on: a keeper sleeps until the one that it last saw, so one that is
//! taken back is noticed then, or when something else wakes the keeper.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

/// How often a read that met a write is repeated. Writes are seconds apart.
const READS_MAX: usize = 1000;

/// The file of one node.
#[derive(Debug)]
pub struct Fence {
    file: File,
}

impl Fence {
    /// Opens it for writing; makes it, with a deadline that has passed, if need be.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn create(path: &Path) -> io::Result<Fence> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(Fence { file })
    }

    /// Opens it for reading.
    ///
    /// # Errors
    /// It is not there.
    pub fn open(path: &Path) -> io::Result<Fence> {
        Ok(Fence { file: File::open(path)? })
    }

    /// Sets the deadline.
    ///
    /// # Errors
    /// The file system refuses: then it has not moved.
    pub fn set(&self, deadline: u64) -> io::Result<()> {
        let mut page = [0; 16];
        page[..8].copy_from_slice(&deadline.to_le_bytes());
        page[8..].copy_from_slice(&(!deadline).to_le_bytes());
        self.file.write_all_at(&page, 0)
    }

    /// The deadline; 0 if there is none.
    pub fn deadline(&self) -> u64 {
        for _ in 0..READS_MAX {
            let mut page = [0; 16];
            if self.file.read_exact_at(&mut page, 0).is_err() {
                return 0;
            }
            let half = |at| {
                u64::from_le_bytes(page[at..at + 8].try_into().expect("eight bytes are eight"))
            };
            if half(0) == !half(8) {
                return half(0);
            }
            std::thread::yield_now();
        }
        0
    }
}

/// Now, by the clock of deadlines.
pub fn boottime() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    seconds * 1000 + nanos / 1_000_000
}

/// Now, in milliseconds since 1970.
pub fn unix() -> u64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A deadline that is not there must kill; one that is, must not.
    #[test]
    fn a_missing_deadline_has_passed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fence");
        assert!(Fence::open(&path).is_err());
        let fence = Fence::create(&path).unwrap();
        assert_eq!(fence.deadline(), 0);
        fence.set(boottime() + 5).unwrap();
        let reader = Fence::open(&path).unwrap();
        assert!(reader.deadline() > 5);
        fence.file.write_all_at(&[1], 0).unwrap();
        assert_eq!(reader.deadline(), 0, "torn for ever is none");
    }
}
