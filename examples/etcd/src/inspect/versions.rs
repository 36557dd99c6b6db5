//! Which versions wrote the files of a data directory.
//!
//! ```text
//!   identity ──┐ read here
//!   peers    ──┘
//!   replica/ ──► drystone_kv: its own folder, the log, snapshots, the engine
//! ```

use std::path::Path;

use drystone_kv::runtime::inspect::Inspection;

use super::Found;
use super::report::Format;
use crate::data_dir::identity_file;
use crate::peers::Roll;

/// All that is there.
pub(crate) fn of(dir: &Path, found: &Found, inspection: &Inspection) -> Vec<Format> {
    let format = |what, file: &Path, versions| {
        let file = file.display().to_string();
        Format { what, file, versions }
    };
    let mut formats = Vec::new();
    let identity = identity_file(dir);
    if identity.exists() {
        formats.push(format("identity", &identity, found.format.into_iter().collect()));
    }
    if let Some(version) = found.peers {
        formats.push(format("peers", &Roll::file(dir), version.into_iter().collect()));
    }
    let store = inspection.formats().into_iter();
    formats.extend(store.map(|found| format(found.what, &found.file, found.versions)));
    formats
}
