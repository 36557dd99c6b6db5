//! Bringing a store up to date with its journal after a start.
//!
//! The engine says which command it applied last; the journal holds everything after it, and often
//! some of what came before. Between the two there must be no gap, and the journal must reach at
//! least as far as the engine: an engine that knows more than its journal means that a journal was
//! lost, and is an error, not a fresh start. The journal is read before it is taken over, so that
//! one that does not fit is left as it was found.

use std::sync::Arc;

use drystone_vfs::Vfs;
use drystone_wal::{Lsn, Options as WalOptions, Wal};

use crate::command::Command;
use crate::data_dir::DataDir;
use crate::engine::Engine;
use crate::error::Error;
use crate::options::Options;
use crate::store::Store;

/// How many commands are applied together.
const GROUP_MAX: usize = 1024;

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
