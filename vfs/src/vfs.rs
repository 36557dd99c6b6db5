//! The seam between a storage engine and a disk: two small traits.
//!
//! **The problem.** A storage engine is only as good as its behaviour on a bad day: a torn write, a
//! full disk, a sync that fails, a machine that loses power between two calls. None of these can be
//! ordered from a real disk.
//!
//! **The idea.** Engines talk to [`Vfs`] and [`File`], never to `std::fs`. The traits hold exactly
//! the calls an engine needs to reason about durability, and nothing that hides a system call.
//!
//! What a crash may and may not do is part of the seam: see [`Vfs`].
//!
//! **Left out:** append mode, seek positions, permissions, links, memory maps, asynchronous calls.

use std::any::Any;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

/// How [`Vfs::open`] treats a file that is there, or is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpenMode {
    /// An existing file, for reading alone; writes through the handle fail.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// For reading and writing; made empty if it is not there yet.
    Create,
    /// For reading and writing; it must not be there yet (`AlreadyExists` otherwise).
    CreateNew,
}

/// A file system, as far as a storage engine needs one. Calls block.
///
/// The contract with a crash, which every implementation keeps and every engine may lean on:
///
/// * `write_at` changes what later reads see, at once; it promises nothing about a crash.
/// * `sync_data` makes the bytes *and the length* of that file survive a crash. It says nothing
///   about the file's name.
/// * `sync_dir` makes the names in one directory (created, renamed, removed) survive a crash. It
///   says nothing about the bytes.
/// * A write harms no byte that it leaves as it was: neither those of a 512-byte sector that it
///   only partly covers, nor those that it covers with the value they have already. In place of the
///   bytes being changed anything may be found. (Power-safe overwrite: see below.)
/// * After an error from `sync_data` nothing is known about the bytes written since the last
///   success: the kernel may have dropped them, and a second call may answer `Ok` regardless.
///
/// **On power-safe overwrite.** A log that appends small records writes into sectors that hold
/// acknowledged ones. That is safe if the disk writes a sector whole or not at all when the power
/// fails. Disks promise it: SCSI and ATA drives keep enough energy to finish the sector in hand (a
/// half-written one would fail its error-correcting code and read as an error for ever), NVMe
/// drives state it as the "atomic write unit, power fail", at least one logical block. SQLite
/// relies on it by the same name unless told otherwise (`psow`), and file systems do for their own
/// journals. The alternative is to pad every write to whole sectors and never write into one again;
/// that would cost a sector for each sync. [`Overwrite::WholeSector`](crate::Overwrite) shows what
/// happens on a disk that does not keep to it.
///
/// Errors are `std::io::Error`; the kinds an engine may branch on are `NotFound`, `AlreadyExists`,
/// `WouldBlock` (from the locks alone) and `StorageFull`.
pub trait Vfs: fmt::Debug + Send + Sync + 'static {
    /// Opens one file. A new file's name is durable only after [`sync_dir`](Vfs::sync_dir).
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// Makes a file that its writer can do without, as long as there is no room for it: one that
    /// brings what is there into a better order. Otherwise as with [`OpenMode::CreateNew`]. A disk
    /// that keeps room back for need does not give it away for this.
    fn create_dispensable(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.open(path, OpenMode::CreateNew)
    }

    /// Makes a file that is going to take so many bytes. Where there is no room for them that is
    /// said at once, as `StorageFull`, and nothing is taken; where nobody can tell, this is
    /// [`OpenMode::CreateNew`]. Whoever has needed less gives the rest back by
    /// [`set_len`](File::set_len).
    fn create_sized(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn File>> {
        let _ = bytes;
        self.open(path, OpenMode::CreateNew)
    }

    /// Renames a file atomically, replacing any file at `to`. Durable after `sync_dir`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes one file. Open handles to it stay usable. Durable after `sync_dir`.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names of the files and directories in `dir`, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>>;

    /// Makes every create, rename and remove in `dir` survive a crash.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes `dir` and its missing ancestors, durably: on return they survive a crash. No error if
    /// it is there already.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Takes the exclusive lock named by the file at `path`, making the file if needed. Held until
    /// the [`Lock`] is dropped or the process dies, however it dies. `WouldBlock` at once if
    /// anyone, this process included, holds it, shared or not.
    fn lock(&self, path: &Path) -> io::Result<Lock>;

    /// Takes the same lock together with others who share it; `WouldBlock` at once if anyone holds
    /// it exclusively. Changes nothing on the disk, which may be read-only: if there is no file at
    /// `path`, nobody has ever locked it, and the answer is `NotFound`.
    fn lock_shared(&self, path: &Path) -> io::Result<Lock>;
}

/// An open file. Positions are absolute, so that one handle serves many threads.
#[expect(clippy::len_without_is_empty, reason = "a file's length is a question to the disk")]
pub trait File: fmt::Debug + Send + Sync + 'static {
    /// Reads into `buf` from byte `offset`; returns how many bytes, 0 at or past the end. May
    /// return fewer than asked only at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all the buffers one after the other from byte `offset`, growing the file as needed; a
    /// gap reads as zeros. After an error any part of the bytes may have been written.
    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Makes bytes and length survive a crash. See the module's contract about errors.
    fn sync_data(&self) -> io::Result<()>;

    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Cuts or extends to `len` bytes; what is new is a hole, where the disk can make one, and
    /// reads as zeros. Durable after `sync_data`.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Bytes of disk that the file takes: less than its length if parts of it are holes. Where that
    /// is not known, the length. A hint: a file system may count blocks for its own notes, or those
    /// it holds ready behind the end, and pack what was written; and it may not have decided yet
    /// for what is not synced.
    fn allocated(&self) -> io::Result<u64> {
        self.len()
    }

    /// Fills `buf` from byte `offset`, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if self.read_at(buf, offset)? == buf.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

/// A held lock; dropping it lets go.
pub struct Lock {
    _guard: Box<dyn Any + Send + Sync>,
}

impl Lock {
    /// A lock that lasts until `guard` is dropped. For implementers of [`Vfs`].
    pub fn new(guard: impl Any + Send + Sync) -> Lock {
        Lock { _guard: Box::new(guard) }
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lock")
    }
}
