//! Nodes as placement sees them: what is free, who is there, and whether anyone may come.

use std::collections::HashMap;

use crate::record::{ImageAt, NodeRecord};
use crate::spec::Resources;
use crate::types::NodeId;

use super::score::TIE_BITS;
use super::{mix, score};

/// A node in a cluster's books. It stays good while the node has a record or a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIx(pub(crate) u32);

/// Whether anyone may come, before it is asked who: the first that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Gate {
    Open,
    /// Tasks are there, and its record is not.
    Unknown,
    ConfirmedDead,
    NotAlive,
    Draining,
    Cordoned,
    Suspect,
}

/// How many things are counted on a node: the four of [`Resources`], and tasks.
pub(crate) const KINDS: usize = 5;
/// Where tasks are among them.
pub(crate) const TASKS: usize = 4;
/// What is free of a thing without a bound.
const BOUNDLESS: i64 = i64::MAX / 4;

/// So much of each; below 0 if more is used than there is.
pub(crate) type Amounts = [i64; KINDS];

/// As amounts: one task that asks for this.
pub(crate) fn amounts(request: &Resources) -> Amounts {
    let [cpu, pids] = [request.cpu, request.pids].map(i64::from);
    let [memory, disk] = [request.memory, request.disk].map(clamp);
    [cpu, memory, disk, pids, 1]
}

fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(BOUNDLESS).min(BOUNDLESS)
}

/// What a decision reads of each node, in one line of the cache. A scan over arrays of their own
/// would read fewer bytes; but hardly any decision scans, and most read one node.
#[derive(Clone, Debug, PartialEq)]
#[repr(align(64))]
pub(crate) struct Slot {
    pub(crate) free: Amounts,
    /// One by the capacity, so that a share is a product; 0 if there is none.
    inverse_cpu: f64,
    inverse_memory: f64,
    pub(crate) gate: Gate,
}

const _: () = assert!(size_of::<Slot>() == 64);

impl Slot {
    /// The shares of cpu and memory that are used once `request` is there too.
    #[inline]
    pub(crate) fn used_with(&self, request: &Amounts) -> (f64, f64) {
        let share = |free: i64, inverse: f64| (1.0 - free as f64 * inverse).clamp(0.0, 1.0);
        let cpu = share(self.free[0] - request[0], self.inverse_cpu);
        (cpu, share(self.free[1] - request[1], self.inverse_memory))
    }

    /// Fit and balance with that request.
    #[inline]
    pub(crate) fn suits(&self, request: &Amounts, spread: bool) -> (u32, u32) {
        let (cpu, memory) = self.used_with(request);
        (score::fit(cpu, memory, spread), score::balance(cpu, memory))
    }
}

/// What only some look at.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) record: Option<NodeRecord>,
    pub(crate) images: Vec<ImageAt>,
    pub(crate) alive: bool,
    pub(crate) suspect: bool,
    /// Which classes have how many tasks here, in the order of the classes.
    pub(crate) residents: Vec<(u32, u32)>,
}

impl Node {
    fn gate(&self) -> Gate {
        match &self.record {
            None => Gate::Unknown,
            Some(record) if record.confirmed_dead => Gate::ConfirmedDead,
            Some(_) if !self.alive => Gate::NotAlive,
            Some(record) if record.drain.is_some() => Gate::Draining,
            Some(record) if record.cordoned => Gate::Cordoned,
            Some(_) if self.suspect => Gate::Suspect,
            Some(_) => Gate::Open,
        }
    }

    /// What it has; nothing until its record is there.
    pub(crate) fn capacity(&self) -> Amounts {
        let Some(record) = &self.record else { return [0; KINDS] };
        let mut all = amounts(&record.capacity);
        all[TASKS] = match record.tasks_max {
            0 => BOUNDLESS,
            max => i64::from(max),
        };
        all
    }
}

/// All nodes, by number.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    pub(crate) slots: Vec<Slot>,
    /// Tells equally good nodes apart: a hash of its name, so that it does not matter which came
    /// first.
    pub(crate) ties: Vec<u64>,
    pub(crate) all: Vec<Node>,
    by_id: HashMap<NodeId, u32>,
    free: Vec<u32>,
}

impl Nodes {
    pub(crate) fn find(&self, id: &NodeId) -> Option<u32> {
        self.by_id.get(id).copied()
    }

    /// A node that is not known yet, without a record. Says whether its number is a new one.
    pub(crate) fn add(&mut self, id: &NodeId, seed: u64) -> (u32, bool) {
        let node = Node {
            id: id.clone(),
            record: None,
            images: Vec::new(),
            alive: false,
            suspect: false,
            residents: Vec::new(),
        };
        let slot =
            Slot { free: [0; KINDS], inverse_cpu: 0.0, inverse_memory: 0.0, gate: Gate::Unknown };
        let tie = mix::hash(seed, id.as_str()) >> (64 - TIE_BITS);
        let (number, new) = match self.free.pop() {
            Some(number) => (number, false),
            None => (u32::try_from(self.all.len()).expect("fewer than 2^32 nodes"), true),
        };
        if new {
            self.slots.push(slot);
            self.ties.push(tie);
            self.all.push(node);
        } else {
            let at = number as usize;
            (self.slots[at], self.ties[at], self.all[at]) = (slot, tie, node);
        }
        self.by_id.insert(id.clone(), number);
        (number, new)
    }

    /// Forgets a node that has neither a record nor a task.
    pub(crate) fn forget(&mut self, number: u32) {
        let node = &self.all[number as usize];
        assert!(node.record.is_none() && node.residents.is_empty(), "nothing of it is left");
        self.by_id.remove(&node.id);
        self.free.push(number);
    }

    /// Reckons its slot anew, with what its tasks use.
    pub(crate) fn reckon(&mut self, number: u32, used: &Amounts) {
        let node = &self.all[number as usize];
        let capacity = node.capacity();
        let inverse = |have: i64| if have > 0 { 1.0 / have as f64 } else { 0.0 };
        let slot = &mut self.slots[number as usize];
        for kind in 0..KINDS {
            slot.free[kind] = capacity[kind] - used[kind];
        }
        (slot.inverse_cpu, slot.inverse_memory) = (inverse(capacity[0]), inverse(capacity[1]));
        slot.gate = node.gate();
    }

    /// Its gate alone.
    pub(crate) fn regate(&mut self, number: u32) {
        self.slots[number as usize].gate = self.all[number as usize].gate();
    }

    /// Those with a record, by number.
    pub(crate) fn known(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(&self.all).filter_map(|(number, node)| node.record.as_ref().map(|_| number))
    }
}
