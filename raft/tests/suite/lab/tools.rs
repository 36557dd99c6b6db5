//! What scenarios are told with.

use super::{Body, Change, Entry, Index, Input, Lab, Message, NodeId, Role, Term, Ticket};
use drystone_raft::{Payload, ReadMode};

/// Entries are never sent without the one before them: a leader that cannot read that one has
/// nothing to send.
pub(crate) fn is_anchored(message: &Message) {
    if let Body::Append { prev, entries, .. } = &message.body
        && let Some(first) = entries.first()
    {
        assert_eq!(first.index, prev.index.next(), "{message:?}");
        assert_eq!(prev.term.0 == 0, prev.index.0 == 0, "{message:?}");
    }
}

impl Lab {
    /// Cuts all links of these members to others.
    pub(crate) fn part(&mut self, side: &[NodeId]) {
        let all: Vec<NodeId> = self.seats.keys().copied().collect();
        for a in side {
            for b in all.iter().filter(|b| !side.contains(b)) {
                self.cut.extend([(*a, *b), (*b, *a)]);
            }
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.lost = None;
    }

    /// This one leads, by its own wish, once loyalty to another is over.
    pub(crate) fn elect(&mut self, id: NodeId) {
        for _ in 0..200 {
            if self.leader() == Some(id) {
                self.deliver_all();
                return;
            }
            self.step(id, vec![Input::Campaign]);
            self.deliver_all();
            self.run(u64::from(self.leader() != Some(id)));
        }
        panic!("node {id} does not become leader");
    }

    /// Runs until somebody leads, one of these if there are any, and says who. A scenario that
    /// promises a leader in time ends here otherwise.
    pub(crate) fn leader_within(&mut self, ticks: u64, among: &[NodeId]) -> NodeId {
        for _ in 0..ticks {
            self.run(1);
            if let Some(leader) = self.leader()
                && (among.is_empty() || among.contains(&leader))
            {
                return leader;
            }
        }
        panic!("no leader within {ticks} ticks among {among:?}");
    }

    pub(crate) fn is_leader(&self, id: NodeId) -> bool {
        self.seats[&id].up && self.seats[&id].raft.role() == Role::Leader
    }

    pub(crate) fn change(&mut self, id: NodeId, change: Change) -> Ticket {
        let ticket = self.ticket();
        self.step(id, vec![Input::Change { ticket, change }]);
        ticket
    }

    pub(crate) fn transfer(&mut self, id: NodeId, to: NodeId) -> Ticket {
        let ticket = self.ticket();
        self.step(id, vec![Input::Transfer { ticket, to: Some(to) }]);
        ticket
    }

    /// Commits so many commands, one after the other.
    pub(crate) fn commit(&mut self, id: NodeId, count: u64) {
        for number in 0..count {
            let ticket = self.propose(id, &format!("{}-{number}", self.now));
            self.deliver_all();
            assert!(self.answer(id, ticket).is_some_and(|it| it.is_ok()), "{number} on {id}");
        }
    }

    /// Asserts that a read sees what was acknowledged.
    pub(crate) fn reads(&mut self, id: NodeId) -> Index {
        let ticket = self.read(id, ReadMode::Index);
        self.deliver_all();
        self.answer(id, ticket).expect("it is answered").expect("it is served")
    }

    /// Messages sent since the first `from` of all.
    pub(crate) fn count(&self, from: usize, wanted: impl Fn(&Message) -> bool) -> usize {
        self.sent[from..].iter().filter(|message| wanted(message)).count()
    }

    pub(crate) fn commit_of(&self, id: NodeId) -> Index {
        self.seats[&id].raft.commit()
    }

    /// Asserts that what is applied at an index is the same everywhere (Raft figure 3), and that
    /// no two lead in one term.
    pub(crate) fn agree(&self) {
        let all: Vec<(&NodeId, &[Entry])> =
            self.seats.iter().map(|(id, seat)| (id, &seat.applied[..])).collect();
        for (a, left) in &all {
            for (b, right) in &all {
                let mut right = right.iter();
                for entry in *left {
                    let Some(other) = right.find(|other| other.index >= entry.index) else { break };
                    if other.index != entry.index {
                        continue;
                    }
                    assert_eq!(entry.position(), other.position(), "nodes {a} and {b}");
                    let withheld = [entry, other].iter().any(|it| it.payload == Payload::Withheld);
                    assert!(withheld || entry == other, "nodes {a} and {b}: {entry:?} {other:?}");
                }
            }
        }
        let mut terms: Vec<_> =
            self.seats.keys().filter(|id| self.is_leader(**id)).map(|id| self.term(*id)).collect();
        let leaders = terms.len();
        terms.sort();
        terms.dedup();
        assert_eq!(terms.len(), leaders, "two leaders in one term");
    }

    /// Asserts that the group works: it commits, and everyone of these has all of it.
    pub(crate) fn works(&mut self, ids: &[NodeId]) {
        self.run(4 * self.config.election);
        let leader = self.leader().expect("somebody leads");
        self.commit(leader, 1);
        self.run(self.config.election);
        let end = self.commit_of(leader);
        for id in ids {
            assert_eq!(self.commit_of(*id), end, "node {id} keeps up");
        }
        self.agree();
    }
}

impl Lab {
    /// An operator makes this member's disk a group of its own.
    pub(crate) fn force(&mut self, id: NodeId, voters: &[NodeId]) {
        let disk = &mut self.seats.get_mut(&id).unwrap().disk;
        let (hard, entry) = disk.boot(0).force(voters);
        disk.hard = hard;
        disk.entries.push(entry);
        self.restart(id);
    }
}

impl Lab {
    /// Gives a member a log whose entries are of these terms, so many of each.
    pub(crate) fn rewrite(&mut self, id: NodeId, terms: &[(u64, u64)]) {
        let disk = &mut self.seats.get_mut(&id).unwrap().disk;
        disk.entries.clear();
        for (term, count) in terms {
            for _ in 0..*count {
                let index = Index(disk.entries.len() as u64 + 1);
                let payload = Payload::Data(format!("{index}@{term}").into_bytes().into());
                disk.entries.push(Entry { term: Term(*term), index, payload });
                disk.hard.term = Term(*term);
            }
        }
        self.crash(id);
        self.restart(id);
    }

    /// A member comes back with an empty disk, knowing nobody.
    pub(crate) fn wipe(&mut self, id: NodeId) {
        let life = self.seats[&id].life;
        self.seat(id, drystone_raft::Configuration::default());
        self.seats.get_mut(&id).unwrap().life = life;
        self.restart(id);
    }

    /// Delivers what is under way now, and not what comes of it: half a round trip.
    pub(crate) fn fly(&mut self) {
        for message in std::mem::take(&mut self.mail) {
            self.deliver(message);
        }
    }
}
