//! Where an entry goes: its name checked, its parent opened beneath the root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Limits, said};

/// Longest part of a path, by Linux.
const NAME_BYTES_MAX: usize = 255;

/// The root that a layer goes below, and what may be made there.
pub(super) struct Place<'a> {
    root: OwnedFd,
    limits: &'a Limits,
    made: u64,
    /// The folder of the last entry: the next one is mostly in the same. A folder is never replaced
    /// while a layer is unpacked, so it stays what its path means.
    last: Option<(Vec<u8>, OwnedFd)>,
}

impl<'a> Place<'a> {
    pub(super) fn new(root: OwnedFd, limits: &'a Limits) -> Place<'a> {
        Place { root, limits, made: 0, last: None }
    }

    /// Files, folders and links made.
    pub(super) fn made(&self) -> u64 {
        self.made
    }

    /// Counts one that is about to be made.
    pub(super) fn count(&mut self) -> Result<(), String> {
        self.made += 1;
        let most = self.limits.entry_count_max;
        if self.made > most {
            return Err(format!("more entries than entry_count_max ({most})"));
        }
        Ok(())
    }

    /// The root itself.
    pub(super) fn root(&self) -> Result<OwnedFd, String> {
        self.root.try_clone().map_err(|error| format!("cannot keep the root open: {error}"))
    }

    /// The parts of a path, none for the root.
    pub(super) fn parts<'p>(&self, path: &'p [u8]) -> Result<Vec<&'p [u8]>, String> {
        let Limits { path_bytes_max, path_depth_max, .. } = self.limits;
        if path.len() > *path_bytes_max {
            return Err(format!("the path is longer than path_bytes_max ({path_bytes_max})"));
        }
        if path.contains(&0) {
            return Err("a NUL in the path".to_owned());
        }
        let parts = path.split(|&byte| byte == b'/');
        let parts: Vec<&[u8]> = parts.filter(|part| !matches!(*part, b"" | b".")).collect();
        if parts.contains(&b"..".as_slice()) {
            return Err("`..` in the path".to_owned());
        }
        if parts.iter().any(|part| part.len() > NAME_BYTES_MAX) {
            return Err(format!("a part of the path is longer than {NAME_BYTES_MAX} bytes"));
        }
        if parts.len() > *path_depth_max {
            return Err(format!("the path is deeper than path_depth_max ({path_depth_max})"));
        }
        Ok(parts)
    }

    /// Opens the folder of those parts, and makes what is missing of it.
    pub(super) fn parent(&mut self, parts: &[&[u8]]) -> Result<OwnedFd, String> {
        let path = parts.join(&b'/');
        if let Some((_, folder)) = self.last.as_ref().filter(|(known, _)| *known == path) {
            return folder.try_clone().map_err(|error| format!("cannot keep it open: {error}"));
        }
        let folder = match self.beneath(&path) {
            Err(Errno::NOENT) => {
                self.make_all(parts)?;
                self.beneath(&path)
            }
            opened => opened,
        };
        let folder = folder.map_err(why)?;
        let copy = folder.try_clone().map_err(|error| format!("cannot keep it open: {error}"))?;
        self.last = Some((path, copy));
        Ok(folder)
    }

    /// Makes the folders that lead there, as far as they are missing.
    fn make_all(&mut self, parts: &[&[u8]]) -> Result<(), String> {
        for end in 0..parts.len() {
            let parent = self.beneath(&parts[..end].join(&b'/')).map_err(why)?;
            let mode = Mode::from_raw_mode(0o755);
            match rustix::fs::mkdirat(&parent, parts[end], mode) {
                Ok(()) => {
                    // The mask of this process may have taken bits away. It was just made: no link.
                    let chmod = rustix::fs::chmodat(&parent, parts[end], mode, AtFlags::empty());
                    chmod.map_err(said("chmod"))?;
                    self.count()?;
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(format!("cannot make its folder: {error}")),
            }
        }
        Ok(())
    }

    fn beneath(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b".".as_slice() } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve)
    }

    /// The folder and name of something that a hard link may link.
    pub(super) fn existing(&self, path: &[u8]) -> Result<(OwnedFd, Vec<u8>), String> {
        let parts = self.parts(path).map_err(|reason| format!("its target: {reason}"))?;
        let Some((name, parents)) = parts.split_last() else {
            return Err("its target is the root".to_owned());
        };
        let parent = self.beneath(&parents.join(&b'/'));
        let parent = parent.map_err(|error| format!("its target: {}", why(error)))?;
        match look(parent.as_fd(), name)? {
            Some(FileType::RegularFile | FileType::Symlink | FileType::Fifo) => {
                Ok((parent, name.to_vec()))
            }
            Some(_) => Err("its target is no file".to_owned()),
            None => Err("its target is not in this layer".to_owned()),
        }
    }

    /// Sees to a folder of that name; says whether it was not there before.
    pub(super) fn folder(&mut self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<bool, String> {
        match look(parent, name)? {
            Some(FileType::Directory) => return Ok(false),
            Some(_) => self.clear(parent, name)?,
            None => {}
        }
        self.count()?;
        rustix::fs::mkdirat(parent, name, Mode::RWXU).map_err(said("make"))?;
        Ok(true)
    }

    /// Takes away what is there under that name, unless it is a folder.
    pub(super) fn clear(&self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), String> {
        match look(parent, name)? {
            None => Ok(()),
            Some(FileType::Directory) => Err("it would replace a folder".to_owned()),
            Some(_) => {
                rustix::fs::unlinkat(parent, name, AtFlags::empty()).map_err(said("replace"))
            }
        }
    }
}

/// What is there under that name, itself and not what it may link to.
pub(super) fn look(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Option<FileType>, String> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(format!("cannot look at it: {error}")),
    }
}

/// Opens a folder that is known to be there.
pub(super) fn open_folder(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(said("open"))
}

/// Makes what overlayfs takes for "not here, whatever lies below".
pub(super) fn whiteout(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), String> {
    let kind = FileType::CharacterDevice;
    rustix::fs::mknodat(parent, name, kind, Mode::empty(), 0).map_err(said("white out"))
}

/// Why a folder cannot be opened beneath the root.
fn why(error: Errno) -> String {
    match error {
        Errno::LOOP => "its path goes through a symbolic link".to_owned(),
        Errno::NOTDIR => "its path goes through something that is no folder".to_owned(),
        Errno::XDEV => "its path leaves the layer".to_owned(),
        Errno::NOENT => "its folder is not in this layer".to_owned(),
        error => format!("cannot open its folder: {error}"),
    }
}
