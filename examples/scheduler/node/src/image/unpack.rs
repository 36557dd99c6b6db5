//! Unpacks a layer below a folder, and never beside it, whatever the layer says.
//!
//! A layer is a tar that a stranger made, unpacked by root. The classic tricks: a name with `..`; a
//! symbolic link to `/etc` and then a file "below" it; a hard link to a file outside; device nodes;
//! a few kilobytes that stand for terabytes; a million folders in each other.
//!
//! ```text
//!   gzip, zstd, plain ─► counted, hashed ─► tar entry ─► name checked ─► parent ───► made by its
//!                        (bytes, ratio)                  (.., NUL,       (openat2:   last name,
//!                                                         depth)          beneath,   in that fd
//!                                                                         no links)
//! ```
//!
//! * Parents are opened with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV`: the kernel
//!   itself refuses to leave the root or to walk through a link, in one step that nobody can race.
//!   So a layer whose own entries lie below its own link is refused; tools that make layers from a
//!   file system, which is all common ones, write the real path.
//! * The last part of a name is only ever made (`O_EXCL`, `O_NOFOLLOW`) after what was there was
//!   unlinked. A hard link never follows a link: one to a symbolic link links the link itself.
//! * Absolute names are taken as below the root. `..` is refused.
//! * Device nodes are refused. A whiteout (`.wh.name`, or the character device 0:0) becomes
//!   overlayfs' whiteout, `.wh..wh..opq` its opaque mark.
//!
//! Attributes: `user.*` and `security.capability` (version 2) are kept, since `ping` and the like
//! are made with file capabilities; they cannot exceed what the container's own bounding set has,
//! and do nothing under `no_new_privs`, which is the default. `trusted.*` and `user.overlay.*` are
//! refused: an overlayfs obeys them (`redirect` and `metacopy` reach into other layers). Labels of
//! the machine that the image was made on (`security.selinux`, `system.*`) are left out and
//! counted.
//!
//! Setuid bits are kept, which is why the store's folder is closed to all but root.

mod place;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};

use super::codec;
use super::digest::{Digest, Hasher};
use super::error::Error;
use super::tar::{Entry, Kind, Tar, TarError};
use place::Place;

/// What a layer may cost. Each refusal names the limit.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most bytes that come out of a layer, headers included.
    pub unpacked_bytes_max: u64,
    /// Most files, folders and links, those included that only a path implies.
    pub entry_count_max: u64,
    /// Longest path.
    pub path_bytes_max: usize,
    /// Most folders in each other.
    pub path_depth_max: usize,
    /// Most bytes out for one byte in, once more than `ratio_bytes_min` came out.
    pub ratio_max: u64,
    /// Below so many bytes out, no ratio is too high.
    pub ratio_bytes_min: u64,
    /// Most bytes of folder paths, which are kept until the end for their times.
    pub folder_path_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            unpacked_bytes_max: 16 << 30,
            entry_count_max: 1_000_000,
            path_bytes_max: 4096,
            path_depth_max: 128,
            ratio_max: 200,
            ratio_bytes_min: 256 << 20,
            folder_path_bytes_max: 64 << 20,
        }
    }
}

/// What came out of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Digest of the tar itself.
    pub diff_id: Digest,
    /// Bytes of its files.
    pub bytes: u64,
    /// Files, folders and links made.
    pub entries: u64,
    /// Attributes left out, see the module.
    pub attributes_left_out: u64,
}

/// Unpacks `packed` below `root`, which should be an empty folder that nobody else uses.
///
/// If this process is not root, owners are not kept, nor are capabilities of files.
///
/// # Errors
/// [`Error::Layer`], with `layer` and the entry in it; [`Error::Io`] if the disk refuses. What was
/// made until then stays: throw the folder away.
pub fn unpack(
    packed: impl Read,
    root: OwnedFd,
    layer: &str,
    limits: &Limits,
) -> Result<Unpacked, Error> {
    let state = Rc::new(RefCell::new(Flow::default()));
    let counted = Counted { inner: packed, state: Rc::clone(&state) };
    let mut unpacker = Unpacker {
        place: Place::new(root, limits),
        folders: Vec::new(),
        folder_bytes: 0,
        whited: HashSet::new(),
        root: rustix::process::geteuid().is_root(),
        limits,
        bytes: 0,
        left_out: 0,
    };
    let named = |entry: &[u8], reason: String| Error::Layer {
        layer: layer.to_owned(),
        entry: entry.escape_ascii().to_string(),
        reason,
    };
    let plain = codec::unpacked(counted).map_err(|error| named(b"", error.to_string()))?;
    let mut tar = Tar::new(Checked { inner: plain, state: Rc::clone(&state), limits });
    loop {
        let entry = match tar.next() {
            Ok(Some(entry)) => entry,
            Ok(None) => break,
            Err(TarError::Bad { path, reason }) => return Err(named(&path, reason)),
            Err(TarError::Io(error)) => return Err(named(b"", error.to_string())),
        };
        unpacker.entry(&entry, &mut tar).map_err(|reason| named(&entry.path, reason))?;
    }
    unpacker.finish().map_err(|(path, reason)| named(&path, reason))?;
    // The digest is over everything, so what lies behind the archive counts, and is limited too.
    let rest = io::copy(&mut tar.into_rest(), &mut io::sink());
    rest.map_err(|error| named(b"", error.to_string()))?;
    let diff_id = std::mem::take(&mut state.borrow_mut().hasher).finish();
    let (bytes, entries) = (unpacker.bytes, unpacker.place.made());
    Ok(Unpacked { diff_id, bytes, entries, attributes_left_out: unpacker.left_out })
}

/// How much went in and came out.
#[derive(Debug, Default)]
struct Flow {
    packed: u64,
    plain: u64,
    hasher: Hasher,
}

/// Counts packed bytes.
struct Counted<R> {
    inner: R,
    state: Rc<RefCell<Flow>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        self.state.borrow_mut().packed += count as u64;
        Ok(count)
    }
}

/// Counts and hashes plain bytes, and stops a bomb.
struct Checked<'a, R> {
    inner: R,
    state: Rc<RefCell<Flow>>,
    limits: &'a Limits,
}

impl<R: Read> Read for Checked<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        let mut state = self.state.borrow_mut();
        state.plain += count as u64;
        state.hasher.update(&buf[..count]);
        let Limits { unpacked_bytes_max: most, ratio_max, ratio_bytes_min, .. } = self.limits;
        if state.plain > *most {
            let text = format!("more comes out than unpacked_bytes_max ({most} bytes)");
            return Err(io::Error::other(text));
        }
        let ratio = state.plain / state.packed.max(1);
        if state.plain > *ratio_bytes_min && ratio > *ratio_max {
            let text = format!("{ratio} bytes come out for one; ratio_max is {ratio_max}");
            return Err(io::Error::other(text));
        }
        Ok(count)
    }
}

/// The work on one layer.
struct Unpacker<'a> {
    place: Place<'a>,
    /// Folders whose times are set when nothing more is made in them.
    folders: Vec<(Vec<u8>, Timespec)>,
    folder_bytes: usize,
    /// Names that a whiteout of this layer took, in case a folder of this layer comes there.
    whited: HashSet<Vec<u8>>,
    root: bool,
    limits: &'a Limits,
    bytes: u64,
    left_out: u64,
}

impl Unpacker<'_> {
    fn entry(&mut self, entry: &Entry, bytes: &mut impl Read) -> Result<(), String> {
        let parts = self.place.parts(&entry.path)?;
        let Some((name, parents)) = parts.split_last() else {
            return match entry.kind {
                Kind::Folder => self.folder_is(entry, &self.place.root()?, Vec::new()),
                _ => Err("the root can only be a folder".to_owned()),
            };
        };
        if let Some(hidden) = name.strip_prefix(b".wh.") {
            return self.whiteout(parents, hidden);
        }
        let parent = self.place.parent(parents)?;
        let parent = parent.as_fd();
        let path = parts.join(&b'/');
        if entry.kind == Kind::Folder {
            let fresh = self.place.folder(parent, name)?;
            let folder = place::open_folder(parent, name)?;
            if fresh && self.whited.remove(&path) {
                // What is below in lower layers was taken away, and must not show through again.
                opaque(&folder)?;
            }
            return self.folder_is(entry, &folder, path);
        }
        self.place.clear(parent, name)?;
        self.place.count()?;
        match entry.kind {
            Kind::File => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY;
                let mode = Mode::RUSR | Mode::WUSR;
                let file = rustix::fs::openat(parent, *name, flags | OFlags::CLOEXEC, mode);
                let mut file = File::from(file.map_err(said("open"))?);
                self.bytes += copy(bytes, &mut file)?;
                self.dress(entry, &file)?;
                rustix::fs::futimens(&file, &times(when(entry))).map_err(said("set the time of"))
            }
            Kind::HardLink => {
                let (from, target) = self.place.existing(&entry.link)?;
                rustix::fs::linkat(&from, target.as_slice(), parent, *name, AtFlags::empty())
                    .map_err(said("hard-link"))
            }
            Kind::Symlink => {
                if entry.link.contains(&0) || entry.link.is_empty() {
                    return Err("the link's target is empty or has a NUL".to_owned());
                }
                if entry.link.len() >= self.limits.path_bytes_max {
                    let most = self.limits.path_bytes_max;
                    return Err(format!(
                        "the link's target is longer than path_bytes_max ({most})"
                    ));
                }
                rustix::fs::symlinkat(entry.link.as_slice(), parent, *name)
                    .map_err(said("link"))?;
                self.left_out += entry.attributes.len() as u64;
                self.own_and_time(entry, parent, name)
            }
            Kind::Fifo => {
                let kind = rustix::fs::FileType::Fifo;
                let mode = Mode::from_raw_mode(entry.mode);
                rustix::fs::mknodat(parent, *name, kind, mode, 0).map_err(said("make"))?;
                self.own_and_time(entry, parent, name)?;
                // The mask of this process took bits away. A fifo was just made here: no link.
                rustix::fs::chmodat(parent, *name, mode, AtFlags::empty()).map_err(said("chmod"))
            }
            Kind::Char if entry.device == (0, 0) => {
                self.whited.insert(path);
                place::whiteout(parent, name)
            }
            Kind::Char | Kind::Block => {
                let (major, minor) = entry.device;
                Err(format!("a device node ({major}:{minor}); a container gets its own devices"))
            }
            Kind::Folder => unreachable!("folders are made above"),
        }
    }

    /// `.wh.<hidden>` in the folder of those parts.
    fn whiteout(&mut self, parents: &[&[u8]], hidden: &[u8]) -> Result<(), String> {
        match hidden {
            b".wh..opq" => {
                let parent = self.place.parent(parents)?;
                return opaque(&parent);
            }
            // What else aufs kept for itself means nothing to us.
            _ if hidden.starts_with(b".wh.") => return Ok(()),
            b"" | b"." | b".." => return Err("a whiteout of no name".to_owned()),
            _ => {}
        }
        let parent = self.place.parent(parents)?;
        let path = [parents, &[hidden]].concat().join(&b'/');
        // A whiteout speaks of the layers below. What this layer itself has there stays, but alone.
        match place::look(parent.as_fd(), hidden)? {
            Some(rustix::fs::FileType::Directory) => {
                opaque(&place::open_folder(parent.as_fd(), hidden)?)
            }
            Some(_) => Ok(()),
            None => {
                self.place.count()?;
                self.whited.insert(path);
                place::whiteout(parent.as_fd(), hidden)
            }
        }
    }

    fn folder_is(&mut self, entry: &Entry, folder: &OwnedFd, path: Vec<u8>) -> Result<(), String> {
        self.dress(entry, folder)?;
        self.folder_bytes += path.len() + size_of::<(Vec<u8>, Timespec)>();
        if self.folder_bytes > self.limits.folder_path_bytes_max {
            return Err("too many folders: folder_path_bytes_max".to_owned());
        }
        self.folders.push((path, when(entry)));
        Ok(())
    }

    /// Owner, mode and attributes, in this order: a change of owner takes setuid bits away.
    fn dress(&mut self, entry: &Entry, file: &impl AsFd) -> Result<(), String> {
        if self.root {
            let (uid, gid) = owner(entry)?;
            rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(said("chown"))?;
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode)).map_err(said("chmod"))?;
        for (name, value) in &entry.attributes {
            let shown = name.escape_ascii();
            let kept = match name.as_slice() {
                name if name.contains(&0) => Err("a NUL in the name"),
                name if name.starts_with(b"trusted.") => Err("`trusted.` belongs to the system"),
                name if name.starts_with(b"user.overlay.") => Err("overlayfs would obey it"),
                b"security.capability" => capability(value).map(|()| self.root),
                name => Ok(name.starts_with(b"user.")),
            };
            if !kept.map_err(|why| format!("attribute `{shown}`: {why}"))? {
                self.left_out += 1;
                continue;
            }
            rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty())
                .map_err(|error| format!("cannot set attribute `{shown}`: {error}"))?;
        }
        Ok(())
    }

    fn own_and_time(&self, entry: &Entry, parent: impl AsFd, name: &[u8]) -> Result<(), String> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if self.root {
            let (uid, gid) = owner(entry)?;
            rustix::fs::chownat(&parent, name, Some(uid), Some(gid), flags)
                .map_err(said("chown"))?;
        }
        rustix::fs::utimensat(&parent, name, &times(when(entry)), flags)
            .map_err(said("set the time of"))
    }

    /// Sets the times of folders, which change whenever something is made in them.
    fn finish(&mut self) -> Result<(), (Vec<u8>, String)> {
        for (path, time) in std::mem::take(&mut self.folders).into_iter().rev() {
            let set = |place: &mut Place<'_>| {
                let parts = place.parts(&path)?;
                let folder = place.parent(&parts)?;
                rustix::fs::futimens(folder, &times(time)).map_err(said("set the time of"))
            };
            set(&mut self.place).map_err(|reason| (path.clone(), reason))?;
        }
        Ok(())
    }
}

/// Says what the system refused.
fn said(what: &'static str) -> impl Fn(rustix::io::Errno) -> String {
    move |error| format!("cannot {what} it: {error}")
}

fn opaque(folder: &OwnedFd) -> Result<(), String> {
    rustix::fs::fsetxattr(folder, "trusted.overlay.opaque", b"y", XattrFlags::empty())
        .map_err(said("make opaque"))
}

fn owner(entry: &Entry) -> Result<(Uid, Gid), String> {
    // The greatest number means "leave as is" to the system, and would keep root's.
    let id = |id: u64| u32::try_from(id).ok().filter(|&id| id != u32::MAX);
    let (uid, gid) = id(entry.uid).zip(id(entry.gid)).ok_or("its owner is no user or group id")?;
    Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
}

fn when(entry: &Entry) -> Timespec {
    Timespec { tv_sec: entry.mtime.0, tv_nsec: i64::from(entry.mtime.1) }
}

fn times(time: Timespec) -> Timestamps {
    Timestamps { last_access: time, last_modification: time }
}

/// Whether it is a version 2 capability: 20 bytes. Version 3 names a user of some other machine.
fn capability(value: &[u8]) -> Result<(), &'static str> {
    const VERSION_2: u8 = 2;
    match value {
        [_, _, _, VERSION_2, ..] if value.len() == 20 => Ok(()),
        _ => Err("not a capability of version 2"),
    }
}

/// Copies the entry's bytes; says whether reading or writing failed.
fn copy(from: &mut impl Read, to: &mut File) -> Result<u64, String> {
    let mut buf = vec![0; 128 << 10];
    let mut total = 0;
    loop {
        let count = match from.read(&mut buf) {
            Ok(0) => return Ok(total),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.to_string()),
        };
        to.write_all(&buf[..count]).map_err(|error| format!("cannot write it: {error}"))?;
        total += count as u64;
    }
}
