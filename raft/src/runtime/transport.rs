//! The seam to a network.
//!
//! ```text
//!     a node                       the network                      another node
//!       send(to, group, messages) ────────────────────► Inbound::Messages
//!       fetch(from, group, …) ────────────────────────► Inbound::Fetch
//!            ▲                                                │ opens its snapshot
//!            └──────────────── chunks ◄───────────────────────┘
//!       Inbound::Down ◄──────── nothing was heard for long
//! ```
//!
//! A transport may lose, double, delay and reorder messages; it must not alter them, and must know
//! whom they come from. It holds no more than a bounded number for a peer: when they pile up, some
//! are dropped, because the protocol sends again what matters. Which ones is its own choice: TCP
//! drops the oldest, which later ones have mostly made void; channels, which cannot take back what
//! they hold, the newest.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::message::Message;
use crate::store::GroupId;
use crate::types::{NodeId, Position};

/// Chunks of a snapshot as they come in, in order. It ends well when the sender is dropped, and
/// badly with an error.
pub type Chunks = mpsc::Receiver<io::Result<Bytes>>;

/// What comes in from other nodes.
#[derive(Debug)]
pub enum Inbound {
    /// Messages for one group.
    Messages {
        /// Whom they come from, as far as the transport can vouch for it.
        from: NodeId,
        /// For which group.
        group: GroupId,
        /// In the order in which they were sent.
        messages: Vec<Message>,
    },
    /// Messages for many groups, which came together.
    Many {
        /// Whom they come from.
        from: NodeId,
        /// By group.
        mail: Vec<(GroupId, Vec<Message>)>,
    },
    /// A peer fetches a snapshot. Put its bytes into `reply` as fast as that takes them, and drop
    /// it at the end; an error says that there is no such snapshot.
    Fetch {
        /// Who fetches.
        from: NodeId,
        /// Of which group.
        group: GroupId,
        /// The last entry that the snapshot holds.
        position: Position,
        /// How many bytes of it are there already.
        offset: u64,
        /// Where the bytes go.
        reply: mpsc::Sender<io::Result<Bytes>>,
    },
    /// This peer cannot be reached: its connection broke and a new one was refused, or nothing was
    /// heard of it for long. Said once until it is heard of again.
    Down(NodeId),
}

/// A way to other nodes.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Sends messages to one group at `to`. Never blocks.
    fn send(&self, to: NodeId, group: GroupId, messages: Vec<Message>);

    /// Sends messages to many groups at `to`, together if that is possible. Never blocks.
    fn send_many(&self, to: NodeId, mail: Vec<(GroupId, Vec<Message>)>) {
        for (group, messages) in mail {
            self.send(to, group, messages);
        }
    }

    /// Whether it notices by itself that a peer is silent, and says so ([`Inbound::Down`]). If not,
    /// a [`MultiNode`](crate::runtime::MultiNode) sends empty parcels as signs of life.
    fn notices_silence(&self) -> bool {
        false
    }

    /// Fetches from `from` the snapshot of a group that ends at `position`, from byte `offset` on.
    /// Returns at once. Whoever drops the chunks gives it up.
    fn fetch(&self, from: NodeId, group: GroupId, position: Position, offset: u64) -> Chunks;
}

/// A node's place in a network: the way out, and what comes in.
#[derive(Debug)]
pub struct Link {
    /// The way out.
    pub transport: Arc<dyn Transport>,
    /// What comes in. Bounded by whoever made it.
    pub inbound: mpsc::Receiver<Inbound>,
}
