//! A small file system for the data of one member, so that it can be full.
//!
//! It is a `tmpfs`, which gives the same error as a full disk does, in the same places, and takes
//! memory only for what is stored.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::namespaces::mount_name;

/// Room for the preallocated logs of etcd, of 64 MiB each, and for some data.
const BYTES: u64 = 512 << 20;
const BALLAST: &str = "ballast";

/// A mounted file system; unmounted when dropped.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts one on a folder.
    ///
    /// # Errors
    /// Without root, or where the kernel refuses.
    pub(crate) fn new(folder: &Path) -> Result<Disk> {
        let options = std::ffi::CString::new(format!("size={BYTES}"))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount(mount_name(), folder, "tmpfs", flags, Some(options.as_c_str()))
            .context("cannot mount a small file system")?;
        Ok(Disk { folder: folder.to_owned() })
    }

    /// Leaves not a block free.
    ///
    /// # Errors
    /// If it cannot be filled.
    pub(crate) fn fill(&self) -> Result<()> {
        let file = File::create(self.folder.join(BALLAST))?;
        let (mut length, mut step) = (0, 64_u64 << 20);
        while step >= 4_096 {
            match fallocate(&file, FallocateFlags::empty(), length, step) {
                Ok(()) => length += step,
                Err(rustix::io::Errno::NOSPC) => step /= 2,
                Err(error) => return Err(error).context("cannot fill a disk"),
            }
        }
        Ok(())
    }

    /// Gives the room back.
    pub(crate) fn free(&self) {
        // There may have been none taken.
        let _ = std::fs::remove_file(self.folder.join(BALLAST));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Detached, so that a process that is still dying does not keep it.
        let _ = unmount(&self.folder, UnmountFlags::DETACH);
    }
}
