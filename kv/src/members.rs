//! The members of the group that keeps copies of the store, as a part of the store.
//!
//! **The problem.** Everyone in a group must agree on who belongs to it, clients ask any member for
//! the others' addresses, and one who was removed must never be mistaken for a member again, by
//! whoever comes later or was restored from a backup.
//!
//! **The idea.** The table of members is replicated like everything else: commands change it, in
//! the order of the journal, and it lies in the engine. It makes no revision: watchers and readers
//! of keys do not see it. Each change is decided first, on the table as it stands, and then made:
//!
//! ```text
//!                    Init                      Force: one member alone, all others removed
//!   no cluster ────────────────► cluster ◄───────┐
//!                                   │ └──────────┘
//!                Add, Promote       │  Update, Publish
//!   absent ──► learner ──► voter    │  addresses and name of one that is there
//!     └───────────────────►│        │
//!              Remove      ▼        ▼
//!                  removed, for ever: the id never comes back
//! ```
//!
//! What is refused, and by which name, follows etcd: an id or a peer URL that is taken, a member
//! that is not there, a learner too many. etcd leaves it to its raft library to fall over a group
//! without voters; here, removing the last one is refused.
//!
//! The table says who is meant to be a member. Who votes *now* is for the protocol that replicates
//! the commands, whose own configuration changes go beside these. Alarms of a member that is
//! removed stand until they are cleared, as in etcd; but that its disk was full is over with it.

pub(crate) mod format;

use std::collections::BTreeSet;

use crate::command::Command;
use crate::error::Refusal;

/// How many learners a group has at most, unless a command says otherwise; etcd's.
pub const LEARNERS_MAX: u64 = 1;

/// One member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its name among members, for ever; not 0.
    pub id: u64,
    /// Its name among people; empty until it has started.
    pub name: String,
    /// Where other members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty until it has started.
    pub client_urls: Vec<String>,
    /// Whether it is only told, and has no vote.
    pub is_learner: bool,
}

/// A group. Invariants:
///
/// - `members` ascend by id, and none is 0;
/// - no id is both a member's and removed;
/// - a cluster that has an id has a voter; one that has none has no members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The group's name; `None` before the first [`crate::Command::ClusterInit`].
    pub id: Option<u64>,
    /// Those who belong to it.
    pub members: Vec<Member>,
    /// Those who belonged to it once.
    pub removed: BTreeSet<u64>,
}

/// What a command makes of a cluster, decided and not yet done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edit {
    /// The cluster's new id.
    pub(crate) id: Option<u64>,
    /// Members that are new or changed.
    pub(crate) put: Vec<Member>,
    /// Members that go.
    pub(crate) removed: Vec<u64>,
}

impl Cluster {
    /// The member of that id.
    pub fn member(&self, id: u64) -> Option<&Member> {
        let found = self.members.binary_search_by_key(&id, |member| member.id);
        found.ok().map(|at| &self.members[at])
    }

    /// Whether a member of that id was there and is gone for ever.
    pub fn is_removed(&self, id: u64) -> bool {
        self.removed.contains(&id)
    }

    /// Those who have a vote.
    pub fn voters(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.is_learner)
    }

    /// Whether those who are not `odd` are a quorum: what they agree on is right. It is not if
    /// somebody is said to be odd who was never a member: nobody knows then whom that concerns.
    #[must_use]
    pub fn stands_without(&self, odd: &BTreeSet<u64>) -> bool {
        let is_known = |id: &u64| self.member(*id).is_some() || self.is_removed(*id);
        let sound = self.voters().filter(|voter| !odd.contains(&voter.id)).count();
        sound > self.voters().count() / 2 && odd.iter().all(is_known)
    }

    /// What `command` makes of it, which is one of members.
    pub(crate) fn decide(&self, command: &Command) -> Result<Edit, Refusal> {
        match command {
            Command::ClusterInit { cluster: id, members } => self.init(*id, members),
            Command::MemberAdd { member, learners_max } => self.add(member, *learners_max),
            Command::MemberRemove { id } => self.remove(*id),
            Command::MemberUpdate { id, peer_urls } => self.update(*id, peer_urls),
            Command::MemberPromote { id } => self.promote(*id),
            Command::MemberPublish { id, name, client_urls } => {
                self.publish(*id, name, client_urls)
            }
            Command::ClusterForce { cluster: id, member } => self.force(*id, member),
            _ => unreachable!("the caller has seen that it is of members"),
        }
    }

    /// Forms the cluster. One that stands already stays as it is.
    pub(crate) fn init(&self, id: u64, members: &[Member]) -> Result<Edit, Refusal> {
        if self.id.is_some() {
            return Ok(Edit::default());
        }
        let mut formed = Cluster::default();
        for member in members {
            formed.check_new(member)?;
            formed.make(Edit { put: vec![member.clone()], ..Edit::default() });
        }
        formed.check_voters()?;
        Ok(Edit { id: Some(id), put: formed.members, removed: Vec::new() })
    }

    pub(crate) fn add(&self, member: &Member, learners_max: u64) -> Result<Edit, Refusal> {
        if self.id.is_none() {
            return Err(Refusal::NoCluster);
        }
        self.check_new(member)?;
        let learners = self.members.iter().filter(|member| member.is_learner).count() as u64;
        if member.is_learner && learners >= learners_max {
            return Err(Refusal::TooManyLearners);
        }
        Ok(put(member.clone()))
    }

    pub(crate) fn remove(&self, id: u64) -> Result<Edit, Refusal> {
        let member = self.standing(id)?;
        if !member.is_learner && self.voters().count() == 1 {
            return Err(Refusal::LastVoter);
        }
        Ok(Edit { removed: vec![id], ..Edit::default() })
    }

    pub(crate) fn update(&self, id: u64, peer_urls: &[String]) -> Result<Edit, Refusal> {
        let member = self.standing(id)?.clone();
        self.check_urls(id, peer_urls)?;
        Ok(put(Member { peer_urls: peer_urls.to_vec(), ..member }))
    }

    pub(crate) fn promote(&self, id: u64) -> Result<Edit, Refusal> {
        let member = self.standing(id)?.clone();
        if !member.is_learner {
            return Err(Refusal::MemberNotLearner);
        }
        Ok(put(Member { is_learner: false, ..member }))
    }

    /// What a member says of itself. One that was removed is simply not there any more: its word
    /// may have been on the way.
    pub(crate) fn publish(&self, id: u64, name: &str, urls: &[String]) -> Result<Edit, Refusal> {
        let member = self.member(id).ok_or(Refusal::MemberNotFound)?.clone();
        Ok(put(Member { name: name.to_owned(), client_urls: urls.to_vec(), ..member }))
    }

    /// Leaves one member alone.
    pub(crate) fn force(&self, id: u64, member: &Member) -> Result<Edit, Refusal> {
        let removed = self.members.iter().map(|member| member.id).filter(|&id| id != member.id);
        let removed: Vec<u64> = removed.collect();
        let mut alone = Cluster { removed: self.removed.clone(), ..Cluster::default() };
        alone.check_new(member)?;
        alone.members.push(member.clone());
        alone.check_voters()?;
        Ok(Edit { id: Some(id), put: alone.members, removed })
    }

    /// Does what was decided.
    pub(crate) fn make(&mut self, edit: Edit) {
        self.id = edit.id.or(self.id);
        for id in edit.removed {
            self.members.retain(|member| member.id != id);
            self.removed.insert(id);
        }
        for member in edit.put {
            match self.members.binary_search_by_key(&member.id, |member| member.id) {
                Ok(at) => self.members[at] = member,
                Err(at) => self.members.insert(at, member),
            }
        }
    }

    /// Asserts the invariants.
    pub(crate) fn check(&self) {
        assert!(self.members.is_sorted_by(|a, b| a.id < b.id), "members ascend by id");
        assert!(self.members.iter().all(|member| member.id != 0), "no member is called 0");
        let both = self.members.iter().any(|member| self.is_removed(member.id));
        assert!(!both, "who was removed does not return");
        assert_eq!(self.id.is_some(), self.voters().count() > 0, "a cluster has a voter");
        assert!(self.id.is_some() || self.members.is_empty(), "no cluster has no members");
    }

    /// The member of that id, or why there is none.
    fn standing(&self, id: u64) -> Result<&Member, Refusal> {
        if self.is_removed(id) {
            return Err(Refusal::MemberRemoved);
        }
        self.member(id).ok_or(Refusal::MemberNotFound)
    }

    /// Whether a member may come in.
    fn check_new(&self, member: &Member) -> Result<(), Refusal> {
        if member.id == 0 {
            return Err(Refusal::MemberNotFound);
        }
        if self.is_removed(member.id) {
            return Err(Refusal::MemberRemoved);
        }
        if self.member(member.id).is_some() {
            return Err(Refusal::MemberExists);
        }
        self.check_urls(member.id, &member.peer_urls)
    }

    /// Whether peer URLs are no other member's than that of `id`.
    fn check_urls(&self, id: u64, peer_urls: &[String]) -> Result<(), Refusal> {
        let mut others = self.members.iter().filter(|member| member.id != id);
        let taken = others.any(|other| other.peer_urls.iter().any(|url| peer_urls.contains(url)));
        if taken { Err(Refusal::PeerUrlsExist) } else { Ok(()) }
    }

    fn check_voters(&self) -> Result<(), Refusal> {
        if self.voters().next().is_none() { Err(Refusal::LastVoter) } else { Ok(()) }
    }
}

fn put(member: Member) -> Edit {
    Edit { put: vec![member], ..Edit::default() }
}
