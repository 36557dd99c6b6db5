//! A model of a disk: what is durable, what is on its way, and what has gone bad.
//!
//! ```text
//!     write 7      write 8        write 9        write 10
//!     reported     reported       under way      under way
//!     ────────────────────────►   ╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌►
//!     there after any crash       a crash keeps the first few of these, or none
//! ```
//!
//! Writes are all or nothing and in order: that is what [`drystone_raft::Effect::Write`] asks of a
//! driver, and what a write-ahead log gives. How a log goes bad is drawn from the seed: entries
//! that can no longer be read, in the middle or at the end, a vote that is lost, a snapshot that
//! is.

use std::collections::VecDeque;
use std::sync::Arc;

use drystone_raft::{
    Boot, Configuration, Entry, HardState, Index, Payload, Position, SnapshotMeta, Term, Write,
    WriteId,
};
use drystone_sim::Rng;
use drystone_vfs::Fault;

use crate::disk::{Disk, Opened, Refused, Snapshot, Start, Unread};
use crate::holdings::Holdings;
use crate::machine::StateMachine;

/// A write that was asked for, with all that it needs.
#[derive(Debug, Clone)]
struct Order<S> {
    write: Write,
    entries: Vec<Entry>,
    snapshot: Option<Snapshot<S>>,
    compact: Index,
}

/// Something that goes bad.
#[derive(Debug)]
pub enum Rot {
    /// The vote is lost.
    Vote,
    /// The snapshot is.
    Snapshot,
    /// Entries from one place on cannot be read.
    Entries { at: u64, width: u64 },
}

/// What survives a crash.
#[derive(Debug, Clone)]
pub struct Model<S> {
    hard: HardState,
    snapshot: Snapshot<S>,
    /// Behind the base, in order.
    entries: VecDeque<Entry>,
    /// The entries before this one are gone.
    first: Index,
    life: u64,
    orders: VecDeque<Order<S>>,
    /// Entries that cannot be read, by index.
    bad: Vec<Index>,
    vote_bad: bool,
    snapshot_bad: bool,
    unhurt: bool,
}

impl<S: StateMachine> Model<S> {
    /// A disk of a member of a group that begins with these members.
    pub fn new(members: Configuration) -> Model<S> {
        let meta = SnapshotMeta {
            last: Position::default(),
            configuration: Arc::new(members),
            configuration_index: Index(0),
        };
        Model {
            hard: HardState::default(),
            snapshot: Snapshot { meta, state: Arc::default(), whole: true },
            entries: VecDeque::new(),
            first: Index(1),
            life: 0,
            orders: VecDeque::new(),
            bad: Vec::new(),
            vote_bad: false,
            snapshot_bad: false,
            unhurt: true,
        }
    }

    fn carry_out(&mut self, order: Order<S>) {
        let Order { write, entries, snapshot, compact } = order;
        if let Some(hard) = write.hard {
            self.hard = *hard;
            self.vote_bad = false;
        }
        if let Some(snapshot) = snapshot {
            let last = snapshot.meta.last.index;
            // A newer one may have been taken since this write was asked for.
            if last >= self.snapshot.meta.last.index {
                self.snapshot = snapshot;
                self.snapshot_bad = false;
            }
            self.shorten(last);
        }
        for entry in write.mended {
            if let Some(at) = self.place(entry.index) {
                self.bad.retain(|index| *index != entry.index);
                self.entries[at] = entry;
            }
        }
        while self.entries.back().is_some_and(|entry| entry.index >= write.append.start) {
            self.entries.pop_back();
        }
        self.bad.retain(|index| *index < write.append.start);
        for entry in entries {
            if self.entries.is_empty() {
                self.first = entry.index;
            }
            self.entries.push_back(entry);
        }
        self.shorten(compact);
    }

    fn shorten(&mut self, through: Index) {
        while self.entries.front().is_some_and(|entry| entry.index <= through) {
            self.entries.pop_front();
        }
        self.first = self.entries.front().map_or(self.first, |entry| entry.index);
        self.bad.retain(|index| *index > through);
    }

    fn place(&self, index: Index) -> Option<usize> {
        let first = self.entries.front()?.index;
        let at = usize::try_from(index.0.checked_sub(first.0)?).ok()?;
        (at < self.entries.len()).then_some(at)
    }

    /// What a node finds when it starts.
    fn boot(&mut self) -> Boot {
        self.life += 1;
        let base = self.snapshot.meta.last.index;
        while self.entries.front().is_some_and(|entry| entry.index <= base) {
            self.entries.pop_front();
        }
        self.first = base.next();
        let vote = self.hard.vote.filter(|_| !self.vote_bad);
        let hard = HardState { vote, ..self.hard };
        let mut boot = Boot::after(&self.snapshot.meta).hard(hard).life(self.life);
        let mut missing = false;
        for entry in &self.entries {
            if self.bad.contains(&entry.index) {
                missing = true;
            } else if missing {
                boot.hole_before(entry);
                missing = false;
            } else {
                boot.entry(entry);
            }
        }
        if missing {
            let last = self.entries.back().expect("something is bad").index;
            boot = boot.lost_end(last);
        }
        // What is bad stays so until it is written over: a crash before that finds it again.
        if self.vote_bad {
            boot = boot.lost_vote();
        }
        if self.snapshot_bad { boot.lost_snapshot() } else { boot }
    }

    /// Reads entries after `after` up to `through`; `Err` names the first bad one.
    fn read_some(&self, after: Index, through: Index, most: usize) -> Result<Vec<Entry>, Index> {
        let mut read = Vec::new();
        let mut index = after.next();
        while index <= through && read.len() < most {
            // What is ordered and not carried out yet can be read as well.
            let ordered = self.orders.iter().rev().find_map(|order| {
                if index >= order.write.append.start {
                    Some(order.entries.iter().find(|entry| entry.index == index))
                } else {
                    None
                }
            });
            let entry = match ordered {
                Some(found) => found,
                None if self.bad.contains(&index) => {
                    return if read.is_empty() { Err(index) } else { Ok(read) };
                }
                None => self.place(index).map(|at| &self.entries[at]),
            };
            let Some(entry) = entry else { break };
            read.push(entry.clone());
            index = index.next();
        }
        Ok(read)
    }

    /// Where its durable log ends, damaged or not.
    fn last(&self) -> Position {
        self.entries.back().map_or(self.snapshot.meta.last, Entry::position)
    }

    /// The members that its durable log names last.
    fn members(&self) -> &Arc<Configuration> {
        let named = self.entries.iter().rev().find_map(|entry| match &entry.payload {
            Payload::Configuration(members) => Some(members),
            _ => None,
        });
        named.unwrap_or(&self.snapshot.meta.configuration)
    }

    /// The sound entries behind those that cannot be read.
    fn anchors(&self) -> Vec<Position> {
        let pairs = self.entries.iter().zip(self.entries.iter().skip(1));
        let edges = pairs
            .filter(|(one, next)| self.bad.contains(&one.index) && !self.bad.contains(&next.index));
        edges.map(|(_, next)| next.position()).collect()
    }
}

impl<S: StateMachine> Disk<S> for Model<S> {
    type Parcel = Snapshot<S>;
    type Rot = Rot;
    const TIDIES: bool = false;

    fn start(&mut self, _id: u64) -> Start<S> {
        let boot = self.boot();
        let mut snapshot = self.snapshot.clone();
        if self.snapshot_bad {
            snapshot.state = Arc::default();
        }
        Start { boot, snapshot, lost: self.snapshot_bad }
    }

    fn order(
        &mut self,
        write: Write,
        entries: Vec<Entry>,
        snapshot: Option<Snapshot<S>>,
    ) -> Result<(), Refused> {
        self.orders.push_back(Order { write, entries, snapshot, compact: Index(0) });
        Ok(())
    }

    fn complete(&mut self, id: WriteId) -> Result<(), Refused> {
        while self.orders.front().is_some_and(|order| order.write.id <= id) {
            let order = self.orders.pop_front().expect("the first was looked at");
            self.carry_out(order);
        }
        Ok(())
    }

    fn compact(&mut self, through: Index) -> Result<(), Refused> {
        match self.orders.back_mut() {
            Some(order) => order.compact = order.compact.max(through),
            None => self.shorten(through),
        }
        Ok(())
    }

    fn tidy(&mut self) -> bool {
        false
    }

    fn keep(&mut self, snapshot: Snapshot<S>) -> bool {
        if snapshot.meta.last.index > self.snapshot.meta.last.index {
            self.snapshot = snapshot;
            self.snapshot_bad = false;
        }
        true
    }

    fn newest(&self) -> Index {
        self.snapshot.meta.last.index
    }

    fn read(&mut self, after: Index, through: Index, most: usize) -> Result<Vec<Entry>, Unread> {
        self.read_some(after, through, most).map_err(Unread::Damaged)
    }

    fn load(&mut self, after: Index, through: Index, most: usize) -> Result<Vec<Entry>, Unread> {
        self.read_some(after, through, most).map_err(Unread::Damaged)
    }

    fn open_snapshot(&mut self, newest: Option<Snapshot<S>>, _base: Index) -> Opened {
        match newest {
            _ if self.snapshot_bad => Opened::Unsound,
            Some(snapshot) if !snapshot.whole => Opened::Unsound,
            Some(snapshot) => Opened::Open(snapshot.meta),
            None => Opened::Nothing,
        }
    }

    fn pull(&mut self, newest: Option<Snapshot<S>>) -> Option<Snapshot<S>> {
        newest.filter(|snapshot| snapshot.whole)
    }

    fn push(&mut self, parcel: Snapshot<S>) -> Option<Snapshot<S>> {
        Some(parcel)
    }

    /// Of the writes under way, the first few are there.
    fn crash(mut self, rng: &mut Rng) -> Model<S> {
        let orders = self.orders.len() as u64;
        let kept = rng.below(orders + 1);
        for _ in 0..kept {
            let order = self.orders.pop_front().expect("so many are there");
            self.carry_out(order);
        }
        self.orders.clear();
        self
    }

    fn fail(&mut self, _rng: &mut Rng) -> Option<Fault> {
        None
    }

    fn heal(&mut self) {}

    fn life(&self) -> u64 {
        self.life
    }

    fn vote(&self) -> (Term, Option<u64>) {
        (self.hard.term, self.hard.vote)
    }

    fn draw_rot(&self, rng: &mut Rng) -> Option<Rot> {
        match rng.below(4) {
            0 if self.hard.term.0 > 0 => Some(Rot::Vote),
            1 if self.snapshot.meta.last.index.0 > 0 => Some(Rot::Snapshot),
            _ if !self.entries.is_empty() => {
                let count = self.entries.len() as u64;
                let at = rng.below(count);
                let width = 1 + rng.below((count - at).min(5));
                Some(Rot::Entries { at, width })
            }
            _ => None,
        }
    }

    fn vote_rot(&mut self) -> Option<Rot> {
        Some(Rot::Vote)
    }

    fn suffer(&mut self, rot: &Rot) {
        match *rot {
            Rot::Vote => self.vote_bad = true,
            Rot::Snapshot => self.snapshot_bad = true,
            Rot::Entries { at, width } => {
                for i in at..at + width {
                    let entry = &self.entries[usize::try_from(i).expect("it is in memory")];
                    if !self.bad.contains(&entry.index) {
                        self.bad.push(entry.index);
                    }
                }
            }
        }
        self.unhurt = false;
    }

    fn holdings(&self, rot: Option<&Rot>) -> Option<Holdings> {
        if let Some(rot) = rot {
            let mut damaged = self.clone();
            damaged.suffer(rot);
            return damaged.holdings(None);
        }
        let withheld = self.entries.iter().any(|entry| entry.payload == Payload::Withheld);
        let sound = self.bad.is_empty() && !self.snapshot_bad && self.hard.lost_end.is_none();
        Some(Holdings {
            last: self.last(),
            members: Arc::clone(self.members()),
            base: self.snapshot.meta.last.index,
            entries: self.entries.iter().map(|entry| (entry.index, entry.term)).collect(),
            anchors: self.anchors(),
            can_serve: sound && self.snapshot.whole && !withheld,
            in_doubt: self.hard.lost_end.is_some() || self.bad.contains(&self.last().index),
        })
    }

    fn is_bad(&self) -> bool {
        !self.bad.is_empty() || self.vote_bad || self.snapshot_bad
    }

    fn is_unhurt(&self) -> bool {
        self.unhurt
    }
}
