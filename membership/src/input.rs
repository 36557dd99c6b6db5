//! What reaches a member.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::keyring::KeyStep;
use crate::types::NodeId;

/// What has happened, or is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<'a> {
    /// Nothing, but it is time: see [`Swim::deadline`](crate::Swim::deadline). What has arrived
    /// before should be handed in before.
    Tick,
    /// A datagram has arrived.
    Datagram {
        /// Where it came from.
        from: SocketAddr,
        /// Its content.
        bytes: &'a [u8],
    },
    /// A message has arrived by stream. Streams carry whole messages, however large; who sent one
    /// is in it.
    Stream {
        /// Its content.
        bytes: &'a [u8],
    },
    /// Find the others at these addresses, one of which will do. Ours may be among them. They are
    /// remembered, and tried again whenever nobody there is a member.
    Join(Vec<SocketAddr>),
    /// Tell all that we leave. [`Event::Left`](crate::Event::Left) with our own id says when enough
    /// have heard; from then on there is nothing to be done.
    Leave,
    /// Set a key of our metadata, or remove it.
    Set {
        /// The key, at most [`KEY_BYTES_MAX`](crate::KEY_BYTES_MAX) bytes.
        key: &'a str,
        /// The value; `None` removes the key.
        value: Option<Bytes>,
    },
    /// Tell all members something once.
    Broadcast {
        /// What it is about, at most [`TOPIC_BYTES_MAX`](crate::TOPIC_BYTES_MAX) bytes.
        topic: &'a str,
        /// What. It must fit a packet beside other news:
        /// [`Swim::broadcast_bytes_max`](crate::Swim::broadcast_bytes_max).
        payload: &'a [u8],
    },
    /// The application knows that this member has failed. A member that lives can still defend
    /// itself.
    Condemn(NodeId),
    /// The next step of a rotation of keys, for the whole cluster.
    Keys(KeyStep),
    /// The same, though some members are not known to keep up.
    KeysAnyway(KeyStep),
}
