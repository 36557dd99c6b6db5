//! The real disk: [`Vfs`] over the operating system's own calls.
//!
//! | trait call       | system call                         |
//! |------------------|-------------------------------------|
//! | `write_at`       | `pwritev`, repeated until all is written |
//! | `read_at`        | `pread`, repeated until full or at the end |
//! | `sync_data`      | `fdatasync`                         |
//! | `sync_dir`       | `fsync` on the directory            |
//! | `lock`           | `flock(LOCK_EX, LOCK_NB)`           |
//! | `lock_shared`    | `flock(LOCK_SH, LOCK_NB)`           |
//!
//! `EINTR` and short counts are retried here, so that no engine ever sees them; every other error
//! is passed on untouched and never retried. `flock` belongs to the open file, therefore it also
//! keeps out a second opener in the same process, whatever path (link or not) it came by, and the
//! kernel drops it when the process dies.

use std::ffi::OsString;
use std::fs;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FlockOperation;
use rustix::io::{Errno, retry_on_intr};

use crate::vfs::{File, Lock, OpenMode, Vfs};

/// Linux accepts at most this many buffers in one call.
const BUFS_PER_CALL_MAX: usize = 1024;

/// The operating system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsVfs;

impl OsVfs {
    /// The one there is.
    pub fn new() -> OsVfs {
        OsVfs
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the seam the bans point to")]
impl Vfs for OsVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::Write => options.write(true),
            OpenMode::Create => options.write(true).create(true).truncate(false),
            OpenMode::CreateNew => options.write(true).create_new(true),
        };
        Ok(Arc::new(OsFile { file: options.open(path)? }))
    }

    /// The bytes lie behind the end of the file until they are written.
    #[cfg(target_os = "linux")]
    fn create_sized(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn File>> {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;

        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        let taken = match bytes {
            0 => Ok(()),
            _ => retry_on_intr(|| fallocate(&file, FallocateFlags::KEEP_SIZE, 0, bytes)),
        };
        match taken {
            Err(Errno::NOSPC | Errno::DQUOT) => {
                // Some of it may have been taken.
                fs::remove_file(path)?;
                Err(io::ErrorKind::StorageFull.into())
            }
            // Another file system cannot, or will not, and the writes will show.
            Ok(()) | Err(_) => Ok(Arc::new(OsFile { file })),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.push(entry?.file_name());
        }
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let handle = fs::File::open(here_if_empty(dir))?;
        retry_on_intr(|| rustix::fs::fsync(&handle)).map_err(io::Error::from)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        // Which ancestors are missing must be known before any is made: each one's parent holds a
        // name that is not durable until that parent is synced.
        let mut missing: Vec<PathBuf> = Vec::new();
        let mut at = dir;
        while !at.as_os_str().is_empty() && !at.exists() {
            missing.push(at.to_path_buf());
            let Some(parent) = at.parent() else { break };
            at = parent;
        }
        fs::create_dir_all(dir)?;
        for made in missing.iter().rev() {
            if let Some(parent) = made.parent() {
                self.sync_dir(parent)?;
            }
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        flock(file, path, FlockOperation::NonBlockingLockExclusive)
    }

    fn lock_shared(&self, path: &Path) -> io::Result<Lock> {
        let file = fs::File::open(path)?;
        flock(file, path, FlockOperation::NonBlockingLockShared)
    }
}

fn flock(file: fs::File, path: &Path, how: FlockOperation) -> io::Result<Lock> {
    match retry_on_intr(|| rustix::fs::flock(&file, how)) {
        Ok(()) => Ok(Lock::new(Held(file))),
        Err(Errno::WOULDBLOCK) => {
            let text = format!("{} is locked by another opener", path.display());
            Err(io::Error::new(io::ErrorKind::WouldBlock, text))
        }
        Err(errno) => Err(errno.into()),
    }
}

/// A locked file. It is unlocked before it is closed: a process that is just being started has a
/// copy of it for a moment, and the lock would live on in that.
struct Held(fs::File);

impl Drop for Held {
    fn drop(&mut self) {
        // If this fails, closing the file does it.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// `Path::parent` of a bare name is the empty path, which the system does not know as "here".
fn here_if_empty(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() { Path::new(".") } else { dir }
}

#[derive(Debug)]
struct OsFile {
    file: fs::File,
}

impl File for OsFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        read_full(buf, offset, |buf, at| rustix::io::pread(&self.file, buf, at))
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        write_all(bufs, offset, |bufs, at| rustix::io::pwritev(&self.file, bufs, at))
    }

    fn sync_data(&self) -> io::Result<()> {
        retry_on_intr(|| rustix::fs::fdatasync(&self.file)).map_err(io::Error::from)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    #[cfg(unix)]
    fn allocated(&self) -> io::Result<u64> {
        use std::os::unix::fs::MetadataExt as _;
        // The unit is 512 bytes, whatever the file system's blocks are.
        Ok(self.file.metadata()?.blocks() * 512)
    }
}

/// Drives `read`, which may be interrupted or read less than there is room for, until `buf` is full
/// or the file ends. Any other error ends it at once.
fn read_full(
    buf: &mut [u8],
    offset: u64,
    mut read: impl FnMut(&mut [u8], u64) -> rustix::io::Result<usize>,
) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        let at = offset + filled as u64;
        match retry_on_intr(|| read(&mut buf[filled..], at))? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// Drives `write`, which may be interrupted or write less than it is given, until every buffer is
/// written. Any other error ends it at once.
fn write_all(
    bufs: &[IoSlice<'_>],
    offset: u64,
    mut write: impl FnMut(&[IoSlice<'_>], u64) -> rustix::io::Result<usize>,
) -> io::Result<()> {
    let mut at = offset;
    let mut next = 0;
    // Bytes of `bufs[next]` that are already written.
    let mut skip = 0;
    loop {
        while next < bufs.len() && skip == bufs[next].len() {
            next += 1;
            skip = 0;
        }
        if next == bufs.len() {
            return Ok(());
        }
        let mut count = if skip == 0 {
            let end = bufs.len().min(next + BUFS_PER_CALL_MAX);
            retry_on_intr(|| write(&bufs[next..end], at))?
        } else {
            retry_on_intr(|| write(&[IoSlice::new(&bufs[next][skip..])], at))?
        };
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        at += count as u64;
        while count > 0 {
            let step = count.min(bufs[next].len() - skip);
            skip += step;
            count -= step;
            if skip == bufs[next].len() {
                next += 1;
                skip = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A kernel may write any part of what it is given (a signal, a nearly full disk): the rest must
    // follow at the right place, wherever in whichever buffer it stopped.
    #[test]
    fn short_writes_are_continued_where_they_stopped() {
        let parts: [&[u8]; 5] = [b"drystone", b"", b"walls", b"x", b"stand"];
        let bufs = parts.map(IoSlice::new);
        for step in 1..=20 {
            let mut disk = [0; 32];
            write_all(&bufs, 3, |bufs, at| {
                let mut left = step;
                let mut at = at as usize;
                for buf in bufs {
                    let count = buf.len().min(left);
                    disk[at..at + count].copy_from_slice(&buf[..count]);
                    at += count;
                    left -= count;
                }
                Ok(step - left)
            })
            .unwrap();
            assert_eq!(&disk[3..22], b"drystonewallsxstand");
        }
    }

    // Signals arrive at any time, and are no failure: the same call is made again, with the same
    // bytes, at the same place (scenario 17).
    #[test]
    fn interrupted_calls_are_made_again() {
        let parts: [&[u8]; 3] = [b"dry", b"stone", b"wall"];
        let bufs = parts.map(IoSlice::new);
        let (mut disk, mut calls) = ([0; 12], 0);
        write_all(&bufs, 0, |bufs, at| {
            calls += 1;
            if calls % 3 != 0 {
                return Err(Errno::INTR);
            }
            disk[at as usize] = bufs[0][0];
            Ok(1)
        })
        .unwrap();
        assert_eq!((&disk, calls), (b"drystonewall", 36));

        let (mut buf, mut calls) = ([0; 16], 0);
        let count = read_full(&mut buf, 2, |buf, at| {
            calls += 1;
            if calls % 3 != 0 {
                return Err(Errno::INTR);
            }
            let rest = &disk[at as usize..];
            let count = rest.len().min(buf.len()).min(4);
            buf[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        })
        .unwrap();
        assert_eq!((&buf[..count], calls), (&b"ystonewall"[..], 12), "4 + 4 + 2 and the end");
    }

    // Anything else may have lost bytes: doing it again would hide that (scenario 17).
    #[test]
    fn no_other_error_is_retried() {
        for errno in [Errno::IO, Errno::NOSPC, Errno::AGAIN, Errno::TIMEDOUT, Errno::DQUOT] {
            let mut calls = 0;
            let written = write_all(&[IoSlice::new(b"ab"), IoSlice::new(b"cd")], 0, |_, _| {
                calls += 1;
                if calls == 1 { Ok(1) } else { Err(errno) }
            });
            assert_eq!(written.unwrap_err().raw_os_error(), Some(errno.raw_os_error()));
            let read = read_full(&mut [0; 4], 0, |_, _| {
                calls += 1;
                if calls == 3 { Ok(1) } else { Err(errno) }
            });
            assert_eq!(read.unwrap_err().raw_os_error(), Some(errno.raw_os_error()));
            assert_eq!(calls, 4, "one call that worked and one that failed, twice");
        }
    }

    // A device that accepts nothing must end in an error, not in a spin.
    #[test]
    fn a_write_of_nothing_is_an_error() {
        let result = write_all(&[IoSlice::new(b"a")], 0, |_, _| Ok(0));
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::WriteZero);
    }
}
