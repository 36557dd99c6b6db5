//! Why a request was not done: the store said no, or the world did.
//!
//! A [`Refusal`] is an answer. It depends on the request and the state alone, so every copy of the
//! store gives the same one, and it leaves no trace. Every other [`Error`] is trouble: the disk,
//! the journal, a store that has shut down.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::EngineError;
use crate::engines::EngineKind;

/// Why the store refuses a request. The variants are etcd's; its texts belong to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The request names no key.
    #[error("the key is empty")]
    EmptyKey,
    /// A put keeps the value or the lease of a key that is not there, or an operation is empty.
    #[error("the key is not there")]
    KeyNotFound,
    /// A transaction has more operations than the limit, nested ones counted.
    #[error("too many operations in one transaction")]
    TooManyOps,
    /// A transaction could set a key twice, or set a key that it also deletes.
    #[error("a transaction changes a key twice")]
    DuplicateKey,
    /// The command is larger than the limit.
    #[error("the request is too large")]
    TooLarge,
    /// The revision has been compacted away.
    #[error("revision compacted: the oldest readable one is {compacted}")]
    Compacted {
        /// The oldest main revision that is still readable.
        compacted: u64,
    },
    /// The revision has not happened yet.
    #[error("revision is in the future: the newest one is {newest}")]
    FutureRevision {
        /// The newest main revision.
        newest: u64,
    },
    /// No lease of that name stands.
    #[error("no such lease")]
    LeaseNotFound,
    /// A lease of that name stands already.
    #[error("the lease exists already")]
    LeaseExists,
    /// The time to live exceeds [`crate::lease::TTL_SECONDS_MAX`].
    #[error("the lease's time to live is too large")]
    LeaseTtlTooLarge,
    /// The store is over its quota.
    #[error("the store is over its quota")]
    NoSpace,
    /// The members' data differ.
    #[error("the store is marked corrupt")]
    Corrupt,
    /// There is no cluster yet that a member could be added to.
    #[error("there is no cluster yet")]
    NoCluster,
    /// A member of that id is there already.
    #[error("the member's id exists already")]
    MemberExists,
    /// Another member has one of the peer URLs.
    #[error("the peer URLs exist already")]
    PeerUrlsExist,
    /// No member of that id is there.
    #[error("no such member")]
    MemberNotFound,
    /// The member was removed once; its id never returns.
    #[error("the member was removed for ever")]
    MemberRemoved,
    /// The member has a vote already.
    #[error("only a learner can be promoted")]
    MemberNotLearner,
    /// The cluster has as many learners as it may.
    #[error("too many learners")]
    TooManyLearners,
    /// The cluster would be left without anyone who votes.
    #[error("the cluster would have no voting member")]
    LastVoter,
    /// Authentication is off, and only makes sense on.
    #[error("authentication is not enabled")]
    AuthNotEnabled,
    /// The name and the password do not belong together.
    #[error("the user could not be recognised")]
    AuthFailed,
    /// The users have changed since the caller was recognised.
    #[error("the auth revision is old")]
    AuthRevisionOld,
    /// The caller may not do this.
    #[error("permission denied")]
    PermissionDenied,
    /// The caller has not said who it is, or a user is to have no name.
    #[error("the user's name is empty")]
    UserNameEmpty,
    /// A role is to have no name.
    #[error("the role's name is empty")]
    RoleNameEmpty,
    /// There is no user root to switch authentication on for.
    #[error("there is no root user")]
    RootUserMissing,
    /// The user root is not root.
    #[error("the root user does not have the root role")]
    RootRoleMissing,
    /// A user of that name is there already.
    #[error("the user exists already")]
    UserExists,
    /// No user of that name is there.
    #[error("no such user")]
    UserNotFound,
    /// A role of that name is there already.
    #[error("the role exists already")]
    RoleExists,
    /// No role of that name is there.
    #[error("no such role")]
    RoleNotFound,
    /// The user does not have the role.
    #[error("the user does not have the role")]
    RoleNotGranted,
    /// The role does not have the permission.
    #[error("the role does not have the permission")]
    PermissionNotGranted,
    /// It would shut everybody out, or is about no key at all.
    #[error("invalid auth management")]
    InvalidAuthManagement,
}

/// Why a request was not done.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store said no; the state is as before.
    #[error("refused")]
    Refused(#[from] Refusal),
    /// The engine failed. The store takes no more writes.
    #[error("storage engine failed")]
    Engine(#[from] EngineError),
    /// The journal failed. The store takes no more writes.
    #[error("journal failed")]
    Journal(#[from] drystone_wal::Error),
    /// The journal does not begin where the engine's state ends: files of either are missing, or
    /// are those of another day.
    #[error(
        "{} lacks command {expected}, and so does the engine: the next one it holds is {found}; \
         restore the data folder as a whole",
        journal.display()
    )]
    JournalGap {
        /// The journal's folder.
        journal: PathBuf,
        /// The position that comes after what the engine holds.
        expected: u64,
        /// The position that the journal goes on with.
        found: u64,
    },
    /// The journal ends before what the engine has applied: it is not the one that the engine's
    /// state came from, or has lost its end.
    #[error(
        "{} ends at command {last}, and the engine has command {applied}, which was durable; \
         restore the data folder as a whole",
        journal.display()
    )]
    JournalEndsEarly {
        /// The journal's folder.
        journal: PathBuf,
        /// The last position that the journal has.
        last: u64,
        /// The last position that the engine has.
        applied: u64,
    },
    /// A journaled command cannot be understood.
    #[error("record {index} in {} is not a command: {reason}", journal.display())]
    BadCommand {
        /// The journal's folder.
        journal: PathBuf,
        /// The record's position in the journal.
        index: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A record of the engine cannot be understood.
    #[error("record {revision} in the engine is damaged: {reason}")]
    BadRecord {
        /// The record's key as a revision, or what there is of it.
        revision: crate::types::Revision,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A state that was to replace the store's own stands before what the store has shown.
    #[error(
        "the new state stands at revision {found_revision}, command {found_applied}, and the store \
         at revision {revision}, command {applied}"
    )]
    Behind {
        /// The newest main revision that the store has shown.
        revision: u64,
        /// The newest command that it has answered for certain; 0 after a failure.
        applied: u64,
        /// The newest main revision of the new state.
        found_revision: u64,
        /// The newest command of the new state.
        found_applied: u64,
    },
    /// Too many commands are under way; try again later.
    #[error("too many requests")]
    Busy,
    /// An option cannot be as it is.
    #[error("bad option: {0}")]
    Options(&'static str),
    /// Another process, or another store in this one, uses the data folder.
    #[error("the data folder is in use: {} is locked", file.display())]
    Locked {
        /// The lock file.
        file: PathBuf,
    },
    /// The data folder holds something that is not ours.
    #[error("{} is not a drystone data folder: it holds {:?}", dir.display(), found)]
    Foreign {
        /// The folder.
        dir: PathBuf,
        /// A file or folder in it that we did not make.
        found: PathBuf,
    },
    /// The data folder was written by another version of this crate.
    #[error("{} names format version {version}, which this build does not know", file.display())]
    Unsupported {
        /// The file that says so.
        file: PathBuf,
        /// The version it names.
        version: u32,
    },
    /// The data folder was made with another engine than the one asked for.
    #[error(
        "{} says that the data were written by the {found} engine, not by {asked}",
        file.display()
    )]
    WrongEngine {
        /// The file that says so.
        file: PathBuf,
        /// The engine it names.
        found: EngineKind,
        /// The engine that was asked for.
        asked: EngineKind,
    },
    /// A file of the data folder is not what was written.
    #[error("{} is damaged: {reason}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file system refused.
    #[error("input or output failed on {}", file.display())]
    Io {
        /// The file or folder concerned.
        file: PathBuf,
        /// What it said.
        source: Arc<io::Error>,
    },
    /// The store has shut down, or is poisoned by an earlier failure.
    #[error("the store has stopped")]
    Stopped,
    /// The consensus log failed, or could not be opened.
    #[cfg(feature = "runtime")]
    #[error("the replica's log failed")]
    Log(#[from] drystone_raft::runtime::Error),
    /// A state that was to be restored could not be read.
    #[error("the state cannot be restored")]
    Restore(#[source] Arc<io::Error>),
    /// The consensus log is damaged, and no other member has what is lost. Nothing was changed.
    #[cfg(feature = "runtime")]
    #[error("the log is damaged, and there is no other member that could mend it")]
    Irreparable {
        /// The file, the place in it, and the reason.
        source: drystone_raft::store::Error,
    },
    /// No leader or no quorum in time. A command may have been done all the same.
    #[error("the request timed out")]
    TimedOut,
    /// The leader lost its place while the request was under way. A command may have been done all
    /// the same.
    #[error("the leader changed")]
    LeaderLost,
    /// Only the leader can do this, and this member is not it.
    #[error("this member does not lead")]
    NotLeader,
    /// The leadership cannot be handed to this member.
    #[error("not a member that can lead")]
    BadTransferee,
}

impl Error {
    /// The error for `source`, met while working on `file`.
    pub(crate) fn io(file: &Path, source: io::Error) -> Error {
        Error::Io { file: file.to_path_buf(), source: Arc::new(source) }
    }
}
