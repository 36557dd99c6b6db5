//! The disk that the data is on.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::bench::histogram::Times;

/// Bytes of an append: what a few commands take in the log.
const APPEND_BYTES: usize = 2 << 10;
/// Appends, at most.
const APPENDS_MAX: u64 = 1000;
/// How long they may take together.
const TIME_MAX: Duration = Duration::from_secs(3);

/// How long syncs took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Syncs {
    pub(super) count: u64,
    pub(super) append_bytes: usize,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) max: Duration,
}

/// The directory, or the nearest above it that is there.
pub(super) fn nearest(dir: &Path) -> PathBuf {
    let mut here = dir;
    while !here.is_dir() {
        match here.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => here = parent,
            _ => return PathBuf::from("."),
        }
    }
    here.to_path_buf()
}

/// The name of the file system, or its number if that is all there is to say.
pub(super) fn file_system(dir: &Path) -> Result<String> {
    let found = rustix::fs::statfs(dir).with_context(|| format!("{}", dir.display()))?;
    let number = found.f_type as u64 & 0xffff_ffff;
    let name = match number {
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x2fc1_2fc1 => "zfs",
        0x0102_1994 => "tmpfs",
        0x8584_58f6 => "ramfs",
        0x794c_7630 => "overlayfs",
        0x6969 => "nfs",
        0xff53_4d42 => "cifs",
        0xfe53_4d42 => "smb2",
        0x6573_5546 => "fuse",
        0x0102_1997 => "9p",
        0x6a65_6a63 => "virtiofs",
        0xf2f5_2010 => "f2fs",
        _ => return Ok(format!("{number:#x}")),
    };
    Ok(name.to_owned())
}

/// Bytes that whoever is not root may still take.
pub(super) fn free_bytes(dir: &Path) -> Result<u64> {
    let found = rustix::fs::statvfs(dir).with_context(|| format!("{}", dir.display()))?;
    Ok(found.f_bavail * found.f_frsize)
}

/// Appends to a file in `dir` as the log does, and syncs each. The file is removed.
pub(super) fn syncs(dir: &Path) -> Result<Syncs> {
    let path = dir.join(format!(".drystone-check-{}", std::process::id()));
    let measured = measure(&path);
    // Whatever came of it: what cannot be removed was not made.
    let _ = fs::remove_file(&path);
    measured.with_context(|| format!("cannot write in {}", dir.display()))
}

fn measure(path: &Path) -> io::Result<Syncs> {
    let mut file = File::options().create_new(true).write(true).open(path)?;
    let bytes = vec![0x5a; APPEND_BYTES];
    // The first makes the file's place on the disk.
    file.write_all(&bytes)?;
    file.sync_all()?;
    let (began, mut times) = (Instant::now(), Times::default());
    while times.count() < APPENDS_MAX && began.elapsed() < TIME_MAX {
        let before = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        times.note(before.elapsed());
    }
    Ok(Syncs {
        count: times.count(),
        append_bytes: APPEND_BYTES,
        p50: times.quantile(500),
        p99: times.quantile(990),
        max: times.max(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // The directory of a member that was never started is not there yet.
    #[test]
    fn nearest_directory_is_measured_and_left_as_it_was() {
        let tmp = tempfile::tempdir().unwrap();
        assert_eq!(nearest(&tmp.path().join("a/b")), tmp.path());
        assert_eq!(nearest(Path::new("no-such-directory")), Path::new("."));
        let path = tmp.path().join("file");
        let syncs = measure(&path).unwrap();
        assert!(syncs.count > 0 && syncs.p50 <= syncs.p99 && syncs.p99 <= syncs.max, "{syncs:?}");
        assert!(measure(&path).is_err(), "a file of somebody else's is not written over");
    }
}
