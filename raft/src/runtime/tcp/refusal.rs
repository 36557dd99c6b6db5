//! Why a connection was not taken up, or was ended.

use std::io;

use crate::error::Error;
use crate::runtime::tcp::handshake::Verdict;
use crate::types::NodeId;

/// Why a connection was not taken up, or was ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The first bytes are not those of this protocol, or fail their checksum.
    #[error("not a peer: its first bytes are of something else")]
    Foreign,
    #[error("protocol versions {}..={} there and {}..={} here have none in common",
        theirs.0, theirs.1, ours.0, ours.1)]
    Version { theirs: (u16, u16), ours: (u16, u16) },
    #[error("a peer of cluster {theirs:#018x}, not of {ours:#018x}")]
    Cluster { theirs: u64, ours: u64 },
    #[error("a connection for node {wanted}, which is not this one")]
    Receiver { wanted: NodeId },
    #[error("node {claimed} cannot be the sender, or did not prove that it is")]
    Sender { claimed: NodeId },
    /// The answer to a challenge is wrong: bytes of another connection, played again.
    #[error("the challenge was not met: a recorded connection?")]
    Challenge,
    #[error("a limit on connections is reached")]
    Full,
    #[error("the peer has a new connection")]
    Replaced,
    #[error("refused by the peer: {0}")]
    There(Verdict),
    #[error("a frame of {len} bytes, where {max} are the most")]
    Length { len: usize, max: usize },
    #[error("frame {found} where {expected} was due")]
    Sequence { expected: u32, found: u32 },
    #[error("a frame fails its checksum")]
    Checksum,
    #[error("a frame that makes no sense: {0}")]
    Frame(&'static str),
    #[error(transparent)]
    Message(#[from] Error),
    /// Nothing whole came in, or nothing could be written, for too long.
    #[error("silent for too long")]
    Silent,
    #[error("closed in the middle of a frame")]
    Torn,
    #[error("closed")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Kinds of refusals, to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RefusalKind {
    /// The first bytes were not those of the protocol.
    Foreign,
    /// No version in common.
    Version,
    /// Another cluster.
    Cluster,
    /// Meant for another node.
    Receiver,
    /// The sender is not who it says, or cannot be.
    Sender,
    /// A challenge was not met: a recorded connection was played again.
    Challenge,
    /// A limit on connections was reached.
    Full,
    /// The same peer connected anew.
    Replaced,
    /// The peer refused us, and said why in its answer.
    There,
    /// A frame was empty or too long.
    Length,
    /// A frame was lost, doubled or out of place.
    Sequence,
    /// A frame failed its checksum.
    Checksum,
    /// A frame was whole and made no sense.
    Frame,
    /// A message in a whole frame was none.
    Message,
    /// Nothing came, or nothing could be written, for too long.
    Silent,
    /// The connection ended within a frame.
    Torn,
    /// The connection ended between frames.
    Closed,
    /// The operating system, or TLS, refused.
    Io,
}

impl RefusalKind {
    /// All of them.
    pub const ALL: [RefusalKind; 18] = [
        RefusalKind::Foreign,
        RefusalKind::Version,
        RefusalKind::Cluster,
        RefusalKind::Receiver,
        RefusalKind::Sender,
        RefusalKind::Challenge,
        RefusalKind::Full,
        RefusalKind::Replaced,
        RefusalKind::There,
        RefusalKind::Length,
        RefusalKind::Sequence,
        RefusalKind::Checksum,
        RefusalKind::Frame,
        RefusalKind::Message,
        RefusalKind::Silent,
        RefusalKind::Torn,
        RefusalKind::Closed,
        RefusalKind::Io,
    ];
}

impl Refusal {
    pub(super) fn kind(&self) -> RefusalKind {
        match self {
            Refusal::Foreign => RefusalKind::Foreign,
            Refusal::Version { .. } => RefusalKind::Version,
            Refusal::Cluster { .. } => RefusalKind::Cluster,
            Refusal::Receiver { .. } => RefusalKind::Receiver,
            Refusal::Sender { .. } => RefusalKind::Sender,
            Refusal::Challenge => RefusalKind::Challenge,
            Refusal::Full => RefusalKind::Full,
            Refusal::Replaced => RefusalKind::Replaced,
            Refusal::There(_) => RefusalKind::There,
            Refusal::Length { .. } => RefusalKind::Length,
            Refusal::Sequence { .. } => RefusalKind::Sequence,
            Refusal::Checksum => RefusalKind::Checksum,
            Refusal::Frame(_) => RefusalKind::Frame,
            Refusal::Message(_) => RefusalKind::Message,
            Refusal::Silent => RefusalKind::Silent,
            Refusal::Torn => RefusalKind::Torn,
            Refusal::Closed => RefusalKind::Closed,
            Refusal::Io(_) => RefusalKind::Io,
        }
    }

    /// For whoever waits for bytes and not for reasons.
    pub(super) fn into_io(self) -> io::Error {
        match self {
            Refusal::Io(error) => error,
            Refusal::Silent => io::Error::new(io::ErrorKind::TimedOut, self.to_string()),
            Refusal::Torn | Refusal::Closed => {
                io::Error::new(io::ErrorKind::UnexpectedEof, self.to_string())
            }
            other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
        }
    }
}
