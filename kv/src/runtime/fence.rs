//! A disk as one engine sees it, until another engine takes its folder.
//!
//! **The problem.** The two folders of a replica are used in turn. When the second state in a row
//! is sent, it is built where the engine before last was; and that one may not be gone yet: a
//! reader holds it, or a save or a merge of it is still under way on a thread. What it then writes
//! or removes by name is the new engine's.
//!
//! **The idea.** Each engine reaches the disk through a gate of its own, which is shut before its
//! files are removed. A call that is under way is waited for; none comes after it.
//!
//! ```text
//!     old engine ──► Fence, shut ──✗            files that it has open stay readable
//!     new engine ──► Fence, open ──► the disk
//! ```
//!
//! Locks taken through a gate are let go when it shuts, whoever still holds on to them: they say
//! who may write, and the old engine may not any more. Files that are open are not stopped: their
//! names are gone, and nobody finds what is written to them.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};

use drystone_vfs::{File, Lock, OpenMode, Vfs};
use parking_lot::{Mutex, RwLock};

/// A lock that two can let go of: its holder, and the gate.
type Slot = Mutex<Option<Lock>>;

/// One engine's way to the disk.
#[derive(Debug)]
pub(super) struct Fence {
    disk: Arc<dyn Vfs>,
    /// Held for reading during each call, so that shutting waits for those under way.
    is_shut: RwLock<bool>,
    /// What was locked through it.
    locks: Mutex<Vec<Weak<Slot>>>,
}

impl Fence {
    pub(super) fn over(disk: Arc<dyn Vfs>) -> Fence {
        Fence { disk, is_shut: RwLock::new(false), locks: Mutex::default() }
    }

    /// Waits for the calls that are under way, lets no other through, and lets go of all locks.
    pub(super) fn shut(&self) {
        *self.is_shut.write() = true;
        for slot in self.locks.lock().drain(..).filter_map(|slot| slot.upgrade()) {
            drop(slot.lock().take());
        }
    }

    fn pass<T>(&self, call: impl FnOnce(&dyn Vfs) -> io::Result<T>) -> io::Result<T> {
        let is_shut = self.is_shut.read();
        if *is_shut {
            return Err(io::Error::other("another engine has taken the place of this one"));
        }
        call(&*self.disk)
    }

    fn keep(&self, lock: impl FnOnce(&dyn Vfs) -> io::Result<Lock>) -> io::Result<Lock> {
        self.pass(|disk| {
            let slot = Arc::new(Mutex::new(Some(lock(disk)?)));
            // Before it can be shut: the gate is open as long as this call lasts.
            self.locks.lock().push(Arc::downgrade(&slot));
            Ok(Lock::new(slot))
        })
    }
}

impl Vfs for Fence {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.pass(|disk| disk.open(path, mode))
    }

    fn create_dispensable(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.pass(|disk| disk.create_dispensable(path))
    }

    fn create_sized(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn File>> {
        self.pass(|disk| disk.create_sized(path, bytes))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass(|disk| disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.pass(|disk| disk.remove(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.pass(|disk| disk.list(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.pass(|disk| disk.sync_dir(dir))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.pass(|disk| disk.create_dir_all(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        self.keep(|disk| disk.lock(path))
    }

    fn lock_shared(&self, path: &Path) -> io::Result<Lock> {
        self.keep(|disk| disk.lock_shared(path))
    }
}
