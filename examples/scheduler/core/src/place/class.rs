//! Classes: tasks that placement cannot tell apart, and what it has to look at for them.

use std::collections::BTreeMap;

use super::domain::Key;
use super::node::Amounts;
use super::tally::Tally;

/// A class of tasks in a cluster's books. It stays good until it is retired and has no task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub(crate) u32);

/// A class. Relations are meant by their numbers.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) request: Amounts,
    /// The request, with the lowest number in the place of 0: who asks for nothing gets it from a
    /// node that has less than nothing too.
    pub(crate) need: Amounts,
    pub(crate) profile: u32,
    pub(crate) image: u32,
    pub(crate) plan: Plan,
    /// There must be such tasks in the domain.
    pub(crate) near: Vec<u32>,
    /// There must be none.
    pub(crate) avoid: Vec<u32>,
    /// Points, whether it is wished that there are such tasks or that there are none, which.
    pub(crate) prefer: Vec<(u32, bool, u32)>,
    /// Its tasks count as such tasks in these.
    pub(crate) matches: Vec<u32>,
    /// Those of `matches` by which somebody avoids.
    pub(crate) avoided_by: Vec<u32>,
    /// Hundredths of failures lately, by node.
    pub(crate) failures: BTreeMap<u32, u32>,
    /// How many of its tasks are on each node.
    pub(crate) places: Tally,
    /// No more tasks will come.
    pub(crate) retired: bool,
    pub(crate) scope: Scope,
    /// Counts the changes of its scope.
    pub(crate) scopes: u64,
    /// Which view it uses, if it is known.
    pub(crate) view: Option<(usize, u64)>,
    /// A view is kept for it alone.
    pub(crate) has_own_view: bool,
}

/// A strategy, with labels and counts looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    Pack,
    /// Its own tasks by domain and by node are two relations.
    Spread {
        key: Key,
        domain_max: u32,
        skew_max: u32,
        by_domain: u32,
        by_node: u32,
    },
    /// The narrowest first, each with the relation that counts its own tasks by that.
    Cluster {
        levels: Vec<(Key, u32)>,
    },
    Partition {
        key: Key,
        partitions: u32,
    },
}

impl Plan {
    pub(crate) fn is_spread(&self) -> bool {
        matches!(self, Plan::Spread { .. })
    }

    /// The labels that it looks at.
    pub(crate) fn keys(&self) -> Vec<Key> {
        match self {
            Plan::Pack => Vec::new(),
            Plan::Spread { key, .. } | Plan::Partition { key, .. } => vec![*key],
            Plan::Cluster { levels } => levels.iter().map(|&(key, _)| key).collect(),
        }
    }

    /// The relations that count its own tasks.
    pub(crate) fn relations(&self) -> Vec<u32> {
        match self {
            Plan::Pack | Plan::Partition { .. } => Vec::new(),
            Plan::Spread { by_domain, by_node, .. } => vec![*by_domain, *by_node],
            Plan::Cluster { levels } => levels.iter().map(|&(_, relation)| relation).collect(),
        }
    }
}

/// Which of its questions are about one node, and which about a whole domain. The first are part of
/// a node's rank, which is kept; the others are asked at each decision, once a cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    /// What tells cells apart, sorted: two nodes that agree in these are in one cell.
    pub(crate) keys: Vec<Key>,
    /// Questions about the node.
    pub(crate) node: Questions,
    /// Questions about domains: the first number is the place of the key in `keys`.
    pub(crate) cell: Questions,
    /// Nodes' ranks depend on this class, and not just on what it shares with others.
    pub(crate) personal: bool,
    /// No more than one of its tasks fits on a node.
    pub(crate) one_a_node: bool,
}

/// Relations by what is asked of them, each with the place of its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Questions {
    pub(crate) near: Vec<(usize, u32)>,
    pub(crate) avoid: Vec<(usize, u32)>,
    pub(crate) avoided_by: Vec<(usize, u32)>,
    pub(crate) prefer: Vec<(usize, u32, bool, u32)>,
}

impl Questions {
    fn is_empty(&self) -> bool {
        self.near.is_empty()
            && self.avoid.is_empty()
            && self.avoided_by.is_empty()
            && self.prefer.is_empty()
    }
}

impl Class {
    /// What there is to look at, given the key of each relation.
    pub(crate) fn scope_with(&self, key_of: impl Fn(u32) -> Key) -> Scope {
        let mut keys = self.plan.keys();
        let asked = self.near.iter().chain(&self.avoid).chain(&self.avoided_by);
        let preferred = self.prefer.iter().map(|(_, _, relation)| relation);
        keys.extend(asked.chain(preferred).map(|&id| key_of(id)).filter(|&key| key != Key::NODE));
        keys.sort_unstable();
        keys.dedup();
        let mut scope = Scope { keys, ..Scope::default() };
        let Scope { keys, node, cell, .. } = &mut scope;
        let place = |id: u32| match key_of(id) {
            Key::NODE => None,
            key => Some(keys.binary_search(&key).expect("all keys are in")),
        };
        let mut sort = |ids: &[u32], list: fn(&mut Questions) -> &mut Vec<(usize, u32)>| {
            for &id in ids {
                match place(id) {
                    None => list(node).push((0, id)),
                    Some(at) => list(cell).push((at, id)),
                }
            }
        };
        sort(&self.near, |questions| &mut questions.near);
        sort(&self.avoid, |questions| &mut questions.avoid);
        sort(&self.avoided_by, |questions| &mut questions.avoided_by);
        for &(points, wished, id) in &self.prefer {
            match place(id) {
                None => node.prefer.push((0, points, wished, id)),
                Some(at) => cell.prefer.push((at, points, wished, id)),
            }
        }
        scope.one_a_node = scope.node.avoid.iter().any(|(_, id)| self.matches.contains(id));
        scope.personal =
            !scope.node.is_empty() || self.plan.is_spread() || !self.failures.is_empty();
        scope
    }

    /// Whether it would be the first of its kind, and is of the kind that it wants near: then
    /// nobody can be there yet, and waiting for itself would be for ever.
    pub(crate) fn starts(&self, relation: u32, matched: &Tally) -> bool {
        matched.total() == 0 && self.matches.binary_search(&relation).is_ok()
    }
}

/// Puts a number into a sorted list that does not have it.
pub(crate) fn put_in(list: &mut Vec<u32>, id: u32) {
    match list.binary_search(&id) {
        Ok(_) => unreachable!("it was in already"),
        Err(at) => list.insert(at, id),
    }
}

/// Takes a number out of a sorted list that has it.
pub(crate) fn take_out(list: &mut Vec<u32>, id: u32) {
    let at = list.binary_search(&id).expect("it was put in");
    list.remove(at);
}
