//! Folders that a container made: removes them, counts what they take.
//!
//! It may nest folders as deep as it has inodes for, make a million of them in one, and put links
//! where folders were a moment ago. So no path is built, since no path of the innermost is short
//! enough for the kernel; all is done from open folders, and no link is followed.
//!
//! A removal that calls itself for each of them ends the agent when its stack is full, and every
//! agent after it that finds the same folder; one that keeps each of them open runs out of
//! descriptors. So it goes no deeper than two: a folder in a folder is moved up first.
//!
//! ```text
//!   top ─ a ─ b ─ c        b is moved up           top ─ a         a can be removed now,
//!                          ─────────────────►          ─ b ─ c     and then it is b's turn
//! ```
//!
//! No mount may be below: see [`unmount_below`](super::settle::unmount_below).

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

/// So deep is counted: programs that use paths, which are 4096 bytes at most, stay far above it.
const DEPTH_MAX: usize = 256;
/// So many files of several names are remembered; those after them count by each name.
const LINKED_MAX: usize = 1 << 16;
/// So many names are read at once.
const ENTRIES_MAX: usize = 1024;

/// Removes a folder and all in it; one that is not there is removed.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let top = match open(CWD, path) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    let mut tree = Tree { top, moved: 0 };
    while tree.round()? {}
    std::fs::remove_dir(path)
}

/// What files below a folder take on disk. A file of two names counts once; what nests too deep to
/// be counted takes more than there is, or it would be a place to hide things in.
pub(super) fn bytes(path: &Path) -> u64 {
    let (mut bytes, mut linked) = (0_u64, BTreeSet::new());
    let mut way: Vec<Dir> = open(CWD, path).and_then(Dir::new).into_iter().collect();
    while let Some(folder) = way.last_mut() {
        let Some(Ok(entry)) = folder.read() else {
            way.pop();
            continue;
        };
        let name = entry.file_name();
        let Ok(at) = folder.fd() else { continue };
        // What comes and goes meanwhile may be missed.
        let Ok(found) = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if name == c"." || name == c".." {
            continue;
        }
        let is_folder = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
        let again = found.st_nlink > 1 && !is_folder && linked.contains(&found.st_ino);
        if again {
            continue;
        }
        if found.st_nlink > 1 && !is_folder && linked.len() < LINKED_MAX {
            linked.insert(found.st_ino);
        }
        // The unit of this figure is 512 bytes, whatever the file system's is.
        bytes = bytes.saturating_add(u64::try_from(found.st_blocks).unwrap_or(0) * 512);
        if is_folder && let Ok(inner) = open(at, name).and_then(Dir::new) {
            way.push(inner);
            if way.len() > DEPTH_MAX {
                return u64::MAX;
            }
        }
    }
    bytes
}

struct Tree {
    top: OwnedFd,
    moved: u64,
}

impl Tree {
    /// Removes some of what is in the top; says whether there was something.
    fn round(&mut self) -> io::Result<bool> {
        let mut found = false;
        for (name, kind) in entries(self.top.as_fd())? {
            found = true;
            if !gone(self.top.as_fd(), &name, kind)? {
                let folder = open(&self.top, &*name)?;
                while self.empty(folder.as_fd())? {}
                rustix::fs::unlinkat(&self.top, &*name, AtFlags::REMOVEDIR)?;
            }
        }
        Ok(found)
    }

    /// Removes some of what is in a folder of the top, or moves it up; says whether there was
    /// something.
    fn empty(&mut self, folder: BorrowedFd<'_>) -> io::Result<bool> {
        let some = entries(folder)?;
        for (name, kind) in &some {
            if !gone(folder, name, *kind)? {
                self.move_up(folder, name)?;
            }
        }
        Ok(!some.is_empty())
    }

    /// Moves a folder to where nothing else is.
    fn move_up(&mut self, folder: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        loop {
            let free = format!(".gone-{}", self.moved);
            self.moved += 1;
            match rustix::fs::renameat_with(folder, name, &self.top, free, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                moved => return Ok(moved?),
            }
        }
    }
}

/// Removes it, unless it is a folder with something in it.
fn gone(folder: BorrowedFd<'_>, name: &CStr, kind: FileType) -> io::Result<bool> {
    let flags = if kind == FileType::Directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    match rustix::fs::unlinkat(folder, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) if kind == FileType::Directory => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Some of what is in a folder: all of a million names would be a lot of memory.
fn entries(folder: BorrowedFd<'_>) -> io::Result<Vec<(CString, FileType)>> {
    let mut some = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            // Some file systems do not tell.
            FileType::Unknown => {
                let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode)
            }
            kind => kind,
        };
        some.push((name.to_owned(), kind));
        if some.len() == ENTRIES_MAX {
            break;
        }
    }
    Ok(some)
}

fn open(at: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deeper than any stack, set of descriptors or path; a container makes it in half a second.
    #[test]
    fn a_tree_of_any_depth_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("run");
        std::fs::create_dir(&root).unwrap();
        let name = "d".repeat(100);
        let mut at = open(CWD, &root).unwrap();
        for _ in 0..3_000 {
            rustix::fs::mkdirat(&at, &*name, Mode::RWXU).unwrap();
            at = open(&at, &*name).unwrap();
        }
        drop(at);
        let small = std::thread::Builder::new().stack_size(128 << 10);
        small.spawn(move || remove(&root).unwrap()).unwrap().join().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    /// Who may have a megabyte must not have a terabyte by putting it out of reach of paths.
    #[test]
    fn what_is_too_deep_for_a_path_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let (root, name) = (folder.path(), "d".repeat(200));
        let mut at = open(CWD, root).unwrap();
        for depth in 0..2 * DEPTH_MAX {
            rustix::fs::mkdirat(&at, &*name, Mode::RWXU).unwrap();
            at = open(&at, &*name).unwrap();
            if depth == 50 {
                let flags = OFlags::CREATE | OFlags::WRONLY;
                let file = rustix::fs::openat(&at, "file", flags, Mode::RWXU).unwrap();
                rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 4 << 20)
                    .unwrap();
                rustix::fs::linkat(&at, "file", &at, "other", AtFlags::empty()).unwrap();
                rustix::fs::symlinkat("/", &at, "root").unwrap();
                let found = bytes(root);
                assert!((4 << 20..5 << 20).contains(&found), "{found}");
            }
        }
        assert_eq!(bytes(root), u64::MAX);
        assert_eq!(bytes(&root.join("nobody")), 0);
        remove(&root.join(&*name)).unwrap();
    }

    /// Links go, and what they lead to stays; names like our own are in nobody's way; and more than
    /// is read at once goes too.
    #[test]
    fn links_are_not_followed_and_all_else_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, root) = (folder.path().join("kept"), folder.path().join("run"));
        std::fs::create_dir_all(kept.join("inner")).unwrap();
        std::fs::write(kept.join("inner/file"), "x").unwrap();
        for name in [".gone-0", ".gone-1/x", "a/b/c", "a/.gone-2/d", "a/e"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::write(root.join(".gone-3"), "x").unwrap();
        for at in ["link", "a/link", "a/b/link"] {
            std::os::unix::fs::symlink(&kept, root.join(at)).unwrap();
        }
        for number in 0..3_000 {
            std::fs::write(root.join(format!("a/e/{number}")), "").unwrap();
        }
        remove(&root).unwrap();
        assert!(!root.exists() && kept.join("inner/file").exists());
        remove(&root).unwrap();
        std::os::unix::fs::symlink(&kept, &root).unwrap();
        remove(&root).unwrap_err();
        assert!(kept.join("inner/file").exists());
    }
}
