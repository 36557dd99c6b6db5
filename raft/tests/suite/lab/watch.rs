//! What must hold at every moment over all members (Raft figure 3), asked after each step.

use std::collections::{BTreeMap, BTreeSet};

use drystone_raft::{Entry, Index, NodeId, Payload, ReadMode, Refused, Role, Term, Ticket};

use super::seat::Seat;

/// What was seen so far, to compare with what comes.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    leaders: BTreeMap<Term, NodeId>,
    /// Where the log of the leader of each term ended.
    ends: BTreeMap<Term, Index>,
    /// What any member has committed, and a term by which it was.
    committed: BTreeMap<Index, (Entry, Term)>,
    /// The furthest that any member has called committed.
    pub(crate) commit: Index,
    answered: BTreeSet<Ticket>,
    writes: BTreeSet<Ticket>,
    /// The greatest index that somebody was told is done.
    acknowledged: Index,
    /// For each read that must not be old, what it must see.
    reads: BTreeMap<Ticket, Index>,
    /// Whether old reads are counted instead of complained of.
    pub(crate) tolerates_stale_reads: bool,
    pub(crate) stale_reads: u64,
}

impl Watch {
    /// A write begins.
    pub(crate) fn write(&mut self, ticket: Ticket) {
        self.writes.insert(ticket);
    }

    /// A read begins: it must see what was acknowledged before.
    pub(crate) fn read(&mut self, ticket: Ticket, mode: ReadMode) {
        if mode != ReadMode::Stale {
            self.reads.insert(ticket, self.acknowledged);
        }
    }

    /// A member applies an entry: everyone who applies that index applies the same.
    pub(crate) fn applies(&mut self, id: NodeId, term: Term, entry: &Entry) {
        let first = self.committed.entry(entry.index).or_insert_with(|| (entry.clone(), term));
        first.1 = first.1.min(term);
        let known = &mut first.0;
        assert_eq!(known.position(), entry.position(), "n{id} applies another entry");
        if known.payload == Payload::Withheld {
            known.payload = entry.payload.clone();
        }
        let same = known.payload == entry.payload || entry.payload == Payload::Withheld;
        assert!(same, "n{id} applies {entry:?}, not {known:?}");
    }

    /// A member answers: once, and never with what is old.
    pub(crate) fn answers(&mut self, id: NodeId, ticket: Ticket, result: Result<Index, Refused>) {
        assert!(self.answered.insert(ticket), "n{id} answers {ticket:?} twice");
        let Ok(index) = result else { return };
        match self.reads.get(&ticket) {
            Some(wanted) if index < *wanted && self.tolerates_stale_reads => self.stale_reads += 1,
            Some(wanted) => assert!(index >= *wanted, "n{id} reads {index}, {wanted} was done"),
            None if self.writes.contains(&ticket) => {
                self.acknowledged = self.acknowledged.max(index);
            }
            None => {}
        }
    }

    /// After each step of `id`.
    pub(crate) fn after_step(&mut self, id: NodeId, seat: &mut Seat) {
        let raft = &seat.raft;
        raft.check();
        let commit = raft.commit();
        assert!(commit >= seat.commit, "n{id} takes back its commit index");
        seat.commit = commit;
        self.commit = self.commit.max(commit);
        if raft.role() == Role::Leader {
            let term = raft.hard().term;
            let leader = *self.leaders.entry(term).or_insert(id);
            assert_eq!(leader, id, "two leaders in term {term}");
            let end = self.ends.insert(term, raft.last().index).unwrap_or_default();
            assert!(raft.last().index >= end, "leader n{id} cuts its log");
            // Leader completeness: whatever was committed in an older term is in its log.
            let behind = self.committed.range(raft.base().index.next()..);
            for (index, (entry, _)) in behind.filter(|(_, (_, by))| *by < term) {
                let here = raft.term_at(*index);
                assert_eq!(here, Some(entry.term), "leader n{id} lacks entry {index}");
            }
        }
    }

    /// How many reigns there were.
    pub(crate) fn reigns(&self) -> usize {
        self.leaders.len()
    }

    /// Over all logs: log matching, and no more than one change of members that is open.
    pub(crate) fn logs(&self, seats: &BTreeMap<NodeId, Seat>) {
        let sound = seats.iter().filter(|(_, seat)| seat.disk.damaged.is_empty());
        let logs: Vec<_> = sound.map(|(id, seat)| (id, positions(seat))).collect();
        for (i, (a, left)) in logs.iter().enumerate() {
            for (b, right) in &logs[i + 1..] {
                let shared: Vec<_> = left.keys().filter(|at| right.contains_key(at)).collect();
                let met = shared.iter().rposition(|at| left[at] == right[at]);
                for index in shared.iter().take(met.map_or(0, |met| met + 1)) {
                    let same = left[index] == right[index];
                    assert!(same, "n{a} and n{b} agree behind {index} and not there");
                }
            }
        }
        for (id, seat) in seats {
            let open = seat.entries().filter(|entry| {
                entry.index > self.commit && matches!(entry.payload, Payload::Configuration(_))
            });
            assert!(open.count() <= 1, "n{id} holds two changes of members that are open");
        }
    }
}

fn positions(seat: &Seat) -> BTreeMap<Index, Term> {
    let range = seat.raft.base().index.0.max(1)..=seat.raft.last().index.0;
    let at = |index| Some((Index(index), seat.raft.term_at(Index(index))?));
    range.filter_map(at).collect()
}
