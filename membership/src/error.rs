//! What can be wrong with what a member is given from outside.

use crate::types::NodeId;

/// Why something was refused. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A rule of [`Config`](crate::Config) is broken.
    #[error("configuration refused: {0}")]
    Config(&'static str),
    /// These bytes are no packet of this cluster: damaged, cut short, or somebody else's.
    #[error("not a packet at byte {offset}: {what}")]
    Packet {
        /// Where it shows, from the beginning of the packet.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// No key of ours opens the packet.
    #[error("no key opens the packet, which names key {key:08x}")]
    Sealed {
        /// The fingerprint of the key that it names.
        key: u32,
    },
    /// It is larger than the limit allows.
    #[error("{what} of {bytes} bytes, and {bytes_max} are allowed")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        bytes_max: usize,
    },
    /// This is not a member that we know.
    #[error("no member {0} is known")]
    Unknown(NodeId),
    /// We have left, or another member has our name: there is no more to be done.
    #[error("not a member any more")]
    Gone,
    /// A change of keys that cannot be made.
    #[error("keys not changed: {0}")]
    Keys(&'static str),
    /// A change of keys that would lock members out.
    #[error("keys not changed: {} members do not hold this ring yet, {} is one", .0.len(), .0[0])]
    KeysBehind(Vec<NodeId>),
    /// A saved snapshot that cannot be read.
    #[error("not a snapshot at byte {offset}: {what}")]
    Snapshot {
        /// Where it shows.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
}

/// Short for a result with our [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
