//! What a member wants done, and what it tells its application.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::node::Node;
use crate::types::{Incarnation, NodeId};

/// What is to be done. There is no order that matters, and nothing that must succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a datagram, never longer than [`Config::mtu`](crate::Config::mtu).
    Datagram {
        /// To whom.
        to: SocketAddr,
        /// What.
        bytes: Vec<u8>,
    },
    /// Send a message by stream: open one, or use one that is open.
    Stream {
        /// To whom.
        to: SocketAddr,
        /// What.
        bytes: Vec<u8>,
    },
    /// Tell the application.
    Event(Event),
    /// Who is there has changed: save [`Swim::snapshot`](crate::Swim::snapshot) if a total outage
    /// is to be survived without seeds. Comes every ten seconds at most.
    Persist,
}

/// What has become known of the cluster.
///
/// ```text
///                      Suspected by one, by more      Unreachable
///     Joined ─► alive ────────────────────► suspect ────────────► suspect ─► Failed
///                 ▲                            │                    │          │
///                 └──────── Recovered ◄────────┴────────────────────┘          │
///                 └──────── Joined  ◄──────────────────────────────────────────┘
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Another member has let us in: for the first time, or again after our name was another's.
    Admitted {
        /// Who let us in.
        by: NodeId,
    },
    /// It is a member from now on.
    Joined(Node),
    /// It is a member still, and another process: it has restarted, faster than anyone noticed.
    Restarted(Node),
    /// Somebody gets no answer from it. Comes once for each who accuses it.
    Suspected {
        /// The suspect.
        id: NodeId,
        /// Who accuses it.
        by: NodeId,
    },
    /// It has defended itself, and is a member like any other. Comes though we may not have heard
    /// of the accusation.
    Recovered {
        /// Who.
        id: NodeId,
        /// Its incarnation from now on, which counts how often it has done so.
        incarnation: Incarnation,
    },
    /// We ourselves get no answer, on any way, or several members say so. It is a member still, and
    /// what to do about it is the application's: send it nothing new, move its work away, or
    /// [condemn](crate::Input::Condemn) it.
    Unreachable(NodeId),
    /// It is no member any more.
    Failed(NodeId),
    /// It said that it leaves, and is no member any more. With our own id: everyone knows.
    Left(NodeId),
    /// Its metadata has changed.
    Updated {
        /// Whose.
        id: NodeId,
        /// Which keys, in order.
        keys: Vec<String>,
    },
    /// A broadcast of another member.
    Broadcast {
        /// Whose.
        from: NodeId,
        /// What it is about.
        topic: String,
        /// What.
        payload: Bytes,
    },
    /// Two live processes have one name. The one that is not `at` this address owns it no more, or
    /// has not been let in.
    Conflict {
        /// The name.
        id: NodeId,
        /// Whose it is.
        owner: SocketAddr,
        /// Who else claims it. If that is us, we are no member, and try again until the owner
        /// has gone.
        claimant: SocketAddr,
    },
    /// The ring of keys has changed.
    Keys {
        /// The number of the ring.
        number: u64,
        /// The fingerprints of its keys, the one that seals first.
        fingerprints: Vec<u32>,
    },
}
