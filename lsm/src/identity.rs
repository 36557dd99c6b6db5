//! Which log it is that lies in a folder.
//!
//! Every file of a [`drystone_wal`] log carries the number that the log was given when it was made.
//! The manifest knows the journal by it, so that another database's is not replayed, nor an empty
//! one taken in its place; and a manifest's own number says in which epoch it was begun, also when
//! its records cannot be read any more.

use std::path::Path;

use drystone_vfs::Vfs;
use drystone_wal::inspect::{self, Header, Role};

/// The number of the log in `dir`; nothing if none of its headers can be read.
pub(crate) fn log_id(vfs: &dyn Vfs, dir: &Path) -> Option<u64> {
    let files = inspect::files(vfs, dir).ok()?;
    files.iter().filter(|file| matches!(file.role, Role::Segment(_))).find_map(|file| {
        match inspect::segment(vfs, &file.path).ok()?.header {
            Header::Sound(fields) => Some(fields.log_id),
            _ => None,
        }
    })
}
