//! What a member does with commands and with states that it is sent: the steps of the state
//! machine, without the tasks around them.
//!
//! A function each, of a store, a folder and a lessor: no task, no thread, no clock but the
//! lessor's. The replica drives them from its node; a simulation drives them from a seed.

use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use drystone_raft::{Index, NodeId};

use crate::checkpoint;
use crate::command::{AuthChange, Command};
use crate::engines::AnyEngine;
use crate::error::Error;
use crate::reply::Reply;
use crate::runtime::envelope::{self, Opened};
use crate::runtime::folder::Folder;
use crate::runtime::lessor::Lessor;
use crate::runtime::tally::{CommandKind, Tally};
use crate::store::Store;

/// What came of some commands.
#[derive(Debug)]
pub struct Ran {
    /// One outcome for each.
    pub outcomes: Vec<Result<Reply, Error>>,
    /// Those that this member has handed on: their place in `outcomes`, and what it calls them.
    pub own: Vec<(usize, u64)>,
    /// How many there were of each kind.
    pub tally: Tally,
    /// One of them was about the members.
    pub of_members: bool,
    /// The changes of users that were done, each with its place in the log.
    pub of_users: Vec<(u64, AuthChange)>,
}

/// Applies commands of the log in `log` on member `me`.
///
/// # Errors
/// The engine's, or [`Error::BadCommand`] of a log that cannot be what this member and the others
/// wrote.
pub fn run(
    store: &Store<AnyEngine>,
    lessor: &Lessor,
    me: NodeId,
    log: &Path,
    commands: &[(Index, &Bytes)],
) -> Result<Ran, Error> {
    let mut opened: Vec<(u64, Opened)> = Vec::with_capacity(commands.len());
    let mut own: Vec<(usize, u64)> = Vec::new();
    for (at, (index, bytes)) in commands.iter().enumerate() {
        let entry = envelope::open(bytes).map_err(|malformed| {
            let (journal, reason) = (log.to_path_buf(), malformed.0);
            Error::BadCommand { journal, index: index.0, reason }
        })?;
        let mine = entry.origin.filter(|origin| origin.member == me);
        own.extend(mine.map(|origin| (at, origin.serial)));
        opened.push((index.0, entry));
    }
    let outcomes =
        store.apply_as(opened.iter().map(|(at, entry)| (*at, &entry.caller, &entry.command)))?;
    let applied = opened.iter().zip(&outcomes);
    lessor.note(applied.map(|((_, entry), reply)| (&entry.command, reply.as_ref().ok())));
    let of_members = opened.iter().any(|(_, entry)| entry.command.is_of_members());
    let outcomes: Vec<_> =
        outcomes.into_iter().map(|outcome| outcome.map_err(Error::Refused)).collect();
    let mut tally = Tally::default();
    for ((_, entry), outcome) in opened.iter().zip(&outcomes) {
        tally.note(&entry.command, outcome);
    }
    let mut of_users = Vec::new();
    if tally.has(CommandKind::Auth) {
        for ((at, entry), outcome) in opened.into_iter().zip(&outcomes) {
            if let (Command::Auth(change), Ok(_)) = (entry.command, outcome) {
                of_users.push((at, change));
            }
        }
    }
    Ok(Ran { outcomes, own, tally, of_members, of_users })
}

/// Puts the state that another member has sent in place of this one's. Returns the index that it
/// is of, and the old engine: once that is gone its files may go ([`Folder::clear_other`]).
///
/// # Errors
/// Those of `from`, of the engines, and whatever makes the bytes no state. What there was is then
/// as it was.
pub fn take_over(
    store: &Store<AnyEngine>,
    folder: &Folder,
    from: &mut dyn io::Read,
) -> io::Result<(u64, Weak<AnyEngine>)> {
    let engine = folder.begin().map_err(io::Error::other)?;
    let applied = checkpoint::load(&engine, from)?;
    // Before the swap: what readers are shown next must be there after a crash as well.
    folder.adopt().map_err(io::Error::other)?;
    let old = Arc::downgrade(&store.engine());
    store.replace(engine).map_err(io::Error::other)?;
    Ok((applied, old))
}
