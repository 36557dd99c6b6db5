//! Bringing a store up to date with its journal after a start.
//!
//! The engine says which command it applied last; the journal holds everything after it, and often
//! some of what came before. Between the two there must be no gap, and the journal must reach at
//! least as far as the engine: an engine that knows more than its journal means that a journal was
//! lost, and is an error, not a fresh start. The journal is read before it is taken over, so that
//! one that does not fit is left as it was found.

use std::io;
use std::sync::Arc;

use drystone_vfs::Vfs;
use drystone_wal::inspect::{self, Header, Role};
use drystone_wal::{Lsn, Options as WalOptions, Wal};

use crate::command::Command;
use crate::data_dir::DataDir;
use crate::engine::Engine;
use crate::error::Error;
use crate::options::Options;
use crate::store::Store;

/// What an engine may leave of itself where it was only tried to be opened.
const ENGINE_LOCK: &str = "LOCK";
/// How many commands are applied together.
const GROUP_MAX: usize = 1024;

/// Refuses a folder whose engine is gone while the journal goes on from where it was: before an
/// empty one is made in its place.
pub(crate) fn check_engine(vfs: &dyn Vfs, dir: &DataDir) -> Result<(), Error> {
    let engine = dir.engine();
    let is_there = match vfs.list(&engine) {
        // A folder with nothing but a lock in it holds no engine either.
        Ok(names) => names.iter().filter(|name| *name != ENGINE_LOCK).any(|name| {
            let inside = vfs.list(&engine.join(name));
            inside.map_or(true, |inside| inside.iter().any(|name| name != ENGINE_LOCK))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(Error::io(&engine, error)),
    };
    // A journal that cannot be looked at is judged when it is opened.
    let first = if is_there { None } else { first_command(vfs, dir) };
    match first {
        Some(found) if found > 1 => {
            Err(Error::JournalGap { journal: dir.journal(), expected: 1, found })
        }
        _ => Ok(()),
    }
}

/// The first command of the oldest segment, by its header.
fn first_command(vfs: &dyn Vfs, dir: &DataDir) -> Option<u64> {
    let files = inspect::files(vfs, &dir.journal()).ok()?;
    let segments = files.iter().filter(|file| matches!(file.role, Role::Segment(_)));
    segments
        .filter_map(|file| match inspect::segment(vfs, &file.path).ok()?.header {
            Header::Sound(fields) => Some(fields.first_lsn.0),
            _ => None,
        })
        .min()
}

/// Opens the journal, applies what the store lacks, and returns the journal and how many bytes of
/// commands were applied.
pub(crate) fn replay<E: Engine>(
    vfs: Arc<dyn Vfs>,
    dir: &DataDir,
    store: &Store<E>,
    options: &Options,
) -> Result<(Wal, u64), Error> {
    let applied = store.status().applied;
    let wal_options = WalOptions::default()
        .min_lsn(Lsn(applied))
        .segment_bytes(options.segment_bytes)
        .record_bytes_max(options.limits.command_bytes_max.max(1));
    let found = Wal::find(vfs, &dir.journal(), wal_options)?;
    let mut replayed_bytes = 0;
    let mut group = Vec::with_capacity(GROUP_MAX);
    let mut expected = applied + 1;
    for entry in found.records() {
        let (lsn, bytes) = entry?;
        if lsn.0 <= applied {
            continue;
        }
        if lsn.0 != expected {
            return Err(Error::JournalGap { journal: dir.journal(), expected, found: lsn.0 });
        }
        expected += 1;
        replayed_bytes += bytes.len() as u64;
        let command = Command::decode(bytes).map_err(|malformed| Error::BadCommand {
            journal: dir.journal(),
            index: lsn.0,
            reason: malformed.0,
        })?;
        group.push((lsn.0, command));
        if group.len() == GROUP_MAX {
            apply(store, &mut group)?;
        }
    }
    apply(store, &mut group)?;
    let (journal, _) = found.open()?;
    Ok((journal, replayed_bytes))
}

fn apply<E: Engine>(store: &Store<E>, group: &mut Vec<(u64, Command)>) -> Result<(), Error> {
    store.apply(group.iter().map(|(index, command)| (*index, command)))?;
    group.clear();
    Ok(())
}
