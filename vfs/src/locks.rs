//! Who holds which lock, for the disks that live in memory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Exclusive,
    Shared,
}

/// The locks held. A path is in it only while somebody holds it.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    held: BTreeMap<PathBuf, Holders>,
}

#[derive(Debug)]
enum Holders {
    One,
    /// At least one.
    Sharing(u64),
}

impl Locks {
    /// Takes the lock at `path`, or fails with `WouldBlock`.
    pub(crate) fn take(&mut self, path: &Path, mode: Mode) -> io::Result<()> {
        match (self.held.get_mut(path), mode) {
            (None, Mode::Exclusive) => drop(self.held.insert(path.into(), Holders::One)),
            (None, Mode::Shared) => drop(self.held.insert(path.into(), Holders::Sharing(1))),
            (Some(Holders::Sharing(count)), Mode::Shared) => *count += 1,
            (Some(_), _) => return Err(io::ErrorKind::WouldBlock.into()),
        }
        Ok(())
    }

    /// Lets go of one hold on `path`.
    pub(crate) fn release(&mut self, path: &Path) {
        match self.held.get_mut(path) {
            Some(Holders::Sharing(count)) if *count > 1 => *count -= 1,
            _ => drop(self.held.remove(path)),
        }
    }
}
