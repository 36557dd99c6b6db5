//! Whether a process has the data directory open, without asking it and without its lock.
//!
//! To try the lock would be to hold it for a moment, in which a server that starts is refused. The
//! kernel lists who holds which (`/proc/locks`), by the file's number:
//!
//! ```text
//!   4: FLOCK  ADVISORY  WRITE 1234 fd:01:5251331 0 EOF
//! ```

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::Serialize;

/// Who has the data open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Holder {
    /// Nobody: the member is stopped.
    Nobody,
    /// A process.
    Process {
        /// Its number.
        pid: u32,
    },
    /// The kernel does not say.
    Unknown,
}

/// Who holds the lock of the store in `store`.
pub(crate) fn of(store: &Path) -> Holder {
    let Ok(found) = std::fs::metadata(store.join("LOCK")) else { return Holder::Nobody };
    match std::fs::read_to_string("/proc/locks") {
        Ok(locks) => holder(&locks, found.ino()),
        Err(_) => Holder::Unknown,
    }
}

/// Who holds an exclusive lock on the file of that number.
fn holder(locks: &str, inode: u64) -> Holder {
    let held = locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, file, ..] = words[..] else { return None };
        // Devices have other numbers in there than for us on some file systems.
        let number = file.rsplit(':').next()?;
        (number.parse() == Ok(inode)).then(|| pid.parse().ok())?
    });
    held.map_or(Holder::Nobody, |pid| Holder::Process { pid })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Somebody else's lock, or one who only waits, is not a member that runs.
    #[test]
    fn the_holder_is_the_one_with_the_exclusive_lock_on_the_file() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 fd:01:77 0 EOF\n\
            2: FLOCK  ADVISORY  READ  12 fd:01:77 0 EOF\n\
            3: FLOCK  ADVISORY  WRITE 13 fd:01:7 0 EOF\n\
            3: -> FLOCK  ADVISORY  WRITE 15 fd:01:77 0 EOF\n\
            4: FLOCK  ADVISORY  WRITE 14 fd:01:77 0 EOF\n";
        assert_eq!(holder(locks, 77), Holder::Process { pid: 14 });
        assert_eq!(holder(locks, 78), Holder::Nobody);
        assert_eq!(holder("", 77), Holder::Nobody);
    }
}
