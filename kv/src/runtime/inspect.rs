//! A look into the folder of a replica, for people, while the replica may be running.
//!
//! **The problem.** After an accident somebody has to see what each member holds: who it thinks the
//! members are, which commands it was told of, which of them are in its state. The member may be
//! up, and must not notice; or it may not come up at all, because something is damaged.
//!
//! **The idea.** The parts of the folder are looked at one by one, and none of them stops the
//! others from being shown: each is what it is, or why it cannot be read.
//!
//! ```text
//!     FORMAT, ENGINE ──► which engine, in which folder
//!     engine-a/      ──► EngineView ──► positions, members, counts
//!     raft/          ──► drystone_raft::store::Inspection ──► term, vote, members, entries
//!                                                              └─► envelope ──► Command
//! ```
//!
//! The engine comes before the log: whatever is in the first is then in the second, or let go of.
//! Nothing is locked. What is wrong is looked at again until it is there twice in the same words.

mod formats;
mod trouble;

use std::collections::HashSet;
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use drystone_raft::runtime::Node;
use drystone_raft::store::{GroupId, GroupLog, Inspection as LogInspection, Store as GroupStore};
use drystone_raft::{Configuration, Entry, Index, NodeId, Payload};
use drystone_vfs::{Clock, Vfs};

use crate::auth::{Auth, Caller};
use crate::command::Command;
use crate::data_dir::{REPLICA, look};
use crate::engine::{EngineStats, Snapshot, Space};
use crate::engines::{EngineKind, EngineView, Shape, Visitor};
use crate::error::Error;
use crate::limits::check_members;
use crate::members::Cluster;
use crate::record::{Record, decode, revision_of};
use crate::reply::Alarm;
use crate::runtime::envelope;
use crate::runtime::folder::{ENGINES, LOG, POINTER, read_pointer};
use crate::runtime::machine::Machine;
use crate::runtime::replica::log_failed;
use crate::state::{
    META_COMPACTED, META_LOADING, META_SWEPT, load_alarms, load_applied, load_number, load_revision,
};

pub use crate::runtime::envelope::Origin;
pub use formats::Format;
pub use trouble::Trouble;

/// How often one looks for a moment at which nothing changes.
const LOOKS_MAX: usize = 10;

/// Keys that are kept in mind at once when keys are counted: some 18 MB of them, and half as much
/// again while the table grows. With more, all records are read once more for each so many.
const COUNTED_MAX: usize = 900_000;

/// What is in the folder of a replica.
#[derive(Debug)]
pub struct Inspection {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    /// Where the log is, if that was said.
    log_dir: Option<PathBuf>,
    /// Which engine the folder was made with; `None` if there is no replica in it.
    pub engine: Result<Option<EngineKind>, Error>,
    /// What that engine has saved; `None` if nothing.
    pub state: Result<Option<SavedState>, Error>,
    /// The consensus log; `None` if there is none.
    pub log: Result<Option<LogInspection>, Error>,
}

/// What an engine has saved.
#[derive(Debug)]
pub struct SavedState {
    /// The engine's folder.
    pub dir: PathBuf,
    /// It is being filled with a state that another member sends, and holds none yet.
    pub loading: bool,
    /// The newest command whose effect is in it.
    pub applied: u64,
    /// The newest main revision.
    pub revision: u64,
    /// The oldest readable main revision; `None` until the first compaction.
    pub compacted: Option<u64>,
    /// The newest compaction whose garbage is all gone.
    pub swept: Option<u64>,
    /// The members, as of `applied`.
    pub cluster: Cluster,
    /// Users and roles, likewise.
    pub auth: Auth,
    /// Those that stand.
    pub alarms: Vec<Alarm>,
    /// How much there is.
    pub stats: EngineStats,
    /// The version of the format of the engine's files.
    pub format: u32,
    /// How the engine's files are laid out.
    pub shape: Shape,
    /// What a look at every record tells, if that was asked for.
    pub census: Option<Result<Census, Error>>,
}

/// What a look at every record tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// Keys that are there.
    pub keys: u64,
    /// Puts, old ones included.
    pub puts: u64,
    /// Deletes that are not compacted away.
    pub tombstones: u64,
}

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Every record of the engine is read: keys are counted, and all checksums are looked at.
    pub census: bool,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Its place.
    pub index: u64,
    /// The term of the leader that made it.
    pub term: u64,
    /// It is known to be committed. If not, it may be all the same.
    pub committed: bool,
    /// What it says.
    pub said: Said,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Nothing: a leader begins its term with one.
    Blank,
    /// Who votes from here on.
    Voters(Arc<Configuration>),
    /// A change of the store.
    Command {
        /// The member that handed it on, if another than the leader was asked.
        origin: Option<Origin>,
        /// For whom.
        caller: Caller,
        /// The change.
        command: Command,
        /// Its bytes in the log.
        bytes: usize,
    },
    /// A command that this member, a witness, does not get to see.
    Withheld,
    /// Bytes that are no command of this version.
    Unreadable {
        /// All of them.
        bytes: Bytes,
        /// What is wrong.
        reason: &'static str,
    },
}

impl Inspection {
    /// The group that a replica's log is about.
    pub const GROUP: GroupId = Node::<Machine>::GROUP;

    /// Looks into the folder `dir`. Locks nothing and changes nothing. A log that is kept apart is
    /// found; if it was moved since, `log_dir` says to where.
    pub fn open(
        vfs: Arc<dyn Vfs>,
        clock: &Arc<dyn Clock>,
        dir: &Path,
        log_dir: Option<&Path>,
        depth: Depth,
    ) -> Inspection {
        let engine = look(&vfs, dir, REPLICA);
        let state = match &engine {
            Ok(Some(kind)) => settled(|| {
                let state = SavedState::read(&vfs, clock, dir, *kind, depth);
                let trouble = match &state {
                    Ok(Some(SavedState { census: Some(Err(error)), .. })) | Err(error) => {
                        Some(format!("{error:?}"))
                    }
                    Ok(_) => None,
                };
                (state, trouble)
            }),
            Ok(None) | Err(_) => Ok(None),
        };
        let log = read_log(&vfs, dir, log_dir);
        let (dir, log_dir) = (dir.to_path_buf(), log_dir.map(Path::to_path_buf));
        Inspection { vfs, dir, log_dir, engine, state, log }
    }

    /// Where the log is, or would be.
    fn log_place(&self) -> PathBuf {
        let log = self.dir.join(LOG);
        let kept = || GroupStore::log_dir(&*self.vfs, &log).ok().flatten();
        self.log_dir.clone().or_else(kept).unwrap_or(log)
    }

    /// What the log says of the group.
    pub fn group(&self) -> Option<GroupLog<'_>> {
        self.log.as_ref().ok()?.as_ref()?.group(Inspection::GROUP)
    }

    /// The newest command whose effect the engine has saved; 0 if there is none, or none is known.
    pub fn applied(&self) -> u64 {
        self.state.as_ref().ok().and_then(Option::as_ref).map_or(0, |state| state.applied)
    }

    /// Entries up to here are known to be committed, by what is in the log of `me` and by what has
    /// been applied.
    pub fn committed(&self, me: NodeId) -> u64 {
        let applied = self.applied();
        let logged = self.group().map(|group| (group.committed(me).0, group.last().index.0));
        let (logged, last) = logged.unwrap_or_default();
        logged.max(applied.min(last))
    }

    /// The members as of the last entry that is known to be committed, and that entry: those of the
    /// engine, and what the log of `me` says about members behind that.
    pub fn members(&mut self, me: NodeId) -> (Cluster, u64) {
        let state = self.state.as_ref().ok().and_then(Option::as_ref);
        let saved = state.map(|state| (state.cluster.clone(), state.applied));
        let (mut cluster, applied) = saved.unwrap_or_default();
        let committed = self.committed(me);
        let follow = |entry: Logged| {
            if let Said::Command { command, .. } = entry.said
                && command.is_of_members()
                && check_members(&command).is_ok()
                && let Ok(edit) = cluster.decide(&command)
            {
                cluster.make(edit);
            }
            Ok::<(), Infallible>(())
        };
        // What cannot be read is told when the entries are shown.
        let _ = self.entries(me, applied + 1, committed, follow);
        (cluster, committed.max(applied))
    }

    /// Shows `visit` the entries from `from` to `through` that the log of `me` holds, in order and
    /// one at a time. Returns what could not be read.
    ///
    /// A member that runs may let go of the oldest entries meanwhile: the rest is shown then.
    ///
    /// # Errors
    /// Those of `visit`, which end it.
    pub fn entries<E>(
        &mut self,
        me: NodeId,
        from: u64,
        through: u64,
        mut visit: impl FnMut(Logged) -> Result<(), E>,
    ) -> Result<Vec<Trouble>, E> {
        let committed = self.committed(me);
        let last = self.group().map_or(0, |group| group.last().index.0);
        let (mut next, through) = (Index(from), Index(through.min(last)));
        let mut troubles: Vec<Trouble> = Vec::new();
        let mut before = None;
        loop {
            let mut failed = None;
            let Some(group) = self.group() else { return Ok(troubles) };
            for entry in group.entries(next, through) {
                match entry {
                    Ok(entry) => {
                        next = entry.index.next();
                        visit(logged(entry, committed))?;
                    }
                    Err(error) => {
                        let text = Some(format!("{error:?}"));
                        if before != text {
                            failed = Some(text);
                            break;
                        }
                        troubles.push(Trouble::of(&log_failed(error), &self.dir));
                    }
                }
            }
            match failed {
                None => return Ok(troubles),
                Some(text) => before = text,
            }
            // Files that were let go of are used again: what stands there now is another's.
            self.log = read_log(&self.vfs, &self.dir, self.log_dir.as_deref());
        }
    }
}

impl SavedState {
    fn read(
        vfs: &Arc<dyn Vfs>,
        clock: &Arc<dyn Clock>,
        dir: &Path,
        kind: EngineKind,
        depth: Depth,
    ) -> Result<Option<SavedState>, Error> {
        let pointer = dir.join(POINTER);
        let which = read_pointer(&**vfs, &pointer)?;
        let here = dir.join(ENGINES[which]);
        let mut counting = Counting::new(COUNTED_MAX);
        let visitor: Option<&mut dyn Visitor> =
            if depth.census { Some(&mut counting) } else { None };
        let view = match EngineView::open(vfs, Arc::clone(clock), &here, kind, visitor) {
            // What can be told without the records is told.
            Err(error) if depth.census => {
                let plain = Depth { census: false };
                let state = SavedState::read(vfs, clock, dir, kind, plain)?;
                let census = Some(Err(error.into()));
                return Ok(state.map(|state| SavedState { census, ..state }));
            }
            view => view?,
        };
        if read_pointer(&**vfs, &pointer)? != which {
            // Another member's state has just taken the place of this one.
            return SavedState::read(vfs, clock, dir, kind, depth);
        }
        let Some(EngineView { snapshot, stats, format, shape }) = view else { return Ok(None) };
        Ok(Some(SavedState {
            dir: here,
            loading: snapshot.get(Space::Meta, META_LOADING)?.is_some(),
            applied: load_applied(&snapshot)?,
            revision: load_revision(&snapshot)?,
            compacted: load_number(&snapshot, META_COMPACTED)?,
            swept: load_number(&snapshot, META_SWEPT)?,
            cluster: Cluster::load(&snapshot)?,
            auth: Auth::load(&snapshot)?,
            alarms: load_alarms(&snapshot)?.into_iter().collect(),
            stats,
            format,
            shape,
            census: depth.census.then(|| counting.finish()),
        }))
    }
}

/// Counts records, the oldest first.
///
/// A key is there if its newest record is a put, so all keys must be kept in mind. That is done for
/// a part of them at a time, those whose hash lies in a range, so that memory is bounded: when more
/// keys are in it than may be, the range is cut in half, and the rest is left for another pass.
///
/// ```text
///     hashes   0 ├──── pass 1 ────┼──── pass 2 ────┼──────── pass 3 ────────┤ u64::MAX
/// ```
struct Counting {
    hashers: [RandomState; 2],
    /// Keys in the range whose newest record, of those that were seen, is a put. Two keys with both
    /// hashes equal would be counted as one; nobody will see that happen.
    live: HashSet<[u64; 2]>,
    live_max: usize,
    range: RangeInclusive<u64>,
    census: Census,
    /// Keys of earlier passes.
    counted: u64,
    failed: Option<Error>,
}

impl Counting {
    fn new(live_max: usize) -> Counting {
        Counting {
            hashers: [RandomState::new(), RandomState::new()],
            live: HashSet::new(),
            live_max,
            range: 0..=u64::MAX,
            census: Census::default(),
            counted: 0,
            failed: None,
        }
    }

    fn key(&mut self, key: &[u8], is_put: bool) {
        let hash = [0, 1].map(|at| self.hashers[at].hash_one(key));
        if !self.range.contains(&hash[0]) {
            return;
        }
        if is_put {
            self.live.insert(hash);
        } else {
            self.live.remove(&hash);
        }
        while self.live.len() > self.live_max {
            let (from, to) = self.range.clone().into_inner();
            if from == to {
                break;
            }
            let range = from..=from + (to - from) / 2;
            self.live.retain(|hash| range.contains(&hash[0]));
            self.range = range;
        }
    }

    fn finish(mut self) -> Result<Census, Error> {
        self.census.keys = self.counted;
        self.failed.map_or(Ok(self.census), Err)
    }
}

impl Visitor for Counting {
    fn record(&mut self, key: &[u8], value: &[u8]) {
        let bytes = Bytes::copy_from_slice(value);
        let record = match revision_of(key).and_then(|revision| decode(revision, bytes)) {
            Ok(record) => record,
            Err(error) => {
                self.failed.get_or_insert(error);
                return;
            }
        };
        let is_put = matches!(record, Record::Put(_));
        if *self.range.start() == 0 {
            // The first pass, and no other.
            let count = if is_put { &mut self.census.puts } else { &mut self.census.tombstones };
            *count += 1;
        }
        self.key(record.key(), is_put);
    }

    fn again(&mut self) -> bool {
        self.counted += self.live.len() as u64;
        self.live.clear();
        let done = *self.range.end();
        self.range = done.saturating_add(1)..=u64::MAX;
        done < u64::MAX && self.failed.is_none()
    }
}

fn read_log(
    vfs: &Arc<dyn Vfs>,
    dir: &Path,
    log_dir: Option<&Path>,
) -> Result<Option<LogInspection>, Error> {
    GroupStore::inspect(vfs, &dir.join(LOG), log_dir).map_err(log_failed)
}

fn logged(entry: Entry, committed: u64) -> Logged {
    let Entry { term, index, payload } = entry;
    let said = match payload {
        Payload::Blank => Said::Blank,
        Payload::Configuration(voters) => Said::Voters(voters),
        Payload::Withheld => Said::Withheld,
        Payload::Data(bytes) => match envelope::open(&bytes) {
            Ok(envelope::Opened { origin, caller, command }) => {
                Said::Command { origin, caller, command, bytes: bytes.len() }
            }
            Err(malformed) => Said::Unreadable { bytes, reason: malformed.0 },
        },
    };
    Logged { index: index.0, term: term.0, committed: index.0 <= committed, said }
}

/// Looks again until nothing is wrong, or the same is wrong twice.
fn settled<T>(mut look: impl FnMut() -> (T, Option<String>)) -> T {
    let mut before = None;
    for _ in 1..LOOKS_MAX {
        let (found, trouble) = look();
        if trouble.is_none() || trouble == before {
            return found;
        }
        before = trouble;
    }
    look().0
}

#[cfg(test)]
mod tests {
    use super::*;

    // However few keys fit into memory, each is counted in one pass: a key that two halves of a
    // range share, or that none has, makes the count wrong.
    #[test]
    fn keys_are_counted_whatever_fits_into_memory() {
        let keys: Vec<Vec<u8>> = (0..1000_u32).map(|key| key.to_be_bytes().to_vec()).collect();
        for live_max in [1, 7, 100, 999, 1000, COUNTED_MAX] {
            let mut counting = Counting::new(live_max);
            let mut passes = 0;
            loop {
                // All are put, every third is deleted, and every ninth comes back.
                keys.iter().for_each(|key| counting.key(key, true));
                keys.iter().step_by(3).for_each(|key| counting.key(key, false));
                keys.iter().step_by(9).for_each(|key| counting.key(key, true));
                assert!(counting.live.len() <= live_max, "memory is bounded");
                passes += 1;
                if !counting.again() {
                    break;
                }
            }
            assert_eq!(counting.finish().unwrap().keys, 1000 - 334 + 112, "{live_max}");
            assert_eq!(passes == 1, live_max >= 1000, "{passes} passes for {live_max}");
        }
    }
}
