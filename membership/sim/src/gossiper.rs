//! What a membership protocol must do to be asked: the seam to whatever is under test.
//!
//! ```text
//!     Input::Datagram ─┐                          ┌─► acts.datagram(to, bytes)
//!     Input::Stream   ─┤                          ├─► acts.stream(to, bytes)
//!     Input::Order    ─┼──► handle(now, input) ───┴─► acts.saw(about, what)
//!     Input::Wake     ─┘          │
//!                                 ▼
//!                             deadline() ──► woken then
//! ```
//!
//! Members are named by the node they live on; a protocol that wants addresses takes those of
//! [`address_of`](crate::address_of), so that all pay for the same number of bytes.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use drystone_sim::NodeId;

/// A membership protocol, as a member of a cluster runs it.
///
/// It must be deterministic: no clock but `now` (microseconds), no randomness but from the seed it
/// is started with.
pub trait Gossiper: Sized {
    /// What a user sets; all members of a cluster have the same.
    type Config: Clone + Debug;

    /// Starts member `me`, which knows nobody until an [`Order`] says so.
    fn start(me: NodeId, seat: &Seat<Self::Config>, seed: u64, now: u64, acts: &mut Acts) -> Self;

    /// Something happened.
    fn handle(&mut self, now: u64, input: Input<'_>, acts: &mut Acts);

    /// When it is to be woken; asked for after every call.
    fn deadline(&self) -> Option<u64>;

    /// How many others it believes to be members, suspected ones among them. Asked for after each
    /// call that saw something, so it must be cheap.
    fn members_count(&self) -> usize;

    /// Those others, in any order. They change only in a call that [saw](Acts::saw) something or
    /// that was handed an [`Order`]: who counts those that are right relies on it.
    fn members(&self) -> impl Iterator<Item = NodeId>;

    /// The bytes that all that is known of others takes, if it can tell.
    fn memory(&self) -> Option<usize> {
        None
    }
}

/// The place that a member starts in.
#[derive(Debug, Clone)]
pub struct Seat<C> {
    /// What a user sets.
    pub config: Arc<C>,
    /// How many members the cluster will have, for protocols that want to be told.
    pub members: usize,
    /// How often a process was started here before: what a restart may tell itself from the life
    /// before by, as a clock would.
    pub lives: u32,
}

/// What reaches a member.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// A datagram has arrived.
    Datagram {
        /// Who sent it, as the address on the packet says.
        from: NodeId,
        /// Its content.
        bytes: &'a [u8],
    },
    /// Bytes have arrived over a connection.
    Stream {
        /// Who sent them.
        from: NodeId,
        /// One message.
        bytes: &'a Bytes,
    },
    /// Somebody outside wants something.
    Order(&'a Order),
    /// The deadline has come.
    Wake,
}

/// What somebody outside wants of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// These are members (itself may be among them): a warm start. No need to tell anybody.
    Know(Arc<[NodeId]>),
    /// Join the cluster of which these are members.
    Join(Arc<[NodeId]>),
    /// Tell all that you leave; you are stopped a while later.
    Leave,
    /// Tell all members this number, once: a user's message of eight bytes.
    Publish(u64),
    /// This number is your metadata from now on; let all know.
    Describe(u64),
}

/// What a member says of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// It is a member, and was none before.
    Up,
    /// It does not answer. Protocols that do not tell need not.
    Suspected,
    /// It is taken for dead, and is no member any more.
    Down,
    /// It has left, and is no member any more. Protocols that cannot tell say [`What::Down`].
    Left,
    /// It has published this number.
    Heard(u64),
    /// This number is its metadata now.
    Described(u64),
}

/// How a member acts on the world. What it sends is counted when it is taken out of here.
#[derive(Debug, Default)]
pub struct Acts {
    pub(crate) sent: Vec<(NodeId, bool, Bytes)>,
    pub(crate) seen: Vec<(NodeId, What)>,
}

impl Acts {
    /// Sends a datagram, which the network may lose.
    pub fn datagram(&mut self, to: NodeId, bytes: Bytes) {
        self.sent.push((to, false, bytes));
    }

    /// Sends a message over a connection: late on a lossy link, and lost only if that is very bad
    /// or cut, or the other is down. Nobody is told.
    pub fn stream(&mut self, to: NodeId, bytes: Bytes) {
        self.sent.push((to, true, bytes));
    }

    /// Says what the protocol now tells its user of a member.
    pub fn saw(&mut self, about: NodeId, what: What) {
        self.seen.push((about, what));
    }
}
