//! What members ask of each other, beside the consensus messages.
//!
//! Only a leader can propose, and only it knows how long leases live. A member that is asked asks
//! it, and a member that is asked by another answers by [`Replica::serve`](super::Replica::serve).
//! How the words travel is the server's business.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use drystone_raft::NodeId;

use crate::kv::LeaseInfo;
use crate::types::LeaseId;

/// What one member asks of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Propose this, as it is: a command in its envelope.
    Propose(Bytes),
    /// Renew this lease.
    KeepAlive(LeaseId),
    /// How long does it live, and what hangs on it, if that is wanted?
    Lease(LeaseId, bool),
    /// Which leases stand, the one that expires first in front?
    Leases,
    /// How far has everybody come?
    Progress,
}

/// How far the members of a group have come, as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupProgress {
    /// Who leads.
    pub leader: NodeId,
    /// The end of its log.
    pub last: u64,
    /// The others.
    pub others: Vec<MemberProgress>,
}

/// How far one member has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberProgress {
    /// Which.
    pub id: NodeId,
    /// Its log is the leader's up to here, and durable.
    pub matched: u64,
    /// It has answered one of the last heartbeats.
    pub in_touch: bool,
}

impl GroupProgress {
    /// Whether a member is in touch with the leader, or is the leader.
    #[must_use]
    pub fn is_in_touch(&self, id: NodeId) -> bool {
        id == self.leader || self.others.iter().any(|other| other.id == id && other.in_touch)
    }

    /// Whether a learner has nine tenths of the log: etcd's rule for who may be promoted.
    #[must_use]
    pub fn is_in_sync(&self, id: NodeId) -> bool {
        let ready = |matched: u64| matched.saturating_mul(10) >= self.last.saturating_mul(9);
        self.others.iter().any(|other| other.id == id && ready(other.matched))
    }
}

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is committed. Whoever handed it on learns the outcome when it applies it.
    Proposed,
    /// The lease has its full time again, seconds; or there is none.
    KeptAlive(Option<i64>),
    /// The lease, if it stands.
    Lease(Option<LeaseInfo>),
    /// These stand.
    Leases(Vec<LeaseId>),
    /// So far.
    Progress(GroupProgress),
    /// Not done, and never will be: it does not lead, or not yet.
    NotLeader,
    /// Not done: it has too much to do.
    Busy,
    /// It may yet be done, or not.
    Unknown,
}

/// An answer on its way. `None`: the connection broke, and the question may have come through.
pub type Asked = Pin<Box<dyn Future<Output = Option<Told>> + Send>>;

/// The way to the other members.
pub trait Peers: Send + Sync + 'static {
    /// Asks a member. Whoever drops the answer has given up waiting for it. An implementation that
    /// holds what it could not send yet has a bound on that, and says [`Told::Busy`] beyond.
    fn ask(&self, peer: NodeId, ask: Ask) -> Asked;
}
