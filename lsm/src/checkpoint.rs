//! A copy of the database at one moment, in another directory.
//!
//! ```text
//!   flush ─► the version and what the manifest says of it, together
//!         ─► tables copied, synced, their names synced
//!         ─► a manifest that names them: from here on it is a database
//! ```
//!
//! The copy has no journal: all that is in it is in tables. A partial copy has tables and no
//! manifest, and is refused by whoever opens it. The tables are held while they are copied, so that
//! compactions go on meanwhile.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use drystone_vfs::{OpenMode, Vfs};
use drystone_wal::Lsn;

use crate::core::Core;
use crate::error::{Error, Result};
use crate::manifest::{Manifest, table_path};

const COPY_BYTES: usize = 1 << 20;

pub(crate) fn checkpoint(core: &Arc<Core>, dir: &Path) -> Result<()> {
    core.check_open()?;
    let vfs = &core.vfs;
    vfs.create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
    let names = vfs.list(dir).map_err(|e| Error::io("list", dir, e))?;
    if !names.is_empty() {
        return Err(Error::NotEmpty { dir: dir.to_path_buf() });
    }
    core.flush()?;
    let (state, mut contents) = {
        let versions = core.versions.lock();
        let contents = versions.manifest.as_ref().ok_or(Error::Closed)?.contents().clone();
        (core.state(), contents)
    };
    for tree in state.version.trees() {
        for (_, file) in tree.tables() {
            copy(&**vfs, &file.path, &table_path(dir, file.meta().id.0))?;
        }
    }
    vfs.sync_dir(dir).map_err(|e| Error::io("sync", dir, e))?;
    contents.counters.journal_from = Lsn(1);
    contents.counters.journal_durable = Lsn::NONE;
    contents.counters.journal_id = 0;
    contents.counters.time_floor = contents.counters.time_floor.max(core.time.now());
    let manifest = Manifest::create(Arc::clone(vfs), dir, core.options.seed, contents)?;
    drop(manifest);
    vfs.sync_dir(dir).map_err(|e| Error::io("sync", dir, e))
}

/// Copies one file, durably but for its name.
fn copy(vfs: &dyn Vfs, from: &Path, to: &Path) -> Result<()> {
    let source = vfs.open(from, OpenMode::Read).map_err(|e| Error::io("open", from, e))?;
    let target = vfs.open(to, OpenMode::CreateNew).map_err(|e| Error::io("create", to, e))?;
    let mut buf = vec![0; COPY_BYTES];
    let mut at = 0;
    loop {
        let count = source.read_at(&mut buf, at).map_err(|e| Error::io("read", from, e))?;
        if count == 0 {
            break;
        }
        let write =
            |bytes: &[u8]| -> io::Result<()> { target.write_at(&[IoSlice::new(bytes)], at) };
        write(&buf[..count]).map_err(|e| Error::io("write", to, e))?;
        at += count as u64;
    }
    target.sync_data().map_err(|e| Error::io("sync", to, e))
}
