//! Why a running member refuses.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::types::NodeId;

/// What starting and asking a member returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a member could not be started, or did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The core refused: a rule of the configuration, a limit, an unknown member.
    #[error(transparent)]
    Core(#[from] crate::Error),
    /// The port cannot be had.
    #[error("cannot bind {protocol} {addr}")]
    Bind {
        /// `tcp` or `udp`.
        protocol: &'static str,
        /// Where.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// It listens on all addresses of this machine, and nobody said which of them the others reach.
    #[error("{0} is no address that others can reach: advertise one")]
    NoAddress(SocketAddr),
    /// The snapshot's file cannot be read.
    #[error("cannot read the snapshot {path}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The snapshot's file was read and is none. It is left as it is; without it the member starts.
    #[error("snapshot {path} is unusable at byte {offset}: {what}", path = .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where it shows.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// The snapshot was taken by another member.
    #[error("snapshot {path} is of member {of}, and we are {me}", path = .path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Whose.
        of: NodeId,
        /// Not ours.
        me: NodeId,
    },
    /// The operating system has no random number for us.
    #[error("no random numbers: {0}")]
    Seed(String),
    /// None of these has let us in.
    #[error("none of {seeds:?} has let us in within {after:?}")]
    NotAdmitted {
        /// Who was asked.
        seeds: Vec<SocketAddr>,
        /// How long we waited.
        after: Duration,
    },
    /// Our name belongs to a process that lives, and still did when patience ended.
    #[error("our name belongs to the member at {owner}")]
    NameTaken {
        /// Where it lives.
        owner: SocketAddr,
    },
    /// It has left, or its task was ended with its runtime.
    #[error("the member has stopped")]
    Stopped,
}
