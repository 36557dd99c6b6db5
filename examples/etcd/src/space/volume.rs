//! How much room there is on a disk.

use std::path::Path;

/// Room on the file system that a directory is on, bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// All of it.
    pub(super) total: u64,
    /// What this process may still take.
    pub(super) available: u64,
}

/// Which file system a directory is on, or the nearest above it that is there.
pub(super) fn device(dir: &Path) -> Option<u64> {
    found(dir, |dir| rustix::fs::stat(dir).ok()).map(|found| found.st_dev)
}

/// What is to be known of the directory, or of the nearest above it that is there.
fn found<T>(dir: &Path, ask: impl Fn(&Path) -> Option<T>) -> Option<T> {
    let here = Path::new(".");
    let mut candidates = dir.ancestors().map(|dir| if dir == Path::new("") { here } else { dir });
    candidates.find_map(ask)
}

/// Of the directory, or of the nearest above it that is there; `None` if the file system does not
/// tell.
pub(super) fn room(dir: &Path) -> Option<Room> {
    let found = found(dir, |dir| rustix::fs::statvfs(dir).ok())?;
    // Some file systems keep a part back for root.
    let blocks = match rustix::process::geteuid().is_root() {
        true => found.f_bfree,
        false => found.f_bavail,
    };
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    (found.f_blocks > 0).then(|| Room { total: bytes(found.f_blocks), available: bytes(blocks) })
}
