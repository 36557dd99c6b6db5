//! A new group from a copy of an old one's state.
//!
//! The copy is a [`checkpoint`](crate::checkpoint) that was saved to a file, perhaps of a group
//! whose members are all gone. Every founder of the new group restores the same file, before its
//! first start; then they begin with equal states and empty logs, as founders do.
//!
//! ```text
//!   copy      records, leases, alarms, revision    members, cluster    log position
//!   new       the same                             none                0
//! ```
//!
//! Revisions go on where the copy ends: what happened in the old group after that never happened.

use std::io;
use std::path::Path;
use std::sync::Arc;

use drystone_raft::store::{Options as GroupOptions, Store as GroupStore};
use drystone_vfs::{Clock, Vfs};

use crate::checkpoint;
use crate::data_dir::{DataDir, REPLICA};
use crate::engine::{Batch, Engine};
use crate::error::Error;
use crate::members::format::forget_all;
use crate::options::Options;
use crate::runtime::folder::{Folder, LOG};
use crate::runtime::replica::log_failed;
use crate::state::State;

/// Makes the folder `dir`, which must not hold a replica yet, begin with the state in `from`.
/// Returns its newest revision.
///
/// # Errors
///
/// [`Error::Foreign`] for a folder that holds something; [`Error::Restore`] for bytes that are no
/// whole state. What is left then is as good as an empty folder.
pub fn restore(
    vfs: Arc<dyn Vfs>,
    clock: Arc<dyn Clock>,
    dir: &Path,
    options: &Options,
    from: &mut dyn io::Read,
) -> Result<u64, Error> {
    check_unused(&*vfs, dir)?;
    let (folder, _) = Folder::open(vfs.clone(), clock, dir, options, None)?;
    let engine = folder.begin()?;
    let failed = |error| Error::Restore(Arc::new(error));
    checkpoint::load(&engine, from).map_err(failed)?;
    let mut batch = Batch::new();
    State::forget_applied(&mut batch);
    forget_all(&engine.snapshot(), &mut batch)?;
    engine.write(batch)?;
    engine.persist()?;
    let revision = crate::store::Store::open(engine)?.revision();
    // An empty log: a member whose log is missing is refused.
    let mut log = GroupOptions::default();
    log.wal = log.wal.segment_bytes(options.segment_bytes);
    let log = GroupStore::open(vfs, &folder.log(), log).map_err(log_failed)?;
    log.close().map_err(log_failed)?;
    // From here on the folder holds the state; until then it was empty.
    folder.adopt()?;
    Ok(revision)
}

/// Moves the consensus log of the replica in `dir`, which must not be running, to a folder of its
/// own: see [`ReplicaOptions::log_dir`](crate::runtime::ReplicaOptions::log_dir).
///
/// # Errors
///
/// [`Error::Locked`]; [`Error::Log`] if it cannot be there, and what the disk says.
pub fn move_log(vfs: Arc<dyn Vfs>, dir: &Path, log_dir: &Path) -> Result<(), Error> {
    let _lock = DataDir::open(&vfs, dir, REPLICA, None)?;
    let log_dir = Some(log_dir.to_path_buf());
    let options = GroupOptions { log_dir, ..GroupOptions::default() };
    let log = GroupStore::open(vfs, &dir.join(LOG), options).map_err(log_failed)?;
    log.close().map_err(log_failed)
}

/// Refuses a folder that holds anything.
pub(crate) fn check_unused(vfs: &dyn Vfs, dir: &Path) -> Result<(), Error> {
    match vfs.list(dir) {
        Ok(names) if !names.is_empty() => {
            let found = names.into_iter().next().expect("it is not empty").into();
            Err(Error::Foreign { dir: dir.to_path_buf(), found })
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(dir, error)),
        Ok(_) | Err(_) => Ok(()),
    }
}
