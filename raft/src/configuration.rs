//! Who is a member, and what each may do.
//!
//! ```text
//!            votes   stores commands   leads   counts towards
//! Voter        x           x             x     every quorum
//! Witness      x           -             -     every quorum
//! Learner      -           x             -     none
//! ```
//!
//! A configuration is a value. It is in force as soon as it stands in a member's log, and stops
//! being so when it is cut off again (thesis §4.1): [`History`] keeps the ones that may come back.
//! One at a time may be uncommitted.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::quorum::Quorum;
use crate::types::{Index, NodeId};

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suffrage {
    /// Stores everything, votes, can lead.
    Voter,
    /// Votes and acknowledges, but stores positions alone and never leads: the third vote of a
    /// group that has two full copies.
    Witness,
    /// Stores everything, and has no vote.
    Learner,
}

/// One member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub id: NodeId,
    /// What it may do.
    pub suffrage: Suffrage,
    /// How much it is wanted as a leader: of two that could lead, the higher one does. A voter
    /// of priority 0 leads only when it is asked to.
    pub priority: u8,
}

/// The members of a group, at one place of its log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Configuration {
    /// By id.
    members: Box<[Member]>,
    /// Who counts as a voter now: voters and witnesses, by id.
    incoming: Box<[NodeId]>,
    /// While joint: who counted before, by id.
    outgoing: Box<[NodeId]>,
}

impl Configuration {
    /// A group of voters of equal priority.
    #[must_use]
    pub fn voters(ids: impl IntoIterator<Item = NodeId>) -> Configuration {
        let member = |id| Member { id, suffrage: Suffrage::Voter, priority: 1 };
        Configuration::new(ids.into_iter().map(member), [])
    }

    /// A group of these members, joint with the voters in `outgoing` unless there are none.
    #[must_use]
    pub fn new(
        members: impl IntoIterator<Item = Member>,
        outgoing: impl IntoIterator<Item = NodeId>,
    ) -> Configuration {
        let mut members: Vec<Member> = members.into_iter().collect();
        members.sort_by_key(|member| member.id);
        members.dedup_by_key(|member| member.id);
        let votes = |member: &&Member| member.suffrage != Suffrage::Learner;
        let incoming = members.iter().filter(votes).map(|member| member.id).collect();
        let mut outgoing: Vec<NodeId> = outgoing.into_iter().collect();
        outgoing.sort_unstable();
        outgoing.dedup();
        Configuration { members: members.into(), incoming, outgoing: outgoing.into() }
    }

    /// Everyone but voters of the past, by id.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The voters that the group is moving away from; empty unless it is joint.
    #[must_use]
    pub fn outgoing(&self) -> &[NodeId] {
        &self.outgoing
    }

    /// Whether quorums of two sets are needed.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// The member of this name.
    #[must_use]
    pub fn member(&self, id: NodeId) -> Option<Member> {
        let found = self.members.binary_search_by_key(&id, |member| member.id);
        found.ok().map(|at| self.members[at])
    }

    /// Whether its vote counts, in either set.
    #[must_use]
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.incoming.binary_search(&id).is_ok() || self.outgoing.binary_search(&id).is_ok()
    }

    /// The one whose vote alone counts, if there is such a one.
    #[must_use]
    pub fn sole_voter(&self) -> Option<NodeId> {
        match (&self.incoming[..], &self.outgoing[..]) {
            ([id], []) => Some(*id),
            _ => None,
        }
    }

    pub(crate) fn quorum(&self) -> Quorum<'_> {
        Quorum::new(&self.incoming, &self.outgoing)
    }

    pub(crate) fn is_witness(&self, id: NodeId) -> bool {
        self.member(id).is_some_and(|member| member.suffrage == Suffrage::Witness)
    }

    /// Whether it may lead: a voter of either set that stores commands.
    pub(crate) fn can_lead(&self, id: NodeId) -> bool {
        self.is_voter(id) && !self.is_witness(id)
    }

    /// How much it is wanted as a leader. A voter of the past that is no member any more may be
    /// the only one that can finish the change.
    pub(crate) fn priority(&self, id: NodeId) -> u8 {
        self.member(id).map_or(1, |member| member.priority)
    }

    /// Calls `each` for everyone whose vote counts, in either set, once.
    pub(crate) fn each_voter(&self, mut each: impl FnMut(NodeId)) {
        self.incoming.iter().for_each(|id| each(*id));
        let old = self.outgoing.iter().filter(|id| self.incoming.binary_search(id).is_err());
        old.for_each(|id| each(*id));
    }

    /// Everyone who takes part, voters of the past too, by id.
    pub(crate) fn participants(&self) -> Vec<NodeId> {
        let mut all: Vec<NodeId> = self.members.iter().map(|member| member.id).collect();
        all.extend(self.outgoing.iter());
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Everyone whose vote counts, in either set, by id.
    pub(crate) fn electorate(&self) -> Vec<NodeId> {
        let mut all = [&self.incoming[..], &self.outgoing[..]].concat();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The end of a joint configuration: the new set alone.
    pub(crate) fn left(&self) -> Configuration {
        Configuration { outgoing: Box::default(), ..self.clone() }
    }
}

/// A change that is asked for: a list of steps that take effect together.
///
/// One that moves a single voter is made in one entry (thesis §4.1); any other through a joint
/// configuration, which the leader leaves by itself (Raft §6). A witness is removed alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    set: Vec<Member>,
    removed: Vec<NodeId>,
}

impl Change {
    /// Changes nothing yet.
    #[must_use]
    pub fn new() -> Change {
        Change::default()
    }

    /// A voter of priority 1 from now on: a new member, a learner promoted, a witness given a copy.
    #[must_use]
    pub fn voter(self, id: NodeId) -> Change {
        self.member(Member { id, suffrage: Suffrage::Voter, priority: 1 })
    }

    /// A learner from now on: a new member, or a voter that loses its vote.
    #[must_use]
    pub fn learner(self, id: NodeId) -> Change {
        self.member(Member { id, suffrage: Suffrage::Learner, priority: 1 })
    }

    /// A witness from now on.
    #[must_use]
    pub fn witness(self, id: NodeId) -> Change {
        self.member(Member { id, suffrage: Suffrage::Witness, priority: 0 })
    }

    /// This member, exactly so.
    #[must_use]
    pub fn member(mut self, member: Member) -> Change {
        self.set.push(member);
        self
    }

    /// No member from now on.
    #[must_use]
    pub fn remove(mut self, id: NodeId) -> Change {
        self.removed.push(id);
        self
    }

    /// What `now` becomes, or why it cannot.
    pub(crate) fn apply(&self, now: &Configuration) -> Result<Configuration, &'static str> {
        let mut members = now.members.to_vec();
        for id in &self.removed {
            if now.member(*id).is_none() {
                return Err("the member to be removed is not there");
            }
            members.retain(|member| member.id != *id);
        }
        for wanted in &self.set {
            if wanted.id == 0 || self.removed.contains(&wanted.id) {
                return Err("a member is 0, or both set and removed");
            }
            if now.is_witness(wanted.id) && wanted.suffrage != Suffrage::Witness {
                return Err("a witness has no commands: remove it and add another member");
            }
            // It may have entries that no other voter has, and as a witness could not lead to
            // commit them.
            if now.can_lead(wanted.id) && wanted.suffrage == Suffrage::Witness {
                return Err("a voter is made no witness: remove it first");
            }
            members.retain(|member| member.id != wanted.id);
            members.push(*wanted);
        }
        let alone = Configuration::new(members, []);
        if alone == *now {
            return Err("nothing would change");
        }
        if !alone.incoming.iter().any(|id| alone.can_lead(*id)) {
            return Err("nobody could lead");
        }
        // Every quorum has a member that has the commands, or they could be committed and gone.
        let witnesses = alone.incoming.iter().filter(|id| alone.is_witness(**id)).count();
        if witnesses > alone.incoming.len() / 2 {
            return Err("witnesses could make a quorum of their own");
        }
        let moved = difference(&now.incoming, &alone.incoming);
        // While joint, of those who are no members any more only the names are known.
        let leaves = |member: &&Member| {
            member.suffrage == Suffrage::Witness && alone.member(member.id).is_none()
        };
        if moved > 1 && now.members.iter().any(|member| leaves(&member)) {
            return Err("a witness is removed in a change of its own, or it could lead meanwhile");
        }
        let outgoing = if moved <= 1 { Box::default() } else { now.incoming.clone() };
        Ok(Configuration { outgoing, ..alone })
    }
}

/// How many are in one of two sorted sets and not in the other.
fn difference(a: &[NodeId], b: &[NodeId]) -> usize {
    let missing = |from: &[NodeId], of: &[NodeId]| {
        of.iter().filter(|id| from.binary_search(id).is_err()).count()
    };
    missing(a, b) + missing(b, a)
}

/// The configurations of a log: the one in force, and those under it that may come back.
///
/// * There is one.
/// * Their indexes grow.
#[derive(Debug, Clone)]
pub(crate) struct History {
    entries: Vec<(Index, Arc<Configuration>)>,
}

impl History {
    pub(crate) fn new(index: Index, configuration: Arc<Configuration>) -> History {
        History { entries: vec![(index, configuration)] }
    }

    /// The one in force (thesis §4.1: the latest in the log, committed or not).
    pub(crate) fn active(&self) -> &Arc<Configuration> {
        &self.entries.last().expect("a history is never empty").1
    }

    /// Whether `id` may lead: by the configuration in force, or by the one before it while that may
    /// not be committed. A leader that removes itself may be the only one that can finish the
    /// change (thesis §4.2.2).
    pub(crate) fn can_lead(&self, id: NodeId, commit: Index) -> bool {
        let settled = self.entries.iter().rposition(|(index, _)| *index <= commit).unwrap_or(0);
        let can = self.entries[settled..].iter().any(|(_, members)| members.can_lead(id));
        can && !self.active().is_witness(id)
    }

    /// Behind which entry `id` has been a witness without a break, if it is one.
    pub(crate) fn witness_since(&self, id: NodeId) -> Option<Index> {
        let spell = self.entries.iter().rev().take_while(|(_, members)| members.is_witness(id));
        spell.last().map(|(index, _)| *index)
    }

    /// Where the one in force stands in the log.
    pub(crate) fn active_index(&self) -> Index {
        self.entries.last().expect("a history is never empty").0
    }

    /// The one that is in force at `index`, and where it stands, if it is still known.
    pub(crate) fn at(&self, index: Index) -> Option<(Index, &Arc<Configuration>)> {
        self.entries.iter().rev().find(|(at, _)| *at <= index).map(|(at, found)| (*at, found))
    }

    pub(crate) fn push(&mut self, index: Index, configuration: Arc<Configuration>) {
        assert!(index > self.active_index(), "configurations come in the order of the log");
        self.entries.push((index, configuration));
    }

    /// Forgets those after `last`, which were cut off the log. Says whether any was.
    pub(crate) fn truncate(&mut self, last: Index) -> bool {
        let before = self.entries.len();
        self.entries.retain(|(index, _)| *index <= last);
        assert!(!self.entries.is_empty(), "a committed configuration was cut off");
        self.entries.len() < before
    }

    /// Puts in one that came to light when a hole was mended.
    pub(crate) fn insert(&mut self, index: Index, configuration: Arc<Configuration>) {
        let at = self.entries.partition_point(|(found, _)| *found < index);
        if self.entries.get(at).is_none_or(|(found, _)| *found != index) {
            self.entries.insert(at, (index, configuration));
        }
    }

    /// Forgets those that cannot come back: under the newest that is committed.
    pub(crate) fn commit(&mut self, commit: Index) {
        let kept = self.entries.iter().rposition(|(index, _)| *index <= commit).unwrap_or(0);
        self.entries.drain(..kept);
    }

    pub(crate) fn check(&self) {
        assert!(!self.entries.is_empty(), "one configuration is in force");
        let rising = self.entries.is_sorted_by(|a, b| a.0 < b.0);
        assert!(rising, "configurations come in the order of the log");
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, member) in self.members.iter().enumerate() {
            let space = if i == 0 { "" } else { " " };
            write!(f, "{space}{}", member.id)?;
            match member.suffrage {
                Suffrage::Voter => {}
                Suffrage::Witness => f.write_str("(witness)")?,
                Suffrage::Learner => f.write_str("(learner)")?,
            }
        }
        if self.is_joint() {
            f.write_str(" joint with")?;
            for id in &self.outgoing {
                write!(f, " {id}")?;
            }
        }
        Ok(())
    }
}
