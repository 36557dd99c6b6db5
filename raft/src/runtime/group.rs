//! A caller's handle to one group of a node.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use crate::boot::HardState;
use crate::configuration::{Change, Configuration};
use crate::effect::Refused;
use crate::input::ReadMode;
use crate::progress::Follower;
use crate::raft::{Raft, Role};
use crate::runtime::inbox::Inbox;
use crate::runtime::machine::StateMachine;
use crate::runtime::shard::Request;
use crate::runtime::tickets::{Answer, Waiting};
use crate::store::GroupId;
use crate::types::{Index, NodeId, Position, Term};

/// A handle to one group, here. Clones are the same group.
#[derive(Debug)]
pub struct Group<M: StateMachine> {
    id: GroupId,
    slot: u32,
    requests: Inbox<Request<M>>,
    rank: watch::Receiver<Rank>,
}

impl<M: StateMachine> Clone for Group<M> {
    fn clone(&self) -> Group<M> {
        let (requests, rank) = (self.requests.clone(), self.rank.clone());
        Group { id: self.id, slot: self.slot, requests, rank }
    }
}

/// Where a node stands in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rank {
    /// The latest term it has seen.
    pub term: Term,
    /// What it is.
    pub role: Role,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// It leads, and its vote is the only one: nobody else can lead before it has said so.
    pub alone: bool,
}

impl Rank {
    pub(crate) fn of(raft: &Raft) -> Rank {
        let (role, members) = (raft.role(), raft.members());
        let alone = role == Role::Leader && members.sole_voter() == Some(raft.id());
        Rank { term: raft.hard().term, role, leader: raft.leader(), alone }
    }
}

/// What can be seen of a group.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// What this node is in it.
    pub role: Role,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// Its term, vote and generation.
    pub hard: HardState,
    /// What it knows to be committed.
    pub commit: Index,
    /// Where its log ends.
    pub last: Position,
    /// What is compacted away.
    pub base: Position,
    /// The members in force.
    pub members: Arc<Configuration>,
    /// Whether nothing of its log, vote or snapshot is missing.
    pub sound: bool,
    /// What a leader knows of the others.
    pub followers: Vec<Follower>,
    /// How often a leader here woke so late that the others did not hear of it for more than two
    /// heartbeats: the processor or the disk kept it from its work. Since the start.
    pub late_heartbeats: u64,
}

impl<M: StateMachine> Group<M> {
    pub(crate) fn new(
        id: GroupId,
        (slot, rank): (u32, watch::Receiver<Rank>),
        requests: Inbox<Request<M>>,
    ) -> Group<M> {
        Group { id, slot, requests, rank }
    }

    /// Its name.
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// Where this node stands in it, at once.
    pub fn rank(&self) -> Rank {
        *self.rank.borrow()
    }

    /// The same, to be told when it changes. It closes when the node stops.
    pub fn watch(&self) -> watch::Receiver<Rank> {
        self.rank.clone()
    }

    /// Proposes a command, and returns the state machine's reply once it is committed and applied
    /// here.
    ///
    /// # Errors
    /// [`Refused::NotLeader`] and others that mean "not done"; [`Refused::Unknown`] means that it
    /// may yet be done, or not.
    pub async fn propose(&self, command: impl Into<Bytes>) -> Result<M::Reply, Refused> {
        let (answer, reply) = oneshot::channel();
        let (slot, data) = (self.slot, command.into());
        let sent = self.requests.put(Request::Propose { slot, data, answer });
        if let Some(later) = sent.map_err(|_| Refused::Stopped)? {
            later.await.map_err(|_| Refused::Stopped)?;
        }
        // Dropped unanswered: the node was dropped with the command under way.
        reply.await.unwrap_or(Err(Refused::Unknown))
    }

    /// Resolves when the state machine here may be read, with the index that it holds at least.
    ///
    /// # Errors
    /// The read is refused, and may be tried again.
    pub async fn read(&self, mode: ReadMode) -> Result<Index, Refused> {
        if mode == ReadMode::Log {
            // It writes, and takes its turn with those who write.
            return self.ask(|slot, answer| Request::Read { slot, mode, answer }).await;
        }
        let (answer, result) = oneshot::channel();
        let read = Request::Read { slot: self.slot, mode, answer };
        self.requests.put_first_in_time(read).await.map_err(|_| Refused::Stopped)?;
        result.await.unwrap_or(Err(Refused::Unknown))
    }

    /// Changes the members. Resolves when the change is done.
    ///
    /// # Errors
    /// As for [`Group::propose`].
    pub async fn change(&self, change: Change) -> Result<Index, Refused> {
        self.ask(|slot, answer| Request::Change { slot, change, answer }).await
    }

    /// Hands the leadership over, to the best if none is named.
    ///
    /// # Errors
    /// As for [`Group::propose`]; [`Refused::TimedOut`] if it was not taken up.
    pub async fn transfer(&self, to: Option<NodeId>) -> Result<Index, Refused> {
        self.ask(|slot, answer| Request::Transfer { slot, to, answer }).await
    }

    /// Makes this node stand for election at once.
    ///
    /// # Errors
    /// [`Refused::Stopped`].
    pub async fn campaign(&self) -> Result<(), Refused> {
        let sent = self.requests.put_in_time(Request::Campaign { slot: self.slot }).await;
        sent.map_err(|_| Refused::Stopped)
    }

    /// From now on, or no more, the node's log keeps no more than members in touch still need: for
    /// a disk that is nearly full. Said with `true` again, it saves the state machine and shortens
    /// the log once more.
    ///
    /// # Errors
    /// [`Refused::Stopped`].
    pub async fn be_frugal(&self, yes: bool) -> Result<(), Refused> {
        let sent = self.requests.put_in_time(Request::Frugal { slot: self.slot, yes }).await;
        sent.map_err(|_| Refused::Stopped)
    }

    /// What can be seen of it.
    ///
    /// # Errors
    /// [`Refused::Stopped`].
    pub async fn status(&self) -> Result<Status, Refused> {
        let (answer, status) = oneshot::channel();
        let sent =
            self.requests.put_first_in_time(Request::Status { slot: self.slot, answer }).await;
        sent.map_err(|_| Refused::Stopped)?;
        status.await.map_err(|_| Refused::Stopped)
    }

    async fn ask(
        &self,
        request: impl FnOnce(u32, Answer<Index>) -> Request<M>,
    ) -> Result<Index, Refused> {
        let (answer, result) = oneshot::channel();
        let sent = self.requests.put_in_time(request(self.slot, answer)).await;
        sent.map_err(|_| Refused::Stopped)?;
        result.await.unwrap_or(Err(Refused::Unknown))
    }
}

/// Refuses a request that no shard takes any more.
pub(crate) fn refuse<M: StateMachine>(request: Request<M>) {
    let why = Refused::Stopped;
    match request {
        Request::Propose { answer, .. } => Waiting::Reply(answer).refuse(why),
        Request::Read { answer, .. }
        | Request::Change { answer, .. }
        | Request::Transfer { answer, .. } => Waiting::<M::Reply>::Done(answer).refuse(why),
        // Those who wait for these see their channel close.
        Request::Status { .. } | Request::Campaign { .. } => {}
        Request::Frugal { .. } | Request::Add { .. } | Request::Stop { .. } => {}
    }
}
