//! Paths of the disks that live in memory: one spelling per place.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

/// `path` without `.`, with `..` resolved, and without a root: `/a/./b/../c` is `a/c`.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    out
}

/// The directory that holds `path`, which must be normal.
pub(crate) fn parent(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// The last name of `path`, or `InvalidInput` for the root.
pub(crate) fn name(path: &Path) -> io::Result<OsString> {
    path.file_name().map(OsString::from).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// `NotFound`, naming `path`.
pub(crate) fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} is not there", path.display()))
}
