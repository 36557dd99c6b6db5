//! What must hold of a group at every moment, whatever happens to it (Raft figure 3).
//!
//! | rule | checked when |
//! |---|---|
//! | at most one leader in a term | a node leads |
//! | a leader has every entry committed before its term | a node begins to lead |
//! | two logs that share a position share all before it | now and then, over all pairs |
//! | what is applied at an index is the same everywhere | a node applies, or installs a snapshot |
//! | the commit index and the term of a node never go back while it lives | every step |
//! | a change of members waits for those before, and for a commit of its term | it is made |
//! | a ticket is answered once | it is answered |
//! | nobody has less than it acknowledged, unless its disk was damaged | a fault says so |

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use drystone_raft::{Entry, Fault, Index, Payload, Position, Raft, Role, Suffrage, Term};
use drystone_sim::{NodeId, World};

use crate::disk::Disk;
use crate::machine::StateMachine;
use crate::member::{Answer, Member};

type Map<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// What a node was seen at last.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    life: u64,
    commit: Index,
    term: Term,
    led: Term,
}

/// An entry that some node has applied.
#[derive(Debug)]
struct Applied {
    position: Position,
    payload: u64,
    /// A term in which it was committed at the latest.
    by: Term,
    command: Option<Bytes>,
}

/// Looks at every step of a world, and panics when a rule is broken.
#[derive(Debug)]
pub struct Watch<S> {
    leaders: BTreeMap<Term, NodeId>,
    /// What was applied, by index from 1.
    ledger: Vec<Applied>,
    seen: Vec<Seen>,
    /// The state after each index at which one was compared.
    state: S,
    /// The index that `state` stands at.
    at: usize,
    commit_max: Index,
    /// Changes of members that leaders have made.
    changes: Vec<Position>,
    answered: HashSet<u64, BuildHasherDefault<DefaultHasher>>,
    faults: Map<String, u64>,
    /// Those whose disks were damaged.
    damaged: BTreeSet<NodeId>,
    steps: u64,
    elections: u64,
    installed: u64,
}

/// Steps between looks that cost more.
const NOW_AND_THEN: u64 = 128;

impl<S: StateMachine> Watch<S> {
    /// Nothing seen yet, of so many nodes.
    pub fn new(nodes: usize) -> Watch<S> {
        Watch {
            leaders: BTreeMap::new(),
            ledger: Vec::new(),
            seen: vec![Seen::default(); nodes + 1],
            state: S::default(),
            at: 0,
            commit_max: Index(0),
            changes: Vec::new(),
            answered: HashSet::default(),
            faults: Map::default(),
            damaged: BTreeSet::new(),
            steps: 0,
            elections: 0,
            installed: 0,
        }
    }

    /// Looks at the node that has just been stepped.
    pub fn look<D: Disk<S>>(&mut self, world: &mut World<Member<S, D>>, id: NodeId) {
        self.steps += 1;
        let Some(member) = world.process_mut(id) else { return };
        let news = std::mem::take(&mut member.news);
        let changes = std::mem::take(&mut member.changes);
        let installed = member.installed.take();
        let faults = std::mem::take(&mut member.faults);
        let life = member.life();
        let Some(member) = world.process(id) else { return };
        let raft = &member.raft;
        self.look_back(id, life, raft);
        if !matches!(raft.role(), Role::Follower | Role::Stopped) {
            let own = raft.members().member(u64::from(id.0));
            let witness = own.is_some_and(|own| own.suffrage == Suffrage::Witness);
            assert!(!witness, "{id} is a witness, and stands for election");
        }
        if raft.role() == Role::Leader {
            self.look_at_leader(id, raft);
        }
        for change in changes {
            self.look_at_change(id, change, raft);
        }
        let by = raft.hard().term;
        // A witness takes over positions that nobody has applied yet.
        let whole = member.is_whole();
        let refused = member.is_refused();
        for entry in news {
            if whole || entry.index.0 <= self.ledger.len() as u64 + 1 {
                self.apply(id, by, entry);
            }
        }
        if let Some((position, state)) = installed {
            self.installed += 1;
            if whole {
                self.compare_state(id, position, &state);
            }
        }
        for fault in faults {
            if !(refused && fault == Fault::Storage) {
                self.note_fault(id, &fault);
            }
        }
        if self.steps.is_multiple_of(NOW_AND_THEN) {
            raft.check();
            self.compare_logs(world);
        }
    }

    fn look_back(&mut self, id: NodeId, life: u64, raft: &Raft) {
        let seen = &mut self.seen[id.0 as usize];
        let (commit, term) = (raft.commit(), raft.hard().term);
        if seen.life != life {
            *seen = Seen { life, led: seen.led, ..Seen::default() };
        }
        assert!(seen.commit <= commit, "{id}: the commit index went back: {seen:?} {commit}");
        assert!(seen.term <= term, "{id}: the term went back: {seen:?} {term}");
        (seen.commit, seen.term) = (commit, term);
        self.commit_max = self.commit_max.max(commit);
    }

    fn look_at_leader(&mut self, id: NodeId, raft: &Raft) {
        let term = raft.hard().term;
        let leader = *self.leaders.entry(term).or_insert(id);
        assert_eq!(leader, id, "two leaders in term {term}");
        let seen = &mut self.seen[id.0 as usize];
        if seen.led == term {
            return;
        }
        seen.led = term;
        self.elections += 1;
        for (index, applied) in (1..).zip(&self.ledger) {
            if applied.by >= term {
                continue;
            }
            let here = raft.term_at(Index(index));
            let gone = Index(index) < raft.base().index;
            let same = here == Some(applied.position.term) || !raft.is_sound();
            assert!(
                gone || same,
                "leader {id} of term {term} has {here:?} at {index}, where {} was committed by \
                 term {}",
                applied.position,
                applied.by
            );
        }
    }

    /// Two changes that overlap, or one made on an old idea of what is committed, can have quorums
    /// that do not meet (thesis §4.1; Ongaro's note on the single-server change, 2015).
    fn look_at_change(&mut self, id: NodeId, change: Position, raft: &Raft) {
        let commit = raft.commit();
        let own = raft.term_at(commit) == Some(change.term);
        assert!(own, "{id} changes members at {change} before a commit of its term: {commit}");
        for other in self.changes.iter().filter(|other| other.index < change.index) {
            let here = raft.term_at(other.index) == Some(other.term);
            let open = here && other.index > commit;
            assert!(!open, "{id} changes members at {change}, and {other} is not committed");
        }
        self.changes.push(change);
    }

    fn apply(&mut self, id: NodeId, by: Term, entry: Entry) {
        let place = usize::try_from(entry.index.0 - 1).expect("it is in memory");
        let payload = digest(&entry.payload);
        if let Some(applied) = self.ledger.get_mut(place) {
            applied.by = applied.by.min(by);
            let same = applied.position == entry.position();
            assert!(same, "{id} applies {}, others {}", entry.position(), applied.position);
            // A witness applies positions alone, and may have been the first.
            if entry.payload == Payload::Withheld {
                return;
            }
            if applied.payload == digest(&Payload::Withheld) {
                applied.payload = payload;
            }
            assert_eq!(applied.payload, payload, "{id} applies another command at {}", entry.index);
        } else {
            assert_eq!(
                place,
                self.ledger.len(),
                "{id} applies {} before what is behind it",
                entry.index
            );
            self.ledger.push(Applied { position: entry.position(), payload, by, command: None });
        }
        if let Payload::Data(command) = entry.payload {
            self.ledger[place].command = Some(command);
        }
    }

    /// A snapshot must hold what applying everything up to it gives.
    fn compare_state(&mut self, id: NodeId, position: Position, state: &Arc<S>) {
        let end = usize::try_from(position.index.0).expect("it is in memory");
        assert!(end <= self.ledger.len(), "{id} installs {position}, which nobody has applied");
        if end == 0 {
            return;
        }
        let expected = self.ledger[end - 1].position;
        assert_eq!(position, expected, "{id} installs a snapshot of another history");
        if end < self.at {
            (self.state, self.at) = (S::default(), 0);
        }
        for (index, applied) in (1..).zip(&self.ledger).take(end).skip(self.at) {
            if let Some(command) = &applied.command {
                self.state.apply(index, command);
            }
        }
        self.at = end;
        assert_eq!(self.state, **state, "{id} installs another state at {position}");
    }

    fn note_fault(&mut self, id: NodeId, fault: &Fault) {
        match fault {
            // A disk that lost nothing for good was accused, or two histories exist.
            Fault::Diverged { .. } | Fault::TwoLeaders { .. } => panic!("{id}: {fault}"),
            Fault::Nonsense { .. } | Fault::OtherGeneration { .. } => panic!("{id}: {fault}"),
            Fault::LostLog { peer, .. } if !self.is_damaged(*peer) => panic!("{id}: {fault}"),
            Fault::Storage if !self.damaged.contains(&id) => panic!("{id}: {fault}"),
            other => {
                let name = format!("{other:?}");
                let kind = name.split([' ', '{']).next().unwrap_or_default().to_owned();
                *self.faults.entry(kind).or_default() += 1;
            }
        }
    }

    fn is_damaged(&self, peer: u64) -> bool {
        self.damaged.iter().any(|id| u64::from(id.0) == peer)
    }

    /// The disk of this node was damaged: it may lose what it has acknowledged.
    pub fn excuse(&mut self, id: NodeId) {
        self.damaged.insert(id);
    }

    /// Two logs that share a position share everything before it.
    fn compare_logs<D: Disk<S>>(&self, world: &World<Member<S, D>>) {
        // In a hole the terms are not known.
        let rafts = world.processes().map(|(id, member)| (id, &member.raft));
        let rafts: Vec<(NodeId, &Raft)> = rafts.filter(|(_, raft)| raft.is_sound()).collect();
        for (i, (a, one)) in rafts.iter().enumerate() {
            for (b, other) in &rafts[i + 1..] {
                let base = one.base().index.max(other.base().index).next();
                let mut shared = false;
                let mut index = one.last().index.min(other.last().index);
                let mut left = 200;
                while index >= base && left > 0 {
                    let same = one.term_at(index) == other.term_at(index);
                    assert!(!shared || same, "{a} and {b} share an entry behind {index}, not it");
                    shared |= same;
                    index = index.prev();
                    left -= 1;
                }
            }
        }
    }

    /// Looks at an answer.
    pub fn answer(&mut self, answer: &Answer<S>) {
        let first = self.answered.insert(answer.ticket.0);
        assert!(first, "{:?} was answered twice", answer.ticket);
    }

    /// The greatest index that anybody knows to be committed.
    pub fn commit_max(&self) -> Index {
        self.commit_max
    }

    /// How many leaders there were.
    pub fn elections(&self) -> u64 {
        self.elections
    }

    /// How many entries were applied.
    pub fn applied(&self) -> usize {
        self.ledger.len()
    }

    /// How many snapshots were installed.
    pub fn installed(&self) -> u64 {
        self.installed
    }

    /// How often each harmless fault was reported.
    pub fn faults(&self) -> impl Iterator<Item = (&str, u64)> {
        self.faults.iter().map(|(name, count)| (name.as_str(), *count))
    }
}

fn digest(payload: &Payload) -> u64 {
    let mut hasher = DefaultHasher::new();
    match payload {
        Payload::Blank => 0.hash(&mut hasher),
        Payload::Data(data) => data.hash(&mut hasher),
        Payload::Configuration(members) => members.to_string().hash(&mut hasher),
        Payload::Withheld => 1.hash(&mut hasher),
    }
    hasher.finish()
}
